"""Negative sampling: which items the right one is compared with, and their odds."""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from peter.data.histories import RESERVED
from peter.nn.losses import masked


class FrequencySampler:
    """Draws items as often as the log holds them, an unseen one as if it were there once.

    The counts themselves are used, not a Zipf curve over row numbers: that would hold only as long as
    rows are given by falling count, and an appended log breaks it.
    """

    log_probability: Tensor  # [V] float32; -inf for the reserved rows, which are never drawn

    def __init__(self, counts: npt.NDArray[np.int64]) -> None:
        """`counts`: [V] by row; those of the reserved rows are not looked at."""
        weights = torch.from_numpy(np.maximum(counts, 1).astype(np.float64))
        weights[:RESERVED] = 0
        probability = weights / weights.sum()
        self.log_probability = probability.log().float()
        self._cumulative = probability.cumsum(0)

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """[count] int64 rows, with replacement."""
        at = torch.rand(count, dtype=torch.float64, generator=generator) * self._cumulative[-1]
        return torch.searchsorted(self._cumulative, at, right=True).clamp(max=len(self._cumulative) - 1)


def uniform(counts: Tensor) -> Tensor:
    """[K] every item alike."""
    return torch.full_like(counts, 1 / len(counts), dtype=torch.float64)


def frequency(counts: Tensor) -> Tensor:
    """[K] in proportion to counts [K] by item, an unseen one as if it were there once."""
    seen = counts.clamp(min=1).double()
    return seen / seen.sum()


def lambdafm(counts: Tensor, rho: float = 0.3) -> Tensor:
    """[K] proportional to exp(-(rank + 1) / (rho K)), the commonest item having rank 0 (ties: by row).

    The static sampler of LambdaFM (Yuan et al., CIKM 2016). Entry i is the odds of item i, not
    of the item that has rank i.
    """
    rank = torch.empty(len(counts), dtype=torch.float64)
    rank[counts.argsort(descending=True, stable=True)] = torch.arange(len(counts), dtype=torch.float64)
    return (-(rank + 1) / (rho * len(counts))).softmax(0)


SAMPLERS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "uniform": uniform,
    "frequency": frequency,
    "lambdafm": lambdafm,
}


def avoiding(
    probability: Tensor, positives: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw `count` items a user by `probability` [K], none of them among its `positives` [B, M] (-1: none).

    Returns:
        Items [B, count], drawn with replacement, and the logarithms of their odds among those that may be
        drawn, of the same shape. A user who has all items is given any of them.
    """
    odds = probability.float().expand(len(positives), -1)  # [B, K]
    allowed = masked(odds, positives, 0.0)
    allowed = torch.where(allowed.sum(1, keepdim=True) > 0, allowed, odds)
    drawn = torch.multinomial(allowed, count, replacement=True, generator=generator)
    return drawn, (allowed.gather(1, drawn) / allowed.sum(1, keepdim=True)).log()
