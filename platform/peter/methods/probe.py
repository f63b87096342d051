"""A linear head on the frozen representation: what the backbone knows without being changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from peter.config import BackboneConfig
from peter.data.histories import Histories
from peter.methods import ClosedForm, Examples, Phase, Setting
from peter.nn.backbone import Backbone
from peter.nn.readout import level_means
from peter.space import Domain


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and scale [F] of features [B, F]; a constant feature has scale 1."""
    scale = features.std(0, correction=0)
    return features.mean(0), scale.where(scale > 0, 1)


class ProbePatch(nn.Module):
    """FineCLS, PeterRec's first baseline, but on all levels over the whole history.

    The read-out is standardised for the fit; the head absorbs the standardisation.
    """

    def __init__(self, features: int, outputs: int) -> None:
        super().__init__()
        self.head = nn.Linear(features, outputs)  # F -> K
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, body: Backbone, histories: Histories) -> Tensor:
        outputs: Tensor = self.head(level_means(body, histories))  # [B, K]
        return outputs

    @torch.no_grad()
    def solve(self, train: Examples, valid: Examples, setting: Setting) -> None:
        """Fit the head by the kind's convex fit on standardised features."""
        features = level_means(setting.body, train.histories)  # [B, F]
        mean, scale = moments(features)
        found = setting.kind.fit_linear(
            (((features - mean) / scale).cpu(), train.targets),
            (((level_means(setting.body, valid.histories) - mean) / scale).cpu(), valid.targets),
            setting.schema,
        )
        self.head.weight.copy_(found.up / scale.cpu())
        self.head.bias.copy_(found.bias - found.up @ (mean / scale).cpu())


@dataclass(frozen=True)
class Options:
    """Nothing to choose."""


class Probe:
    """See `peter.methods.Method`."""

    options = Options

    def build(self, setting: Setting, options: Options) -> ProbePatch:
        return ProbePatch(setting.body.levels * setting.body.channels, setting.outputs)

    def phases(self, patch: nn.Module, setting: Setting, options: Options) -> Sequence[Phase]:
        assert isinstance(patch, ProbePatch)

        def fit(train: Examples, valid: Examples) -> None:
            patch.solve(train, valid, setting)

        return [ClosedForm("head", fit)]

    def adapter_config(self, options: Options) -> Mapping[str, Any]:
        return {"peft_type": "PROBE", "modules_to_save": ["head"], "pooling": "level_means"}

    def space(self, shape: BackboneConfig) -> Mapping[str, Domain]:
        return {}


plugin = Probe()
