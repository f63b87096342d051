"""What a backbone is pre-trained on. One file an objective, found by name (`next-item` is `next_item.py`)."""

from dataclasses import dataclass
from typing import Protocol, cast

import torch
from torch import Tensor

from peter import plugins
from peter.config import PretrainConfig
from peter.data.histories import PAD, Histories
from peter.errors import InputError

GROUP = "peter.objectives"


@dataclass(frozen=True)
class Batch:
    """What is fed and what is asked: at each place of `targets` that is not PAD, that item."""

    inputs: Tensor  # [B, L] int64, left-padded
    targets: Tensor  # [B, L] int64

    @property
    def asked(self) -> int:
        """How many places are asked about."""
        return int((self.targets != PAD).sum())


class Objective(Protocol):
    """A way to ask about events. Letters: W and B windows, L events a body reads, S = L or more."""

    causal: bool  # the body that it needs

    def windows(self, histories: Histories, length: int) -> Tensor:
        """Windows [W, S] for bodies that read `length` events; the newest of a user comes last."""

    def batch(self, windows: Tensor, items: int, generator: torch.Generator) -> Batch:
        """The question of one step over windows [B, S]; `items` is V, the reserved rows included."""

    def last(self, histories: Histories, length: int) -> tuple[Tensor, Tensor]:
        """Asking for each user's newest event: inputs [B, L], at whose last place the answers [B] belong."""


def objective(config: PretrainConfig, causal: bool) -> Objective:
    """The objective that `config` names, for a body that is causal or not.

    Raises:
        UnknownName: there is none of that name.
        InputError: it needs the other kind of body.
    """
    found = cast(
        Objective, plugins.load(GROUP, config.objective.replace("-", "_"), "pre-training objective")(config)
    )
    if found.causal != causal:
        kind, flag = ("causal", "--causal") if found.causal else ("non-causal", "--no-causal")
        raise InputError(f"The objective {config.objective} needs a {kind} backbone; add {flag}.")
    return found


def newest(histories: Histories, length: int) -> Tensor:
    """The newest window [B, L] of every user that has events."""
    windows = histories.windows(length)
    last = torch.cat([windows.user.diff() != 0, torch.ones(min(1, len(windows.user)), dtype=torch.bool)])
    return windows.items[last]
