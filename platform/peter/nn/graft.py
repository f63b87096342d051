"""What a patch may change inside a frozen body: its input, and three hooks at each of its sites."""

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TCL = 2  # the row of the item table that stands for [TCL]; the objective `contrastive` trains it, no other


class Graft(Protocol):
    """Hooks at site s (0 .. sites-1); a site is one sub-layer with its LayerNorm, two of them a block.

    All tensors are [L, B, C]. The body masks padded rows after the hooks. Where the LayerNorm stands before
    the sub-layer (sasrec), `inside` and `outside` follow each other.
    """

    def lookup(self, items: Tensor, x: Tensor) -> Tensor:
        """After the item embedding: items [L, B] went in, `x` came out."""

    def inside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        """Behind the sub-layer, before its LayerNorm if that follows: `x` went in, `y` came out."""

    def outside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        """After the activation `y`, before the residual sum or the next sub-layer; `x` went in."""

    def norm(self, site: int, frozen: nn.LayerNorm) -> nn.LayerNorm:
        """The LayerNorm to use instead of `frozen`, or `frozen` itself."""


class Ungrafted:
    """The body as it is."""

    def lookup(self, items: Tensor, x: Tensor) -> Tensor:
        return x

    def inside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return y

    def outside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return y

    def norm(self, site: int, frozen: nn.LayerNorm) -> nn.LayerNorm:
        return frozen


class WithToken:
    """`graft` behind a vector of the task's own [C] wherever [TCL] stands (PeterRec, section 3.2)."""

    def __init__(self, graft: Graft, token: Tensor) -> None:
        self.graft, self.token = graft, token

    def lookup(self, items: Tensor, x: Tensor) -> Tensor:
        own = torch.where((items == TCL).unsqueeze(-1), self.token.to(x.dtype), x)  # [L, B, C]
        return self.graft.lookup(items, own)

    def inside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return self.graft.inside(site, x, y)

    def outside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return self.graft.outside(site, x, y)

    def norm(self, site: int, frozen: nn.LayerNorm) -> nn.LayerNorm:
        return self.graft.norm(site, frozen)


class Vectors:
    """The body reading `vectors` [U, C] in place of its own rows `items` [U], all it is fed, rising."""

    def __init__(self, items: Tensor, vectors: Tensor, graft: Graft | None = None) -> None:
        self.items, self.vectors, self.graft = items, vectors, graft or Ungrafted()

    def lookup(self, items: Tensor, x: Tensor) -> Tensor:
        at = torch.searchsorted(self.items, items.contiguous())
        return self.graft.lookup(items, F.embedding(at, self.vectors))

    def inside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return self.graft.inside(site, x, y)

    def outside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return self.graft.outside(site, x, y)

    def norm(self, site: int, frozen: nn.LayerNorm) -> nn.LayerNorm:
        return self.graft.norm(site, frozen)


class DropoutGraft:
    """The body with a share of its activations left out: of the embedding, and behind each sub-layer.

    That is where SASRec has them (section III), but for the weights of attention, which its code drops too;
    any other body has them at the same hooks. The seed alone decides, so that each pass leaves out the same.
    Draws are made for all `users` of a batch; the body sees those that `own` picks from the first dimension.
    """

    def __init__(
        self,
        rate: float,
        seed: int,
        users: int | None = None,
        own: Callable[[Tensor], Tensor] = lambda draws: draws,
    ) -> None:
        self.rate, self.seed, self.users, self.own = rate, seed, users, own
        self.draws = torch.Generator()

    def lookup(self, items: Tensor, x: Tensor) -> Tensor:
        self.draws = torch.Generator(x.device).manual_seed(self.seed)  # a pass begins
        return self._thinned(x)

    def inside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return y

    def outside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return self._thinned(y)

    def norm(self, site: int, frozen: nn.LayerNorm) -> nn.LayerNorm:
        return frozen

    def _thinned(self, x: Tensor) -> Tensor:
        length, batch, channels = x.shape
        shape = (self.users or batch, length, channels)
        kept = self.own(torch.rand(shape, generator=self.draws, device=x.device) >= self.rate)
        return x * kept.transpose(0, 1).to(x.dtype) / (1 - self.rate)
