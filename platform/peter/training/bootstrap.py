"""How sure a measured number is: 95 % percentile intervals over resampled users, alone and paired."""

from collections.abc import Callable, Mapping
from typing import TypedDict

import torch
from torch import Tensor

Score = Callable[[Tensor], Mapping[str, Tensor]]  # weights [R, B] -> metric name -> [R]


class Interval(TypedDict):
    """A number with its 95 % interval, ready for JSON."""

    value: float
    low: float
    high: float


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


def intervals(score: Score, weights: Tensor) -> dict[str, Interval]:
    """Every metric of `score` (a task kind's `metrics` bound to outputs and targets) with its interval."""
    plain, resampled = score(torch.ones_like(weights[:1])), score(weights)
    return {name: interval(float(plain[name]), values) for name, values in resampled.items()}


def paired(a: Score, b: Score, weights: Tensor) -> dict[str, Interval]:
    """`a` minus `b` on the same users and resamples: far narrower than two intervals side by side."""

    def difference(rows: Tensor) -> dict[str, Tensor]:
        others = b(rows)
        return {name: values - others[name] for name, values in a(rows).items()}

    return intervals(difference, weights)
