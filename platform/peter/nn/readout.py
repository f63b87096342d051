"""From histories to fixed-width features: the masked mean of every level of a body over the whole history."""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from peter.nn.backbone import PAD
from peter.nn.view import View

EVENTS = 4096  # a pass; enough rows for full speed, few enough to stay in the cache


class Windows(Protocol):
    """See `peter.data.histories.Windows`."""

    @property
    def items(self) -> Tensor:
        """[W, L] int64, left-padded with PAD."""

    @property
    def user(self) -> Tensor:
        """[W] int64."""


class Histories(Protocol):
    """The part of `peter.data.histories.Histories` that is read here."""

    @property
    def lengths(self) -> Tensor:
        """[B] int64."""

    def __len__(self) -> int: ...

    def select(self, users: Tensor) -> "Histories":
        """Some users."""

    def batches(self, events: int) -> Iterator[Tensor]:
        """Users in order, in runs of about so many events."""

    def windows(self, length: int) -> Windows:
        """All events, in windows."""


def level_means(view: View, histories: Histories, events_per_batch: int = EVENTS) -> Tensor:
    """Mean activation of each level over all events of each user, [B, levels*C]; 0 for a user without events.

    The whole history is read, in windows of `view.max_length`. Without gradients, memory does not grow with
    the number of users, the result apart.
    """
    parts = [
        _sums(view, histories.select(users), events_per_batch)
        for users in histories.batches(8 * events_per_batch)
    ]
    width = view.levels * view.channels
    sums = torch.cat(parts) if parts else torch.zeros(0, width, device=view.device)  # [B, levels*C]
    return sums / histories.lengths.clamp(min=1).unsqueeze(1).to(sums)


def _sums(view: View, histories: Histories, events: int) -> Tensor:
    windows = histories.windows(view.max_length)
    sums = torch.zeros(len(histories), view.levels * view.channels, device=view.device)
    for rows, items in by_length(windows.items, events):
        levels = view(items.to(view.device))
        added = torch.cat([level.sum(0, dtype=sums.dtype) for level in levels], dim=1)  # [b, levels*C]
        sums = sums.index_add(0, windows.user[rows].to(view.device), added)
    return sums  # [B, levels*C]


def by_length(items: Tensor, events: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows [W, L] shortest first, in batches (rows [b], trimmed items [b, l]) of about `events` cells.

    Sorting keeps short windows from paying for the padding of long ones.
    """
    lengths = (items != PAD).sum(1)
    order = lengths.argsort(stable=True)
    cells = lengths[order].cumsum(0)  # [W]
    sizes = torch.bincount(cells // events)
    for rows in torch.split(order, sizes[sizes > 0].tolist()):
        longest = int(lengths[rows].max())
        yield rows, items[rows, items.shape[1] - longest :]
