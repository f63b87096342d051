"""Tuning really searches, over Ray, and says nothing but its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_workspace import everything

TRIALS = 3
PROGRAM = "from peter.cli.main import main; main()"


@pytest.mark.slow
def test_tuning_registers_its_trials_and_a_version(place: Path) -> None:
    before = everything(place)
    words = ["tune", "gender", "--trials", str(TRIALS), "--seed", "5", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words], cwd=place, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    (tuned,) = json.loads(done.stdout)["tasks"]
    assert (tuned["name"], tuned["trials"], tuned["version"]) == ("gender", TRIALS, 2)

    after = everything(place)
    trials = [(trial["run_id"], trial["state"]) for trial in after["trial"]]
    assert trials == [(tuned["run"], "done")] * TRIALS
    assert all(trial["metrics"]["score"] > 0 for trial in after["trial"])
    assert len({json.dumps(trial["config"], sort_keys=True) for trial in after["trial"]}) == TRIALS
    new = after["patch"][-1]
    assert (new["version"], new["task_id"]) == (2, after["patch"][0]["task_id"])
    champion = next(alias["version"] for alias in after["alias"] if alias["task_id"] == new["task_id"])
    assert champion == (2 if tuned["promoted"] else 1)
    chosen = {**new["config"]["options"], **new["fit"]}
    best = min(after["trial"], key=lambda trial: trial["metrics"]["score"])["config"]
    assert {key: chosen[key] for key in best} == best
    assert after["backbone"] == before["backbone"]
    kept = {name: sha256 for name, sha256 in after["files"].items() if name in before["files"]}
    assert kept == before["files"]
