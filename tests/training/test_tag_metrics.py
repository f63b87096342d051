"""Metrics of tags agree with scikit-learn on the resampled table itself."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import metrics as oracle
from torch import Tensor

from peter.training import metrics, tag_metrics

USERS, TAGS = 60, 5


def draw(ties: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, targets (of which one tag is rare) and weights."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(USERS, TAGS, generator=generator) - 1
    if ties:
        outputs = outputs.round()
    targets = torch.bernoulli(outputs.sigmoid(), generator=generator)
    targets[:, 4] = torch.arange(USERS) < 2
    drawn = np.random.default_rng(1).multinomial(USERS, np.ones(USERS) / USERS, 9)
    return outputs, targets, torch.from_numpy(drawn).float()


def losses(truth: NDArray[np.float64], outputs: NDArray[np.float64]) -> list[float]:
    chances = 1 / (1 + np.exp(-outputs))
    return [oracle.log_loss(truth[:, k], chances[:, k], labels=[0, 1]) for k in range(TAGS)]


def average_precision(truth: NDArray[np.float64], outputs: NDArray[np.float64]) -> float:
    held = truth.any(0)
    return float(oracle.average_precision_score(truth[:, held], outputs[:, held], average="macro"))


def relative(truth: NDArray[np.float64], outputs: NDArray[np.float64]) -> float:
    shares = np.tile(truth.mean(0), (len(truth), 1))
    least = [oracle.log_loss(truth[:, k], shares[:, k], labels=[0, 1]) for k in range(TAGS)]
    return float(np.mean(losses(truth, outputs)) / np.mean(least))


ORACLES = {
    "mean_average_precision": average_precision,
    "log_loss": lambda truth, outputs: np.mean(losses(truth, outputs)),
    "relative_log_loss": relative,
    "micro_f1": lambda truth, outputs: oracle.f1_score(truth, outputs >= 0, average="micro"),
    "macro_f1": lambda truth, outputs: np.mean(
        [
            oracle.f1_score(truth[:, k], outputs[:, k] >= 0)
            for k in range(TAGS)
            if (truth[:, k].any() or (outputs[:, k] >= 0).any())
        ]
    ),
}


def measure(name: str, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    told = (outputs >= 0).float() if name.endswith("f1") else outputs
    return getattr(tag_metrics, name)(told, targets, weights)


@pytest.mark.filterwarnings("ignore:y_pred values do not sum to one")
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", ORACLES)
def test_it_is_what_scikit_learn_says(name: str, ties: bool) -> None:
    outputs, targets, weights = draw(ties)
    for row, got in zip(weights.long(), measure(name, outputs, targets, weights), strict=True):
        drawn = np.repeat(np.arange(USERS), row)
        expected = ORACLES[name](targets.double().numpy()[drawn], outputs.double().numpy()[drawn])
        assert got == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ORACLES)
def test_blocks_of_rows_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, targets, weights = draw(ties=True)
    whole = measure(name, outputs, targets, weights)
    monkeypatch.setattr(metrics, "_CELLS", 2 * USERS)
    torch.testing.assert_close(measure(name, outputs, targets, weights), whole)


def test_where_nobody_has_a_tag_all_is_nought() -> None:
    outputs, none, ones = torch.randn(9, 3), torch.zeros(9, 3), torch.ones(1, 9)
    for name in ("mean_average_precision", "micro_f1", "macro_f1"):
        assert measure(name, -outputs.abs(), none, ones).tolist() == [0]
    assert tag_metrics.relative_log_loss(outputs, none, ones).tolist() == [1]


def test_the_shares_of_the_tags_have_a_relative_loss_of_one() -> None:
    _, targets, _ = draw(ties=False)
    shares = targets.double().mean(0).logit().expand(USERS, -1)
    got = tag_metrics.relative_log_loss(shares, targets, torch.ones(1, USERS))
    assert got.item() == pytest.approx(1)
