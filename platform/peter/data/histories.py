"""Histories: the events of a few users, flat, oldest first; and the windows a backbone reads them through."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

PAD, MASK, TCL, UNK = range(4)  # reserved rows of every item table
RESERVED = 4


@dataclass(frozen=True)
class Windows:
    """W windows of at most L events, left-padded with PAD; `user` says whose each window is."""

    items: Tensor  # [W, L] int64
    user: Tensor  # [W] int64, 0 .. B-1


@dataclass(frozen=True)
class Histories:
    """The events of B users: user b owns items[offsets[b]:offsets[b+1]]."""

    items: Tensor  # [N] int64
    offsets: Tensor  # [B+1] int64

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> Tensor:
        """[B] int64, events a user."""
        return self.offsets.diff()

    @property
    def known(self) -> Tensor:
        """[B] int64, events a user whose item is not UNK."""
        return torch.bincount(self.user[self.items != UNK], minlength=len(self))

    @property
    def user(self) -> Tensor:
        """[N] int64, whose each event is."""
        return torch.repeat_interleave(torch.arange(len(self)), self.lengths)

    def select(self, users: Tensor) -> "Histories":
        """The histories of some users [b], in that order."""
        lengths = self.lengths[users]
        offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        shift = torch.repeat_interleave(self.offsets[users] - offsets[:-1], lengths)
        return Histories(self.items[torch.arange(int(offsets[-1])) + shift], offsets)

    def batches(self, events: int) -> Iterator[Tensor]:
        """Users in order, in runs that hold about `events` events each (one user at least)."""
        run = (self.offsets[:-1] // events).unique_consecutive(return_counts=True)[1]
        yield from torch.arange(len(self)).split(run.tolist())

    def windows(self, length: int) -> Windows:
        """All events in windows of `length`; the newest window of a user is full, the oldest may be short."""
        count = (self.lengths + length - 1) // length  # [B] windows a user
        user = torch.repeat_interleave(torch.arange(len(self)), count)  # [W]
        first = torch.cat([count.new_zeros(1), count.cumsum(0)])[:-1]
        back = count[user] - 1 - (torch.arange(len(user)) - first[user])  # [W] 0: the newest window
        end = self.offsets[1:][user] - back * length  # [W]
        at = end[:, None] - length + torch.arange(length)  # [W, L] where in items
        real = at >= self.offsets[user][:, None]
        return Windows(torch.where(real, self.items[at.clamp(min=0)], PAD), user)
