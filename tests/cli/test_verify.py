"""`peter verify` is content with what is whole, and exits 1 with a sentence about what is not."""

import sqlite3
from pathlib import Path

import pytest

from peter.registry import patches


def test_a_whole_workspace_has_no_problem(peter, place: Path) -> None:
    told = peter("verify", "--json")
    assert (told.code, told.err) == (0, "")
    assert told.json["problems"] == []
    assert told.json["checked"]["champions"] == 2
    assert peter("verify", "--quick", "--json").json["checked"]["champions"] == 0


@pytest.mark.parametrize("flags", [[], ["--quick"]], ids=str)
def test_a_flipped_bit_is_found(peter, workspace, flags: list[str]) -> None:
    with workspace.registry.read() as session:
        patch = patches.get(session, "gender")
    path = workspace.objects.path(patch.weights_sha256)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    told = peter("verify", *flags, "--json")
    assert told.code == 1
    (problem,) = told.json["problems"]
    assert path.name in problem
    assert f"patch.weights_sha256 of row {patch.id}" in problem
    assert path.name in peter("verify").out


def test_an_edited_audit_row_is_found(peter, place: Path) -> None:
    database = sqlite3.connect(place / ".peter" / "registry.db")
    for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        database.execute(f"DROP TRIGGER {trigger}")
    database.execute("UPDATE audit SET actor = 'nobody' WHERE id = 3")
    database.commit()
    database.close()
    told = peter("verify", "--json")
    assert told.code == 1
    assert told.json["problems"] == ["Audit row 3 was changed or follows a missing one."]
