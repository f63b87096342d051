"""How sure a measured number is: 95 % percentile intervals over resampled users, alone and paired."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from peter.interval import Interval

Score = Callable[[Tensor], Mapping[str, Tensor]]  # weights [R, B] -> metric name -> [R]
Scored = Mapping[str, Tensor]  # metric name -> [1+R]: the plain value, then its resamples


def resample(users: int, resamples: int = 1000, seed: int = 0) -> Tensor:
    """[R, B] float32: how often each user is drawn when as many users are drawn with replacement."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.empty(resamples, users)
    for row in weights:
        drawn = torch.randint(max(1, users), (users,), generator=generator)
        row.copy_(drawn.bincount(minlength=users))
    return weights


def interval(value: float, resampled: Tensor) -> Interval:
    """The plain `value` between the 2.5 and 97.5 percentiles of its resamples [R]."""
    low, high = torch.quantile(resampled.double(), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return Interval(value=value, low=low, high=high)


def scored(score: Score, weights: Tensor) -> Scored:
    """Every metric of `score` (a task kind's `metrics` bound to outputs and targets), once and for all."""
    plain, resampled = score(torch.ones_like(weights[:1])), score(weights)
    return {name: torch.cat([plain[name], values]) for name, values in resampled.items()}


def difference(a: Scored, b: Scored) -> Scored:
    """`a` minus `b` on the same users and resamples: far narrower than two intervals side by side."""
    return {name: values - b[name] for name, values in a.items()}


def mean(fits: Sequence[Scored]) -> Scored:
    """The average of fits that differ in their seed alone, resample by resample."""
    return {name: torch.stack([scores[name] for scores in fits]).mean(0) for name in fits[0]}


def told(scores: Scored) -> dict[str, Interval]:
    """Every metric with its interval."""
    return {name: interval(float(values[0]), values[1:]) for name, values in scores.items()}
