"""Recipes that are made from another: what a patch is held against."""

from dataclasses import replace

import pytest

from peter.config import FitConfig
from peter.errors import InputError
from peter.services.patch.recipes import TWIN, Recipe
from peter.task import kind

CLASSES = kind("classification")


def recipe(method: str = "peter", *settings: str) -> Recipe:
    return Recipe.make(CLASSES, method, settings, seed=3)


def test_a_twin_differs_in_what_the_patch_alone_has() -> None:
    ours = recipe("peter", "epochs=4", "learning_rate=0.01", "wide=off", "readout=last", "reduction=4")
    twin = ours.twin()
    assert (twin.method, twin.fit, twin.kind) == (TWIN, ours.fit, ours.kind)
    assert (twin.options.wide, twin.options.readout) == (False, "last")
    assert not hasattr(twin.options, "reduction")


def test_a_method_without_common_options_has_a_twin_of_its_budget() -> None:
    ours = recipe("bag", "epochs=4")
    assert ours.twin() == replace(recipe(TWIN), fit=ours.fit)


@pytest.mark.parametrize(("settings", "readout"), [((), "all"), (("wide=off", "readout=last"), "last")])
def test_the_wide_term_alone_keeps_everything_else(settings: tuple[str, ...], readout: str) -> None:
    alone = recipe("lora", *settings, "rank=2").wide_alone()
    assert alone is not None
    assert (alone.method, alone.options.deep, alone.options.wide) == ("lora", False, True)
    assert (alone.options.rank, alone.options.readout) == (2, readout)


def test_what_learns_nothing_by_item_is_held_against_counts_of_items_too() -> None:
    alone = recipe("relearn", "ids=off", "wide=off").wide_alone()
    assert alone is not None
    assert (alone.options.deep, alone.options.wide) == (False, True)


@pytest.mark.parametrize("ours", [recipe("bag"), recipe("probe"), recipe("peter", "deep=off")])
def test_where_nothing_is_deep_nothing_stands_beside_it(ours: Recipe) -> None:
    assert ours.wide_alone() is None


def test_an_old_request_is_still_the_same() -> None:
    """As hashed before there were schedules; a schedule makes it another."""
    known = "30f0dda184ef4506d4f4c0acdcf543da127415ca064682480c790c1bf57c9846"
    assert recipe().identity("labels", "backbone") == known
    assert recipe("peter", "schedule=").identity("labels", "backbone") == known
    assert recipe("peter", "schedule=2:dropout=0.1").identity("labels", "backbone") != known


@pytest.mark.parametrize("method", ["bag", "probe"])
def test_a_schedule_changes_what_the_method_has(method: str) -> None:
    with pytest.raises(InputError, match=f"changes dropout, which method {method} does not have"):
        recipe(method, "schedule=2:dropout=0.1")


def test_several_seeds_are_another_request_and_one_is_not() -> None:
    ours = recipe()
    known = ours.identity("labels", "backbone")
    assert ours.identity("labels", "backbone", 1) == known
    assert ours.identity("labels", "backbone", 2) != known
    assert ours.seeded(3) == ours
    assert ours.seeded(4).fit == FitConfig(seed=4)
