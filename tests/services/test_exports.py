"""From one registry to another: a patch answers there, bit for bit, as here."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_workspace import PRETRAIN, SHAPE, table_rows, train_task, url

from peter.errors import InputError
from peter.progress import Silent
from peter.registry import audit
from peter.services.backbone.pretrain import pretrain
from peter.services.event_log.events import import_events
from peter.services.integrity.verify import verify
from peter.services.profile import profiles
from peter.services.profile.cohorts import query
from peter.services.profile.materialize import materialize
from peter.services.promotion.promote import promote, rollback
from peter.services.task.tasks import show_task, show_version, versions
from peter.services.transfer.exports import export_patch
from peter.services.transfer.imports import import_patch
from peter.services.transfer.patch_directory import LABELS, WEIGHTS
from peter.services.version.compare import compare
from peter.services.workspace import Workspace

USERS = ["007", "7", "NA", "u0000009", "u0000010", "u0000200"]
SENTENCE = "gender@1 was imported without its labels; give some with `peter task train gender --labels FILE`"


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


def bring(here: Workspace, there: Workspace, version: str, directory: Path, **how: Any) -> dict[str, Any]:
    """Export a version and import it; the `report` on what it became."""
    export_patch(here, version, directory, how.pop("with_labels", False))
    usual: dict[str, Any] = {"name": None, "owner": None, "force": False, **how}
    return dict(import_patch(there, directory, **usual)["report"])


def answers(workspace: Workspace) -> dict[str, dict[str, Any]]:
    """What is said of each user's gender, but for when, and what its backbone is called."""
    users = profiles.get(workspace, USERS, live=True)["users"]
    found = {user["user_id"]: user["tasks"]["gender"] for user in users}
    return {
        user: {key: value for key, value in answer.items() if key not in ("as_of", "backbone")}
        for user, answer in found.items()
    }


def test_a_patch_answers_elsewhere_as_it_does_here(
    workspace: Workspace, elsewhere: Workspace, tmp_path: Path
) -> None:
    report = bring(workspace, elsewhere, "gender", tmp_path / "patch", with_labels=True)
    assert (report["version"], report["promoted"], report["reason"]) == (1, True, "imported from gender@1")
    assert answers(elsewhere) == answers(workspace)
    assert {answer["source"] for answer in answers(elsewhere).values()} == {"observed"}
    here = show_task(workspace, "gender")["champion"]
    for key in ("test", "valid", "baselines", "differences", "diagrams"):
        assert report["metrics"][key] == here["metrics"][key]
    assert (report["certificate"], report["params"]) == (here["certificate"], here["params"])
    assert report["metrics"]["imported"]["patch"] == "gender@1"
    assert verify(elsewhere, False, Silent())["problems"] == []
    with elsewhere.registry.read() as session:
        assert [row.action for row in audit.latest(session, 4)] == [
            "alias.move", "patch.add", "label_set.add", "task.add",
        ]  # fmt: skip


def test_without_labels_it_answers_and_says_what_it_lacks(
    workspace: Workspace, elsewhere: Workspace, place: Path
) -> None:
    bring(workspace, elsewhere, "gender", place / "patch")
    files = {path.name: path.read_bytes() for path in (place / "patch").iterdir()}
    assert LABELS not in files
    assert not any(b"u0000009" in data for data in files.values())
    before = answers(workspace)
    for user, answer in answers(elsewhere).items():
        assert answer["predicted"] == answer["value"] == before[user]["predicted"]
        assert answer["predicted_probability"] == before[user]["predicted_probability"]
        assert (answer["source"], answer["in_sample"]) == ("predicted", None)
    materialize(elsewhere, None, Silent())
    assert query(elsewhere, "gender_p > 0", 1)["users"]
    with pytest.raises(InputError, match=SENTENCE):
        train_task(elsewhere, "gender")
    with pytest.raises(InputError, match=SENTENCE):
        compare(elsewhere, "gender", ["bag"], [], None, 1, None, Silent())
    with pytest.raises(InputError, match="leave out --with-labels"):
        export_patch(elsewhere, "gender", place / "again", with_labels=True)
    made = train_task(elsewhere, "gender", labels=place / "gender.csv", method="bag")
    assert made["report"]["version"] == 2


def test_the_same_patch_again_is_the_version_that_it_became(
    workspace: Workspace, elsewhere: Workspace, tmp_path: Path
) -> None:
    bring(workspace, elsewhere, "gender", tmp_path / "patch")
    before = table_rows(elsewhere.registry)
    again = import_patch(elsewhere, tmp_path / "patch", None, None, False)["report"]
    assert (again["version"], again["promoted"]) == (1, True)
    assert table_rows(elsewhere.registry) == before
    import_patch(elsewhere, tmp_path / "patch", "sex", None, False)
    onwards = bring(elsewhere, elsewhere, "sex", tmp_path / "onwards", name="gender")
    assert onwards["version"] == 1
    assert (tmp_path / "onwards" / WEIGHTS).read_bytes() == (tmp_path / "patch" / WEIGHTS).read_bytes()


def test_beside_a_champion_it_is_the_challenger(
    workspace: Workspace, elsewhere: Workspace, tmp_path: Path
) -> None:
    train_task(workspace, "gender", method="bag", promote=False, seeds=2)
    for version, directory in (("gender", "first"), ("gender@challenger", "second")):
        bring(workspace, elsewhere, version, tmp_path / directory)
    shown = show_version(elsewhere, "gender@challenger")
    assert (shown["champion"]["version"], shown["challenger"], shown["report"]["version"]) == (1, 2, 2)
    assert shown["report"]["reason"] == "imported from gender@2; look at it and promote it by hand"
    told = shown["report"]["metrics"]
    for group in (told["baselines"], told["differences"], told["seeds"]["differences"]):
        assert set(group) == {"probe", "majority"}  # and no version of another registry
    promote(elsewhere, "gender@challenger", False, "")
    document = versions(elsewhere, "gender")
    assert [(row["version"], row["champion"], row["challenger"]) for row in document["versions"]] == [
        (1, False, False), (2, True, False),
    ]  # fmt: skip
    assert [(move["alias"], move["from"], move["to"]) for move in document["history"]] == [
        ("champion", None, 1), ("challenger", None, 2), ("champion", 1, 2),
    ]  # fmt: skip
    assert rollback(elsewhere, "gender", False)["champion"]["version"] == 1
