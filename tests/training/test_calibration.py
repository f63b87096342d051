"""Temperatures and half-widths are found where known, and stay sensible where nothing can be found."""

import pytest
import torch
from torch import Tensor

from peter.training import metrics
from peter.training.calibration import COLDEST, HOTTEST, conformal, temperature


def draw(users: int, classes: int = 4) -> tuple[Tensor, Tensor]:
    """Honest logits: targets are drawn from their softmax."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(users, classes, generator=generator) * 2
    return outputs, torch.multinomial(outputs.softmax(1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("factor", [0.7, 1.0, 3.0])
def test_a_known_temperature_is_found(factor: float) -> None:
    outputs, targets = draw(20_000)
    found = temperature(outputs * factor, targets)
    assert found == pytest.approx(factor, rel=0.04)
    ones = torch.ones(1, len(targets))
    assert metrics.ece(outputs * factor / found, targets, ones).item() < 0.01


def test_separated_users_do_not_buy_certainty() -> None:
    targets = torch.tensor([0, 1, 1, 0])
    assert temperature(torch.eye(2)[targets] * 3, targets) == pytest.approx(COLDEST, rel=1e-3)


def test_a_wrong_model_is_damped_at_most_so_far() -> None:
    targets = torch.tensor([0, 1, 1, 0])
    assert temperature(torch.eye(2)[1 - targets] * 3, targets) == pytest.approx(HOTTEST, rel=1e-3)


def test_one_user_or_none() -> None:
    assert COLDEST <= temperature(torch.tensor([[1.0, 2.0]]), torch.tensor([0])) <= HOTTEST
    assert temperature(torch.empty(0, 2), torch.empty(0, dtype=torch.long)) == 1.0


def test_the_same_users_give_the_same_bits() -> None:
    outputs, targets = draw(200)
    assert temperature(outputs, targets) == temperature(outputs, targets)


def test_the_temperature_of_another_loss_is_found() -> None:
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(20_000, 2, generator=generator) * 2
    targets = torch.bernoulli(outputs.sigmoid(), generator=generator)
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    assert temperature(outputs * 3, targets, lambda a, b: loss(a, b.double())) == pytest.approx(3, rel=0.04)


@pytest.mark.parametrize(("confidence", "place"), [(0.5, 5), (0.75, 8), (0.9, 9), (0.99, 9), (0.01, 1)])
def test_the_half_width_is_a_residual_of_the_right_rank(confidence: float, place: int) -> None:
    residuals = torch.tensor([3.0, -1, 4, -2, 9, 7, -8, 5, 6])  # 1 to 9
    assert conformal(residuals, confidence) == place


def test_without_users_there_is_no_width() -> None:
    assert conformal(torch.zeros(0), 0.9) == 0
