"""Metrics of numbers agree with scikit-learn and scipy on the resampled table itself."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from sklearn import metrics as oracle
from torch import Tensor

from peter.training import metrics, numeric_metrics

USERS = 70


def draw(ties: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Values, truth and weights of users, some of whom no row holds."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(USERS, generator=generator).exp()
    values = truth + torch.randn(USERS, generator=generator)
    if ties:
        values, truth = values.round(), truth.round()
    drawn = np.random.default_rng(1).multinomial(USERS, np.ones(USERS) / USERS, 9)
    return values.double(), truth.double(), torch.from_numpy(drawn).float()


ORACLES = {
    "mae": oracle.mean_absolute_error,
    "rmse": oracle.root_mean_squared_error,
    "relative_mae": lambda truth, values: 1 - oracle.d2_absolute_error_score(truth, values),
    "r2": oracle.r2_score,
    "spearman": lambda truth, values: spearmanr(truth, values).statistic,
    "coverage": lambda truth, values: np.mean(abs(truth - values) <= 0.5),
}


def measure(name: str, values: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    halves = [torch.full_like(values, 0.5)] if name == "coverage" else []
    return getattr(numeric_metrics, name)(values, truth, *halves, weights)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", ORACLES)
def test_it_is_what_the_libraries_say(name: str, ties: bool) -> None:
    values, truth, weights = draw(ties)
    for row, got in zip(weights.long(), measure(name, values, truth, weights), strict=True):
        drawn = np.repeat(np.arange(USERS), row)
        assert got == pytest.approx(ORACLES[name](truth.numpy()[drawn], values.numpy()[drawn]), abs=1e-9)


@pytest.mark.parametrize("name", ORACLES)
def test_blocks_of_rows_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values, truth, weights = draw(ties=True)
    whole = measure(name, values, truth, weights)
    monkeypatch.setattr(metrics, "_CELLS", 2 * USERS)
    torch.testing.assert_close(measure(name, values, truth, weights), whole)


def test_where_there_is_nothing_to_explain_nothing_is_explained() -> None:
    constant, ones = torch.full((9,), 7.1), torch.ones(1, 9)
    values = torch.arange(9.0)
    assert numeric_metrics.relative_mae(values, constant, ones).tolist() == [1]
    assert numeric_metrics.r2(values, constant, ones).tolist() == [0]
    assert numeric_metrics.r2(values, values.sqrt(), 9 * torch.eye(9)).tolist() == [0] * 9
    assert numeric_metrics.spearman(constant, values, ones).tolist() == [0]
    assert numeric_metrics.spearman(values, constant, ones).tolist() == [0]


def test_the_best_constant_has_a_relative_error_of_one() -> None:
    truth, ones = torch.tensor([1.0, 2.0, 10.0]), torch.ones(1, 3)
    assert numeric_metrics.relative_mae(torch.full((3,), 2.0), truth, ones).tolist() == [1]


def test_large_numbers_lose_nothing() -> None:
    values, truth, weights = draw(ties=False)
    for name in ("r2", "spearman", "relative_mae"):
        near, far = (measure(name, values + at, truth + at, weights) for at in (0, 1e7))
        torch.testing.assert_close(far, near, rtol=1e-6, atol=1e-6)
