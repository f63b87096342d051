"""`peter verify` is content with what is whole, and exits 1 with a sentence about what is not."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from peter.registry import patches


@pytest.fixture
def weights(workspace) -> Path:
    """The object of gender@1."""
    with workspace.registry.read() as session:
        return Path(workspace.objects.path(patches.get(session, "gender").weights_sha256))


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_whole_workspace_has_no_problem(peter, place: Path) -> None:
    told = peter("verify", "--json")
    assert (told.code, told.err) == (0, "")
    size = sum(path.stat().st_size for path in (place / ".peter" / "store" / "objects").glob("*/*"))
    whole = {"schema": True, "references": True, "audit": True}
    assert told.json == {
        "checked": {**whole, "objects": 10, "bytes": size, "champions": 2},
        "repaired": [],
        "problems": [],
    }
    assert peter("verify", "--quick", "--json").json["checked"]["champions"] == 0


def test_a_flipped_bit_is_found_by_hashing_alone(peter, weights: Path) -> None:
    flip(weights)
    told = peter("verify", "--json")
    assert told.code == 1
    (problem,) = told.json["problems"]
    assert weights.name in problem
    assert "patch.weights_sha256 of row" in problem
    assert weights.name in peter("verify").out
    assert peter("verify", "--quick").code == 0
    weights.unlink()
    assert peter("verify", "--quick").code == 1


def test_a_good_copy_heals(peter, weights: Path, place: Path) -> None:
    shutil.copytree(place / ".peter" / "store" / "objects", place / "copy" / "objects")
    flip(weights)
    told = peter("verify", "--repair", "--from", "copy", "--json")
    assert (told.code, told.json["problems"]) == (0, [])
    assert told.json["repaired"] == [f"Object {weights.name} was put back from {place / 'copy'}."]
    assert peter("verify").code == 0
    assert len(list((place / ".peter" / "store" / "quarantine").iterdir())) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--from", "."], "give --repair with it"),
        (["--repair", "--from", "nowhere"], "nowhere holds no object"),
    ],
)
def test_a_copy_that_cannot_be_used_changes_nothing(
    peter, weights: Path, words: list[str], said: str
) -> None:
    flip(weights)
    bad = weights.read_bytes()
    told = peter("verify", *words)
    assert (told.code, told.out, said in told.err) == (2, "", True)
    assert weights.read_bytes() == bad


def test_an_edited_audit_row_is_found(peter, place: Path) -> None:
    database = sqlite3.connect(place / ".peter" / "registry.db")
    for (trigger,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        database.execute(f"DROP TRIGGER {trigger}")
    database.execute("UPDATE audit SET actor = 'nobody' WHERE id = 3")
    database.commit()
    database.close()
    told = peter("verify", "--json")
    assert told.code == 1
    *disarmed, edited = told.json["problems"]
    assert edited == "Audit row 3 was changed or follows a missing one."
    assert len(disarmed) == 4
    assert all("lacks tr_a" in problem for problem in disarmed)
