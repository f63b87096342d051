"""Versions of a task: made once for each request, promoted, rolled back, guarded by their owner."""

import getpass
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest
from small_workspace import add_task, table_rows, train_task

from peter.errors import InputError, NameTaken, NotOwner
from peter.progress import Silent
from peter.registry import audit
from peter.services.integrity.verify import verify
from peter.services.promotion.promote import promote, rollback
from peter.services.task.tasks import show_task, show_version, versions
from peter.services.version import train
from peter.services.workspace import Workspace


def champion(workspace: Workspace, task: str) -> int | None:
    answering = show_task(workspace, task)["champion"]
    return answering and answering["version"]


def latest(workspace: Workspace, action: str) -> dict[str, Any]:
    """What the audit holds about the newest change of this kind."""
    with workspace.registry.read() as session:
        row = next(row for row in audit.latest(session, 20) if row.action == action)
    return {"actor": row.actor, "subject": row.subject, **(row.after or {})}


def test_a_request_is_answered_once(workspace: Workspace, place: Path) -> None:
    before = table_rows(workspace.registry)
    again = train_task(workspace, "gender", labels=place / "gender.csv")["report"]
    assert (again["version"], again["promoted"]) == (1, True)
    assert table_rows(workspace.registry) == before
    other = [train_task(workspace, "gender", method="bag", promote=False)["report"]["version"] for _ in "12"]
    assert other == [2, 2]
    assert len(table_rows(workspace.registry)["run"]) == len(before["run"]) + 1


def test_new_labels_make_a_version_that_the_gate_judges(workspace: Workspace, place: Path) -> None:
    labels = pl.read_csv(place / "gender.csv", infer_schema=False)
    path = place / "newer.csv"
    labels.head(250).write_csv(path)
    made = train_task(workspace, "gender", labels=path)
    assert made["report"]["version"] == 2
    assert made["report"]["promoted"] == (champion(workspace, "gender") == 2)
    gate = made["report"]["metrics"]["gate"]
    assert list(gate["gains"]) == ["gender@1", "bag", "probe", "wide", "majority"]
    assert made["report"]["reason"] == gate["reason"] == made["versions"][-1]["gate"]
    assert gate["reason"].endswith("; its from-scratch twin was not compared")
    rows = table_rows(workspace.registry)
    assert [labels["users"] for labels in rows["label_set"]] == [300, 300, 250]
    after = train_task(workspace, "gender", labels=path, promote=False)
    assert after["report"]["version"] == 2


def test_a_candidate_challenges_until_it_is_promoted(workspace: Workspace) -> None:
    assert show_task(workspace, "gender")["challenger"] is None
    for method in ("bag", "probe"):
        train_task(workspace, "gender", method=method, promote=False)
    assert [(row["version"], row["challenger"]) for row in show_task(workspace, "gender")["versions"]] == [
        (1, False), (2, False), (3, True),
    ]  # fmt: skip
    assert show_version(workspace, "gender@challenger")["report"]["method"] == "probe"
    again = train_task(workspace, "gender@2", promote=True)["report"]
    assert (again["version"], again["promoted"]) == (2, False)  # the request is known, whatever else was said
    promote(workspace, "gender@challenger", False, "")
    assert show_task(workspace, "gender")["challenger"] is None
    moves = versions(workspace, "gender")["history"]
    assert [(move["alias"], move["from"], move["to"]) for move in moves] == [
        ("champion", None, 1), ("challenger", None, 2), ("challenger", 2, 3), ("champion", 1, 3),
    ]  # fmt: skip
    assert moves[1]["why"].startswith("not asked to become champion; ")
    assert all(move["actor"] == getpass.getuser() and move["at"] for move in moves)
    train_task(workspace, "gender", method="bag", seed=1, promote=False)  # after one that challenges no more
    assert verify(workspace, quick=True, progress=Silent())["problems"] == []


def test_labels_of_other_classes_are_left_to_a_person(workspace: Workspace, place: Path) -> None:
    made = train_task(workspace, "gender", labels=place / "tier.csv", method="bag")["report"]
    assert (made["version"], made["promoted"]) == (2, False)
    assert "answers other classes; compare and promote by hand" in made["reason"]


