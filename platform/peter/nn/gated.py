"""Patches of which every user has those that his gates let him have."""

from typing import cast

import torch
from torch import Tensor, nn

from peter.nn.backbone import Backbone
from peter.nn.gates import Policy
from peter.nn.graft import Graft
from peter.nn.view import Grafted


class GatedTrunk(nn.Module):
    """A graft of one's own, and the policy that opens and closes its blocks; a `Trunk`."""

    def __init__(self, own: Graft, policy: nn.Module) -> None:
        """Both are modules; `policy` is a `Policy`."""
        super().__init__()
        self.own, self.policy = own, policy

    def view(self, body: Backbone, token: Tensor | None = None) -> "GatedView":
        return GatedView(self.own, cast(Policy, self.policy), body, token)


class GatedView:
    """A frozen body whose blocks are as each user's gates have them; a `Gated`."""

    def __init__(self, own: Graft, policy: Policy, body: Backbone, token: Tensor | None) -> None:
        self.own, self.policy, self.body, self.token = own, policy, body, token
        self.channels, self.levels = body.channels, body.levels
        self.max_length, self.causal = body.max_length, body.causal

    @property
    def device(self) -> torch.device:
        return self.body.device

    @property
    def item_table(self) -> Tensor:
        return self.body.item_table

    def gates(self, newest: Tensor) -> Tensor:
        return self.policy(newest, self.body.item_embedding)

    def under(self, gates: Tensor) -> Grafted:
        return Grafted(self.body, GatedGraft(self.own, gates), token=self.token)

    def __call__(self, items: Tensor) -> list[Tensor]:
        """Every window as if it were its user's newest."""
        return self.under(self.gates(items))(items)


class GatedGraft:
    """g a + (1 - g) f where a graft makes `a` of what the frozen body had as `f`, with gates g [B, N]."""

    def __init__(self, own: Graft, gates: Tensor) -> None:
        self.own, self.gates = own, gates

    def lookup(self, items: Tensor, x: Tensor) -> Tensor:
        return self.own.lookup(items, x)

    def inside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return self._mixed(site, y, self.own.inside(site, x, y))

    def outside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return self._mixed(site, y, self.own.outside(site, x, y))

    def norm(self, site: int, frozen: nn.LayerNorm) -> nn.LayerNorm:
        return frozen

    def _mixed(self, site: int, frozen: Tensor, own: Tensor) -> Tensor:
        if own is frozen:
            return frozen
        gates = self.gates[:, site // 2].to(own.dtype).unsqueeze(1)  # [B, 1]
        return gates * own + (1 - gates) * frozen
