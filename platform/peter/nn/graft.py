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


Read = Callable[[Tensor, Tensor], Tensor]  # of items [L, B] and their embedding [L, B, C], the same shape


class Reading:
    """`graft` behind something else than the embedding's own rows."""

    def __init__(self, read: Read, graft: Graft | None = None) -> None:
        self.read, self.graft = read, graft or Ungrafted()

    def lookup(self, items: Tensor, x: Tensor) -> Tensor:
        return self.graft.lookup(items, self.read(items, x))

    def inside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return self.graft.inside(site, x, y)

    def outside(self, site: int, x: Tensor, y: Tensor) -> Tensor:
        return self.graft.outside(site, x, y)

    def norm(self, site: int, frozen: nn.LayerNorm) -> nn.LayerNorm:
        return self.graft.norm(site, frozen)


def token(own: Tensor) -> Read:
    """A vector of the task's own [C] wherever [TCL] stands (PeterRec, section 3.2)."""
    return lambda items, x: torch.where((items == TCL).unsqueeze(-1), own.to(x.dtype), x)


def vectors(rows: Tensor, own: Tensor) -> Read:
    """`own` [U, C] for the rows [U] of the item table, which rise and are all that is fed."""
    return lambda items, x: F.embedding(torch.searchsorted(rows, items.contiguous()), own)


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
