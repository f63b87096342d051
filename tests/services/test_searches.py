"""What the registry and the bar learn of a search, without one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from peter.distributed.trial import Trainable
from peter.distributed.tune import Outcome, Standing
from peter.errors import PeterError
from peter.progress import Bar, Silent
from peter.registry import models, patches, runs, trials
from peter.services.patch.fitting import fitted
from peter.services.patch.recipes import Recipe
from peter.services.patch.requests import Request
from peter.services.version import searches
from peter.services.version.searches import Plan, Watcher, changed, scores, searched
from peter.services.workspace import Address, Workspace
from peter.task import cost

SPACE = {
    "learning_rate": {"low": 0.001, "high": 0.1, "log": True},
    "reduction": [4, 8],
    "dropout": [0.0, 0.5],
}
PLAN = Plan("gender@1", "clicks@1", "peter", SPACE, "optuna", 4, 3, 1, None, True)


class Noted:
    """A bar, and the progress that it comes from."""

    def __init__(self) -> None:
        self.done, self.note = 0.0, ""

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.done += amount
        self.note = note or self.note

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        yield self

    def say(self, text: str) -> None:
        raise AssertionError(text)


def begun(workspace: Workspace) -> models.Run:
    return workspace.registry.write(
        lambda session: runs.start(session, "tune", "gender", PLAN.to_json(), "ann")
    )


def rows(workspace: Workspace, run: models.Run) -> dict[str, tuple[str, Any]]:
    """State and metrics by name."""
    with workspace.registry.read() as session:
        return {trial.name: (trial.state, trial.metrics) for trial in trials.of(session, run.id)}


def test_a_trial_is_kept_once_however_often_it_begins(workspace: Workspace) -> None:
    run, bar = begun(workspace), Noted()
    watcher = Watcher.of(workspace, run, bar, "log_loss", None)
    watcher.started("1", {"x": 1})
    watcher.started("2", {"x": 2})
    curve = [0.9, 0.4, 0.5, 0.7]
    for epoch, kept in enumerate((0.9, 0.9, 0.5, 0.5), 1):  # 0.4 was luck
        watcher.reported("1", Standing({"x": 1}, curve[:epoch], kept))
    assert rows(workspace, run)["1"] == ("running", {"score": 0.5, "curve": [0.9, 0.4, 0.5, 0.7]})
    assert (bar.done, bar.note) == (0, "best log_loss 0.5000, 2 running, 0 stopped early")
    watcher.ended("1", early=True, error=None)
    assert (bar.done, bar.note) == (1, "best log_loss 0.5000, 1 running, 1 stopped early")
    watcher.reported("2", Standing({"x": 2}, [0.6], 0.6))

    again, second = Noted(), Watcher.of(workspace, run, Noted(), "log_loss", None)
    assert second.finished == {"1"}
    again = second.bar
    second.started("2", {"x": 2})
    assert rows(workspace, run)["2"] == ("running", None)
    second.reported("2", Standing({"x": 2}, [0.4], 0.4))
    second.ended("2", early=False, error="unexpected ValueError")
    second.ended("3", early=False, error=None)  # the time was up before it began
    assert rows(workspace, run) == {
        "1": ("done", {"score": 0.5, "curve": [0.9, 0.4, 0.5, 0.7]}),
        "2": ("failed", {"score": 0.4, "curve": [0.4]}),
    }
    assert isinstance(again, Noted)
    assert (again.done, again.note) == (2, "best log_loss 0.4000, 0 running, 0 stopped early")


def test_a_trial_that_begins_again_after_its_end_is_no_longer_done(workspace: Workspace) -> None:
    run, bar = begun(workspace), Noted()
    watcher = Watcher.of(workspace, run, bar, "log_loss", 100.0)
    for _ in range(2):  # Ray's state may be older than the registry's
        watcher.started("1", {"x": 1})
        watcher.reported("1", Standing({"x": 1}, [0.5], 0.5))
        assert bar.done == 0
        watcher.ended("1", early=False, error=None)
    assert bar.done == 1
    assert bar.note.endswith("s of the budget left")
    assert rows(workspace, run) == {"1": ("done", {"score": 0.5, "curve": [0.5]})}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([Outcome({}, 0.5, None), Outcome({}, 0.4, "its workers died", lost=True)], "1 of 2 trials lost"),
        ([Outcome({}, None, "unexpected ValueError")], "succeeded: unexpected ValueError; see"),
        ([], "succeeded: no trial finished an epoch"),
    ],
)
def test_a_search_without_an_end_is_no_success(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, found: list[Outcome], said: str
) -> None:
    run = begun(workspace)
    monkeypatch.setattr(searches, "search", lambda *_: found)
    with workspace.registry.read() as session:
        recipe = Recipe.of(patches.get(session, "gender"))
    with pytest.raises(PeterError, match=said) as raised:
        searched(workspace, PLAN, recipe, run, 1, Event(), Noted())
    if "lost" in said:
        assert f"`peter tune --resume {run.id}`" in str(raised.value)


def test_the_longest_trial_is_that_of_the_space(workspace: Workspace) -> None:
    with workspace.registry.read() as session:
        recipe = Recipe.of(patches.get(session, "gender"))
    assert PLAN.search_of(recipe, 1).epochs == recipe.fit.epochs == 1
    longer = Plan(**{**PLAN.to_json(), "space": {"epochs": [3, 9, 5]}})
    assert longer.search_of(recipe, 1).epochs == 9


def test_a_trial_is_the_patch_s_recipe_changed(workspace: Workspace) -> None:
    context = {
        "workspace": asdict(Address.of(workspace)),
        "patch": "gender@1",
        "seed": 3,
    }
    config = {"learning_rate": 0.05, "dropout": 0.5, "wide": False, "epochs": 2, "label_smoothing": 0.1}
    with workspace.registry.read() as session:
        recipe = changed(Recipe.of(patches.get(session, "gender")), config, 3)
    assert (recipe.fit.learning_rate, recipe.fit.epochs, recipe.fit.seed) == (0.05, 2, 3)
    assert (recipe.options.dropout, recipe.options.wide) == (0.5, False)
    assert recipe.kind.label_smoothing == 0.1  # type: ignore[attr-defined]
    curve = list(scores(context, config, None))
    assert len(curve) == 4  # the head, and the patches before their first epoch and after two
    assert curve != list(scores(context, {**config, "learning_rate": 1e-4}, None))
    assert curve == list(scores(context, config, None))
    cautious = list(scores(context, {**config, "caution": 1e9}, None))
    assert [epoch.score for epoch in cautious] == [epoch.score for epoch in curve]
    assert {epoch.kept for epoch in cautious[1:]} == {cautious[1].score}  # no epoch is that much better


def test_a_trial_that_took_over_a_worse_state_counts_as_it_stood_before(workspace: Workspace) -> None:
    run = begun(workspace)
    watcher = Watcher.of(workspace, run, Noted(), "log_loss", None)
    watcher.started("1", {"x": 1})
    watcher.reported("1", Standing({"x": 1}, [0.4], 0.4))
    watcher.reported("1", Standing({"x": 2}, [0.6, 0.5], 0.5))
    again = Watcher.of(workspace, run, Noted(), "log_loss", None)
    for each in (watcher, again):
        assert each.best(Outcome({"x": 2}, 0.5, None, name="1")) == Outcome({"x": 1}, 0.4, None, name="1")
        better = Outcome({"x": 2}, 0.3, None, name="1")
        assert each.best(better) == better
    with workspace.registry.read() as session:
        (trial,) = trials.of(session, run.id)
    assert (trial.config, trial.metrics) == ({"x": 1}, {"score": 0.4, "curve": [0.4]})
    again.reported("1", Standing({"x": 2}, [0.6, 0.5, 0.3], 0.3))
    assert rows(workspace, run)["1"] == ("running", {"score": 0.3, "curve": [0.6, 0.5, 0.3]})


def test_a_search_of_rates_begins_without_the_recipe_s_own_schedule(workspace: Workspace) -> None:
    with workspace.registry.read() as session:
        recipe = Recipe.of(patches.get(session, "gender")).changed({"schedule": "2:dropout=0.1"})
    assert changed(recipe, {"reduction": 4}, 3).fit.schedule == "2:dropout=0.1"
    assert changed(recipe, {"dropout": 0.3}, 3).fit.schedule == ""
    followed = {"dropout": 0.3, "schedule": "4:dropout=0.2"}
    assert changed(recipe, followed, 3).fit.schedule == "4:dropout=0.2"


def trained(trial: Trainable, steps: int) -> dict[str, Any]:
    """What a trial says after so many steps."""
    for _ in range(steps):
        said = trial.step()
    return said


def test_a_trial_that_takes_over_another_s_state_is_one_fit_by_a_schedule(
    workspace: Workspace, tmp_path: Path
) -> None:
    context = {"workspace": asdict(Address.of(workspace)), "patch": "gender@1", "seed": 3}
    made = type("Search1", (Trainable,), {"start": staticmethod(scores), "context": context})
    lasting = {"epochs": 5, "patience": 5, "caution": 0.0, "reduction": 4}
    config = {**lasting, "learning_rate": 0.01, "dropout": 0.3}
    donor = made(config)
    before = trained(donor, 5)  # two phases that are solved, the start, and two epochs
    donor.save_checkpoint(str(tmp_path))
    theirs = trained(donor, 3)

    other = made({**config, "reduction": 8})
    assert other.reset({**config, "learning_rate": 0.05, "dropout": 0.1})  # as Ray does: donor's, changed
    other.load_checkpoint(str(tmp_path))
    ours = trained(other, 3)
    assert ours["recipe"] == {**config, "schedule": "3:dropout=0.1,3:learning_rate=0.05"}
    assert ours["curve"][:5] == theirs["curve"][:5] == before["curve"]
    assert ours["curve"][5:] != theirs["curve"][5:]
    assert trained(other, 1)["done"]

    assert other.reset(config)
    other.load_checkpoint(str(tmp_path))
    assert trained(other, 3) == {**theirs, "recipe": {**config, "schedule": ""}}

    whole = list(scores(context, ours["recipe"], None))
    assert [epoch.score for epoch in whole] == ours["curve"]
    assert whole[-1].kept == ours["score"]
    with workspace.registry.read() as session:
        patch = patches.get(session, "gender")
    recipe = changed(Recipe.of(patch), ours["recipe"], 3)
    recipe = replace(recipe, fit=replace(recipe.fit, threads=1))
    request = Request.after(workspace, patch, recipe=recipe)
    again = fitted(recipe, request.setting, request.users, Silent())
    valid = request.users.valid
    metrics = request.kind.metrics(
        again.outputs(valid.histories), valid.targets, torch.ones(1, len(valid.targets))
    )
    assert cost(request.kind, metrics).item() == pytest.approx(ours["score"], rel=1e-12)
