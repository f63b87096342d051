"""The low-rank directions of older patches, read and never written, mixed by learnt attention."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peter.nn.backbone import Backbone
from peter.nn.lowrank import LowRankDelta, LowRankGraft
from peter.nn.patch import INSERTIONS, Insertion, ModelPatch, PatchGraft
from peter.nn.view import Grafted


@dataclass(frozen=True)
class Expert:
    """R rank-1 directions of one patch at one site: direction r adds u_r phi(v_r . h + b_r)."""

    narrow: Callable[[Tensor], Tensor]  # h [L, B, C] -> phi(v_r . h + b_r) [L, B, R]
    up: Tensor  # [C, R], the u_r
    insertion: Insertion  # what h is, and where the sum goes


Experts = Mapping[int, Expert]  # by site


def of_patches(graft: PatchGraft) -> Experts:
    """Those of model patches: rows of W_down and columns of W_up; b_up is no direction and stays behind."""
    patches = {int(site): cast(ModelPatch, patch) for site, patch in graft.patches.items()}
    return {site: Expert(patch.narrow, patch.up.weight, graft.insertion) for site, patch in patches.items()}


def of_deltas(graft: LowRankGraft) -> Experts:
    """Those of low-rank deltas, whose v_r are convolutions and whose phi is the identity."""
    deltas = {int(site): cast(LowRankDelta, delta) for site, delta in graft.deltas.items()}
    beside = INSERTIONS["parallel-delta"]
    return {site: Expert(delta.narrow, delta.up.weight, beside) for site, delta in deltas.items()}


class Mixture(nn.Module):
    """sum_r a_r u_r phi(v_r . h + b_r) over all R directions at a site, a = g R softmax_r(q . u_r / |u_r|).

    The query q [C] and the gate g are trained, nothing else. With q = 0 and g = 1 every older patch counts as
    it does at home; g starts at 0, so that a fresh mixture adds nothing.
    """

    up: Tensor
    keys: Tensor

    def __init__(self, experts: Sequence[Expert]) -> None:
        super().__init__()
        self.experts = tuple(experts)
        up = torch.cat([expert.up.detach() for expert in experts], dim=1)  # [C, R]
        self.register_buffer("up", up, persistent=False)
        self.register_buffer("keys", F.normalize(up, dim=0), persistent=False)
        self.query = nn.Parameter(torch.zeros(len(up)))
        self.gate = nn.Parameter(torch.zeros(()))

    def weights(self) -> Tensor:
        """a [R]."""
        return self.gate * len(self.keys.T) * (self.query @ self.keys).softmax(0)

    def deltas(self, place: str, x: Tensor, y: Tensor) -> Iterator[Tensor]:
        """What the experts that belong to a place add there, each [L, B, C]."""
        if all(expert.insertion.place != place for expert in self.experts):
            return
        mixed = (self.up * self.weights()).split([expert.up.shape[1] for expert in self.experts], dim=1)
        for expert, up in zip(self.experts, mixed, strict=True):
            if expert.insertion.place == place:
                h = x if expert.insertion.beside else y
                yield F.linear(expert.narrow(h), up.to(h.dtype))


class ExpertGraft(nn.Module):
    """Patches of one's own, and a mixture of others' at every site that has any; a `Graft` and a `Trunk`."""

    def __init__(self, own: PatchGraft, others: Sequence[Experts], reads: Sequence[Any] = ()) -> None:
        """`reads` is whatever tells where `others` are from."""
        super().__init__()
        self.own, self.reads = own, tuple(reads)
        sites = sorted({site for experts in others for site in experts})
        self.mixtures = nn.ModuleDict(
            {str(site): Mixture([each[site] for each in others if site in each]) for site in sites}
        )

    def view(self, body: Backbone, token: Tensor | None = None) -> Grafted:
        return Grafted(body, self, token=token)

    def lookup(self, items: Tensor, x: Tensor) -> Tensor:
        return x

    def inside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return self._mixed(site, "inside", x, y, self.own.inside(site, x, y))

    def outside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return self._mixed(site, "outside", x, y, self.own.outside(site, x, y))

    def norm(self, site: int, frozen: nn.LayerNorm) -> nn.LayerNorm:
        return self.own.norm(site, frozen)

    def _mixed(self, site: int, place: str, x: Tensor, y: Tensor, changed: Tensor) -> Tensor:
        if str(site) in self.mixtures:
            for delta in cast(Mixture, self.mixtures[str(site)]).deltas(place, x, y):
                changed = changed + delta
        return changed
