"""Several tasks at once: what each becomes is what it would have become alone."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from processes import peter, started, wait_for, workers
from small_workspace import PRETRAIN, QUICK, SHAPE, add_task, everything, train_task, url

from peter.progress import Silent
from peter.services.backbone.pretrain import pretrain
from peter.services.lifecycle.migrate import migrate
from peter.services.version.train import Change, train_tasks
from peter.services.workspace import Workspace


def told(place: Path, name: str, version: int) -> dict[str, Any]:
    """What the registry holds of a version, apart from how long it took and which run made it."""
    found = everything(place)
    task = next(task["id"] for task in found["task"] if task["name"] == name)
    (row,) = (row for row in found["patch"] if (row["task_id"], row["version"]) == (task, version))
    kept = {key: value for key, value in row.items() if key not in ("id", "run_id", "created_at")}
    return {**kept, "metrics": {key: value for key, value in row["metrics"].items() if key != "seconds"}}


@pytest.mark.slow
def test_side_by_side_is_the_same_as_one_after_another(place: Path, tmp_path_factory) -> None:
    alone = shutil.copytree(place, tmp_path_factory.mktemp("alone"), dirs_exist_ok=True)
    workspace = Workspace.open(url(alone))
    for task in ("gender", "tier"):
        train_task(workspace, task, seed=5, settings=["epochs=2"])
    workspace.registry.dispose()

    words = ["task", "train", "--all", "--seed", "5", "--set", "epochs=2", "--no-twin", "--json"]
    done = peter(place, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert [task["name"] for task in json.loads(done.stdout)["tasks"]] == ["gender", "tier"]
    for task in ("gender", "tier"):
        assert told(place, task, 2) == told(alone, task, 2)
    runs = everything(place)["run"]
    assert [run["state"] for run in runs if run["kind"] == "train"] == ["done"] * 4

    again = json.loads(peter(place, *words).stdout)["tasks"]
    assert [task["report"]["version"] for task in again] == [2, 2]
    assert len(everything(place)["run"]) == len(runs)  # nothing was left to do


@pytest.mark.slow
def test_several_label_files_at_once(place: Path) -> None:
    words = ["task", "add", "one", "two", "--labels", "gender.csv", "--labels", "tier.csv", "--no-twin"]
    settings = [word for setting in QUICK for word in ("--set", setting)]
    done = peter(place, *words, *settings, "--json")
    assert done.returncode == 0, done.stderr
    assert [task["champion"]["version"] for task in json.loads(done.stdout)["tasks"]] == [1, 1]
    assert told(place, "one", 1)["weights_sha256"] == told(place, "gender", 1)["weights_sha256"]

    before = everything(place)
    (place / "bad.csv").write_text("user_id,label\nu1,a,b\n")
    refused = peter(place, "task", "add", "x", "y", "--labels", "gender.csv", "--labels", "bad.csv")
    assert refused.returncode == 2
    assert "bad.csv" in refused.stderr
    assert everything(place) == before  # not the good one either


def test_names_and_files_must_match(place: Path) -> None:
    refused = peter(place, "task", "add", "x", "y", "--labels", "gender.csv")
    assert refused.returncode == 2
    assert "2 tasks (x, y) and 1 label files" in refused.stderr
    refused = peter(place, "task", "train", "gender", "--all")
    assert refused.returncode == 2
    assert "peter task train --all" in refused.stderr


@pytest.mark.slow
def test_one_that_fails_leaves_the_others_alone(workspace: Workspace, place: Path) -> None:
    """A champion whose object is gone cannot be compared with; its task keeps what it has."""
    rows = everything(place)
    tier = next(task["id"] for task in rows["task"] if task["name"] == "tier")
    (sha256,) = (patch["weights_sha256"] for patch in rows["patch"] if patch["task_id"] == tier)
    path = workspace.objects.path(sha256)
    path.unlink()
    change = Change(seed=5, twin=False)
    found = train_tasks(workspace, None, None, None, change, None, False, True, None, Silent())["tasks"]
    assert [task["name"] for task in found] == ["gender", "tier"]
    assert all("error" in task for task in found)  # the others' certificates are part of the proof
    states = [run["state"] for run in everything(place)["run"] if run["kind"] == "train"]
    assert states == ["done", "done", "failed", "failed"]


@pytest.mark.slow
def test_stopped_by_a_signal_it_keeps_what_is_registered(place: Path) -> None:
    words = ["task", "train", "--all", "--seed", "6", "--set", "epochs=400", "--set", "patience=400"]
    with started(place, *words) as process:
        wait_for(lambda: workers(process.pid, "_done"))
        process.send(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode not in (0, 2)
    assert "peter task train --all .." in said
    states = [run["state"] for run in everything(place)["run"] if run["kind"] == "train"]
    assert states == ["done", "done", "interrupted", "interrupted"]


class TestMigrate:
    @pytest.fixture
    def moved(self, workspace: Workspace) -> dict[str, Any]:
        """All tasks moved to a smaller backbone of the same log, where one cannot follow."""
        add_task(workspace, "odd", workspace.root.parent.parent / "tier.csv", settings=[*QUICK, "blocks=1:2"])
        pretrain(workspace, "clicks", "other", replace(SHAPE, blocks=1), PRETRAIN, Silent())
        return migrate(workspace, "clicks@1", "other@1", False, None, Silent())

    @pytest.mark.slow
    def test_every_task_is_fitted_again_and_judged(self, workspace: Workspace, moved, place: Path) -> None:
        assert (moved["old"], moved["new"]) == ("clicks@1", "other@1")
        assert [row["name"] for row in moved["tasks"]] == ["gender", "odd", "tier"]
        odd = moved["tasks"].pop(1)
        assert (odd["version"], odd["promoted"], odd["gain"]) == (None, False, None)
        assert odd["reason"].startswith("Blocks 1 to 1 cannot be patched")
        for row in moved["tasks"]:
            assert row["version"] == 2
            assert row["gain"]["low"] <= row["gain"]["value"] <= row["gain"]["high"]
            made = told(place, row["name"], 2)
            assert made["metrics"]["gate"]["promote"] == row["promoted"]
            assert f"{row['name']}@1" in made["metrics"]["differences"]

    @pytest.mark.slow
    def test_rolling_back_gives_the_old_answers_again(self, workspace: Workspace, moved, place: Path) -> None:
        from peter.services.promotion.promote import rollback

        for row in moved["tasks"]:
            if row["promoted"]:
                rollback(workspace, row["name"], False)
        named = everything(place)["alias"]
        champions = {alias["version"] for alias in named if alias["alias"] == "champion"}
        assert champions == {1}


@pytest.mark.slow
def test_a_backbone_that_nobody_reads_cannot_be_left(workspace: Workspace) -> None:
    from peter.errors import InputError

    pretrain(workspace, "clicks", "other", SHAPE, PRETRAIN, Silent())
    with pytest.raises(InputError, match="No task's champion reads other@1"):
        migrate(workspace, "other@1", "clicks@1", False, None, Silent())
