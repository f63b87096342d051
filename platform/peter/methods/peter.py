"""The default: PeterRec's patches in the frozen backbone, read out from all levels over the whole history."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from peter.data.histories import Histories
from peter.errors import InputError
from peter.methods import ClosedForm, Examples, Gradient, Phase, Setting
from peter.methods.probe import moments
from peter.nn.backbone import PAD, Backbone
from peter.nn.graft import Graft
from peter.nn.init import truncated_normal_
from peter.nn.patch import SerialGraft
from peter.nn.readout import by_length, level_means
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
    warm_start: bool = True  # the head starts from the probe's convex solution


class PeterPatch(nn.Module):
    """Patches, their LayerNorms, a linear head on the standardised read-out (PeterRec, SIGIR 2020)."""

    mean: Tensor
    scale: Tensor

    def __init__(self, setting: Setting, options: Options) -> None:
        super().__init__()
        body = setting.body
        self.readout = options.readout
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
        truncated_normal_(self.head.weight, setting.seed, "head.weight")
        nn.init.zeros_(self.head.bias)

    def forward(self, body: Backbone, histories: Histories) -> Tensor:
        outputs: Tensor = self.head(self.standardised(self.read(body, histories, self.graft)))  # [B, K]
        return outputs

    def read(self, body: Backbone, histories: Histories, graft: Graft | None) -> Tensor:
        """The read-out [B, F] of the patched body, or of the bare one without `graft`."""
        read = level_means if self.readout == "all" else last_state
        return read(body, histories, graft)

    def standardised(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.scale

    @torch.no_grad()
    def start(self, train: Examples, valid: Examples, setting: Setting, warm: bool) -> None:
        """Fix the standardisation; if `warm`, give the head the best linear solution on the bare body.

        Linear probing, then fine-tuning: a random head would distort what the body knows (Kumar et al.,
        ICLR 2022).
        """
        features = self.read(setting.body, train.histories, None)  # [B, F]
        for buffer, value in zip((self.mean, self.scale), moments(features), strict=True):
            buffer.copy_(value)
        if warm:
            others = self.read(setting.body, valid.histories, None)
            weight, bias = setting.kind.fit_linear(
                (self.standardised(features).cpu(), train.targets),
                (self.standardised(others).cpu(), valid.targets),
                setting.schema,
            )
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)


def last_state(body: Backbone, histories: Histories, graft: Graft | None = None) -> Tensor:
    """The top level at the last event [B, C], plus that at the window's first one if the body is not causal.

    PeterRec's own read-out (section 3.2), on the newest window alone; 0 for a user without events.
    """
    windows = histories.windows(body.max_length)
    newest = windows.user.diff(append=windows.user.new_tensor([len(histories)])).nonzero()[:, 0]  # [b]
    weight = body.item_embedding.weight
    states = weight.new_zeros(len(histories), body.channels)
    for rows, items in by_length(windows.items[newest], EVENTS):
        top = body(items.to(weight.device), graft)[-1]  # [L, b, C]
        state = top[-1]
        if not body.causal:
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

        return [ClosedForm("head", start), Gradient("patches", list(patch.parameters()))]

    def adapter_config(self, options: Options) -> Mapping[str, Any]:
        return {
            "peft_type": "BOTTLENECK",
            "reduction_factor": options.reduction,
            "non_linearity": options.activation,
            "is_parallel": False,
            "modules_to_save": ["head", "graft.norms"] if options.second_norm else ["head"],
            "pooling": "level_means" if options.readout == "all" else "last_state",
        }

    def space(self, blocks: int) -> Mapping[str, Domain]:
        spans = (f"{first}:{blocks}" for first in (blocks // 2, blocks - 2) if 0 < first < blocks)
        return {
            "learning_rate": LogUniform(1e-4, 1e-2),
            "weight_decay": LogUniform(1e-5, 1.0),
            "reduction": Choice((4, 8, 16)),
            "blocks": Choice(("all", *dict.fromkeys(spans))),
        }


plugin = Peter()
