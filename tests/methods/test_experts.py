"""Experts: which patches are read, what they add, and that without any it is the default."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from peter.errors import InputError, UnknownName
from peter.methods import Older, Setting, method, read_by
from peter.methods._deep import DeepPatch
from peter.testing import MethodContract, champion, fingerprint, toy_users
from peter.training.fit import predict

EXPERTS = method("experts")
ALONE: dict[str, Any] = {"wide": False, "summary": False}


def contract(name: str, *older: Older, **settings: Any) -> MethodContract:
    made = MethodContract()
    made.method, made.settings, made.older = method(name), {**ALONE, **settings}, older
    made.config = replace(made.config, learning_rate=0.02, caution=0.0)
    return made


def fitted(name: str, *older: Older, **settings: Any) -> tuple[Setting, DeepPatch]:
    made = contract(name, *older, **settings)
    setting = made.setting()
    patch = made.fitted(setting)
    assert isinstance(patch, DeepPatch)
    return setting, patch


def reads(*older: Older, **options: Any) -> list[str]:
    setting = contract("experts", *older).setting()
    patch = EXPERTS.build(setting, EXPERTS.options(**options))
    return [each.reference for each in read_by(patch)]


@pytest.fixture(scope="module")
def older() -> dict[str, Older]:
    """Champions of every method that can be read, and of some that cannot."""
    setting = contract("peter").setting()
    names = ("peter", "lora", "experts", "zero", "ladder", "bag", "probe")
    return {name: champion(name, setting, seed) for seed, name in enumerate(names)}


class TestWithoutAny:
    @pytest.mark.parametrize(
        "settings", [{}, {"insertion": "parallel-delta", "blocks": "1:2", "reduction": 2}]
    )
    def test_it_is_the_default_bit_for_bit(self, settings: dict[str, Any]) -> None:
        (setting, ours), (_, plain) = fitted("experts", **settings), fitted("peter", **settings)
        named = {name.replace("trunk.", "trunk.own."): tensor for name, tensor in plain.state_dict().items()}
        assert fingerprint(ours.state_dict()) == fingerprint(named)
        users = toy_users(seed=1)[0]
        assert torch.equal(*(predict(patch, setting.body, users) for patch in (ours, plain)))

    def test_so_it_is_where_reading_is_off(self, older: dict[str, Older]) -> None:
        (_, ours), (_, plain) = fitted("experts", older["peter"], reads=False), fitted("experts")
        assert fingerprint(ours.state_dict()) == fingerprint(plain.state_dict())
        assert read_by(ours) == ()


class TestChoice:
    def test_methods_that_have_directions(self, older: dict[str, Older]) -> None:
        assert reads(*older.values()) == [older[name].reference for name in ("peter", "lora", "experts")]

    def test_champions_of_other_tasks_alone(self, older: dict[str, Older]) -> None:
        own, left = (replace(older["peter"], standing=standing) for standing in ("own", "other"))
        assert reads(own, left) == []

    def test_the_newest_where_there_are_more(self, older: dict[str, Older]) -> None:
        assert reads(*older.values(), most=2) == [older[name].reference for name in ("lora", "experts")]
        with pytest.raises(InputError, match="from 1, or reads=off"):
            reads(most=0)

    def test_not_where_nothing_of_it_would_be_used(self, older: dict[str, Older]) -> None:
        setting = contract("peter").setting()
        low, flat = champion("peter", setting, 8, blocks="0:1"), champion("peter", setting, 9, deep=False)
        assert reads(low, flat, blocks="1:2") == []
        assert reads(low, older["lora"], blocks="none") == []
        assert reads(low, flat) == [low.reference]

    def test_not_a_method_that_is_not_installed(self, older: dict[str, Older]) -> None:
        gone = replace(older["peter"], method="strangers")
        with pytest.raises(UnknownName):
            method("strangers")
        assert reads(gone) == []

    def test_nothing_is_read_from_the_store_of_what_is_not_chosen(self, older: dict[str, Older]) -> None:
        def never() -> dict[str, torch.Tensor]:
            raise AssertionError

        unread = [replace(older[name], tensors=never) for name in ("peter", "zero", "bag")]
        assert reads(*unread, older["lora"], most=1) == [older["lora"].reference]


class TestReading:
    def test_what_is_read_changes_the_answer(self, older: dict[str, Older]) -> None:
        """By what it says, not only by being there."""
        setting, patch = fitted("experts", older["peter"], older["lora"], warm_start=False)
        other = champion("peter", setting, 77)
        swapped = replace(older["peter"], tensors=other.tensors)
        heard = replace(setting, older=lambda: [swapped, older["lora"]])
        again = EXPERTS.build(heard, EXPERTS.options(**ALONE))
        again.load_state_dict(patch.state_dict())
        users = toy_users(seed=1)[0]
        assert not torch.equal(*(predict(each, setting.body, users) for each in (patch, again)))

    def test_gates_and_queries_are_trained(self, older: dict[str, Older]) -> None:
        _, patch = fitted("experts", older["peter"], older["lora"], warm_start=False)
        mixtures = {name: tensor for name, tensor in patch.state_dict().items() if ".mixtures." in name}
        assert len(mixtures) == 2 * 4
        assert all(bool(tensor.any()) for tensor in mixtures.values())
        own = {id(tensor) for tensor in patch.descended()}
        assert own == {id(tensor) for tensor in patch.parameters()}

    def test_an_expert_gives_its_own_directions_alone(self, older: dict[str, Older]) -> None:
        """Not those that it reads itself: their owner is a champion, too, and would count twice."""
        setting = contract("experts", older["peter"]).setting()
        reader = champion("experts", setting, 5)
        assert any(".mixtures." in name for name in reader.tensors())
        assert reads(reader) == [reader.reference]