def test_labels_of_fewer_classes_keep_the_meaning_of_the_outputs(workspace: Workspace, place: Path) -> None:
    labels = pl.read_csv(place / "tier.csv", infer_schema=False)
    labels.filter(pl.col("tier") != "tier3").write_csv(place / "fewer.csv")
    made = train_task(workspace, "tier", labels=place / "fewer.csv", method="bag")["report"]
    assert set(made["metrics"]["gate"]["gains"]) == {"tier@1", "probe", "majority"}


def test_rolling_back_goes_back_and_not_forth(workspace: Workspace) -> None:
    for method in ("bag", "probe"):
        train_task(workspace, "gender", method=method, promote=False)
    assert champion(workspace, "gender") == 1
    for version in (3, 2):
        promote(workspace, f"gender@{version}", False, "by hand")
    for expected in (3, 1):
        assert rollback(workspace, "gender", False)["champion"]["version"] == expected
    with pytest.raises(InputError, match="No other version of 'gender' was champion before"):
        rollback(workspace, "gender", False)
    promote(workspace, "gender@3", False, "by hand again")
    assert rollback(workspace, "gender", False)["champion"]["version"] == 1


def test_a_version_that_is_named_is_left_once(workspace: Workspace) -> None:
    for method in ("bag", "probe"):
        train_task(workspace, "gender", method=method, promote=False)
    for version in (2, 3):
        promote(workspace, f"gender@{version}", False, "")
    with pytest.raises(InputError, match="gender@2 cannot be left: gender@3 is champion"):
        rollback(workspace, "gender@2", False)
    told = rollback(workspace, "gender@3", False)
    before = table_rows(workspace.registry)
    again = rollback(workspace, "gender@3", False)
    assert (told["champion"]["version"], told["left"]) == (2, 3)
    assert again == told
    assert table_rows(workspace.registry) == before
    assert rollback(workspace, "gender", False)["left"] == 2


@pytest.mark.parametrize("why", ["", "rolled back"])
def test_whatever_reason_a_promotion_gives_it_can_be_rolled_back(workspace: Workspace, why: str) -> None:
    train_task(workspace, "gender", method="bag", promote=False)
    promote(workspace, "gender@2", False, why)
    assert rollback(workspace, "gender", False)["champion"]["version"] == 1


def test_an_unfinished_task_goes_on(
    workspace: Workspace, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(train, "make_each", mock.Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            add_task(workspace, "other", place / "gender.csv", description="whom we mean")
    assert champion(workspace, "other") is None
    with monkeypatch.context() as patched:
        patched.setenv("PETER_USER", "eve")
        with pytest.raises(NotOwner):
            add_task(workspace, "other", place / "tier.csv")
    made = add_task(workspace, "other", place / "tier.csv")
    assert (made["report"]["version"], made["description"]) == (1, "whom we mean")
    assert champion(workspace, "other") == 1
    (task,) = [row for row in table_rows(workspace.registry)["task"] if row["name"] == "other"]
    assert task["outputs"]["classes"] == [f"tier{number}" for number in range(4)]
    with pytest.raises(NameTaken, match="peter task train other"):
        add_task(workspace, "other", place / "tier.csv")


def test_force_changes_another_owner_s_task_and_is_on_record(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = show_task(workspace, "gender")["owner"]
    monkeypatch.setenv("PETER_USER", "eve")
    for change in (
        lambda force: train_task(workspace, "gender", method="bag", promote=False, force=force),
        lambda force: promote(workspace, "gender@2", force, ""),
        lambda force: rollback(workspace, "gender", force),
    ):
        before = table_rows(workspace.registry)
        with pytest.raises(NotOwner, match=f"belongs to {owner}"):
            change(False)
        assert table_rows(workspace.registry) == before
        change(True)
    for action, subject in (("patch.add", "gender@2"), ("alias.move", "gender@champion")):
        noted = latest(workspace, action)
        assert (noted["actor"], noted["subject"]) == ("eve", subject)
        assert noted["forced_past_owner"] == owner
    assert show_task(workspace, "gender")["owner"] == owner


def test_a_task_can_be_made_for_somebody_else(workspace: Workspace, place: Path) -> None:
    assert (
        add_task(workspace, "other", place / "gender.csv", owner="growth", method="bag")["owner"] == "growth"
    )
    with pytest.raises(NotOwner, match="belongs to growth"):
        train_task(workspace, "other", seed=1)
