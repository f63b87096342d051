"""The kind `count` keeps what peter asks of every kind, and says what is true of counts."""

import pytest
import torch
from acme_tasks.count import plugin as kind
from sklearn.metrics import mean_poisson_deviance

from peter.testing import TaskKindContract


class TestCount(TaskKindContract):
    kind = kind
    labels = [(str(number % 7),) for number in range(60)]  # noqa: RUF012
    foreign = "-1"
    hopeless = [("3",)] * 9


def test_the_deviance_is_scikit_learn_s() -> None:
    counts = torch.tensor([0.0, 1, 2, 5])
    outputs = torch.tensor([[-1.0], [0], [1], [1]])
    expected = mean_poisson_deviance(counts.numpy(), outputs[:, 0].exp().numpy())
    got = kind.metrics(outputs, counts, torch.ones(1, 4))["deviance"].item()
    assert got == pytest.approx(expected, rel=1e-6)


def test_a_profile_tells_the_expected_number_and_the_chance_of_any() -> None:
    told = kind.profile(torch.tensor([[0.0]]), {}, {}, [()])
    assert told.values == [1]
    assert told.details["any"] == [pytest.approx(0.632, abs=1e-3)]
