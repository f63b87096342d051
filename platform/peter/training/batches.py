"""What a step is of: windows [W, S] of like length, so that little is padding, and what is asked of them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from peter.data.histories import PAD
from peter.training.contrast import View


@dataclass(frozen=True)
class Batch:
    """What is fed and what is asked: at each place of `targets` that is not PAD, that item."""

    inputs: Tensor  # [B, L] int64, left-padded
    targets: Tensor  # [B, L] int64
    views: tuple[View, ...] = ()  # two of each user, to be compared
    seed: int = 0  # of what is drawn inside the model

    @property
    def places(self) -> int:
        """How many places are asked about."""
        return int((self.targets != PAD).sum())

    @property
    def asked(self) -> int:
        """What its mean loss is a mean over: these places, or the users where there is none."""
        return self.places or len(self.inputs)


def batches(windows: Tensor, size: int, order: torch.Generator) -> list[Tensor]:
    """Rows of `windows`, so many a batch; which rows meet and the batches' order are random."""
    shuffled = torch.randperm(len(windows), generator=order)
    lengths = (windows[shuffled] != PAD).sum(1)
    found = torch.split(shuffled[lengths.argsort(stable=True)], size)
    return [found[at] for at in torch.randperm(len(found), generator=order).tolist()]


def trimmed(windows: Tensor) -> Tensor:
    """Without the columns that are padding in every window."""
    return windows[:, windows.shape[1] - int((windows != PAD).sum(1).max()) :]
