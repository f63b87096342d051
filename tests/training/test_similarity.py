"""How alike answers are, whatever their number, order and scale."""

import pytest
import torch
from torch import Tensor

from peter.training.similarity import similarity


def drawn(users: int, outputs: int, seed: int) -> Tensor:
    return torch.randn(users, outputs, generator=torch.Generator().manual_seed(seed))


def test_a_rotation_and_a_scale_change_nothing() -> None:
    ours = drawn(200, 3, 1)
    turn = torch.linalg.qr(drawn(3, 3, 2)).Q
    found, chance = similarity(ours, 7 * ours @ turn + 5)
    assert found == pytest.approx(1)
    assert chance < 0.1


def test_other_numbers_of_outputs_compare() -> None:
    """Two classes say half of what four say."""
    types = torch.arange(200) % 4
    four, two = torch.eye(4)[types], torch.eye(2)[types % 2]
    found, chance = similarity(four, two)
    assert found == pytest.approx(3**-0.5)
    assert found > chance
    assert similarity(two, four)[0] == pytest.approx(found)


def test_what_has_nothing_in_common_is_within_chance_nineteen_times_of_twenty() -> None:
    pairs = [similarity(drawn(60, 3, seed), drawn(60, 2, -seed)) for seed in range(1, 41)]
    beyond = [found > chance for found, chance in pairs]
    assert sum(beyond) <= 6


def test_answers_that_do_not_differ_are_like_nothing() -> None:
    assert similarity(drawn(20, 2, 0), torch.ones(20, 3)) == (0, 0)
