"""What a method is: how a patch is grafted onto a frozen backbone and fitted. One file a method.

A method declares; `training` executes. It sees tensors only: no registry, no paths, no Ray.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn

from peter import plugins
from peter.config import BackboneConfig
from peter.data.histories import Histories
from peter.nn.backbone import Backbone
from peter.nn.items import Catalogue, Features
from peter.nn.owned import Root
from peter.space import Domain
from peter.task import Schema, TaskKind

GROUP = "peter.methods"


def nobody() -> Histories:
    """Nobody's events."""
    return Histories(torch.empty(0, dtype=torch.long), torch.zeros(1, dtype=torch.long))


# The champion of another task that does not read this one's versions, nor what reads them: two tasks that
# read each other could neither be asked for again nor removed. Or a version of this task; or any else.
Standing = Literal["champion", "own", "other"]


@dataclass(frozen=True)
class Older:
    """A registered patch on the same body, whose tensors a new patch may read and never writes."""

    id: int
    reference: str  # task@version
    standing: Standing
    method: str
    options: Mapping[str, Any]  # of its method
    sha256: str  # of its object
    tensors: Callable[[], Mapping[str, Tensor]]  # its state dict, where no numbers are stored item by item


@dataclass(frozen=True)
class Setting:
    """What a patch is made for. The frozen `body` is only ever read; a patch never owns it."""

    body: Backbone
    items: int  # V, rows of the item table, the reserved ones included
    kind: TaskKind
    schema: Schema
    seed: int
    population: Callable[[], Histories] = nobody  # training users of the log, labelled or not; while fitting
    others: Callable[[], Sequence["OtherTask"]] = tuple  # the registry's other tasks on this body
    older: Callable[[], Sequence[Older]] = tuple  # patches on this body, oldest first, that may be read
    root: Root | None = None  # what the body keeps of its weights, if it was pruned
    warm: Callable[[], Mapping[str, Tensor]] | None = None  # a patch alike, whose trunk to go on from
    catalogue: Catalogue | None = None  # the body's items, if it knows them by features
    asked: Callable[[], Features] | None = None  # [K, F] of the outputs, where these are items and known so

    @property
    def outputs(self) -> int:
        """K, outputs a user."""
        return self.kind.width(self.schema)


@dataclass(frozen=True)
class Examples:
    """Users with their answers: B histories and targets [B]."""

    histories: Histories
    targets: Tensor


@dataclass(frozen=True)
class OtherTask:
    """Another task on the same body, for methods that learn several at once."""

    kind: TaskKind
    schema: Schema
    train: Examples
    valid: Examples


@dataclass(frozen=True)
class ClosedForm:
    """A phase that solves: fills the patch from training users, strength chosen on validation users."""

    name: str
    fit: Callable[[Examples, Examples], None]


@dataclass(frozen=True)
class Gradient:
    """A phase that descends: only `parameters` move; the best validation epoch is kept, or the start.

    A search may leave it after any epoch and go on elsewhere, with the patch's state dict, the optimizer's
    state and the offsets alone: no phase before it runs again.
    """

    name: str
    parameters: Sequence[nn.Parameter]
    loss: Callable[[Tensor, Tensor], Tensor] | None = None  # None: the kind's `learner`
    after_step: Callable[[], None] | None = None  # e.g. to restore owned weights
    offsets: Callable[[], Tensor] | None = None  # [B, K] of the training users, added to what the patch gives
    beside: Callable[[Callable[[], Tensor], Tensor, Tensor], Tensor] | None = None
    """A second loss, of what gives the outputs again, of outputs and of targets."""


Phase = ClosedForm | Gradient


class Patch(Protocol):
    """A trained answer to one task: an nn.Module whose state dict is exactly what was trained.

    One that reads older patches names them in `reads`, and is given no others when it is built again. One
    whose blocks are not for every user has `gates(body, histories)`, [B, N] from 0, the frozen block, to 1,
    or None. One that reads items as the body does says so by `later`: histories then hold also items that
    came after the body, if it knows them by their features.
    """

    def __call__(self, body: Backbone, histories: Histories) -> Tensor:
        """Outputs [B, K] for B users."""


def read_by(patch: nn.Module) -> tuple[Older, ...]:
    """The older patches that a patch reads, oldest first."""
    return tuple(getattr(patch, "reads", ()))


def reads_later(patch: nn.Module) -> bool:
    """Whether a patch reads items that came after the body."""
    return bool(getattr(patch, "later", False))


class Method(Protocol):
    """A way to answer a task on a frozen backbone."""

    options: type[Any]  # frozen dataclass: this method's own `--set` keys with their defaults
    rooted: bool  # whether it wants a pruned backbone, the root of a lineage that it appends to
    deployable: bool  # whether its patches may be registered; if not, `peter task compare` alone uses it

    def build(self, setting: Setting, options: Any) -> nn.Module:
        """A fresh patch (see `Patch`), initialised from `setting.seed` alone."""

    def phases(self, patch: nn.Module, setting: Setting, options: Any) -> Sequence[Phase]:
        """How the patch is fitted, in order."""

    def adapter_config(self, options: Any) -> Mapping[str, Any]:
        """Keys of peft's `adapter_config.json` that only the method knows."""

    def space(self, shape: BackboneConfig) -> Mapping[str, Domain]:
        """What a search may vary, by `--set` key, on a backbone of this shape; empty: nothing."""


def method(name: str) -> Method:
    """The installed method of that name. Raises UnknownName."""
    return cast(Method, plugins.load(GROUP, name, "method"))
