"""The default: PeterRec's patches in the frozen backbone, its whole history read, beside a wide term."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from peter.config import BackboneConfig
from peter.data.histories import Histories
from peter.errors import InputError
from peter.methods import ClosedForm, Examples, Gradient, Phase, Setting
from peter.methods._wide import out_of_fold, stacked
from peter.methods.bag import TfIdfLinear
from peter.methods.probe import moments
from peter.nn.backbone import PAD, Backbone
from peter.nn.graft import Graft
from peter.nn.init import truncated_normal_
from peter.nn.patch import SerialGraft
from peter.nn.readout import by_length, level_means
from peter.nn.view import Grafted, View
from peter.space import Choice, Domain, LogUniform

EVENTS = 8192  # a pass


@dataclass(frozen=True)
class Options:
    """What `--set` may change."""

    reduction: int = 8  # C / D; PeterRec's own setting
    activation: Literal["gelu", "relu"] = "gelu"
    blocks: str = (
        "all"  # or "6:8", the last two of eight: cheaper, as nothing below them is descended through
    )
    second_norm: bool = True  # train a copy of each patched block's second LayerNorm
    readout: Literal["all", "last"] = "all"  # last: the top level at the last event, as in PeterRec
    wide: bool = True  # a weight per item and class over the whole history, solved first and then left alone
    warm_start: bool = True  # the head starts from a convex solution on the bare body


class PeterPatch(nn.Module):
    """Patches, their LayerNorms, a linear head on the standardised read-out (PeterRec, SIGIR 2020).

    A wide term (Cheng et al., Wide & Deep, DLRS 2016, but solved and not descended) says what counting can
    tell; the rest learns what it cannot, and is kept only as far as validation users gain by it.
    """

    mean: Tensor
    scale: Tensor
    offsets: Tensor  # [B, K] out-of-fold wide outputs of the training users, while fitting

    def __init__(self, setting: Setting, options: Options) -> None:
        super().__init__()
        body = setting.body
        self.readout = options.readout
        self.wide = TfIdfLinear(setting.items, setting.outputs) if options.wide else None
        self.graft = SerialGraft(
            body,
            _bottleneck(body.channels, options.reduction),
            setting.seed,
            _blocks(options.blocks),
            options.activation,
            options.second_norm,
        )
        features = body.channels * (body.levels if options.readout == "all" else 1)  # F
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.head = nn.Linear(features, setting.outputs)  # F -> K
        nn.init.zeros_(self.head.bias)
        if options.wide:
            nn.init.zeros_(self.head.weight)
        else:
            truncated_normal_(self.head.weight, setting.seed, "head.weight")

    def forward(self, body: Backbone, histories: Histories) -> Tensor:
        outputs: Tensor = self.head(self.standardised(self.read(body, histories, self.graft)))  # [B, K]
        return outputs if self.training or self.wide is None else outputs + self.wide(body, histories)

    def read(self, body: Backbone, histories: Histories, graft: Graft | None) -> Tensor:
        """The read-out [B, F] of the patched body, or of the bare one without `graft`."""
        read = level_means if self.readout == "all" else last_state
        return read(Grafted(body, graft), histories)

    def standardised(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.scale

    @torch.no_grad()
    def count(self, train: Examples, valid: Examples, setting: Setting) -> None:
        """Solve the wide term."""
        assert self.wide is not None
        self.wide.solve(train, valid, setting)
        self.offsets = out_of_fold(train, valid, setting)

    @torch.no_grad()
    def start(self, train: Examples, valid: Examples, setting: Setting, warm: bool) -> None:
        """Fix the standardisation; if `warm`, give the head the best linear solution on the bare body.

        Linear probing, then fine-tuning: a random head would distort what the body knows (Kumar et al.,
        ICLR 2022). Beside a wide term, head and wide outputs are solved together, and the wide term alone
        stands if validation users prefer it.
        """
        features = self.read(setting.body, train.histories, None)  # [B, F]
        for buffer, value in zip((self.mean, self.scale), moments(features), strict=True):
            buffer.copy_(value)
        if not warm:
            return
        mine = self.standardised(features).cpu(), train.targets
        others = self.standardised(self.read(setting.body, valid.histories, None)).cpu(), valid.targets
        if self.wide is None:
            found = setting.kind.fit_linear(mine, others, setting.schema)
            weight, bias = found.up, found.bias
        else:
            answers = self.wide(setting.body, valid.histories)
            stack = stacked(mine, others, self.offsets, answers, setting)
            if stack is None:
                return
            weight, bias, mix = stack
            self.wide.mix(mix)
            self.offsets = self.offsets @ mix.T
        self.head.weight.copy_(weight)
        self.head.bias.copy_(bias)


def last_state(view: View, histories: Histories) -> Tensor:
    """The top level at the last event [B, C], plus that at the window's first one if the body is not causal.

    PeterRec's own read-out (section 3.2), on the newest window alone; 0 for a user without events.
    """
    windows = histories.windows(view.max_length)
    newest = windows.user.diff(append=windows.user.new_tensor([len(histories)])).nonzero()[:, 0]  # [b]
    states = torch.zeros(len(histories), view.channels, device=view.device)
    for rows, items in by_length(windows.items[newest], EVENTS):
        top = view(items.to(view.device))[-1]  # [L, b, C]
        state = top[-1]
        if not view.causal:
            first = (items != PAD).long().argmax(1)  # [b]
            state = state + top[first.to(top.device), torch.arange(len(rows), device=top.device)]
        states = states.index_copy(0, windows.user[newest[rows]].to(top.device), state.to(states.dtype))
    return states


def _bottleneck(channels: int, reduction: int) -> int:
    if not 1 <= reduction <= channels:
        raise InputError(
            f"reduction={reduction} cannot be used; give a number from 1 to the {channels} channels."
        )
    return channels // reduction


def _blocks(text: str) -> range | None:
    if text == "all":
        return None
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if not found:
        raise InputError(f"blocks={text!r} cannot be read; give blocks=all, or a span such as blocks=6:8.")
    return range(int(found[1]), int(found[2]))


class Peter:
    """See `peter.methods.Method`."""

    options = Options

    def build(self, setting: Setting, options: Options) -> PeterPatch:
        return PeterPatch(setting, options)

    def phases(self, patch: nn.Module, setting: Setting, options: Options) -> Sequence[Phase]:
        assert isinstance(patch, PeterPatch)

        def start(train: Examples, valid: Examples) -> None:
            patch.start(train, valid, setting, options.warm_start)

        if patch.wide is None:
            return [ClosedForm("head", start), Gradient("patches", list(patch.parameters()))]

        def count(train: Examples, valid: Examples) -> None:
            patch.count(train, valid, setting)

        deep = [*patch.graft.parameters(), *patch.head.parameters()]
        return [
            ClosedForm("wide", count),
            ClosedForm("head", start),
            Gradient("patches", deep, offsets=lambda: patch.offsets),
        ]

    def adapter_config(self, options: Options) -> Mapping[str, Any]:
        parts = {"head": True, "graft.norms": options.second_norm, "wide": options.wide}
        return {
            "peft_type": "BOTTLENECK",
            "reduction_factor": options.reduction,
            "non_linearity": options.activation,
            "is_parallel": False,
            "modules_to_save": [name for name, saved in parts.items() if saved],
            "pooling": "level_means" if options.readout == "all" else "last_state",
        }

    def space(self, shape: BackboneConfig) -> Mapping[str, Domain]:
        blocks = shape.blocks
        spans = (f"{first}:{blocks}" for first in (blocks // 2, blocks - 2) if 0 < first < blocks)
        return {
            "learning_rate": LogUniform(1e-4, 1e-2),
            "weight_decay": LogUniform(1e-5, 1.0),
            "reduction": Choice(tuple(number for number in (4, 8, 16) if number <= shape.channels) or (1,)),
            "blocks": Choice(("all", *dict.fromkeys(spans))),
        }


plugin = Peter()
