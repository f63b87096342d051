"""Real searches over Ray with trials that cost nothing: what is told, what survives, what is printed."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from toy_search import EPOCHS, told

from peter.distributed.tune import LOSSES, has_trials

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
