"""Masks: whose embeddings are read, and what they change."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from peter.errors import InputError
from peter.methods import Older, Setting, method, read_by
from peter.testing import MethodContract, champion, toy_users
from peter.training.fit import predict

MASK = method("mask")
ALONE: dict[str, Any] = {"wide": False, "summary": False}


def made_for(*older: Older) -> Setting:
    return replace(MethodContract().setting(), older=lambda: older)


def reads(*older: Older, **options: Any) -> list[str]:
    return [each.reference for each in read_by(MASK.build(made_for(*older), MASK.options(**options)))]


def test_champions_of_its_own_method_alone() -> None:
    mask, second, peter = (
        champion(name, made_for(), seed) for seed, name in enumerate(("mask", "mask", "peter"))
    )
    own, left = (replace(mask, standing=standing) for standing in ("own", "other"))
    flat = champion("mask", made_for(), 9, deep=False)
    assert reads(mask, peter, own, left, flat, second) == [mask.reference, second.reference]
    assert reads(mask, reads=False) == []


def test_an_embedding_that_reads_others_is_read_like_any() -> None:
    first = champion("mask", made_for(), 1)
    second = champion("mask", made_for(first), 2)
    assert second.tensors()["trunk.relation"].shape == (4, 1)
    assert reads(first, second) == [first.reference, second.reference]


def test_what_is_read_changes_the_answer() -> None:
    older, other = (champion("mask", made_for(), seed) for seed in (1, 2))
    made = MethodContract()
    made.method, made.settings, made.older = MASK, {**ALONE, "warm_start": False}, [older]
    made.config = replace(made.config, learning_rate=0.02, caution=0.0)
    setting = made.setting()
    patch = made.fitted(setting)
    assert all(bool(tensor.any()) for name, tensor in patch.state_dict().items() if "trunk" in name)
    swapped = replace(setting, older=lambda: [replace(older, tensors=other.tensors)])
    again = made.build(swapped)
    again.load_state_dict(patch.state_dict())
    users = toy_users(seed=1)[0]
    assert not torch.equal(*(predict(each, setting.body, users) for each in (patch, again)))


@pytest.mark.parametrize("sharpness", [0.0, -1.0, float("inf"), float("nan")])
def test_a_sharpness_that_is_none_is_refused(sharpness: float) -> None:
    with pytest.raises(InputError, match="above 0"):
        MASK.options(sharpness=sharpness)
