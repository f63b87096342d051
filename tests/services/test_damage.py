"""Every damage to a store or a registry is noticed and named; what a copy of the store can heal is healed."""

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from small_workspace import another_version, everything, table_rows

from peter.progress import Silent
from peter.registry import aliases, event_logs, patches, profiles
from peter.registry.directory import DirectoryStore
from peter.registry.objects import place as place_of
from peter.services.integrity.verify import verify
from peter.services.patch import patch_objects
from peter.services.profile.materialize import materialize
from peter.services.workspace import Workspace

# what an object is -> where the row that refers to it says so, and its hash
ROLES: dict[str, tuple[str, Callable[[Any], str]]] = {
    "weights": ("patch.weights_sha256", lambda session: patches.get(session, "gender").weights_sha256),
    "backbone": (
        "backbone.weights_sha256",
        lambda session: patches.get(session, "gender").backbone.weights_sha256,
    ),
    "labels": ("label_set.sha256", lambda session: patches.get(session, "gender").label_set.sha256),
    "sequences": ("event_log.sha256", lambda session: event_logs.get(session, "clicks").sha256),
    "users": ("event_log.users_sha256", lambda session: event_logs.get(session, "clicks").users_sha256),
    "vocabulary": ("event_log.vocab_sha256", lambda session: event_logs.get(session, "clicks").vocab_sha256),
    "answers": ("profile_table.sha256", lambda session: profiles.current(session)[0].sha256),
}


def flip(path: Path) -> None:
    """One bit of the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def cut(path: Path) -> None:
    """The second half."""
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    """All of it."""
    path.chmod(0o644)
    path.write_bytes(b"")


def rename(path: Path) -> None:
    """The right bytes under another object's name."""
    path.rename(path.with_name(path.name[:2] + "0" * 62))


@dataclass(frozen=True)
class Damage:
    """To a file: which, how, what is said of it, and whether `--quick` sees it."""

    role: str
    do: Callable[[Path], None]
    said: str
    quick: bool = False


FILES = {f"a bit of {role}": Damage(role, flip, "no longer hashes to its name") for role in ROLES} | {
    "half of it is gone": Damage("weights", cut, "no longer hashes to its name"),
    "emptied": Damage("weights", empty, "no longer hashes to its name", quick=True),
    "gone": Damage("weights", Path.unlink, "is missing", quick=True),
    "renamed": Damage("sequences", rename, "is missing", quick=True),
}


def found(workspace: Workspace, quick: bool = False, copies: Any = None) -> dict[str, Any]:
    """What `peter verify` tells, with hashes that nobody has checked before."""
    return verify(Workspace(workspace.registry, workspace.objects.fresh()), quick, Silent(), copies)


def stored(workspace: Workspace, role: str) -> Path:
    with workspace.registry.read() as session:
        return workspace.root / place_of(ROLES[role][1](session))


@pytest.fixture
def copy(place: Path, tmp_path_factory: pytest.TempPathFactory) -> DirectoryStore:
    """A good copy of the store."""
    target = tmp_path_factory.mktemp("copy") / "store"
    shutil.copytree(place / ".peter" / "store" / "objects", target / "objects")
    return DirectoryStore(target)


@pytest.mark.parametrize("damage", FILES.values(), ids=FILES)
def test_a_damaged_file_is_named_and_healed_from_a_copy(
    workspace: Workspace, place: Path, copy: DirectoryStore, damage: Damage
) -> None:
    path, before = stored(workspace, damage.role), everything(place)
    damage.do(path)
    left = path.read_bytes() if path.exists() else None
    report = found(workspace)
    (problem,) = report["problems"]
    assert path.name in problem
    assert damage.said in problem
    assert f"It is {ROLES[damage.role][0]} of row" in problem
    assert bool(found(workspace, quick=True)["problems"]) == damage.quick
    healed = found(workspace, copies=[copy])
    assert healed["problems"] == []
    assert healed["repaired"] == [f"Object {path.name} was put back from {copy}."]
    aside = list((workspace.root / "quarantine").glob("*"))
    assert [file.read_bytes() for file in aside] == ([] if left is None else [left])
    after = everything(place)
    assert before["files"].items() <= after["files"].items()
    assert {**after, "files": before["files"]} == before


