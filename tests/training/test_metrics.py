"""Metrics agree with scikit-learn under weights, and with a resampled table."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics as oracle
from torch import Tensor

from peter.training import metrics


def draw(users: int, classes: int, ties: bool = False, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(users, classes, generator=generator)
    if ties:
        outputs = outputs[torch.randint(users // 8, (users,), generator=generator)]
    return outputs, torch.randint(classes, (users,), generator=generator)


def resamples(rows: int, users: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).multinomial(users, np.ones(users) / users, rows)).float()


def area(truth: NDArray[np.int64], chances: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    """One versus rest, averaged over the classes that occur."""
    return float(
        np.mean(
            [
                oracle.roc_auc_score(truth == k, chances[:, k], sample_weight=weights)
                for k in (np.unique(truth) if chances.shape[1] > 2 else [1])
            ]
        )
    )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 3, 7])
class TestAgainstScikitLearn:
    def table(
        self, classes: int, ties: bool
    ) -> tuple[Tensor, Tensor, Tensor, NDArray[np.int64], NDArray[np.float64]]:
        outputs, targets = draw(80, classes, ties)
        return outputs, targets, resamples(9, 80), targets.numpy(), outputs.double().softmax(1).numpy()

    def test_accuracy_and_f1(self, classes: int, ties: bool) -> None:
        outputs, targets, weights, truth, _ = self.table(classes, ties)
        guess = outputs.argmax(1).numpy()
        for row, accuracy, f1 in zip(
            weights.long(),
            metrics.accuracy(outputs, targets, weights),
            metrics.macro_f1(outputs, targets, weights),
            strict=True,
        ):
            drawn = np.repeat(np.arange(80), row)  # the resampled table itself
            assert accuracy == pytest.approx(oracle.accuracy_score(truth[drawn], guess[drawn]))
            assert f1 == pytest.approx(oracle.f1_score(truth[drawn], guess[drawn], average="macro"))

    def test_log_loss_and_area(self, classes: int, ties: bool) -> None:
        outputs, targets, weights, truth, chances = self.table(classes, ties)
        losses, areas = (f(outputs, targets, weights) for f in (metrics.log_loss, metrics.roc_auc))
        for row, loss, auc in zip(weights.numpy(), losses, areas, strict=True):
            expected = oracle.log_loss(truth, chances, sample_weight=row, labels=range(classes))
            assert loss == pytest.approx(expected, abs=1e-9)
            assert auc == pytest.approx(area(truth, chances, row), abs=1e-9)

    def test_calibration_error(self, classes: int, ties: bool) -> None:
        outputs, targets, weights, truth, chances = self.table(classes, ties)
        top, hit = chances.max(1), outputs.argmax(1).numpy() == truth
        for row, got in zip(weights.double().numpy(), metrics.ece(outputs, targets, weights), strict=True):
            total = 0.0
            for low in range(15):
                held = (top > low / 15) & (top <= (low + 1) / 15)
                if row[held].sum():
                    gap = np.average(hit[held], weights=row[held]) - np.average(top[held], weights=row[held])
                    total += row[held].sum() / row.sum() * abs(gap)
            assert got == pytest.approx(total, abs=1e-9)


@pytest.mark.parametrize("classes", [2, 6])
def test_a_random_scorer_is_at_chance(classes: int) -> None:
    outputs, targets = draw(100_000, classes)
    ones = torch.ones(1, len(targets))
    assert metrics.accuracy(outputs, targets, ones).item() == pytest.approx(1 / classes, abs=0.01)
    assert metrics.roc_auc(outputs, targets, ones).item() == pytest.approx(0.5, abs=0.01)


def test_a_constant_scorer_orders_nothing() -> None:
    outputs, targets = torch.tensor([[0.3, 0.1, 2.0]]).expand(50, -1), draw(50, 3)[1]
    assert metrics.roc_auc(outputs, targets, torch.ones(1, 50)).item() == 0.5


def test_a_row_of_one_class_has_no_area() -> None:
    outputs, targets = draw(20, 2)
    only = (targets == 1).float()[None]
    assert metrics.roc_auc(outputs, targets, torch.cat([only, 1 - only])).tolist() == [0.5, 0.5]


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    (outputs, targets), weights = draw(60, 4), resamples(10, 60)
    whole = metrics.roc_auc(outputs, targets, weights)
    monkeypatch.setattr(metrics, "_CELLS", 150)
    torch.testing.assert_close(metrics.roc_auc(outputs, targets, weights), whole)
