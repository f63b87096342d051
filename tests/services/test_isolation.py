"""A task never touches another one, and peter can prove it."""

import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from small_workspace import PRETRAIN, QUICK, SHAPE, add_task, everything, table_rows, train_task, url
from sqlalchemy import update

from peter import plugins
from peter.data.labels import read_labels
from peter.data.splits import TRAIN, assign
from peter.errors import CorruptObject, PeterError
from peter.nn.backbones.nextitnet import NextItNet
from peter.progress import Silent
from peter.registry import aliases, backbones, patches
from peter.registry.models import Base
from peter.services.backbone import frozen
from peter.services.backbone.pretrain import pretrain
from peter.services.integrity import certificates, verify
from peter.services.patch import patch_objects
from peter.services.patch.recipes import Recipe
from peter.services.patch.requests import Request
from peter.services.profile import profiles
from peter.services.workspace import Workspace
from peter.task import kind


def golden(workspace: Workspace) -> dict[str, Any]:
    """The golden outputs of every champion, recomputed from the store as a new process would."""
    fresh = Workspace.open(workspace.registry.url.render_as_string(), workspace.root)
    with fresh.registry.read() as session:
        champions = aliases.champions(session)
    outputs = {}
    for row in champions:
        base = frozen.load(fresh, row.backbone)
        outputs[row.task.name] = certificates.issue(base, patch_objects.load(fresh.objects, row, base).patch)
    fresh.registry.dispose()
    return outputs


def answers(workspace: Workspace, task: str) -> list[dict[str, Any]]:
    """What a task says now about some users, but for the time of it."""
    users = profiles.get(workspace, ["007", "7", "NA", "u0000010", "u0000011"], live=True)["users"]
    return [
        {key: user["tasks"][task][key] for key in user["tasks"][task] if key != "as_of"} for user in users
    ]


def test_another_task_leaves_every_answer_as_it_was(workspace: Workspace, place: Path) -> None:
    with workspace.registry.read() as session:
        body = workspace.objects.path(backbones.only(session).weights_sha256)
    before, said, stored = golden(workspace), answers(workspace, "gender"), body.read_bytes()
    add_task(workspace, "other", place / "tier.csv", seed=3)
    train_task(workspace, "tier", seed=4)
    after = golden(workspace)
    assert {task: after[task] for task in ("gender", "tier")} == before
    assert answers(workspace, "gender") == said
    assert body.read_bytes() == stored


def test_tasks_in_either_order_are_the_same_bytes(pretrained: Path, finished: Path, tmp_path: Path) -> None:
    """`finished` has gender first, then tier; here it is the other way round."""
    place = shutil.copytree(pretrained, tmp_path, dirs_exist_ok=True)
    workspace = Workspace.open(url(place))
    for task in ("tier", "gender"):
        add_task(workspace, task, place / f"{task}.csv")
    workspace.registry.dispose()

    def objects(rows: dict[str, Any]) -> set[tuple[str, str]]:
        names = {task["id"]: task["name"] for task in rows["task"]}
        return {(names[patch["task_id"]], patch["weights_sha256"]) for patch in rows["patch"]}

    assert objects(everything(place)) == objects(everything(finished))


LEAKS = {
    "into the frozen body": (
        "setting.body.item_embedding.weight[5] += 1",
        "A method wrote to the frozen backbone clicks@1",
    ),
    "into another task's object": (
        """
        path = pathlib.Path({patch!r})
        path.chmod(0o644)
        stored = path.read_bytes()
        path.write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]))
        """,
        "no longer hashes to its name",
    ),
    "into what all tasks run": (
        """
        before = NextItNet.forward
        NextItNet.forward = lambda *given, **more: [level * 1.001 for level in before(*given, **more)]
        """,
        "tier@1 no longer answers as it was registered",
    ),
}

LEAKY = """
import pathlib

import torch

from peter.methods import ClosedForm, probe
from peter.nn.backbones.nextitnet import NextItNet


class Leaky(probe.Probe):
    def phases(self, patch, setting, options):
        def fit(train, valid):
            patch.solve(train, valid, setting)
            with torch.no_grad():
{leak}

        return [ClosedForm("leak", fit)]


plugin = Leaky()
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """install(name, source): a method in a stranger's package, found through its entry point like any."""
    site = tmp_path / "site"
    metadata = site / "strangers-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: strangers\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[peter.methods]\nstrangers = strangers\n")
    (site / "strangers").mkdir()
    (site / "strangers" / "__init__.py").touch()

    def install(name: str, source: str) -> None:
        (site / "strangers" / f"{name}.py").write_text(source)
        monkeypatch.syspath_prepend(site)
        plugins.modules.cache_clear()

    yield install
    plugins.modules.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == "strangers"]:
        del sys.modules[name]


