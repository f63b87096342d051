"""Weights of a frozen body that it and the patches on it own one after another (Conure, SIGIR 2021)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from peter.errors import InputError
from peter.nn.backbone import Backbone
from peter.nn.bits import from_bytes, to_bytes
from peter.nn.copies import OwnTensors, key
from peter.nn.init import truncated_normal_
from peter.nn.view import Grafted

Freed = Literal["kept", "zeroed", "reinitialised"]
LEAST = 0.02  # of all weights; with fewer free ones a task has nothing to learn with
MOST = torch.iinfo(torch.int8).max  # owners that a map can tell apart
ROOT, FREED = "kept.", "freed."  # in front of a weight's name in a stored backbone: what `Root` says of it
KEPT = ":kept"  # behind the name of a vector: a bit for each of its numbers, whether it is more than a 0


@dataclass(frozen=True)
class Claim:
    """What one owner took of the entries that were free to it, by weight."""

    bits: Mapping[str, Tensor]  # [ceil(N / 8)] uint8: which of the N
    values: Mapping[str, Tensor]  # what they are


@dataclass(frozen=True)
class Root:
    """What a pruned body, the root of a lineage, keeps of its own weights; they are all that it uses."""

    kept: Mapping[str, Tensor]  # by name in its state dict, of each weight's shape: bool
    freed: Mapping[str, Tensor]  # [N] what the others were before, in their order

    def tensors(self) -> dict[str, Tensor]:
        """As a file holds them."""
        bits = {ROOT + name: to_bytes(mask.flatten()) for name, mask in self.kept.items()}
        return {**bits, **{FREED + name: values for name, values in self.freed.items()}}

    @classmethod
    def of(cls, stored: Mapping[str, Tensor], body: Backbone) -> "Root | None":
        """The inverse of `tensors` among those of a stored backbone; None for one that was not pruned."""
        state = body.state_dict()
        names = [name.removeprefix(ROOT) for name in stored if name.startswith(ROOT)]
        kept = {
            name: from_bytes(stored[ROOT + name], state[name].numel()).view_as(state[name]) for name in names
        }
        return cls(kept, {name: stored[FREED + name] for name in names}) if names else None

    def hold(self, body: Backbone) -> None:
        """Set what is freed of a body to 0, and keep every step of an optimizer from changing that."""
        assert isinstance(body, nn.Module)
        for name, mask in self.kept.items():
            weight = body.get_parameter(name)
            weight.data.mul_(mask)
            weight.register_hook(lambda grad, mask=mask: grad * mask.to(grad))

    @classmethod
    def cut(cls, body: Backbone, pruned: float) -> "Root":
        """Free the share `pruned` of every weight of `body`, the smallest; the body itself stays as it is."""
        state = body.state_dict()
        kept, freed = {}, {}
        for name in prunable(body):
            flat = state[name].flatten()
            mask = strongest(flat, quota(len(flat), pruned))
            kept[name], freed[name] = mask.view_as(state[name]), flat[~mask]
        return cls(kept, freed)


def prunable(body: Backbone) -> list[str]:
    """The matrices of its blocks: convolutions, or what a Transformer has in their place."""
    state = body.state_dict()
    return [name for name in body.block_tensors(range(body.sites // 2)) if state[name].dim() > 1]


def quota(free: int, pruned: float) -> int:
    """How many of `free` entries a task keeps: floor((1 - p) free)."""
    return int((1 - pruned) * free)


def strongest(values: Tensor, count: int) -> Tensor:
    """[N] the mask of exactly `count` of values [N], those of largest magnitude, of equals the first."""
    order = values.abs().argsort(descending=True, stable=True)
    mask = torch.zeros_like(values, dtype=torch.bool)
    mask[order[:count]] = True
    return mask


def owners(root: Root, claims: Sequence[Claim]) -> dict[str, Tensor]:
    """Whose each entry of each weight is, int8: 0 nobody's, 1 the root's, 2 that of the first claim ..

    Raises:
        InputError: more owners than a map can tell apart.
    """
    if len(claims) >= MOST:
        raise InputError(f"A lineage holds {MOST - 1} patches; start another with another backbone.")
    found = {}
    for name, kept in root.kept.items():
        owner = kept.flatten().to(torch.int8)
        for number, claim in enumerate(claims, start=2):
            free = _free(owner)
            owner[free[from_bytes(claim.bits[name], len(free))]] = number
        found[name] = owner.view_as(kept)
    return found


def _free(owner: Tensor) -> Tensor:
    """[N] places of the entries that are nobody's."""
    return (owner.flatten() == 0).nonzero().squeeze(1)


@dataclass(frozen=True)
class _Weight:
    """A weight as a new owner finds it."""

    owned: Tensor  # [n] flat, what older owners hold, 0 elsewhere
    free: Tensor  # [N] places of the rest
    kept: int  # how many of them the new owner will keep
    shape: torch.Size


