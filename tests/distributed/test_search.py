"""Real searches over Ray with trials that cost nothing: what is told, what survives, what is printed."""

import json
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from toy_search import EPOCHS, LONG, told

from peter.distributed.population import explored
from peter.distributed.tune import LOSSES, has_trials
from peter.schedule import in_force, read
from peter.space import Choice, LogUniform

PROGRAM = Path(__file__).parent / "toy_search.py"


def search(directory: Path, *words: object) -> list[dict[str, Any]]:
    """The outcomes; a search that prints anything else is refused."""
    done = subprocess.run(
        [sys.executable, PROGRAM, directory, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def heard(directory: Path, what: str) -> list[str]:
    """Names of the trials that an observer was told this of."""
    return [line[1] for line in told(directory) if line[0] == what]


@pytest.mark.slow
def test_a_lost_worker_and_a_failing_trial_do_not_end_a_search(tmp_path: Path) -> None:
    (tmp_path / "death").touch()
    found = search(tmp_path, 6, "optuna", 0.05, "", "a")
    failed = [outcome for outcome in found if outcome["error"]]
    assert 0 < len(failed) < len(found) == 6
    for outcome in failed:
        assert (outcome["config"]["word"], outcome["score"]) == ("a", None)
        assert outcome["error"] == "unexpected ValueError"  # its text may hold what nobody may read
    assert not any(outcome["lost"] or outcome["cut"] for outcome in found)
    assert all(
        outcome["score"] == outcome["config"]["x"] + 1 / (EPOCHS - 1)
        for outcome in found
        if outcome not in failed
    )
    started = heard(tmp_path, "started")
    assert (len(started), set(started)) == (7, {"1", "2", "3", "4", "5", "6"})  # one began twice
    assert sorted(heard(tmp_path, "ended")) == ["1", "2", "3", "4", "5", "6"]
    traces = list(tmp_path.glob("trial-*.txt"))
    assert len(traces) == len(failed)
    assert "a secret" in traces[0].read_text()


@pytest.mark.slow
def test_a_trial_that_loses_too_many_workers_is_lost_until_the_search_goes_on(tmp_path: Path) -> None:
    for number in range(LOSSES + 1):
        (tmp_path / f"death{number}").touch()
    (lost,) = search(tmp_path, 1, "optuna", 0.05)
    assert (lost["lost"], lost["error"]) == (True, "its workers died")
    (found,) = search(tmp_path, 1, "optuna", 0.05)
    assert (found["lost"], found["config"]) == (False, lost["config"])
    assert found["score"] == found["config"]["x"] + 1 / (EPOCHS - 1)
    assert set(heard(tmp_path, "started")) == {"1"}


@pytest.mark.slow
def test_a_random_search_ends_when_its_time_is_up(tmp_path: Path) -> None:
    found = search(tmp_path, 50, "random", 0.7, 8)
    assert 0 < len(found) < 50
    assert any(outcome["cut"] for outcome in found) or len(set(heard(tmp_path, "started"))) < 50
    for outcome in found:
        assert 0 <= outcome["config"]["x"] <= 1
        assert outcome["config"]["n"] in (1, 2, 3)


def fallen(config: dict[str, Any]) -> float:
    """Where a fit of its own comes to by that config, schedule and all."""
    level, changes = 0.0, read(config["schedule"])
    for epoch in range(1, LONG + 1):
        level -= {**config, **in_force(changes, epoch)}["learning_rate"]
    return level


def took_over(told: list[list[Any]]) -> int:
    """How often a trial's past became another one's: its curve and its word are then that one's."""
    word: dict[str, str] = {}
    curves: dict[str, list[float]] = {}
    changes = 0
    for what, name, said in told:
        if what == "started":
            word[name], curves[name] = said["word"], []
        if what == "reported":
            changed = said["curve"][:-1] != curves[name]
            if changed:
                assert said["curve"][:-1] in [curve[: len(said["curve"]) - 1] for curve in curves.values()]
            changes += changed
            assert changed or said["config"]["word"] == word[name]
            word[name], curves[name] = said["config"]["word"], said["curve"]
    return changes


@pytest.mark.slow
def test_a_population_s_trials_say_the_schedules_that_they_followed(tmp_path: Path) -> None:
    (tmp_path / "death").touch()  # a worker that dies goes on from its last checkpoint
    found = search(tmp_path, 4, "pbt", 0.02)
    assert len(found) == 4
    assert not any(outcome["error"] or outcome["lost"] or outcome["cut"] for outcome in found)
    for outcome in found:
        assert outcome["score"] == fallen(outcome["config"])
        assert 0.1 <= outcome["config"]["learning_rate"] <= 10
    assert any(outcome["config"]["schedule"] for outcome in found)
    assert took_over(told(tmp_path))
    assert sorted(heard(tmp_path, "started")) == sorted(heard(tmp_path, "ended")) == ["0", "1", "2", "3"]


@pytest.mark.slow
def test_a_population_whose_driver_was_killed_goes_on_from_its_checkpoints(tmp_path: Path) -> None:
    words = [sys.executable, PROGRAM, tmp_path, "4", "pbt", "0.5"]  # long enough that none ends before
    with subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL) as driver:
        while len(list(tmp_path.glob("*/*/checkpoint_*"))) < 4:
            assert driver.poll() is None
            time.sleep(0.05)
        time.sleep(3)  # Ray's state is written every two seconds
        driver.kill()
    before = told(tmp_path)
    found = search(tmp_path, 4, "pbt", 0.02)
    assert [outcome["score"] for outcome in found] == [fallen(outcome["config"]) for outcome in found]
    after = told(tmp_path)[len(before) :]
    began = {line[1] for line in after if line[0] == "started"}
    first = {
        name: next(line[2] for line in after if line[:2] == ["reported", name])
        for name in heard(tmp_path, "ended")
    }
    assert any(len(said["curve"]) > 5 for name, said in first.items() if name not in began)
    assert len(first) == len(found) == 4


@pytest.mark.slow
@pytest.mark.parametrize("proposer", ["optuna", "random"])
def test_a_search_whose_driver_was_killed_keeps_what_it_knew(tmp_path: Path, proposer: str) -> None:
    words = [sys.executable, PROGRAM, tmp_path, "5", proposer, "1"]
    with subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL) as driver:
        while not heard(tmp_path, "ended"):
            assert driver.poll() is None
            time.sleep(0.05)
        time.sleep(3)  # Ray's state is written every two seconds
        driver.kill()
    before = told(tmp_path)
    kept = [line[1] for line in before if line[0] == "ended"][:1]
    found = search(tmp_path, 5, proposer, 0.05)
    after = told(tmp_path)[len(before) :]
    again = {line[1] for line in after if line[0] == "started"}
    assert not again & set(kept)
    assert len(set(heard(tmp_path, "started"))) == len(found) == 5
    assert all(outcome["score"] == outcome["config"]["x"] + 1 / (EPOCHS - 1) for outcome in found)