def test_two_patches_files_that_changed_places_are_healed(workspace: Workspace, copy: DirectoryStore) -> None:
    with workspace.registry.read() as session:
        files = [workspace.root / place_of(patch.weights_sha256) for patch in aliases.champions(session)]
    contents = [path.read_bytes() for path in files]
    for path, data in zip(files, reversed(contents), strict=True):
        path.unlink()
        path.write_bytes(data)
    report = found(workspace)
    assert sorted(
        path.name for path in files if any(path.name in line for line in report["problems"])
    ) == sorted(path.name for path in files)
    assert report["checked"]["champions"] == 0
    assert found(workspace, copies=[copy])["problems"] == []
    assert [path.read_bytes() for path in files] == contents


ROWS = {
    "two patches' hashes swapped": (
        "UPDATE patch SET weights_sha256 = (SELECT weights_sha256 FROM patch AS p WHERE p.id = 3 - patch.id)",
        [
            "weights_sha256 of patch gender@1 is not what the audit tells",
            "gender@1 was made for another task",
        ],
    ),
    "a certificate": (
        "UPDATE patch SET certificate = json_set(certificate, '$.sha256', 'ab') WHERE id = 1",
        ["certificate of patch gender@1 is not what the audit tells", "gender@1 no longer answers"],
    ),
    "a calibration": (
        "UPDATE patch SET config = json_set(config, '$.calibration', json('{}')) WHERE id = 1",
        ["config of patch gender@1 is not what the audit tells"],
    ),
    "options": (
        "UPDATE patch SET config = json_remove(config, '$.schema') WHERE id = 1",
        ["config of patch gender@1 is not", "peter cannot open gender@1 (unexpected KeyError)"],
    ),
    "the backbone that it was made for": (
        "UPDATE patch SET config = json_set(config, '$.adapter.base_model_sha256', 'ab') WHERE id = 1",
        ["config of patch gender@1 is not", "gender@1 was made for another backbone than clicks@1"],
    ),
    "text that is no JSON": (
        "UPDATE patch SET config = '{' WHERE id = 1",
        ["Row 1 of patch has in config what is no JSON"],
    ),
    "metrics": (
        "UPDATE patch SET metrics = json_set(metrics, '$.params', 1) WHERE id = 1",
        ["metrics of patch gender@1 is not what the audit tells"],
    ),
    "what it reads": (
        "UPDATE patch SET reads = '[9]' WHERE id = 1",
        ["gender@1 reads patch 9, which is not there"],
    ),
    "labels of another task": (
        "UPDATE patch SET label_set_id = 2 WHERE id = 1",
        ["gender@1 refers to labels of task tier"],
    ),
    "a row that is gone": (
        "DELETE FROM patch WHERE id = 1",
        [
            "of alias refers to a row of patch that is not there",
            "The audit tells of patch gender@1, which is not there",
        ],
    ),
    "a version that is gone": (
        "UPDATE patch SET version = 2 WHERE id = 1",
        ["Version 1 of task gender is not there"],
    ),
    "another vocabulary": (
        "UPDATE backbone SET vocab_sha256 = weights_sha256",
        ["Backbone clicks@1 has another vocabulary than clicks@1"],
    ),
    "answers of another task": (
        "UPDATE profile_table SET sha256 = (SELECT sha256 FROM profile_table WHERE id = 2) WHERE id = 1",
        ["sha256 of profile gender@1 on clicks@1 is not what the audit tells"],
    ),
    "who owns a task": (
        "UPDATE task SET owner = 'eve' WHERE name = 'gender'",
        ["owner of task gender is not what the audit tells"],
    ),
    "a removed task": (
        "UPDATE task SET retired_at = '2026-01-01 00:00:00' WHERE name = 'gender'",
        ["Task gender was removed, or brought back, without record"],
    ),
    "a move": (
        "UPDATE alias_history SET from_version = 7 WHERE id = 1",
        [
            "A move of gender@champion does not begin where the one before ended",
            "other moves of gender@champion",
        ],
    ),
    "a record": ("UPDATE audit SET actor = 'nobody' WHERE id = 3", ["Audit row 3 was changed"]),
    "a record that is gone": (
        "DELETE FROM audit WHERE id = 4",
        ["Audit row 5 was changed or follows a missing one"],
    ),
    "the newest record": (
        "DELETE FROM audit WHERE id = (SELECT max(id) FROM audit)",
        ["state of run 4 is not what the audit tells"],
    ),
    "an armed trigger": ("DROP TRIGGER tr_audit_update", ["The registry lacks tr_audit_update"]),
    "an index": ("DROP INDEX ix_patch_backbone_id", ["The registry lacks ix_patch_backbone_id"]),
    "a column": ("ALTER TABLE run DROP COLUMN storage", ["no column run.storage of type TEXT"]),
}


