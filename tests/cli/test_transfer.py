"""`peter task export` and `import` as they are typed: what a directory holds, and what is not let in."""

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small_workspace import everything, train_task

from peter.registry import patches
from peter.registry.columns import canonical
from peter.services.transfer.patch_directory import CARD, CONFIG, FORMAT, HEADER, LABELS, SHEET, WEIGHTS
from peter.services.workspace import Workspace

Values = dict[str, Any]


def test_a_directory_says_what_it_holds(peter, place: Path) -> None:
    told = peter("task", "export", "gender@1", "patch", "--with-labels", "--json").json
    assert set(os.listdir("patch")) == {CONFIG, WEIGHTS, CARD, LABELS, SHEET}
    for name, sha256 in told["files"].items():
        assert hashlib.sha256((place / "patch" / name).read_bytes()).hexdigest() == sha256
    backbone = peter("backbone", "show", "clicks", "--json").json
    config = json.loads((place / "patch" / CONFIG).read_text())
    assert config["base_model_sha256"] == backbone["weights_sha256"]
    assert (place / "patch" / CONFIG).read_text() == json.dumps(config, indent=2, sort_keys=True) + "\n"
    card = (place / "patch" / CARD).read_text()
    assert "stock peft cannot run them" in card
    assert backbone["weights_sha256"] in card
    assert "| majority |" in card
    assert (place / "patch").stat().st_mode & 0o077 == 0
    again = peter("task", "export", "gender@1", "twin", "--with-labels")
    assert again.code == 0
    assert "personal data" in again.out
    assert all(
        (place / "twin" / path.name).read_bytes() == path.read_bytes() for path in (place / "patch").iterdir()
    )


def others(place: Path) -> list[Path]:
    """All files but those of the workspace, some of which SQLite makes and removes as it likes."""
    return sorted(path for path in place.rglob("*") if ".peter" not in path.parts)


@pytest.fixture
def refused(peter, place: Path) -> Callable[..., str]:
    """Run a command that must end with code 2 and one line, having changed nothing; that line."""

    def run(*words: str) -> str:
        before, files = everything(place), others(place)
        done = peter(*words)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
        assert everything(place) == before
        assert others(place) == files
        return str(done.err)

    return run


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gender@2", "new"], "did you mean gender@1"),
        (["gender", "."], "exists; name a new directory"),
        (["gender", "gender.csv"], "gender.csv exists; name a new directory"),
        (["gender", "nosuch/new"], "make it first"),
    ],
    ids=str,
)
def test_exports_that_are_refused(refused, words: list[str], said: str) -> None:
    assert said in refused("task", "export", *words)


def test_what_waits_to_be_trained_again_is_not_handed_on(refused, workspace: Workspace) -> None:
    workspace.registry.write(
        lambda session: setattr(patches.get(session, "gender"), "state", "needs-retrain")
    )
    assert "waits to be trained again" in refused("task", "export", "gender", "new")


def sealed(directory: Path, change: Callable[[Values], object]) -> None:
    """Change what the sheet says, and every hash with it, as somebody who knows the format would."""
    values = json.loads((directory / SHEET).read_text())
    del values["sha256"]
    values["files"] = {
        name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in values["files"]
    }
    change(values)
    values["sha256"] = hashlib.sha256(canonical(values).encode()).hexdigest()
    (directory / SHEET).write_text(json.dumps(values))