def test_what_a_trial_tries_next_stays_in_the_space() -> None:
    space = {"learning_rate": LogUniform(0.001, 0.01), "dropout": Choice((0.0, 0.2, 0.4))}
    config, draw = {"learning_rate": 0.009, "dropout": 0.2, "reduction": 8}, Random(5)
    tried = [explored(space, draw, config) for _ in range(20)]
    assert {each["learning_rate"] for each in tried} == {0.009 * 0.8, 0.01}
    assert {each["dropout"] for each in tried} == {0.0, 0.4}
    assert {each["reduction"] for each in tried} == {8}
    draw = Random(5)
    assert [explored(space, draw, config) for _ in range(20)] == tried
    assert {explored(space, draw, {**config, "dropout": 0.4})["dropout"] for _ in range(20)} == {0.2, 0.4}


@pytest.mark.parametrize(
    ("files", "kept"),
    [
        ({}, False),
        ({"1": '{"trial_data": []}'}, False),
        ({"1": '{"trial_data": [["{}", "{}"]]}'}, True),
        ({"1": '{"trial_data": []}', "2": '{"trial_data": [["{}", "{}"]]}'}, True),
        ({"1": '{"trial_da'}, False),
    ],
)
def test_only_a_search_with_trials_can_be_gone_on_with(
    tmp_path: Path, files: dict[str, str], kept: bool
) -> None:
    for time_stamp, text in files.items():
        (tmp_path / f"experiment_state-{time_stamp}.json").write_text(text)
    assert has_trials(tmp_path) is kept


@pytest.mark.slow
def test_a_search_that_was_killed_at_once_begins_anew(tmp_path: Path) -> None:
    words = [sys.executable, PROGRAM, tmp_path, "2", "optuna", "60"]
    with subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL) as driver:
        while not list(tmp_path.glob("*/tuner.pkl")):
            assert driver.poll() is None
            time.sleep(0.01)
        driver.kill()
    assert len(search(tmp_path, 2, "optuna", 0.05)) == 2
    assert set(heard(tmp_path, "ended")) == {"1", "2"}
