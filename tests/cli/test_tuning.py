"""`peter tune` as it is typed: what it refuses, and how it goes on after every way of being stopped."""

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import processes
import pytest
from processes import ONE_CORE, Running, started
from small_workspace import everything, table_rows, url

from peter.registry import patches, runs, trials
from peter.registry.database import Registry
from peter.services.version.searches import Plan

TRIALS = 4
LONG = """
epochs = [12]  # so that there is time to stop it
patience = [12]
learning_rate = {low = 1e-4, high = 1e-2, log = true}
dropout = {low = 0.0, high = 0.5}
"""
SPACES = {
    "no such setting": ("lerning_rate = [0.1]", "did you mean learning_rate"),
    "a value that the method refuses": ("dropout = [0.1, 1.5]", "dropout=1.5 cannot be used"),
    "a value that the backbone refuses": ("reduction = {low = 4, high = 99}", "reduction=99 cannot be used"),
    "a word that is no choice": ('readout = ["all", "some"]', "readout=some"),
    "a number where a word is due": ("learning_rate = ['fast']", "not a number"),
    "half a range": ("dropout = {low = 0.1}", "look at high"),
    "a seed": ("seed = [1, 2]", "seed is not searched but given by --seed"),
    "no TOML": ("dropout: [0.1]", "is not TOML"),
    "nothing": ("", "names no setting"),
}


@pytest.fixture
def refused(peter, place: Path):
    """Run `peter tune` with these words, and see to it that it refuses them and changes nothing."""

    def run(*words: str) -> str:
        before = everything(place)
        done = peter("tune", *words)
        assert (done.code, done.out) == (2, ""), done.err
        assert done.err.count("\n") == 1
        assert everything(place) == before
        return done.err

    return run


@pytest.mark.parametrize(("text", "said"), SPACES.values(), ids=SPACES)
def test_a_space_that_cannot_be_searched(refused, place: Path, text: str, said: str) -> None:
    (place / "space.toml").write_text(text)
    sentence = refused("gender", "--space", "space.toml")
    assert said in sentence
    assert "space.toml" in sentence


@pytest.mark.parametrize(
    "text", ["reduction = [4, 8]", 'dropout = [0.1, 0.2]\nschedule = ["", "2:dropout=0.3"]']
)
def test_a_space_that_no_population_can_follow(refused, place: Path, text: str) -> None:
    (place / "space.toml").write_text(text)
    sentence = refused("gender", "--space", "space.toml", "--search", "pbt")
    assert "space.toml must vary something that a population changes" in sentence
    assert "--search optuna" in sentence


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--space", "nosuch.toml"], "nosuch.toml cannot be read"),
        (["--resume", "99"], "no run called '99'"),
        (["--resume", "2"], "Run 2 is no tuning but a train"),
        (["gender", "--resume", "2"], "names cannot be given; type `peter tune --resume 2`"),
        (["--resume", "2", "--trials", "9", "--seed", "1"], "seed, trials cannot be given"),
    ],
)
def test_words_that_no_search_can_follow(refused, words: list[str], said: str) -> None:
    assert said in refused(*words)


@pytest.fixture
def stopped(place: Path) -> str:
    """The id of a search of ann's that was stopped in its second trial."""
    registry = Registry(url(place))

    def stop(session) -> int:
        patch = patches.get(session, "gender")
        plan = Plan(patch.reference, "clicks@1", "peter", {"dropout": [0.1]}, "optuna", 2, 0, 1, None, True)
        run = runs.start(session, "tune", "gender", plan.to_json(), "ann")
        for name, curve in {"1": [0.75, 0.5, 0.625], "2": []}.items():
            trials.begin(session, run.id, name, {"dropout": 0.1})
            trials.update(
                session, run.id, name, "running", {"score": min(curve), "curve": curve} if curve else None
            )
        trials.update(session, run.id, "1", "done")
        runs.interrupt(session, run.id, "stopped by the user")
        return run.id

    run = registry.write(stop)
    registry.dispose()
    return str(run)


