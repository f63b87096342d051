"""Negative sampling: which items a sampled softmax compares the right one with, and their odds."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from peter.data.histories import RESERVED


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
