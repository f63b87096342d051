"""A linear head on the frozen representation: what the backbone knows without being changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from peter.config import LATER, BackboneConfig
from peter.data.histories import Histories
from peter.methods import ClosedForm, Examples, Phase, Setting
from peter.methods._head import Head
from peter.nn.backbone import Backbone
from peter.nn.readout import PoolName, ReadOut, Span
from peter.space import Choice, Domain


@dataclass(frozen=True)
class Options:
    """What `--set` may change."""

    readout: PoolName = "all"  # last: the top level at the last event, as in the paper
    history: Span = "auto"  # auto: all of it for readout=all, else the newest window
    tcl: bool = field(default=False, metadata=LATER)  # end each window by [TCL], which `contrastive` trains


class ProbePatch(nn.Module):
    """FineCLS, a baseline of PeterRec (SIGIR 2020), but on all levels over the whole history."""

    later = True

    def __init__(self, setting: Setting, options: Options) -> None:
        super().__init__()
        self.read = ReadOut(options.readout, options.history, options.tcl)
        self.head = Head(self.read.width(setting.body), setting)  # F -> K

    def forward(self, body: Backbone, histories: Histories) -> Tensor:
        outputs: Tensor = self.head(self.read(body, histories))  # [B, K]
        return outputs

    def solve(self, train: Examples, valid: Examples, setting: Setting) -> None:
        """Fit the head."""
        seen, new = ((self.read(setting.body, users.histories), users.targets) for users in (train, valid))
        self.head.solve(seen, new, setting)


class Probe:
    """See `peter.methods.Method`."""

    options = Options
    deployable = True
    rooted = False

    def build(self, setting: Setting, options: Options) -> ProbePatch:
        return ProbePatch(setting, options)

    def phases(self, patch: nn.Module, setting: Setting, options: Options) -> Sequence[Phase]:
        assert isinstance(patch, ProbePatch)

        def fit(train: Examples, valid: Examples) -> None:
            patch.solve(train, valid, setting)

        return [ClosedForm("head", fit)]

    def adapter_config(self, options: Options) -> Mapping[str, Any]:
        return {"peft_type": "PROBE", "modules_to_save": ["head"], "pooling": options.readout}

    def space(self, shape: BackboneConfig) -> Mapping[str, Domain]:
        return {"readout": Choice(("all", "head+tail", "mean", "concat", "last"))}


plugin = Probe()