def test_a_run_shows_its_trials_and_how_to_go_on(peter, stopped: str) -> None:
    shown = peter("run", "show", stopped)
    assert shown.code == 0
    assert "0.75, 0.5, 0.625" in shown.out
    assert f"Next: peter tune --resume {stopped}\n" in shown.out
    first, second = peter("run", "show", stopped, "--json").json["trials"]
    assert first["metrics"] == {"score": 0.5, "curve": [0.75, 0.5, 0.625]}
    assert (first["state"], second["state"], second["metrics"]) == ("done", "interrupted", None)


def test_a_run_that_is_done_asks_for_nothing(peter, place: Path) -> None:
    assert "--resume" not in peter("run", "show", "1").out


def test_somebody_else_s_search_is_not_gone_on_with(refused, stopped: str, monkeypatch) -> None:
    monkeypatch.setenv("PETER_USER", "eve")
    assert "--force" in refused("--resume", stopped)


def seen(place: Path) -> dict[str, Any]:
    registry = Registry(url(place))
    try:
        return table_rows(registry)
    finally:
        registry.dispose()


def until_shown(place: Path, process: Running) -> None:
    """Wait for the first trial to have shown two epochs."""
    for _ in range(2400):
        if any(len((trial["metrics"] or {}).get("curve", ())) > 1 for trial in seen(place)["trial"]):
            return
        assert process.returncode is None, process.communicate()
        time.sleep(0.05)
    raise AssertionError("no trial began")


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda stop: stop.name)
def test_a_search_goes_on_however_it_was_stopped(
    place: Path, stop: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*ONE_CORE)
    (place / "space.toml").write_text(LONG)
    words = ["gender", "--trials", str(TRIALS), "--space", "space.toml", "--seeds", "2", "--no-promote"]
    with started(place, "tune", *words) as process:
        until_shown(place, process)
        if stop is signal.SIGINT:
            os.killpg(process.pid, stop)  # as a terminal does
        else:
            process.send(stop)
        out, err = process.communicate(timeout=60)
    before = seen(place)
    (run,) = (row for row in before["run"] if row["kind"] == "tune")
    assert out == ""
    if stop is signal.SIGKILL:
        assert (process.returncode, run["state"]) == (-signal.SIGKILL, "running")
    else:
        assert (process.returncode, run["state"]) == (1, "interrupted")
        assert err == f"Run {run['id']} was stopped; go on with `peter tune --resume {run['id']}`.\n"
    (place / "space.toml").unlink()  # the run knows it

    again = ["tune", "--resume", str(run["id"]), "--json"]
    done = processes.peter(place, *again)
    assert (done.returncode, done.stderr) == (0, "")
    (tuned,) = json.loads(done.stdout)["tasks"]
    assert (tuned["run"], tuned["trials"], tuned["planned"]) == (run["id"], TRIALS, TRIALS)
    assert (tuned["time_up"], tuned["version"], tuned["promoted"]) == (False, 2, False)

    after = seen(place)
    tried = {trial["name"]: trial for trial in after["trial"]}
    assert sorted(tried) == ["1", "2", "3", "4"]
    assert len(after["trial"]) == TRIALS
    for trial in tried.values():
        assert trial["state"] == "done"
        assert trial["metrics"]["score"] in trial["metrics"]["curve"]
    for trial in before["trial"]:
        assert tried[trial["name"]]["config"] == trial["config"]
    ended = next(row for row in after["run"] if row["id"] == run["id"])
    assert (ended["state"], ended["metrics"]["time_up"]) == ("done", False)
    made = after["patch"][-1]
    assert made["metrics"]["seeds"]["count"] == 2
    best = min((tried[name] for name in sorted(tried)), key=lambda trial: trial["metrics"]["score"])["config"]
    chosen = {**made["config"]["options"], **made["fit"]}
    assert {key: chosen[key] for key in best} == best

    refused = processes.peter(place, *again)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"Run {run['id']} is a tune that is done" in refused.stderr
