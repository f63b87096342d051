"""Tuning really searches, over Ray, and says nothing but its own."""

import json
from pathlib import Path
from typing import Any

import pytest
from processes import peter
from small_workspace import everything

TRIALS = 3


@pytest.mark.slow
def test_tuning_registers_its_trials_and_a_version_of_each_task(place: Path) -> None:
    before = everything(place)
    words = ["tune", "--trials", str(TRIALS), "--seed", "5", "--search", "random", "--json"]
    done = peter(place, *words)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)["tasks"]
    assert [task["name"] for task in found] == ["gender", "tier"]

    after = everything(place)
    assert len(after["trial"]) == 2 * TRIALS
    for tuned in found:
        assert (tuned["trials"], tuned["planned"], tuned["time_up"]) == (TRIALS, TRIALS, False)
        _kept(after, tuned)
        (state,) = (place / ".peter/store/runs" / str(tuned["run"])).glob("*/experiment_state-*.json")
        names = {f"Search{task['run']}" for task in found if f"Search{task['run']}" in state.read_text()}
        assert names == {f"Search{tuned['run']}"}  # what is resumed is its own
    runs = {row["id"]: row for row in after["run"]}
    first, second = (runs[tuned["run"]] for tuned in found)
    assert max(first["started_at"], second["started_at"]) < min(first["ended_at"], second["ended_at"])
    assert after["backbone"] == before["backbone"]
    kept = {name: sha256 for name, sha256 in after["files"].items() if name in before["files"]}
    assert kept == before["files"]


SPACE = """
epochs = [10]
patience = [10]
caution = [0.0]
reduction = [4, 8]
learning_rate = {low = 1e-3, high = 1e-1, log = true}
dropout = [0.0, 0.2, 0.4]
"""


@pytest.mark.slow
def test_the_best_schedules_of_populations_become_versions(place: Path) -> None:
    (place / "space.toml").write_text(SPACE)
    words = ["tune", "--search", "pbt", "--trials", str(TRIALS), "--space", "space.toml", "--json"]
    done = peter(place, *words)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)["tasks"]
    assert [task["name"] for task in found] == ["gender", "tier"]
    after = everything(place)
    for tuned in found:
        assert (tuned["trials"], tuned["planned"], tuned["time_up"]) == (TRIALS, TRIALS, False)
        tried = [trial for trial in after["trial"] if trial["run_id"] == tuned["run"]]
        assert {trial["state"] for trial in tried} == {"done"}
        assert max(len(trial["metrics"]["curve"]) for trial in tried) == 2 + 11  # solved, the start, epochs
        (state,) = (place / ".peter/store/runs" / str(tuned["run"])).glob("*/experiment_state-*.json")
        assert "@perturbed" in state.read_text()
        _chosen(after, tuned, tried)
    assert not list((place / ".peter/store/runs").glob("*/*/*/checkpoint_*"))  # nobody goes on from them


def _kept(after: dict[str, Any], tuned: dict[str, Any]) -> None:
    """The registry has the trials of a task's run, and its best as a version."""
    trials = [trial for trial in after["trial"] if trial["run_id"] == tuned["run"]]
    assert [trial["state"] for trial in trials] == ["done"] * TRIALS
    assert all(trial["metrics"]["score"] in trial["metrics"]["curve"] for trial in trials)
    assert len({json.dumps(trial["config"], sort_keys=True) for trial in trials}) == TRIALS
    _chosen(after, tuned, trials)


def _chosen(after: dict[str, Any], tuned: dict[str, Any], trials: list[dict[str, Any]]) -> None:
    """The best of a task's trials is its second version."""
    task = next(row for row in after["task"] if row["name"] == tuned["name"])
    (new,) = (
        row for row in after["patch"] if (row["task_id"], row["version"]) == (task["id"], tuned["version"])
    )
    champion = next(alias["version"] for alias in after["alias"] if alias["task_id"] == task["id"])
    assert (tuned["version"], champion) == (2, 2 if tuned["promoted"] else 1)
    chosen = {"schedule": "", **new["config"]["options"], **new["fit"]}
    best = min(trials, key=lambda trial: (trial["metrics"]["score"], trial["name"]))["config"]
    assert {key: chosen[key] for key in best} == best
