"""One strength for several fits, chosen by everybody whom they have not seen."""

from collections.abc import Iterator, Sequence

import pytest
import torch
from torch import Tensor

from peter.task import LinearMap, Solvable
from peter.training.convex import PATIENCE, chosen


def constant(value: float) -> LinearMap:
    """One that always says this."""
    return LinearMap(torch.zeros(1, 1), torch.tensor([value]))


def users(*values: float) -> Solvable:
    return torch.zeros(len(values), 1), torch.tensor(values)[:, None]


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().mean()


def said(found: Sequence[LinearMap]) -> list[float]:
    return [float(each.bias) for each in found]


def test_users_count_alike_whichever_fit_they_are_held_out_from() -> None:
    """Three users of one fit outvote the single one of the other."""
    path = [[constant(0), constant(0)], [constant(1), constant(1)]]
    assert said(chosen(path, [users(1, 1, 1), users(0)], squared)) == [1, 1]
    assert said(chosen(path, [users(0, 0, 0), users(1)], squared)) == [0, 0]


def test_the_first_stands_where_nobody_is_held_out() -> None:
    path = [[constant(3)], [constant(4)], [constant(5)]]
    assert said(chosen(path, [users()], squared)) == [3]


@pytest.mark.parametrize(("values", "best"), [([9, 8, 8.5, 7], 7), ([9, 8, 8.5, 8.6, 7], 8)])
def test_the_search_ends_when_it_has_been_worse_for_a_while(values: list[float], best: float) -> None:
    asked: list[float] = []

    def path() -> Iterator[list[LinearMap]]:
        for value in values:
            asked.append(value)
            yield [constant(value)]

    assert said(chosen(path(), [users(0)], squared)) == [best]
    assert len(asked) == min(len(values), 2 + PATIENCE)