def tamper(place: Path, statement: str) -> None:
    """With SQLite's own tools, triggers put back afterwards unless it was about them."""
    database = sqlite3.connect(place / ".peter" / "registry.db")
    triggers = database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    with database:
        for name, _ in triggers:
            database.execute(f"DROP TRIGGER {name}" if name not in statement else "SELECT 1")
        database.execute(statement)
        for name, sql in triggers:
            database.execute(sql if name not in statement else "SELECT 1")
    database.close()


@pytest.mark.parametrize(("statement", "said"), ROWS.values(), ids=ROWS)
def test_an_edited_row_is_named_and_not_believed(
    workspace: Workspace, place: Path, copy: DirectoryStore, statement: str, said: list[str]
) -> None:
    tamper(place, statement)
    problems = found(workspace)["problems"]
    for sentence in said:
        assert any(sentence in problem for problem in problems), problems
    assert any(said[0] in problem for problem in found(workspace, quick=True)["problems"])
    assert found(workspace, copies=[copy])["problems"] == problems
    assert not (workspace.root / "quarantine").exists()


def test_a_fault_of_the_program_is_not_taken_for_one_of_the_registry(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise AttributeError("module 'torch' has no attribute 'load'")

    monkeypatch.setattr(patch_objects, "load", broken)
    problems = found(workspace)["problems"]
    for problem, name in zip(problems, ("gender@1", "tier@1"), strict=True):
        assert f"peter cannot open {name} (unexpected AttributeError)" in problem
        assert "pip install" in problem
        assert "restore" not in problem


def test_an_alias_that_was_moved_behind_the_record_is_put_back(workspace: Workspace, place: Path) -> None:
    another_version(workspace, "gender")
    before = table_rows(workspace.registry)
    tamper(place, "UPDATE alias SET version = 2 WHERE task_id = (SELECT id FROM task WHERE name = 'gender')")
    (problem,) = found(workspace, quick=True)["problems"]
    assert problem.startswith(
        "gender@champion names version 2 and its last move is to 1; run `peter verify --r"
    )
    report = found(workspace, copies=[])
    assert report["problems"] == []
    assert report["repaired"] == ["gender@champion names version 1 again, as its last move says."]
    after = table_rows(workspace.registry)
    assert after.pop("audit")[-1]["action"] == "alias.put_back"
    del before["audit"]
    assert after == before
    assert found(workspace)["problems"] == []


def test_one_damage_hides_no_other(workspace: Workspace, place: Path) -> None:
    flip(stored(workspace, "weights"))
    tamper(place, "UPDATE patch SET certificate = json_set(certificate, '$.sha256', 'ab') WHERE id = 2")
    report = found(workspace)
    assert report["checked"]["champions"] == 1
    assert [report["checked"][part] for part in ("schema", "references", "audit")] == [True, True, False]
    for said in ("no longer hashes to its name", "tier@1 no longer answers", "certificate of patch tier@1"):
        assert any(said in problem for problem in report["problems"])


def test_what_no_copy_has_is_moved_aside_and_stays_a_problem(
    workspace: Workspace, copy: DirectoryStore
) -> None:
    path = stored(workspace, "weights")
    flip(path)
    bad = path.read_bytes()
    report = found(workspace, copies=[])
    assert report["repaired"] == []
    (problem,) = report["problems"]
    assert "is missing" in problem
    assert "--repair --from" in problem
    (aside,) = (workspace.root / "quarantine").iterdir()
    assert (aside.read_bytes(), aside.name.partition(".")[0]) == (bad, path.name)
    flip(copy.root / place_of(path.name))  # the copy is bad, too
    assert len(found(workspace, copies=[copy])["problems"]) == 1
    flip(copy.root / place_of(path.name))
    assert found(workspace, copies=[copy])["problems"] == []


def test_lost_answers_are_given_up_and_made_again(workspace: Workspace, place: Path) -> None:
    path, before = stored(workspace, "answers"), everything(place)["files"]
    cut(path)
    report = found(workspace, copies=[])
    assert report["problems"] == []
    (done,) = report["repaired"]
    assert done.endswith("are given up; run `peter profile materialize`.")
    assert table_rows(workspace.registry)["audit"][-1]["action"] == "profile.drop"
    materialize(workspace, None, Silent())
    assert found(workspace)["problems"] == []
    assert before.items() <= everything(place)["files"].items()