class OwnedWeights(nn.Module):
    """Values of the entries that are free, beside those that older owners hold; a `Trunk`.

    The effective weight is sum_{i<t} sg(W * M_i) + W * M_t (Conure, section 3): what others own is no
    parameter here, and so no gradient, decay or momentum reaches it. M_t is all that is free until `prune`,
    and afterwards the quota of largest magnitude; the rest is exactly 0.

    Args:
        claims: of the older owners but the root, oldest first; `reads` is whoever made them.
        norms, biases: train copies of the body's LayerNorms and of the biases of its matrices, too.

    Raises:
        InputError: too little is free.
    """

    def __init__(
        self,
        body: Backbone,
        root: Root,
        claims: Sequence[Claim],
        pruned: float,
        freed: Freed,
        seed: int,
        norms: bool = False,
        biases: bool = False,
        reads: Sequence[Any] = (),
    ) -> None:
        super().__init__()
        self.reads = tuple(reads)
        state, maps = body.state_dict(), owners(root, claims)
        self.weights = {
            name: _found(state[name], owner, [claim.values[name] for claim in claims], pruned)
            for name, owner in maps.items()
        }
        _require_room(self.weights)
        self.values = nn.Module()  # by weight [N], and the bits of M_t behind
        for name, weight in self.weights.items():
            start = _start(root, name, freed, seed).flatten().to(weight.owned)[weight.free]
            self.values.register_parameter(key(name), nn.Parameter(start))
            everything = torch.ones_like(start, dtype=torch.bool)
            self.values.register_buffer(key(name) + KEPT, to_bytes(everything))
        self.copies = OwnTensors({name: state[name] for name in _small(body, norms, biases)})

    def view(self, body: Backbone, token: Tensor | None = None) -> Grafted:
        return Grafted(body, own={**self.copies.tensors(), **dict(self.effective())}, token=token)

    def effective(self) -> Iterator[tuple[str, Tensor]]:
        """Each weight as this owner uses it."""
        for name, weight in self.weights.items():
            values: Tensor = self.values.get_parameter(key(name))
            if self.training:
                values = values * self.mask(name)  # so that no gradient reaches what is freed
            yield name, weight.owned.scatter(0, weight.free, values).view(weight.shape)

    def mask(self, name: str) -> Tensor:
        """M_t [N] of a weight: which of the entries that were free are this owner's."""
        return from_bytes(self.values.get_buffer(key(name) + KEPT), len(self.weights[name].free))

    @torch.no_grad()
    def prune(self) -> None:
        """Keep of each weight exactly the quota."""
        for name, weight in self.weights.items():
            mask = strongest(self.values.get_parameter(key(name)), weight.kept)
            self.values.get_buffer(key(name) + KEPT).copy_(to_bytes(mask))
        self.restore()

    @torch.no_grad()
    def restore(self) -> None:
        """Set what is freed to 0."""
        for name in self.weights:
            self.values.get_parameter(key(name)).mul_(self.mask(name))

    def whole(self, body: Backbone) -> OwnTensors:
        """The same trunk, needing no older owner: every tensor of the body's blocks as this one uses it."""
        state, own = body.state_dict(), {**self.copies.tensors(), **dict(self.effective())}
        return OwnTensors(
            {name: own.get(name, state[name]) for name in body.block_tensors(range(body.sites // 2))}
        )


def _start(root: Root, name: str, freed: Freed, seed: int) -> Tensor:
    """What free entries of a weight begin with; of the others anything."""
    start = torch.zeros(root.kept[name].shape)
    if freed == "reinitialised":
        return truncated_normal_(start, seed, f"owned.{name}")  # other values than the body's own
    if freed == "kept":
        start[~root.kept[name]] = root.freed[name]
    return start


def _found(tensor: Tensor, owner: Tensor, values: Sequence[Tensor], pruned: float) -> _Weight:
    flat = owner.flatten()
    owned = tensor.flatten() * (flat == 1)
    for number, held in enumerate(values, start=2):
        owned[flat == number] = held.to(owned)
    free = _free(owner)
    return _Weight(owned, free, quota(len(free), pruned), tensor.shape)


def _require_room(weights: Mapping[str, _Weight]) -> None:
    free = sum(len(weight.free) for weight in weights.values())
    share = free / sum(weight.shape.numel() for weight in weights.values())
    if share < LEAST or not all(weight.kept for weight in weights.values()):
        raise InputError(
            f"Only {share:.1%} of the lineage's weights are free, too few for another task; "
            "choose another backbone by --backbone, or another method, such as --method peter."
        )


def _small(body: Backbone, norms: bool, biases: bool) -> Iterator[str]:
    """Names of the vectors of its blocks that are trained, too."""
    assert isinstance(body, nn.Module)
    state = body.state_dict()
    for name in body.block_tensors(range(body.sites // 2)):
        module = body.get_submodule(name.rpartition(".")[0])
        if state[name].dim() == 1 and (norms if isinstance(module, nn.LayerNorm) else biases):
            yield name
