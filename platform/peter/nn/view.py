"""A body as a task sees it: the frozen one, with a graft or with tensors of the task's own."""

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from peter.nn import graft as grafts
from peter.nn.backbone import Backbone
from peter.nn.graft import Graft, Reading

TABLE = "item_embedding.weight"  # the item table in a body's state dict


class View(Protocol):
    """What a read-out needs; every `Backbone` is one. Letters: B windows, L time, C channels."""

    @property
    def channels(self) -> int:
        """C."""

    @property
    def levels(self) -> int:
        """Activations it gives."""

    @property
    def max_length(self) -> int:
        """L at most."""

    @property
    def causal(self) -> bool:
        """Whether position t sees only events up to t."""

    @property
    def device(self) -> torch.device:
        """Where it computes."""

    @property
    def item_table(self) -> Tensor:
        """[V, C] the item embedding."""

    def __call__(self, items: Tensor) -> list[Tensor]:
        """`levels` activations [L, B, C] of items [B, L], left-padded with PAD; padded rows are exactly 0."""


@runtime_checkable
class Gated(View, Protocol):
    """A view that lets each user have so much of each of the task's own blocks."""

    def gates(self, newest: Tensor) -> Tensor:
        """[B, N] from the users' newest windows [B, L]: 0 the frozen block, 1 the task's own."""

    def under(self, gates: Tensor) -> View:
        """As windows [b, L] see it whose users have gates [b, N]."""


class Trunk(Protocol):
    """What a task adds to a body below its head: an nn.Module that makes a view of the frozen body."""

    def view(self, body: Backbone, token: Tensor | None = None) -> View:
        """The body as the task sees it; `token` [C] stands wherever [TCL] does."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """As nn.Module."""


class Grafted:
    """A frozen body with a graft, and with some of its tensors replaced by the task's own.

    `own` is by name in the body's state dict, `token` [C] is the task's own row for [TCL]; nothing of the
    body itself is ever written.
    """

    def __init__(
        self,
        body: Backbone,
        graft: Graft | None = None,
        own: Mapping[str, Tensor] | None = None,
        token: Tensor | None = None,
    ) -> None:
        self.body, self.own = body, dict(own or {})
        self.graft = graft if token is None else Reading(grafts.token(token), graft)
        self.channels, self.levels = body.channels, body.levels
        self.max_length, self.causal = body.max_length, body.causal

    @property
    def device(self) -> torch.device:
        return self.body.device

    @property
    def item_table(self) -> Tensor:
        return self.own.get(TABLE, self.body.item_table)

    def __call__(self, items: Tensor) -> list[Tensor]:
        if not self.own:
            return self.body(items, self.graft)
        assert isinstance(self.body, nn.Module)
        levels: list[Tensor] = functional_call(self.body, self.own, (items, self.graft))
        return levels
