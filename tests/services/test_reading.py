"""Versions that read others: what is recorded, refused and proved, and that nothing older ever changes."""

import json
import shutil
from pathlib import Path

import pytest
from commands import run as command
from commands import sentence
from processes import peter
from small_workspace import add_task, everything, table_rows, train_task, url, write_easy_labels
from sqlalchemy import update

from peter.errors import CorruptObject, InputError
from peter.progress import Silent
from peter.registry import aliases, patches
from peter.registry.models import Base, Patch
from peter.services.backbone import backbones, frozen
from peter.services.integrity import certificates
from peter.services.integrity.upkeep import remove_task
from peter.services.integrity.verify import verify
from peter.services.patch import patch_objects
from peter.services.profile import profiles
from peter.services.profile.materialize import materialize
from peter.services.promotion.promote import promote
from peter.services.workspace import Workspace

BOLD = [  # moves far from what it starts as, and keeps where it got to
    "epochs=2", "threads=1", "learning_rate=0.03", "batch_users=16", "caution=0", "warm_start=off",
    "wide=off", "summary=off",
]  # fmt: skip
TASKS = {  # in order; gender and tier are there, with patches that never moved
    "taught": ("peter", "some.csv"),
    "count": ("bag", "gender.csv"),
    "mixed": ("experts", "many.csv"),
    "soft": ("mask", "some.csv"),
    "softer": ("mask", "many.csv"),
    "deeper": ("experts", "some.csv"),
}
READS = {
    "mixed@1": ["gender@1", "tier@1", "taught@1"],
    "softer@1": ["soft@1"],
    "deeper@1": ["gender@1", "tier@1", "taught@1", "mixed@1"],
}


