"""From one registry to another: a patch answers there as here, and nothing made up is let in."""

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from small_workspace import PRETRAIN, SHAPE, everything, table_rows, train_task, url

from peter.progress import Silent
from peter.registry.columns import canonical
from peter.services.events import import_events
from peter.services.patch_directory import CARD, CONFIG, FORMAT, HEADER, LABELS, SHEET, WEIGHTS
from peter.services.pretrain import pretrain
from peter.services.verify import verify
from peter.services.workspace import Workspace

USERS = ["007", "7", "NA", "u0000009", "u0000010", "u0000200"]
Values = dict[str, Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def elsewhere(request: pytest.FixtureRequest, place: Path) -> Iterator[Workspace]:
    """Another registry, without a task, with the backbone of the first one."""
    there = place / "elsewhere"
    if request.param == "sqlite":
        shutil.copytree(request.getfixturevalue("pretrained"), there)
        workspace = Workspace.open(url(there))
    else:
        workspace = Workspace.create(request.getfixturevalue("postgres_url"), there)
        import_events(workspace, [place / "events.csv"], "clicks", None, None, None, 1, 1, Silent())
        pretrain(workspace, "clicks", "films", SHAPE, PRETRAIN, Silent())
    yield workspace
    workspace.registry.dispose()


@pytest.fixture
def there(elsewhere: Workspace) -> list[str]:
    """The options by which a command works elsewhere."""
    address = elsewhere.registry.url.render_as_string(hide_password=False)
    return ["--registry", address, "--store", str(elsewhere.root)]


def answers(peter: Any, *where: str) -> dict[str, Values]:
    """What is said of each user's gender, but for when and on what it is called."""
    users = peter("profile", "get", *USERS, "--live", "--json", *where).json["users"]
    found = {user["user_id"]: user["tasks"]["gender"] for user in users}
    return {
        user: {key: value for key, value in answer.items() if key not in ("as_of", "backbone")}
        for user, answer in found.items()
    }


def test_a_patch_answers_elsewhere_as_it_does_here(peter, elsewhere: Workspace, there: list[str]) -> None:
    assert peter("task", "export", "gender", "patch", "--with-labels").code == 0
    told = peter("task", "import", "patch", "--json", *there)
    assert (told.code, told.err) == (0, "")
    report = told.json["report"]
    assert (report["version"], report["promoted"], report["reason"]) == (1, True, "imported from gender@1")
    assert answers(peter, *there) == answers(peter)
    assert {answer["source"] for answer in answers(peter).values()} == {"observed"}
    here = peter("task", "show", "gender", "--json").json
    for key in ("test", "valid", "baselines", "differences", "diagrams"):
        assert report["metrics"][key] == here["champion"]["metrics"][key]
    assert report["certificate"] == here["champion"]["certificate"]
    assert report["metrics"]["imported"]["patch"] == "gender@1"
    assert verify(elsewhere, False, Silent())["problems"] == []
    audited = peter("audit", "list", "--limit", "4", "--json", *there).json["changes"]
    assert [change["action"] for change in audited] == [
        "alias.move", "patch.add", "label_set.add", "task.add",
    ]  # fmt: skip


def test_without_labels_it_answers_and_says_what_it_lacks(peter, there: list[str], place: Path) -> None:
    assert peter("task", "export", "gender", "patch", "--json").json["labels"] is False
    assert LABELS not in os.listdir("patch")
    assert not any(b"u0000009" in path.read_bytes() for path in Path("patch").iterdir())
    assert peter("task", "import", "patch", *there).code == 0
    before = answers(peter)
    for user, answer in answers(peter, *there).items():
        assert answer["predicted"] == answer["value"] == before[user]["predicted"]
        assert answer["predicted_probability"] == before[user]["predicted_probability"]
        assert (answer["source"], answer["in_sample"]) == ("predicted", None)
    assert peter("profile", "materialize", *there).code == 0
    assert peter("profile", "query", "gender_p > 0", "--json", *there).code == 0
    for words in (["train", "gender"], ["compare", "gender"]):
        refused = peter("task", *words, *there)
        assert (refused.code, refused.err) == (
            2,
            "gender@1 was imported without its labels; give some with `peter task train gender --labels FILE`.\n",
        )
    refused = peter("task", "export", "gender", "again", "--with-labels", *there)
    assert (refused.code, "leave out --with-labels" in refused.err) == (2, True)
    assert peter("task", "export", "gender", "again", *there).code == 0
    labels = ["--labels", "gender.csv", "--method", "bag", "--no-twin"]
    made = peter("task", "train", "gender", *labels, "--json", *there)
    assert made.json["report"]["version"] == 2


def test_the_same_patch_again_is_the_version_that_it_became(
    peter, elsewhere: Workspace, there: list[str]
) -> None:
    peter("task", "export", "gender", "patch")
    peter("task", "import", "patch", *there)
    before = table_rows(elsewhere.registry)
    again = peter("task", "import", "patch", "--json", *there).json["report"]
    assert (again["version"], again["promoted"]) == (1, True)
    assert table_rows(elsewhere.registry) == before
    assert peter("task", "import", "patch", "--name", "sex", *there).code == 0
    peter("task", "export", "sex", "onwards", *there)
    assert (Path("onwards") / WEIGHTS).read_bytes() == (Path("patch") / WEIGHTS).read_bytes()
    assert (
        peter("task", "import", "onwards", "--name", "gender", "--json", *there).json["report"]["version"]
        == 1
    )


def test_beside_a_champion_it_is_the_challenger(peter, there: list[str], workspace: Workspace) -> None:
    train_task(workspace, "gender", method="bag", promote=False)
    for version, directory in (("gender", "first"), ("gender@challenger", "second")):
        assert peter("task", "export", version, directory).code == 0
        assert peter("task", "import", directory, *there).code == 0
    shown = peter("task", "show", "gender@challenger", "--json", *there).json
    assert (shown["champion"]["version"], shown["challenger"], shown["report"]["version"]) == (1, 2, 2)
    assert shown["report"]["reason"] == "imported from gender@2; look at it and promote it by hand"
    assert set(shown["report"]["metrics"]["baselines"]) == {
        "probe",
        "majority",
    }  # no version of another registry
    assert peter("task", "promote", "gender@challenger", *there).code == 0
    document = peter("task", "versions", "gender", "--json", *there).json
    assert [(row["version"], row["champion"], row["challenger"]) for row in document["versions"]] == [
        (1, False, False), (2, True, False),
    ]  # fmt: skip
    assert [(move["alias"], move["from"], move["to"]) for move in document["history"]] == [
        ("champion", None, 1), ("challenger", None, 2), ("champion", 1, 2),
    ]  # fmt: skip
    assert peter("task", "rollback", "gender", "--json", *there).json["champion"]["version"] == 1


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
    assert stat_mode(place / "patch") & 0o077 == 0
    again = peter("task", "export", "gender@1", "twin", "--with-labels")
    assert again.code == 0
    assert "personal data" in again.out
    assert all(
        (place / "twin" / path.name).read_bytes() == path.read_bytes() for path in (place / "patch").iterdir()
    )


def stat_mode(path: Path) -> int:
    return path.stat().st_mode


@pytest.fixture
def refused(peter, place: Path) -> Callable[..., str]:
    """Run a command that must end with code 2 and one line, having changed nothing; that line."""

    def run(*words: str) -> str:
        before, files = everything(place), sorted(place.rglob("*"))
        done = peter(*words)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
        assert everything(place) == before
        assert sorted(place.rglob("*")) == files
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
    from peter.registry import patches

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
    return lambda directory: (directory / name).write_bytes(data((directory / name).read_bytes())) and None


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
    "a path out of the directory": (
        said_again("files", "../../../etc/passwd", value="0" * 64), "names other files",
    ),
    "a configuration of its own": (
        lambda directory: (rewritten(CONFIG, lambda data: b"{}\n")(directory), sealed(directory, lambda _: None)),
        "does not agree with peter.json",
    ),
    "a long header": (long_header, "has no header that peter would write"),
    "another backbone": (said_again("backbone_sha256", value="0" * 64), "0" * 64),
    "another vocabulary": (said_again("vocab_sha256", value="0" * 64), "no backbone here has its weights"),
    "other settings": (said_again("fit", "epochs", value=9), "are not those that it was made with"),
    "settings of another type": (said_again("fit", "epochs", value="9"), "is not as `peter task export` writes"),
    "no such method": (said_again("method", value="prob"), "did you mean probe?"),
    "no such kind": (said_again("kind", value="clasification"), "did you mean classification?"),
    "another certificate": (said_again("certificate", "sha256", value="0" * 64), "than its certificate says"),
    "no golden outputs": (said_again("certificate", value={}), "is not as `peter task export` writes"),
    "no calibration": (said_again("config", "calibration", value={}), "is not as `peter task export` writes"),
    "a report that nobody could show": (said_again("metrics", "test", value=7), "is not as `peter task export`"),
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
        rewritten(LABELS, lambda data: data.replace(b"gender0", b"gender1")), "labels.jsonl was changed after",
    ),
    "labels that it never saw": (
        lambda directory: (
            rewritten(LABELS, lambda data: data.replace(b"gender0", b"gender1"))(directory),
            sealed(directory, lambda _: None),
        ),
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
