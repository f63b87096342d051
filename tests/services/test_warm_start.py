"""Warm starts: whom a new patch goes on from, what of it, and what is said and kept of that."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from commands import run as command
from commands import sentence
from processes import peter
from small_workspace import add_task, everything, train_task, write_easy_labels

from peter.data.labels import read_labels
from peter.errors import InputError
from peter.methods import method
from peter.methods._deep import DeepPatch
from peter.progress import Silent
from peter.registry import backbones, patches
from peter.registry.models import Patch
from peter.services.integrity.upkeep import remove_task
from peter.services.integrity.verify import verify
from peter.services.lifecycle.forget import forget
from peter.services.patch import patch_objects, warm_start
from peter.services.patch.recipes import Recipe
from peter.services.patch.requests import Request
from peter.services.transfer.exports import export_patch
from peter.services.transfer.imports import import_patch
from peter.services.workspace import Workspace
from peter.task import kind

BOLD = [  # moves far from what it starts as, and keeps where it got to
    "epochs=2", "threads=1", "learning_rate=0.03", "batch_users=16", "caution=0", "warm_start=off",
    "wide=off", "summary=off",
]  # fmt: skip


def row(workspace: Workspace, reference: str) -> Patch:
    with workspace.registry.read() as session:
        return patches.get(session, reference)


@pytest.fixture
def taught(workspace: Workspace, place: Path) -> Workspace:
    """With a task that has learnt something, and labels of another that is like it."""
    write_easy_labels(place, "many", 0, 19)
    add_task(workspace, "taught", write_easy_labels(place, "some", 0, 9), settings=BOLD)
    return workspace


def request(workspace: Workspace, place: Path, settings: list[str], labels: str = "gender") -> Request:
    with workspace.registry.read() as session:
        base = backbones.only(session)
    table = read_labels(place / f"{labels}.csv", None)
    recipe = Recipe.make(kind("classification"), "peter", settings)
    return Request.read(workspace, "new", table, base, recipe)


def test_the_trunk_goes_on_and_nothing_else_does(taught: Workspace, place: Path) -> None:
    cold = request(taught, place, BOLD)
    warm = warm_start.begin(taught, cold, "taught")
    older = patch_objects.load(taught.objects, row(taught, "taught"), cold.base).patch.state_dict()
    made = []
    for setting in (cold.setting, replace(cold.setting, warm=warm.warm and warm.warm.patch.tensors)):
        patch = method("peter").build(setting, cold.recipe.options)
        assert isinstance(patch, DeepPatch)
        made.append(patch.state_dict())
    fresh, gone_on = made
    for name in fresh:
        source = older if name.startswith("trunk.") else fresh
        assert torch.equal(gone_on[name], source[name])
    assert any(not torch.equal(fresh[name], older[name]) for name in fresh if name.startswith("trunk."))


def test_what_is_said_kept_and_answered(taught: Workspace, place: Path) -> None:
    cold = add_task(taught, "cold", place / "gender.csv", settings=BOLD)["report"]
    made = add_task(taught, "warm", place / "gender.csv", settings=BOLD, warm="taught@1")["report"]
    told = made["metrics"]
    assert told["warm_start"]["from"] == "taught@1"
    assert 0 <= told["warm_start"]["similarity"] <= 1
    assert told["baselines"]["cold"] == cold["metrics"]["test"]
    assert set(told["differences"]["cold"]) == set(told["test"])
    assert set(told["baselines"]) - set(cold["metrics"]["baselines"]) == {"cold"}
    patch, before = row(taught, "warm"), row(taught, "taught")
    kept = patch.config["warm_start"]
    assert (kept["id"], kept["sha256"], kept["reference"]) == (before.id, before.weights_sha256, "taught@1")
    assert patch.reads == []
    assert patch.request_sha256 != row(taught, "cold").request_sha256

    again = train_task(taught, "warm")["report"]
    assert (again["version"], again["reason"]) == (1, "this very request made it before")
    remove_task(taught, "taught", False)  # nothing of it is needed to answer
    assert verify(taught, quick=False, progress=Silent())["problems"] == []
    other = train_task(taught, "warm", seed=1, promote=False)["report"]
    assert other["metrics"]["warm_start"]["from"] == "taught@1"
    changed = train_task(taught, "warm", settings=["reduction=2"], promote=False)["report"]
    assert "warm_start" not in changed["metrics"]


def test_auto_takes_the_task_that_is_like_it(taught: Workspace, place: Path) -> None:
    """Of two that are made alike: the other one learnt a coin that was thrown."""
    labels = pl.read_csv(place / "many.csv", infer_schema=False)
    thrown = pl.Series([f"c{drawn % 2}" for drawn in labels["user_id"].hash(3)])
    labels.with_columns(many=thrown).write_csv(place / "coin.csv")
    add_task(taught, "coin", place / "coin.csv", settings=BOLD)
    warm = warm_start.begin(taught, request(taught, place, BOLD, "many"), "auto").warm
    assert warm is not None
    assert warm.patch.reference == "taught@1"
    assert warm.similarity > 0.1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--warm-start nobody", "nobody"),
        ("--warm-start tier --method bag", "new cannot start from tier@1: its method is peter"),
        (
            "--warm-start tier --set reduction=2",
            "tier@1: its settings differ in reduction",
        ),
        (
            "--warm-start auto --method last",
            "No other task on clicks@1 has a champion of method last",
        ),
        ("--warm-start auto --set tcl=on", "leave out --warm-start"),
    ],
)
def test_what_cannot_be_gone_on_from_is_told_and_changes_nothing(place: Path, words: str, said: str) -> None:
    before = everything(place)
    ended = command(place, f"task add new --labels gender.csv {words}")
    assert said in sentence(ended, code=2)
    assert everything(place) == before


def test_nothing_similar_is_told(workspace: Workspace, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warm_start, "similarity", lambda ours, theirs: (0.02, 0.05))
    with pytest.raises(
        InputError, match=r"No task on clicks@1 is like new beyond chance \(most is \w+@1, 0.020\)"
    ):
        warm_start.begin(workspace, request(workspace, place, ["epochs=1", "threads=1"]), "auto")


def test_a_reader_is_not_gone_on_from(workspace: Workspace, place: Path) -> None:
    add_task(workspace, "mixed", place / "tier.csv", method="experts")
    with pytest.raises(InputError, match="what a patch of method experts holds is of what it reads"):
        add_task(workspace, "new", place / "tier.csv", method="experts", warm="mixed")


def test_a_request_without_one_is_what_it_was(workspace: Workspace, place: Path) -> None:
    """Its hash, too: the version that an earlier peter made is found again."""
    recipe = Recipe.of(row(workspace, "gender"))
    plain = {"labels_sha256": "a", "backbone_sha256": "b"}
    assert recipe.identity(**plain, warm=None) == recipe.identity(**plain)
    assert recipe.identity(**plain, warm="c") != recipe.identity(**plain)


def test_it_travels_without_what_it_went_on_from(taught: Workspace, place: Path) -> None:
    add_task(taught, "warm", place / "gender.csv", settings=BOLD, warm="taught")
    export_patch(taught, "warm", place / "out", with_labels=True)
    made = import_patch(taught, place / "out", "copy", None, False)["report"]
    assert made["certificate"] == row(taught, "warm").certificate["sha256"]
    assert row(taught, "copy").request_sha256 == row(taught, "warm").request_sha256


def test_who_is_forgotten_is_forgotten_by_those_who_went_on(taught: Workspace, place: Path) -> None:
    labels = pl.read_csv(place / "gender.csv", infer_schema=False)
    user = next(user for user in labels["user_id"] if user.startswith("u"))
    labels.filter(pl.col("user_id") != user).write_csv(place / "others.csv")
    add_task(taught, "warm", place / "others.csv", settings=BOLD, warm="taught")
    said = forget(taught, user, False, False, None, Silent())
    learnt = row(taught, "taught").state
    assert row(taught, "warm").state == learnt
    assert ("warm@1" in json.dumps(said)) == (learnt == "needs-retrain")


def test_remarks_say_it_in_words(place: Path) -> None:
    settings = " ".join(f"--set {setting}" for setting in ("epochs=1", "threads=1"))
    words = f"task add warm --labels tier.csv --warm-start tier --no-twin {settings}"
    page = " ".join(command(place, words).out.split())
    assert "warm@1 went on from tier@1 (similarity " in page
    assert "over the same patch started cold." in page


@pytest.mark.slow
def test_side_by_side_is_the_same_as_alone(place: Path, tmp_path_factory: Any) -> None:
    alone = shutil.copytree(place, tmp_path_factory.mktemp("alone"), dirs_exist_ok=True)
    words = ["task", "add", "one", "two", "--labels", "gender.csv", "--labels", "tier.csv"]
    settings = ["--warm-start", "tier", "--no-twin", "--set", "epochs=1", "--set", "threads=1"]
    done = peter(place, *words, *settings)
    assert done.returncode == 0, done.stderr
    peter(alone, "task", "add", "one", "--labels", "gender.csv", *settings)
    both, single = (everything(each) for each in (place, alone))
    one = next(task["id"] for task in both["task"] if task["name"] == "one")
    (made,) = (patch for patch in both["patch"] if patch["task_id"] == one)
    for column in ("weights_sha256", "request_sha256", "config", "certificate"):
        assert made[column] == single["patch"][-1][column]