@pytest.mark.parametrize(("leak", "said"), LEAKS.values(), ids=LEAKS)
def test_a_method_that_leaks_is_caught(
    workspace: Workspace, place: Path, install, monkeypatch: pytest.MonkeyPatch, leak: str, said: str
) -> None:
    monkeypatch.setattr(NextItNet, "forward", NextItNet.forward)  # put back afterwards, whatever the leak did
    with workspace.registry.read() as session:
        patch = workspace.objects.path(patches.get(session, "gender").weights_sha256)
    body = textwrap.indent(textwrap.dedent(leak).strip().format(patch=str(patch)), " " * 16)
    install("leaky", LEAKY.format(leak=body))
    before = table_rows(workspace.registry)
    with pytest.raises(PeterError, match=said):
        add_task(workspace, "other", place / "gender.csv", method="leaky", settings=QUICK)
    after = table_rows(workspace.registry)
    changed = {table for table in after if after[table] != before[table]}
    assert changed == {"task", "run", "audit"}
    assert after["run"][-1]["state"] == "failed"


def swap(workspace: Workspace, task: str, other: str) -> None:
    """Let one task's row name another task's object."""

    def change(session: Any) -> None:
        weights = patches.get(session, other).weights_sha256
        table = Base.metadata.tables["patch"]  # past the mapped class, which refuses
        row = table.c.id == patches.get(session, task).id
        session.execute(update(table).where(row).values(weights_sha256=weights))

    workspace.registry.write(change)


def test_another_task_s_object_is_refused(workspace: Workspace) -> None:
    swap(workspace, "gender", "tier")
    with pytest.raises(CorruptObject, match="gender@1 was made for another task"):
        profiles.get(workspace, ["007"], live=True)


def test_a_patch_is_refused_on_another_backbone(workspace: Workspace) -> None:
    """Of the same architecture and the same items: every tensor would fit."""
    pretrain(workspace, "clicks", "clicks", SHAPE, replace(PRETRAIN, epochs=1, seed=5), Silent())
    with workspace.registry.read() as session:
        row, other = patches.get(session, "gender"), backbones.get(session, "clicks@2")
    own, foreign = frozen.load(workspace, row.backbone), frozen.load(workspace, other)
    assert patch_objects.load(workspace.objects, row, own)
    with pytest.raises(CorruptObject, match="gender@1 was made for another task or backbone than clicks@2"):
        patch_objects.load(workspace.objects, row, foreign)


def test_another_object_of_the_same_shape_is_told_by_the_certificate(
    workspace: Workspace, place: Path
) -> None:
    labels = pl.read_csv(place / "tier.csv", infer_schema=False)
    other = pl.col("tier").replace({"tier0": "tier1", "tier1": "tier0"})
    labels.with_columns(other).write_csv(place / "twin.csv")
    add_task(workspace, "twin", place / "twin.csv")
    swap(workspace, "tier", "twin")
    problems = verify.verify(workspace, False, Silent())["problems"]
    assert [problem.partition(":")[0] for problem in problems][-1] == (
        "tier@1 no longer answers as it was registered"
    )


@pytest.fixture
def dated(place: Path) -> Callable[[int], Path]:
    """dated(time): the labels of gender, all known since that time."""

    def write(time: int) -> Path:
        path = place / f"gender-{time}.csv"
        labels = pl.read_csv(place / "gender.csv", infer_schema=False)
        labels.with_columns(timestamp=pl.lit(time)).write_csv(path)
        return path

    return write


def test_only_events_before_a_label_s_time_are_input(workspace: Workspace, place: Path, dated) -> None:
    events = pl.read_csv(place / "events.csv", schema_overrides={"user_id": pl.String})
    middle = int(events["timestamp"].median())  # type: ignore[arg-type]
    with workspace.registry.read() as session:
        row = backbones.only(session)
    table = read_labels(dated(middle))
    request = Request.read(workspace, "gender", table, row, Recipe.make(kind("classification")))
    learnt = [
        user for user, part in zip(table.users, assign(table.users, row.salt), strict=True) if part == TRAIN
    ]
    earlier = dict(events.filter(pl.col("timestamp") < middle).group_by("user_id").len().iter_rows())
    assert request.users.train.histories.lengths.tolist() == [earlier.get(user, 0) for user in learnt]


def test_a_label_s_time_reaches_what_is_learnt(workspace: Workspace, place: Path, dated) -> None:
    events = pl.read_csv(place / "events.csv")["timestamp"]
    weights = {}
    for name, time in {"early": int(events.median()), "late": events.max() + 1}.items():  # type: ignore[arg-type,operator]
        add_task(workspace, name, dated(time))
    with workspace.registry.read() as session:
        weights = {name: patches.get(session, name).weights_sha256 for name in ("gender", "early", "late")}
    assert weights["late"] == weights["gender"]
    assert weights["early"] != weights["gender"]
