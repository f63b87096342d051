"""Looking after a workspace: what nothing needs goes, what is retired stays on record."""

import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

from small_workspace import PRETRAIN, SHAPE, another_version
from sqlalchemy.orm import Session

from peter.progress import Silent
from peter.registry import aliases, patches
from peter.registry.models import Patch
from peter.services.backbone.pretrain import pretrain
from peter.services.workspace import Workspace


def test_only_what_nothing_refers_to_is_collected(peter, workspace) -> None:
    kept = set(workspace.objects.sizes())
    workspace.objects.put_bytes(b"nobody's")
    assert peter("gc", "--dry-run", "--json").json == {"removable": 1, "bytes": 8}
    assert len(set(workspace.objects.sizes()) - kept) == 1
    told = peter("gc", "--json")
    assert (told.code, told.json) == (0, {"removed": 1, "bytes": 8})
    assert set(workspace.objects.sizes()) == kept
    assert peter("verify", "--json").json["problems"] == []


def test_a_backup_answers_in_the_registrys_place(peter, place: Path) -> None:
    registry, before = place / ".peter" / "registry.db", peter("task", "list", "--json").json
    assert peter("db", "backup", "copy.db").code == 0
    assert peter("task", "remove", "gender").code == 0
    for file in registry.parent.glob("registry.db*"):
        file.unlink()
    shutil.copy(place / "copy.db", registry)
    assert peter("task", "list", "--json").json == before
    assert peter("db", "backup", "copy.db").code == 2  # never over a file that is there


def test_a_promotion_says_what_it_did_and_how_it_is_taken_back(peter, workspace) -> None:
    with workspace.registry.read() as session:
        weights = workspace.objects.path(patches.get(session, "tier").weights_sha256)
    another_version(workspace, "tier", weights.read_bytes())
    told = peter("task", "promote", "tier@2").out
    assert told.startswith("tier@2 is the champion; it was tier@1.\n")
    assert told.endswith("Next: peter task rollback tier@2, to take it back.\n")
    again = peter("task", "promote", "tier@2").out
    assert again.startswith("tier@2 is the champion already.\n")
    assert "Next:" not in again
    assert peter("task", "rollback", "tier@2", "--json").json["left"] == 2
    assert peter("task", "promote", "tier@2", "--json").json["left"] == 1


def test_a_rollback_says_how_it_can_be_typed_again(peter, workspace) -> None:
    newer = another_version(workspace, "tier")
    workspace.registry.write(lambda session: aliases.move(session, newer, aliases.CHAMPION, "ann", "better"))
    told = peter("task", "rollback", "tier")
    assert "tier@1 is champion in place of tier@2." in told.out
    assert told.out.endswith("peter task rollback tier@2\n")
    again = peter("task", "rollback", "tier@2", "--json").json
    assert (again["champion"]["version"], again["left"]) == (1, 2)
    assert peter("task", "rollback", "tier").code == 2


def test_a_removed_task_answers_no_more_and_keeps_its_name(peter, place: Path) -> None:
    assert peter("task", "remove", "gender", "--json").json == {"removed": "gender"}
    assert [task["name"] for task in peter("task", "list", "--json").json["tasks"]] == ["tier"]
    user = peter("profile", "query", "true", "--limit", "1", "--json").json["users"][0]
    assert set(user) == {"user_id", "events", "tier", "tier_p"}
    again = peter("task", "add", "gender", "--labels", "gender.csv")
    assert (again.code, "gender" in again.err) == (2, True)


def test_a_task_whose_versions_are_read_stays(peter, workspace) -> None:
    reading(workspace, "tier", "gender")
    told = peter("task", "remove", "gender")
    sentence = "Task 'gender' stays: tier@2 read its versions; remove what reads them first.\n"
    assert (told.code, told.out, told.err) == (2, "", sentence)
    assert peter("task", "remove", "tier").code == 0
    assert peter("task", "remove", "gender").code == 0


def test_a_tree_of_what_came_out_of_what(peter, workspace) -> None:
    reading(workspace, "tier", "gender")
    pretrain(workspace, "clicks", "clicks", SHAPE, replace(PRETRAIN, seed=5), Silent())
    document = peter("backbone", "tree", "clicks@1", "--json").json
    (log,) = document["event_logs"]
    (backbone,) = log["backbones"]
    assert (log["event_log"], log["parent"], backbone["backbone"]) == ("clicks@1", None, "clicks@1")
    gender, tier = backbone["patches"]
    assert (gender["patch"], gender["champion"], gender["reads"]) == ("gender@1", True, [])
    (reader,) = gender["read_by"]
    assert (reader["patch"], reader["champion"], reader["reads"]) == ("tier@2", False, ["gender@1"])
    assert (tier["patch"], tier["read_by"]) == ("tier@1", [])
    drawn = peter("backbone", "tree").out
    assert [line.split()[-1] if "@" in line else "" for line in drawn.splitlines()] == [
        "clicks@1", "(next-item)", "champion", "gender@1", "champion", "(next-item)",
    ]  # fmt: skip
    assert "did you mean clicks" in peter("backbone", "tree", "click").err
    listed = peter("backbone", "list", "--json").json["backbones"]
    assert [(row["version"], row["patches"], row["champions"]) for row in listed] == [(1, 3, 2), (2, 0, 0)]
    shown = peter("backbone", "show", "clicks@1", "--json").json
    assert [(row["patch"], row["champion"]) for row in shown["read_by"]] == [
        ("gender@1", True), ("tier@1", True), ("tier@2", False),
    ]  # fmt: skip
    assert (shown["parent"], shown["children"]) == (None, [])
    assert "tier@2" in peter("backbone", "show", "clicks@1").out


def reading(workspace: Workspace, task: str, other: str) -> None:
    """Register a version of `task` that reads the champion of `other`."""

    def register(session: Session) -> None:
        like, read = patches.get(session, task), patches.get(session, other)
        kept = ("method", "config", "fit", "weights_sha256", "params", "metrics", "certificate")
        row = {name: getattr(like, name) for name in kept}
        patch = Patch(
            task=like.task, backbone=like.backbone, label_set=like.label_set, request_sha256="0" * 64,
            reads=[read.id], **row,
        )  # fmt: skip
        patches.add(session, patch, workspace.actor)

    workspace.registry.write(register)


def test_somebody_elses_task_is_removed_by_force_alone(peter, place: Path, monkeypatch) -> None:
    monkeypatch.setenv("PETER_USER", "mallory")
    assert peter("task", "remove", "gender").code == 2
    assert peter("task", "remove", "gender", "--force").code == 0
    newest = peter("audit", "list", "--limit", "1", "--json").json["changes"][0]
    assert (newest["actor"], newest["action"], newest["subject"]) == ("mallory", "task.retire", "gender")
    assert newest["after"]["forced_past_owner"]


def test_an_edited_record_is_found(peter, place: Path) -> None:
    assert peter("audit", "verify", "--json").json == {"whole": True, "broken": None, "problems": []}
    with sqlite3.connect(place / ".peter" / "registry.db") as database:
        for (trigger,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            database.execute(f"DROP TRIGGER {trigger}")
        database.execute("UPDATE audit SET actor = 'nobody' WHERE id = 3")
    database.close()
    told = peter("audit", "verify", "--json")
    assert (told.code, told.json) == (1, {"whole": False, "broken": 3, "problems": []})