def rewritten(name: str, data: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Other bytes in a file, whose hash nobody corrects."""

    def damage(directory: Path) -> None:
        (directory / name).write_bytes(data((directory / name).read_bytes()))

    return damage


def resealed(name: str, data: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """Other bytes in a file, with correct hashes."""

    def damage(directory: Path) -> None:
        rewritten(name, data)(directory)
        sealed(directory, lambda values: None)

    return damage


def reweighed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Other tensors under the same metadata, with correct hashes."""

    def damage(directory: Path) -> None:
        path = directory / WEIGHTS
        length = struct.unpack("<Q", path.read_bytes()[:8])[0]
        metadata = json.loads(path.read_bytes()[8 : 8 + length])["__metadata__"]
        tensors = dict(load_file(path))
        change(tensors)
        save_file(tensors, path, metadata)
        sealed(directory, lambda values: None)

    return damage


def linked(directory: Path) -> None:
    (directory / WEIGHTS).rename(directory / "real")
    (directory / WEIGHTS).symlink_to("real")


def piped(directory: Path) -> None:
    (directory / CARD).unlink()
    os.mkfifo(directory / CARD)


def long_header(directory: Path) -> None:
    (directory / WEIGHTS).write_bytes(struct.pack("<Q", HEADER + 1) + b"{" + b" " * 99)
    sealed(directory, lambda values: None)


def said_again(*path: str, value: Any) -> Callable[[Path], None]:
    """Another value at a place of the sheet, with correct hashes."""

    def change(values: Values) -> None:
        for key in path[:-1]:
            values = values[key]
        values[path[-1]] = value

    return lambda directory: sealed(directory, change)


def first(tensors: dict[str, Any]) -> str:
    return next(name for name in sorted(tensors) if tensors[name].dtype == np.float32 and tensors[name].size)


DAMAGES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no directory": (shutil.rmtree, "There is no directory patch"),
    "no sheet": (lambda directory: (directory / SHEET).unlink(), "peter.json is missing"),
    "no weights": (lambda directory: (directory / WEIGHTS).unlink(), "adapter_model.safetensors is missing"),
    "a link": (linked, "adapter_model.safetensors cannot be read"),
    "a pipe": (piped, "README.md is no plain file"),
    "a flipped bit": (
        rewritten(WEIGHTS, lambda data: data[:-9] + bytes([data[-9] ^ 4]) + data[-8:]), "was changed after",
    ),
    "an edited configuration": (
        rewritten(CONFIG, lambda data: data.replace(b"reduction", b"Reduction")), "was changed after",
    ),
    "an edited sheet": (rewritten(SHEET, lambda data: data.replace(b"gender@1", b"gender@2")), "was changed"),
    "no JSON": (rewritten(SHEET, lambda data: data[:-9]), "is no sheet of an exported patch"),
    "deep JSON": (rewritten(SHEET, lambda data: b"[" * 99_999), "is no sheet of an exported patch"),
    "a list": (rewritten(SHEET, lambda data: b"[]"), "is no sheet of an exported patch"),
    "a number that is none": (
        rewritten(SHEET, lambda data: data.replace(b'"format": 1', b'"format": NaN')), "is no sheet",
    ),
    "a newer format": (said_again("format", value=FORMAT + 1), "use the one that wrote it"),
    "an unknown field": (said_again("more", value=1), "differ in more"),
    "a field of another type": (said_again("sensitive", value="no"), "nothing sensible of sensitive"),
    "a schema that is none": (said_again("config", "schema", value=[]), "nothing sensible of config"),
    "a path out of the directory": (
        said_again("files", "../../../etc/passwd", value="0" * 64), "names other files",
    ),
    "a configuration of its own": (
        resealed(CONFIG, lambda data: b"{}\n"),
        "does not agree with peter.json",
    ),
    "a long header": (long_header, "has no header that peter would write"),
    "another backbone": (said_again("backbone_sha256", value="0" * 64), "0" * 64),
    "another vocabulary": (said_again("vocab_sha256", value="0" * 64), "no backbone here has its weights"),
    "other settings": (said_again("fit", "epochs", value=9), "are not those that it was made with"),
    "settings of another type": (said_again("fit", "epochs", value="9"), "is not as `peter task export`"),
    "no such method": (said_again("method", value="prob"), "did you mean probe?"),
    "no such kind": (said_again("kind", value="clasification"), "did you mean classification?"),
    "another certificate": (said_again("certificate", "sha256", value="0" * 64), "than its certificate says"),
    "no golden outputs": (said_again("certificate", value={}), "is not as `peter task export`"),
    "no calibration": (said_again("config", "calibration", value={}), "is not as `peter task export`"),
    "a report that is none": (said_again("metrics", "test", value=7), "is not as `peter task export`"),
    "numbers that are none": (
        reweighed(lambda tensors: tensors[first(tensors)].fill(np.nan)), "not finite",
    ),
    "a tensor too many": (
        reweighed(lambda tensors: tensors.update({"../x": np.zeros(1, np.float32)})), "other tensors",
    ),
    "a tensor too few": (reweighed(lambda tensors: tensors.pop(first(tensors))), "other tensors"),
    "another type": (
        reweighed(lambda tensors: tensors.update({first(tensors): tensors[first(tensors)].astype("f8")})),
        "other tensors",
    ),
    "other numbers": (
        reweighed(lambda tensors: np.add(tensors[first(tensors)], 1, out=tensors[first(tensors)])),
        "than its certificate says",
    ),
    "labels of another task": (
        rewritten(LABELS, lambda data: data.replace(b"gender0", b"gender1")), "was changed after",
    ),
    "labels that it never saw": (
        resealed(LABELS, lambda data: data.replace(b"gender0", b"gender1")),
        "are not those that it learnt from",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=DAMAGES)
def test_directories_that_are_refused(refused, peter, place: Path, damage, said: str) -> None:
    assert peter("task", "export", "gender", "patch", "--with-labels").code == 0
    damage(place / "patch")
    assert said in refused("task", "import", "patch", "--name", "copy")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--name", "tier"], "answers otherwise (classification: tier0, tier1, tier2, tier3) than patch"),
        (["--name", "../x"], "cannot name a task"),
        (["--name", "gender_p"], "column 'gender_p' belongs to task 'gender'"),
        (["--name", "gone"], "was removed, and its history keeps the name"),
    ],
    ids=str,
)
def test_tasks_that_take_no_such_patch(refused, peter, words: list[str], said: str) -> None:
    peter("task", "export", "gender", "patch")
    assert peter("task", "import", "patch", "--name", "gone").code == 0
    assert peter("task", "remove", "gone").code == 0
    assert said in refused("task", "import", "patch", *words)


def test_somebody_elses_task_takes_one_by_force_alone(
    peter, refused, monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    train_task(workspace, "gender", method="bag", promote=False)
    for version in (1, 2):
        peter("task", "export", f"gender@{version}", f"patch{version}")
    assert peter("task", "import", "patch1", "--name", "copy", "--owner", "growth").code == 0
    assert "belongs to growth" in refused("task", "import", "patch2", "--name", "copy")
    assert peter("task", "import", "patch2", "--name", "copy", "--force").code == 0
    newest = peter("audit", "list", "--limit", "1", "--json").json["changes"][0]
    assert (newest["subject"], newest["after"]["forced_past_owner"]) == ("copy@challenger", "growth")
