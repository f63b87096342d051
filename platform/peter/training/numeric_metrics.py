"""Metrics of numbers, each under many rows of user weights at once; see `peter.training.metrics`.

Every metric maps values [B], truth [B] and weights [R, B] to [R].
"""

import torch
from torch import Tensor

from peter.training.metrics import blocks, mean, per_tie

_NONE = 1e-12  # a variance that rounding left, relative to the numbers' square


def mae(values: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Mean absolute error."""
    return mean((values - truth).abs(), weights)


def rmse(values: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Root of the mean squared error."""
    return mean((values - truth) ** 2, weights).sqrt()


def relative_mae(values: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Mean absolute error over that of the best constant, the median: 1 says that nothing was learnt.

    One minus the D2 absolute error score (Koenker and Machado, JASA 1999, section 2). Where all of a row have
    one value there is nothing to explain, and the answer is 1.
    """
    least = torch.cat([_spread(rows, truth.double()) for rows in blocks(weights)])  # [R]
    return (mae(values, truth, weights) / least).where(least > 0, 1.0)


def r2(values: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Share of the variance that is explained; 0 where there is none."""
    truth = truth.double()
    centred = truth - truth.mean()
    square = mean(centred**2, weights)
    variance = square - mean(centred, weights) ** 2
    return (1 - mean((values - truth) ** 2, weights) / variance).where(variance > _NONE * square, 0.0)


def spearman(values: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Correlation of ranks, ties sharing theirs; 0 where one side is constant."""
    return torch.cat([_rank_correlation(values, truth, rows) for rows in blocks(weights)])


def coverage(values: Tensor, truth: Tensor, halves: Tensor, weights: Tensor) -> Tensor:
    """Share of users whose truth lies within `halves` [B] of the value."""
    return mean((values - truth).abs() <= halves, weights)


def _spread(rows: Tensor, truth: Tensor) -> Tensor:
    """[r] mean distance from the weighted median."""
    ordered, order = truth.sort()
    running = rows[:, order].cumsum(1)  # [r, B]
    middle = (running < running[:, -1:] / 2).sum(1)  # [r]
    distance = (truth - ordered[middle][:, None]).abs()  # [r, B]
    return (rows * distance).sum(1) / rows.sum(1)


def _rank_correlation(values: Tensor, truth: Tensor, rows: Tensor) -> Tensor:
    a, b = (_centred_ranks(numbers, rows) for numbers in (values, truth))  # [r, B]
    together = (rows * a * b).sum(1)
    alone = (rows * a**2).sum(1) * (rows * b**2).sum(1)
    return (together / alone.sqrt()).where(alone > 0, 0.0)


def _centred_ranks(numbers: Tensor, rows: Tensor) -> Tensor:
    """[r, B] mid-ranks among as many copies of each user as its weight, their mean taken off."""
    order = numbers.argsort(stable=True)
    _, tie, counts = numbers[order].unique_consecutive(return_inverse=True, return_counts=True)
    within = per_tie(rows[:, order].cumsum(1), counts.cumsum(0) - 1)  # [r, G]
    rank = within.cumsum(1) - within / 2  # [r, G]
    ranks = torch.empty_like(rows)
    ranks[:, order] = rank[:, tie]
    return ranks - rows.sum(1, keepdim=True) / 2
