"""Other windows that the same user might have left: CLUE's explicit augmentations (Cheng et al., ICDM 2021).

Masking, cropping (a run is removed, not kept) and permutation are the paper's; that an event of everybody is
spared, whatever the share, is ours: a user of one event has no other view.

Each takes windows [B, S], left-padded with PAD, the share of a user's events that it touches, and a
generator. Padding stays what it is.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from peter.data.histories import MASK, PAD

Augmentation = Callable[[Tensor, float, torch.Generator], Tensor]


def some(real: Tensor, count: Tensor, generator: torch.Generator) -> Tensor:
    """[B, S] bool: `count` [B] places among those of each row that are `real` [B, S], all equally likely."""
    chance = torch.rand(real.shape, generator=generator).masked_fill(~real, 2.0)
    rank = chance.argsort(dim=1).argsort(dim=1)
    return (rank < count.unsqueeze(1)) & real


def mask(windows: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """MASK in place of a share of the events."""
    real = windows != PAD
    return windows.masked_fill(some(real, _touched(real, share), generator), MASK)


def crop(windows: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Without a run of events; what is left closes up behind the padding."""
    run = _run(windows != PAD, share, generator)
    order = (~run).int().argsort(dim=1, stable=True)
    return windows.masked_fill(run, PAD).gather(1, order)


def reorder(windows: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A run of events shuffled."""
    run = _run(windows != PAD, share, generator)
    places = torch.arange(windows.shape[1]).expand(windows.shape)
    first, count = places.where(run, windows.shape[1]).amin(1, keepdim=True), run.sum(1, keepdim=True)
    drawn = first + count * torch.rand(windows.shape, generator=generator)  # between the run's neighbours
    return windows.gather(1, drawn.where(run, places.float()).argsort(dim=1, stable=True))


AUGMENTATIONS: Mapping[str, Augmentation] = {"mask": mask, "crop": crop, "reorder": reorder}


def _touched(real: Tensor, share: float) -> Tensor:
    """[B] how many events of each user that are, with one spared."""
    events = real.sum(1)
    return (share * events).round().long().minimum((events - 1).clamp(min=0))


def _run(real: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """[B, S] bool: that many events one after another, wherever they begin."""
    count, events = _touched(real, share), real.sum(1)
    room = events - count + 1  # [B] places to begin at
    begin = (room * torch.rand(len(real), generator=generator)).long()
    nth = real.cumsum(1) - 1 - begin.unsqueeze(1)  # [B, S] from the beginning of the run on
    return real & (nth >= 0) & (nth < count.unsqueeze(1))
