"""Pre-training by several processes of Ray's: one backbone, whoever is killed on the way."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from processes import peter, started, wait_for, workers
from small_workspace import everything

WORDS = (
    "backbone", "pretrain", "clicks", "--channels", "8", "--blocks", "2", "--epochs", "12",
    "--set", "max_length=20", "--set", "threads=1", "--set", "patience=12", "--set", "batch_size=16",
)  # fmt: skip


def rows(place: Path, table: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = everything(place)[table]
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)  # Ray begins three times
def test_a_crew_makes_the_same_backbone_whoever_is_killed(place: Path) -> None:
    whole = peter(place, *WORDS, "--name", "whole", "--workers", "2", "--json")
    assert (whole.returncode, whole.stderr) == (0, "")
    wanted = json.loads(whole.stdout)

    alone = json.loads(peter(place, *WORDS, "--name", "alone", "--json").stdout)
    assert wanted["metrics"]["valid"]["loss"] == pytest.approx(alone["metrics"]["valid"]["loss"], rel=0.02)

    run = rows(place, "run")[-1]["id"] + 1
    checkpoint = place / ".peter" / "store" / "runs" / str(run) / "checkpoint.safetensors"
    with started(place, *WORDS, "--name", "broken", "--workers", "2", "--json") as process:
        wait_for(checkpoint.exists)
        lost = workers(process.pid, "RayTrainWorker")
        os.kill(lost[0], signal.SIGKILL)
        wait_for(lambda: set(workers(process.pid, "RayTrainWorker")) - set(lost))
        seen = checkpoint.stat().st_mtime_ns
        wait_for(lambda: checkpoint.stat().st_mtime_ns != seen)  # the new ones are at work
        process.send(signal.SIGTERM)
        told, said = process.communicate(timeout=60)
    assert (process.returncode, told) == (1, "")
    assert f"peter backbone pretrain --resume {run}" in said
    assert rows(place, "run")[-1]["state"] == "interrupted"

    done = peter(place, "backbone", "pretrain", "--resume", str(run), "--workers", "2", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["weights_sha256"] == wanted["weights_sha256"]
    assert json.loads(done.stdout)["metrics"] == wanted["metrics"]
    assert not checkpoint.parent.exists()


@pytest.mark.slow
def test_more_workers_than_cores_are_refused(place: Path) -> None:
    before = rows(place, "backbone")
    refused = peter(place, *WORDS, "--name", "many", "--workers", "999")
    assert refused.returncode == 2
    assert "give --workers" in refused.stderr
    assert rows(place, "backbone") == before
