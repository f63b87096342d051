"""Model patches, the small residual bottlenecks of PeterRec, and the ways to graft them into a block."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

from peter.errors import InputError
from peter.nn.backbone import Backbone
from peter.nn.blocks import linear
from peter.nn.init import truncated_normal_
from peter.nn.view import Grafted

Value = TypeVar("Value")

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
}


class ModelPatch(nn.Module):
    """MP(h) = h + W_up phi(W_down h + b_down) + b_up (PeterRec, section 3.3 and figure 3f).

    W_up starts at zero, so that a fresh patch is the identity, bit for bit (the paper starts near it).
    The paper's cardinality c sums c patches of D/c channels each; as phi works on single channels, that sum
    is this very patch with its D channels cut into c groups, and so there is no option for it.
    """

    def __init__(
        self, channels: int, bottleneck: int, seed: int, name: str, activation: str = "gelu"
    ) -> None:
        super().__init__()
        self.down = nn.Linear(channels, bottleneck)  # C -> D
        self.up = nn.Linear(bottleneck, channels)  # D -> C
        self.activation = _chosen(ACTIVATIONS, activation, "activation")
        truncated_normal_(self.down.weight, seed, name)
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)

    def narrow(self, h: Tensor) -> Tensor:
        """phi(W_down h + b_down) of h [..., C]."""
        return self.activation(linear(h, self.down))  # [..., D]

    def delta(self, h: Tensor) -> Tensor:
        """What the patch adds to h [..., C]."""
        return linear(self.narrow(h), self.up)  # [..., C]

    def forward(self, h: Tensor) -> Tensor:
        return h + self.delta(h)


@dataclass(frozen=True)
class Insertion:
    """Where low-rank deltas sit in a block: at which of its two sites, and between what."""

    sites: tuple[int, ...]
    place: Literal["inside", "outside"] = "inside"  # before LayerNorm, or after the ReLU
    beside: bool = False  # reads what went into the sub-layer, not what came out
    identity: bool = False  # and adds it, as MP(h) does


# PeterRec, figure 3; C1 and C2 are a block's convolutions, z = ReLU(LN1(C1 x)) where nothing else is said,
# and y = x + ReLU(LN2(C2 z)).
INSERTIONS: Mapping[str, Insertion] = {
    # (b) z = ReLU(LN1(MP1(C1 x))); y = x + ReLU(LN2(MP2(C2 z)))
    "serial2": Insertion((0, 1)),
    # (c) as the figure has it: y = x + MP(ReLU(LN2(C2 z)))
    "serial1": Insertion((1,), "outside"),
    # (c) as the authors' code has it: y = x + ReLU(LN2(MP(C2 z)))
    "serial1-inner": Insertion((1,)),
    # (d) z = ReLU(LN1(C1 x + MP1(x))); y = x + ReLU(LN2(C2 z + MP2(z))); a fresh MP(x) is x, not 0
    "parallel": Insertion((0, 1), beside=True, identity=True),
    # (d) with MP(x) - x in place of MP(x)
    "parallel-delta": Insertion((0, 1), beside=True),
    # (e) z = ReLU(LN1(C1 x)) + MP1(x); y = x + ReLU(LN2(C2 z)) + MP2(z)
    "parallel-after": Insertion((0, 1), "outside", beside=True, identity=True),
}


class PatchGraft(nn.Module):
    """Patches in the chosen blocks, inserted as `INSERTIONS` says; a `Graft` and a `Trunk`.

    With `second_norm`, LN2 of a chosen block is trained too, as the patch's own copy, which starts from the
    frozen values.
    """

    def __init__(
        self,
        body: Backbone,
        bottleneck: int,
        seed: int,
        blocks: range | None = None,
        activation: str = "gelu",
        second_norm: bool = True,
        insertion: str = "serial2",
    ) -> None:
        super().__init__()
        self.insertion = _chosen(INSERTIONS, insertion, "insertion")
        self.patches = nn.ModuleDict()
        self.norms = nn.ModuleDict()
        chosen = require_blocks(blocks, body)
        for site in (2 * block + at for block in chosen for at in self.insertion.sites):
            self.patches[str(site)] = ModelPatch(
                body.channels, bottleneck, seed, f"patches.{site}.down", activation
            )
        for site in (2 * block + 1 for block in chosen if second_norm):
            self.norms[str(site)] = copy.deepcopy(body.site_norm(site)).requires_grad_(True)

    def view(self, body: Backbone, token: Tensor | None = None) -> Grafted:
        return Grafted(body, self, token=token)

    def lookup(self, items: Tensor, x: Tensor) -> Tensor:
        return x

    def inside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return self._at(site, "inside", x, y)

    def outside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return self._at(site, "outside", x, y)

    def norm(self, site: int, frozen: nn.LayerNorm) -> nn.LayerNorm:
        if str(site) not in self.norms:
            return frozen
        own = self.norms[str(site)]
        assert isinstance(own, nn.LayerNorm)
        return own

    def _at(self, site: int, place: str, x: Tensor, y: Tensor) -> Tensor:
        if place != self.insertion.place or str(site) not in self.patches:
            return y
        patch = self.patches[str(site)]
        assert isinstance(patch, ModelPatch)
        delta = patch.delta(x if self.insertion.beside else y)
        return y + (x + delta if self.insertion.identity else delta)


def require_blocks(blocks: range | None, body: Backbone) -> range:
    """Those blocks, or all of them for None. Raises InputError for blocks that the body does not have."""
    every = range(body.sites // 2)
    chosen = every if blocks is None else blocks
    if chosen.start > chosen.stop or not set(chosen) <= set(every):
        raise InputError(
            f"Blocks {chosen.start} to {chosen.stop - 1} cannot be patched; "
            f"give some of the backbone's blocks 0 to {every[-1]}."
        )
    return chosen


def _chosen(table: Mapping[str, Value], name: str, noun: str) -> Value:
    if name not in table:
        raise InputError(f"There is no {noun} {name!r} for a patch; give one of {', '.join(table)}.")
    return table[name]
