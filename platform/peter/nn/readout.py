"""From histories to fixed-width features: what is taken from each window, and from which windows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from peter.errors import InputError
from peter.nn.embedding import PAD
from peter.nn.graft import TCL
from peter.nn.view import Gated, View

EVENTS = 4096  # a pass; enough rows for full speed, few enough to stay in the cache

PoolName = Literal["all", "last", "head+tail", "mean", "concat"]
Span = Literal["auto", "all", "window"]


class Windows(Protocol):
    """See `peter.data.histories.Windows`."""

    @property
    def items(self) -> Tensor:
        """[W, L] int64, left-padded with PAD."""

    @property
    def user(self) -> Tensor:
        """[W] int64, in order."""


class Histories(Protocol):
    """The part of `peter.data.histories.Histories` that is read here."""

    def __len__(self) -> int: ...

    def select(self, users: Tensor) -> "Histories":
        """Some users."""

    def batches(self, events: int) -> Iterator[Tensor]:
        """Users in order, in runs of about so many events."""

    def windows(self, length: int) -> Windows:
        """All events, in windows."""


@dataclass(frozen=True)
class Pool:
    """What is taken from a window, times its positions, so that windows of a user add up."""

    times: Callable[[int], int]  # F / C, given how many levels there are
    take: Callable[[Sequence[Tensor], Tensor, bool], Tensor]  # levels [L, B, C], positions [B], causal


def _sums(levels: Sequence[Tensor], positions: Tensor, causal: bool) -> Tensor:
    return torch.cat([level.sum(0, dtype=torch.float32) for level in levels], dim=1)  # [B, levels*C]


def _top_sum(levels: Sequence[Tensor], positions: Tensor, causal: bool) -> Tensor:
    return _sums(levels[-1:], positions, causal)  # [B, C]


def _tail(levels: Sequence[Tensor], positions: Tensor, causal: bool) -> Tensor:
    """PeterRec's own (section 3.2): the last position; that of a body which is not causal needs the first."""
    if not causal:
        return _head_and_tail(levels, positions, causal)
    return levels[-1][-1].float() * positions.unsqueeze(1)  # [B, C]


def _head_and_tail(levels: Sequence[Tensor], positions: Tensor, causal: bool) -> Tensor:
    top = levels[-1]
    first = top[len(top) - positions, torch.arange(len(positions), device=top.device)]
    return (first + top[-1]).float() * positions.unsqueeze(1)  # [B, C]


def _tail_and_sum(levels: Sequence[Tensor], positions: Tensor, causal: bool) -> Tensor:
    return torch.cat([take(levels, positions, causal) for take in (_tail, _top_sum)], dim=1)  # [B, 2*C]


POOLS: Mapping[str, Pool] = {
    "all": Pool(lambda levels: levels, _sums),
    "last": Pool(lambda levels: 1, _tail),
    "head+tail": Pool(lambda levels: 1, _head_and_tail),
    "mean": Pool(lambda levels: 1, _top_sum),
    "concat": Pool(lambda levels: 2, _tail_and_sum),
}


@dataclass(frozen=True)
class ReadOut:
    """Features [B, F] of B users; 0 for a user without events.

    `all` takes the mean of every level, `mean` that of the top one, `last` the top level at the last position
    (plus that at the first, if the body is not causal), `head+tail` both in any case, `concat` last and mean
    side by side. Over several windows these are averaged, a window weighing as many positions as it has.
    """

    name: str = "all"
    history: Span = "auto"  # all of it, or the newest window; auto: all of it for `all` alone
    tcl: bool = False  # x_1 .. x_n, [TCL]; before x_1 too if the body is not causal (PeterRec, section 3.2)

    def width(self, view: View) -> int:
        """F. Raises InputError where a window has no room for an event beside its tokens."""
        if self.events(view) < 1:
            raise InputError(
                f"Windows of {view.max_length} have no room for an event beside [TCL]; give tcl=off."
            )
        return view.channels * POOLS[self.name].times(view.levels)

    def __call__(self, view: View, histories: Histories, events_per_batch: int = EVENTS) -> Tensor:
        """Without gradients, memory does not grow with the number of users, the result apart."""
        parts = [
            self._means(view, histories.select(users), events_per_batch)
            for users in histories.batches(8 * events_per_batch)
        ]
        return torch.cat(parts) if parts else torch.zeros(0, self.width(view), device=view.device)

    def _means(self, view: View, histories: Histories, events: int) -> Tensor:
        take, device = POOLS[self.name].take, view.device
        windows, user = self._windows(view, histories)  # [W, L], [W]
        sums = torch.zeros(len(histories), self.width(view), device=device)
        weights = torch.zeros(len(histories), device=device)
        through = self._through(view, histories)
        for rows, items in by_length(windows, events):
            positions, owner = (items != PAD).sum(1).to(device), user[rows].to(device)  # [b]
            found = take(through(owner)(items.to(device)), positions, view.causal)  # [b, F]
            sums = sums.index_add(0, owner, found)
            weights = weights.index_add(0, owner, positions.to(weights))
        return sums / weights.clamp(min=1).unsqueeze(1)  # [B, F]

    def _through(self, view: View, histories: Histories) -> Callable[[Tensor], View]:
        """What the users [b] of some windows are seen through."""
        if not isinstance(view, Gated):
            return lambda owner: view
        gates = self.gates(view, histories)  # [B, N]
        return lambda owner: view.under(gates[owner])

    def gates(self, view: Gated, histories: Histories) -> Tensor:
        """[B, N] by the users' newest windows, as all of theirs have them; by an empty one for no events."""
        windows = histories.windows(self.events(view))
        newest = _newest(windows.user, len(histories))
        items = windows.items.new_full((len(histories), windows.items.shape[1]), PAD)
        items[windows.user[newest]] = windows.items[newest]
        return view.gates(items)

    def events(self, view: View) -> int:
        """Events a window holds at most."""
        tokens = (1 if view.causal else 2) if self.tcl else 0
        return view.max_length - tokens

    def _windows(self, view: View, histories: Histories) -> tuple[Tensor, Tensor]:
        windows = histories.windows(self.events(view))
        items, user = windows.items, windows.user
        if self.history == "window" or (self.history == "auto" and self.name != "all"):
            newest = _newest(user, len(histories))
            items, user = items[newest], user[newest]
        return (with_tokens(items, view.causal) if self.tcl else items), user


def _newest(user: Tensor, users: int) -> Tensor:
    """[W] which windows are their users' newest."""
    return user.diff(append=user.new_tensor([users])) > 0


def with_tokens(items: Tensor, causal: bool) -> Tensor:
    """[TCL] after each window [W, L], and in front of its first event too if not `causal`."""
    token = items.new_full((len(items), 1), TCL)
    if causal:
        return torch.cat([items, token], dim=1)  # [W, L+1]
    framed = torch.cat([items.new_full((len(items), 1), PAD), items, token], dim=1)  # [W, L+2]
    first = (framed == PAD).sum(1, keepdim=True) - 1
    return framed.scatter(1, first, TCL)


def by_length(items: Tensor, events: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows [W, L] shortest first, in batches (rows [b], trimmed items [b, l]) of about `events` cells.

    Sorting keeps short windows from paying for the padding of long ones.
    """
    lengths = (items != PAD).sum(1)
    order = lengths.argsort(stable=True)
    cells = lengths[order].cumsum(0)  # [W]
    sizes = torch.bincount(cells // events)
    for rows in torch.split(order, sizes[sizes > 0].tolist()):
        longest = max(1, int(lengths[rows].max()))
        yield rows, items[rows, items.shape[1] - longest :]