@pytest.fixture(scope="module")
def grown(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace where patches read patches that read patches, to be copied only."""
    directory = shutil.copytree(finished, tmp_path_factory.mktemp("grown"), dirs_exist_ok=True)
    for name, last in (("some", 9), ("many", 19)):
        write_easy_labels(directory, name, 0, last)
    workspace = Workspace.open(url(directory))
    for task, (method, labels) in TASKS.items():
        settings = ["threads=1"] if method == "bag" else BOLD
        add_task(workspace, task, directory / labels, method=method, settings=settings)
    workspace.registry.dispose()
    return directory


@pytest.fixture
def place(grown: Path, tmp_path: Path) -> Path:
    return shutil.copytree(grown, tmp_path, dirs_exist_ok=True)


def row(workspace: Workspace, reference: str) -> Patch:
    with workspace.registry.read() as session:
        return patches.get(session, reference)


def read_by(workspace: Workspace, reference: str) -> list[str]:
    return [each["reference"] for each in row(workspace, reference).config.get("reads", ())]


def golden(workspace: Workspace) -> dict[str, str]:
    """Each champion's golden outputs, recomputed from what is stored."""
    with workspace.registry.read() as session:
        champions = aliases.champions(session)
    found = {}
    for patch in champions:
        base = frozen.load(workspace, patch.backbone)
        loaded = patch_objects.load(workspace.objects, patch, base)
        found[patch.reference] = certificates.issue(base, loaded.patch)["sha256"]
    return found


def test_what_is_read_is_recorded_in_row_object_and_tree(workspace: Workspace) -> None:
    for reference, wanted in READS.items():
        patch = row(workspace, reference)
        read = [row(workspace, each) for each in wanted]
        assert read_by(workspace, reference) == wanted
        assert patch.reads == [each.id for each in read]
        assert patch.config["adapter"]["reads"] == [each.weights_sha256 for each in read]
    assert row(workspace, "soft@1").reads == []
    assert "reads" not in row(workspace, "count@1").config["adapter"]
    said = json.dumps(backbones.tree(workspace, None))
    assert f'"reads": {json.dumps(READS["deeper@1"])}' in said


def test_nothing_older_changed_and_every_answer_is_proved(workspace: Workspace, finished: Path) -> None:
    before = Workspace.open(url(finished))
    old = golden(before)
    before.registry.dispose()
    now = golden(workspace)
    assert {reference: now[reference] for reference in old} == old
    assert set(now) == {"gender@1", "tier@1", "count@1", "taught@1", "soft@1", *READS}
    for reference in now:
        assert (
            now[reference] == row(workspace, reference).certificate["sha256"]
        )  # as it was before it was stored
    found = verify(workspace, quick=False, progress=Silent())
    assert (found["problems"], found["checked"]["champions"]) == ([], 8)


def test_a_task_that_is_read_stays(workspace: Workspace) -> None:
    before = table_rows(workspace.registry)
    for task, readers in (("gender", "deeper@1, mixed@1"), ("mixed", "deeper@1"), ("soft", "softer@1")):
        with pytest.raises(
            InputError, match=f"{task!r} stays: {readers} read its versions; remove what reads"
        ):
            remove_task(workspace, task, False)
    assert table_rows(workspace.registry) == before
    for task in ("deeper", "mixed"):
        remove_task(workspace, task, False)
    assert verify(workspace, quick=False, progress=Silent())["problems"] == []


def test_the_same_request_is_the_same_version_until_another_is_read(workspace: Workspace) -> None:
    """What reads it in turn is none of what it reads: or no request would ever be the same again."""
    again = train_task(workspace, "mixed", promote=False)["report"]
    assert (again["version"], again["reason"]) == (1, "this very request made it before")
    train_task(workspace, "gender", seed=1, promote=False)
    assert train_task(workspace, "mixed", promote=False)["report"]["version"] == 1  # no champion changed
    promote(workspace, "gender@2", False, "")
    assert train_task(workspace, "mixed", promote=False)["report"]["version"] == 2
    assert read_by(workspace, "mixed@2") == ["tier@1", "taught@1", "gender@2"]
    assert read_by(workspace, "mixed@1") == READS["mixed@1"]
    off = train_task(workspace, "mixed", settings=["reads=off"], promote=False)["report"]
    assert off["version"] == 3
    assert (read_by(workspace, "mixed@3"), "unread" in off["metrics"]["baselines"]) == ([], False)


def test_its_own_versions_are_not_read(workspace: Workspace) -> None:
    train_task(workspace, "deeper", seed=1, promote=False)
    assert read_by(workspace, "deeper@2") == READS["deeper@1"]


def swap(workspace: Workspace, reference: str, other: str) -> None:
    """Let the first version that one reads name another one's object."""
    patch, weights = row(workspace, reference), row(workspace, other).weights_sha256
    first, *rest = patch.config["reads"]
    config = {**patch.config, "reads": [{**first, "sha256": weights}, *rest]}
    table = Base.metadata.tables["patch"]  # past the mapped class, which refuses
    workspace.registry.write(
        lambda session: session.execute(update(table).where(table.c.id == patch.id).values(config=config))
    )


def test_another_object_in_the_place_of_what_is_read_is_noticed(workspace: Workspace) -> None:
    swap(workspace, "mixed@1", "deeper@1")
    with pytest.raises(CorruptObject, match="mixed@1 was made to read other patches than its row names"):
        profiles.get(workspace, ["007"], live=True)
    problems = verify(workspace, quick=False, progress=Silent())["problems"]
    assert any(problem.startswith("mixed@1 was made to read other patches") for problem in problems)
    assert not any(problem.startswith("deeper@1") for problem in problems)


def test_a_damaged_object_takes_those_with_it_who_read_it(workspace: Workspace) -> None:
    path = workspace.objects.path(row(workspace, "soft@1").weights_sha256)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    problems = verify(workspace, quick=False, progress=Silent())["problems"]
    assert any("no longer hashes to its name" in problem for problem in problems)
    assert not any(problem.startswith(("softer@1", "mixed@1")) for problem in problems)


def test_the_report_says_what_each_read_is_worth(workspace: Workspace) -> None:
    metrics = row(workspace, "deeper@1").metrics
    assert list(metrics["reads"]) == READS["deeper@1"]
    assert {"log_loss", "accuracy"} <= set(metrics["reads"]["mixed@1"])
    assert metrics["reads"]["taught@1"]["log_loss"]["value"] != 0
    assert metrics["reads"]["gender@1"]["log_loss"]["value"] == 0  # which never moved
    assert {"unread", "bag", "probe"} <= set(metrics["baselines"])
    assert "reads" not in row(workspace, "soft@1").metrics
    assert "unread" not in row(workspace, "soft@1").metrics["baselines"]


def test_profiles_and_tables_tell_the_answers_of_a_reader(workspace: Workspace) -> None:
    users = ["007", "7", "NA", "u0000010"]
    live = profiles.get(workspace, users, live=True)["users"]
    materialize(workspace, None, Silent())
    stored = profiles.get(workspace, users, live=False)["users"]
    for one, other in zip(live, stored, strict=True):
        for task in ("mixed", "softer", "deeper"):
            assert one["tasks"][task]["predicted"] == other["tasks"][task]["predicted"]
            assert one["tasks"][task]["probability"] == pytest.approx(
                other["tasks"][task]["probability"], abs=1e-5
            )


def test_a_reader_does_not_travel_alone(place: Path) -> None:
    ended = command(place, "task export mixed out")
    assert "mixed@1 reads other patches and does not stand alone" in sentence(ended, code=2)
    assert not (place / "out").exists()


def test_remarks_say_it_in_words(place: Path) -> None:
    page = " ".join(command(place, "task show mixed").out.split())
    assert "mixed@1 reads gender@1, which is worth " in page
    assert "Reading gained mixed@1 " in page
    document = json.loads(command(place, "task show mixed --json").out)
    assert list(document["champion"]["metrics"]["reads"]) == READS["mixed@1"]
    assert "Reading" not in command(place, "task show soft").out


@pytest.mark.slow
def test_several_readers_at_once_are_what_each_is_alone(grown: Path, place: Path, tmp_path_factory) -> None:
    """They do not read each other: each reads what was there when the command was typed."""
    labels = {"one": "gender.csv", "two": "tier.csv"}
    words = [word for file in labels.values() for word in ("--labels", file)]
    settings = [word for setting in BOLD for word in ("--set", setting)]
    done = peter(place, "task", "add", *labels, *words, "--method", "experts", "--no-twin", *settings)
    assert done.returncode == 0, done.stderr
    rows = everything(place)
    names = {task["id"]: task["name"] for task in rows["task"]}
    together = {names[patch["task_id"]]: patch for patch in rows["patch"]}
    for name, file in labels.items():
        alone = shutil.copytree(grown, tmp_path_factory.mktemp(name), dirs_exist_ok=True)
        workspace = Workspace.open(url(alone))
        add_task(workspace, name, alone / file, method="experts", settings=BOLD)
        made, other = row(workspace, f"{name}@1"), together[name]
        workspace.registry.dispose()
        assert len(made.reads) == 5  # gender, tier, taught, mixed, deeper
        for column in ("reads", "weights_sha256", "request_sha256", "config"):
            assert other[column] == getattr(made, column)
        assert other["metrics"]["reads"] == made.metrics["reads"]


def test_on_either_database(registry_url: str, place: Path) -> None:
    """A whole life of a reader: made, found again, refused, removed."""
    workspace = Workspace.open(registry_url, place / ".peter" / "store")
    add_task(workspace, "late", place / "tier.csv", method="experts", settings=BOLD)
    assert {"gender@1", "tier@1"} <= set(read_by(workspace, "late@1"))
    assert train_task(workspace, "late")["report"]["version"] == 1
    with pytest.raises(InputError, match="'gender' stays"):
        remove_task(workspace, "gender", False)
    assert verify(workspace, quick=False, progress=Silent())["problems"] == []
    remove_task(workspace, "late", False)
    workspace.registry.dispose()
