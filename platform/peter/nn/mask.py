"""Soft masks over the channels of a frozen body."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from peter.nn.backbone import Backbone
from peter.nn.view import Grafted


class SoftMasks(nn.Module):
    """2 sigma(z_s) on the channels behind the activation of every site s; a `Trunk`.

    z_s = sharpness (e_s + sum_i w_{s,i} tanh(e_{i,s})), with e the embedding of the task, trained like w, and
    e_i those of T other tasks, read only. All that is trained starts at 0, where every mask is exactly 1.
    """

    others: Tensor

    def __init__(
        self, body: Backbone, others: Sequence[Tensor], sharpness: float, reads: Sequence[Any] = ()
    ) -> None:
        """`others` are embeddings [S, C] of S sites; `reads` is whatever tells where they are from."""
        super().__init__()
        shape = (body.sites, body.channels)
        self.sharpness, self.reads = sharpness, tuple(reads)
        known = torch.stack([embedding.tanh() for embedding in others]) if others else torch.empty(0, *shape)
        self.register_buffer("others", known, persistent=False)  # [T, S, C]
        self.embedding = nn.Parameter(torch.zeros(shape))  # e
        self.relation = nn.Parameter(torch.zeros(body.sites, len(others)))  # w [S, T]

    def masks(self) -> Tensor:
        """[S, C], between 0 and 2."""
        related = torch.einsum("st,tsc->sc", self.relation, self.others)
        return 2 * (self.sharpness * (self.embedding + related)).sigmoid()

    def view(self, body: Backbone, token: Tensor | None = None) -> Grafted:
        return Grafted(body, MaskGraft(self.masks()), token=token)


class MaskGraft:
    """What comes out of each activation times the masks [S, C]; a `Graft`."""

    def __init__(self, masks: Tensor) -> None:
        self.masks = masks

    def lookup(self, items: Tensor, x: Tensor) -> Tensor:
        return x

    def inside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return y

    def outside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return y * self.masks[site].to(y.dtype)

    def norm(self, site: int, frozen: nn.LayerNorm) -> nn.LayerNorm:
        return frozen
