"""Windows [W, S] in batches of like length, so that little is padding."""

import torch
from torch import Tensor

from peter.data.histories import PAD


def batches(windows: Tensor, size: int, order: torch.Generator) -> list[Tensor]:
    """Rows of `windows`, so many a batch; which rows meet and the batches' order are random."""
    shuffled = torch.randperm(len(windows), generator=order)
    lengths = (windows[shuffled] != PAD).sum(1)
    found = torch.split(shuffled[lengths.argsort(stable=True)], size)
    return [found[at] for at in torch.randperm(len(found), generator=order).tolist()]


def trimmed(windows: Tensor) -> Tensor:
    """Without the columns that are padding in every window."""
    return windows[:, windows.shape[1] - int((windows != PAD).sum(1).max()) :]
