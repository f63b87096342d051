"""Looking after a workspace: what nothing needs goes, what is retired stays on record."""

import shutil
import sqlite3
from pathlib import Path


def test_only_what_nothing_refers_to_is_collected(peter, workspace) -> None:
    kept = set(workspace.objects.all())
    workspace.objects.put_bytes(b"nobody's")
    assert peter("gc", "--dry-run", "--json").json == {"removable": 1, "bytes": 8}
    assert len(set(workspace.objects.all()) - kept) == 1
    told = peter("gc", "--json")
    assert (told.code, told.json) == (0, {"removed": 1, "bytes": 8})
    assert set(workspace.objects.all()) == kept
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


def test_a_removed_task_answers_no_more_and_keeps_its_name(peter, place: Path) -> None:
    assert peter("task", "remove", "gender", "--json").json == {"removed": "gender"}
    assert [task["name"] for task in peter("task", "list", "--json").json["tasks"]] == ["tier"]
    user = peter("profile", "query", "true", "--limit", "1", "--json").json["users"][0]
    assert set(user) == {"user_id", "events", "tier", "tier_p"}
    again = peter("task", "add", "gender", "--labels", "gender.csv")
    assert (again.code, "gender" in again.err) == (2, True)


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
