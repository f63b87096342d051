"""Classification keeps the contract of task kinds and knows its own corners."""

import warnings
from dataclasses import replace

import pytest
import torch

from peter import task
from peter.errors import InputError
from peter.testing import TaskKindContract

kind = task.kind("classification")


def one_each(values: list[str]) -> list[tuple[str, ...]]:
    """Labels of users with one answer each."""
    return [(value,) for value in values]


class TestTwoClasses(TaskKindContract):
    kind = kind
    labels = one_each(["F", "M", "M"] * 15)
    foreign = "unsure"
    hopeless = one_each(["M"] * 9)


class TestManyClasses(TestTwoClasses):
    labels = one_each(["10", "2", "2", "30"] * 12)
    foreign = "40"
    hopeless: list[tuple[str, ...]] = []  # noqa: RUF012


class TestLabels:
    def test_numbers_are_ordered_as_numbers(self) -> None:
        assert kind.schema(one_each(["10", "2", "1", "2"]))["classes"] == ["1", "2", "10"]
        assert kind.schema(one_each(["10", "2", "x"]))["classes"] == ["10", "2", "x"]
        assert kind.schema(one_each(["nan", "2", "10"]))["classes"] == ["10", "2", "nan"]

    def test_rare_classes_are_named(self) -> None:
        assert kind.schema(one_each(["a"] * 9 + ["b"]))["rare"] == {"b": 1}

    def test_one_class_is_named(self) -> None:
        with pytest.raises(InputError, match="'M'"):
            kind.schema(one_each(["M", "M"]))

    @pytest.mark.parametrize(
        ("labels", "fits"),
        [
            (one_each(["F", "M", "M"]), True),
            (one_each(["1", "2", "1", "2"]), True),
            (one_each(["1", "2", "1", "3"]), False),  # perhaps a quantity
            (one_each([str(number) for number in range(60)] * 2), False),
            ([("rock", "jazz"), ("jazz",)], False),  # perhaps tags
            (one_each(["rock;jazz", "jazz"]), False),
        ],
    )
    def test_what_is_plainly_classes(self, labels: list[tuple[str, ...]], fits: bool) -> None:
        assert kind.fits("genre", labels) is fits


class TestFit:
    def test_a_class_without_training_users_stays_possible(self) -> None:
        schema = kind.schema(one_each(["a", "b", "c"]))
        generator = torch.Generator().manual_seed(0)
        features, targets = torch.randn(50, 2, generator=generator), torch.arange(50) % 2
        users = features, targets
        [found] = kind.fit_linear([(users, users)], schema)
        chances = (features @ found.up.T + found.bias).softmax(1)[:, 2]
        assert chances.mean().item() == pytest.approx(1 / 53, rel=0.5)

    def test_one_class_among_training_users_gives_the_prior(self) -> None:
        schema, targets = kind.schema(one_each(["a", "b"])), torch.zeros(8, dtype=torch.long)
        users = (torch.randn(8, 3), targets), (torch.randn(2, 3), targets[:2])
        [found] = kind.fit_linear([users], schema)
        assert not found.up.any()
        torch.testing.assert_close(found.bias, torch.tensor([9 / 10, 1 / 10]).log())

    def test_no_validation_users_ask_for_caution(self) -> None:
        features, targets = torch.eye(2).repeat(20, 1), torch.arange(40) % 2
        none = torch.empty(0, 2), torch.empty(0, dtype=torch.long)
        [found] = kind.fit_linear([((features, targets), none)], kind.schema(one_each(["a", "b"])))
        assert found.up.abs().max() < 0.01

    def test_no_warning_leaks(self) -> None:
        """From features that no solver likes."""
        features, targets = torch.randn(40, 6) * 10.0 ** torch.arange(-3, 3), torch.arange(40) % 4
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            users = features, targets
            kind.fit_linear([(users, users)], kind.schema(one_each(list("abcd"))))


def test_below_the_threshold_the_answer_is_unknown() -> None:
    careful = replace(kind, abstain=0.7)
    schema = careful.schema(one_each(["a", "b"]))
    told = careful.profile(torch.tensor([[0.0, 0.5], [3.0, 0.0]]), schema, {}, [(), ()])
    assert told.values == ["unknown", "a"]
    assert told.probabilities == pytest.approx([0.622, 0.953], abs=1e-3)
