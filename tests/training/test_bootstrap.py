"""Intervals hold the truth as often as they say, and pairs are compared on the same users."""

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from peter.interval import Interval
from peter.training import bootstrap
from peter.training.bootstrap import Score, difference, interval, resample, scored, told


def mean(values: Tensor) -> Score:
    def score(weights: Tensor) -> Mapping[str, Tensor]:
        return {"mean": weights @ values / weights.sum(1)}

    return score


def intervals(score: Score, weights: Tensor) -> dict[str, Interval]:
    return told(scored(score, weights))


def paired(a: Score, b: Score, weights: Tensor) -> dict[str, Interval]:
    return told(difference(scored(a, weights), scored(b, weights)))


def test_a_resample_draws_as_many_users_as_there_are() -> None:
    weights = resample(30, 500, seed=1)
    assert weights.shape == (500, 30)
    assert (weights.sum(1) == 30).all()
    assert weights.mean() == 1
    assert weights.var().item() == pytest.approx(1 - 1 / 30, abs=0.05)  # of a multinomial count


def test_the_seed_decides() -> None:
    assert torch.equal(resample(9, 5, seed=3), resample(9, 5, seed=3))
    assert not torch.equal(resample(9, 5, seed=3), resample(9, 5, seed=4))


def test_the_percentiles_are_the_interval() -> None:
    assert interval(0.5, torch.linspace(0, 1, 1001)) == pytest.approx(
        {"value": 0.5, "low": 0.025, "high": 0.975}
    )


def test_the_interval_covers() -> None:
    """Of the mean of 100 normals, against the textbook's half-width."""
    values = torch.randn(100, generator=torch.Generator().manual_seed(0))
    got = intervals(mean(values), resample(100, 2000))["mean"]
    half = 1.96 * values.std().item() / math.sqrt(100)
    assert got["value"] == pytest.approx(values.mean().item(), abs=1e-6)
    assert got["high"] - got["low"] == pytest.approx(2 * half, rel=0.1)


def test_a_pair_is_narrower_than_two_alone() -> None:
    values = torch.randn(100, generator=torch.Generator().manual_seed(0))
    weights = resample(100, 500)
    got = paired(mean(values + 0.1), mean(values), weights)["mean"]
    assert got == pytest.approx({"value": 0.1, "low": 0.1, "high": 0.1}, abs=1e-5)
    same = paired(mean(values), mean(values), weights)["mean"]
    assert same == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_fits_are_averaged_resample_by_resample() -> None:
    """The interval of a mean over seeds is that of the mean of the users' values, seeds being fixed."""
    generator = torch.Generator().manual_seed(0)
    first, second, other = (torch.randn(80, generator=generator) for _ in range(3))
    weights = resample(80, 300)
    averaged = bootstrap.mean([scored(mean(first), weights), scored(mean(second), weights)])
    apart = difference(averaged, scored(mean(other), weights))
    expected = intervals(mean((first + second) / 2 - other), weights)
    assert told(apart)["mean"] == pytest.approx(expected["mean"], abs=1e-6)
    alone = scored(mean(first), weights)
    assert torch.equal(bootstrap.mean([alone])["mean"], alone["mean"])
