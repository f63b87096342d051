"""Backbones that know items by their features: opened as trained, and reading items that came later."""

import json
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from commands import run
from safetensors.torch import load_file
from small_workspace import LATER, QUICK, SHAPE, add_task, everything, url, write_items

from peter.config import PretrainConfig
from peter.errors import CorruptObject, InputError
from peter.nn.embedding import UNK
from peter.progress import Silent
from peter.registry import backbones, event_logs, patches
from peter.services.backbone import frozen
from peter.services.backbone.backbones import show_backbone
from peter.services.backbone.catalogues import Described
from peter.services.backbone.pretrain import pretrain
from peter.services.crew import Crew
from peter.services.event_log.events import append_events, show_events
from peter.services.integrity.verify import verify
from peter.services.lifecycle.forget import forget
from peter.services.lifecycle.migrate import migrate
from peter.services.logs import open_log
from peter.services.profile import profiles
from peter.services.profile.materialize import materialize
from peter.services.transfer.exports import export_patch
from peter.services.transfer.imports import import_patch
from peter.services.workspace import Workspace

CONFIG = PretrainConfig("item-feature", epochs=2, threads=1, experts=2)
USERS = 300
READERS = ("peter", "probe", "adaptive", "relearn")  # of the body's own item table, or of features
OTHERS = ("bag", "full", "zero")
COMMAND = (  # the request that made known@1, but for the name
    "backbone pretrain clicks --name killed --objective item-feature --channels 8 --blocks 2 --epochs 2 "
    "--set max_length=20 --set threads=1 --set experts=2"
)


def append(workspace: Workspace, *paths: Path, items: Path | None = None) -> dict[str, Any]:
    return append_events(workspace, "clicks", paths, None, None, None, Silent(), items)


def describe(workspace: Workspace, path: Path, **titles: str) -> dict[str, Any]:
    """Append to the table what some items are called."""
    rows = [f"{item},{title},," for item, title in titles.items()]
    path.write_text("\n".join(["item_id,title,price,image", *rows]) + "\n")
    return append(workspace, items=path)


@pytest.fixture(scope="module")
def described(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """clicks@2 with an item table, and the backbone known@1 that learnt from it by features."""
    place = Path(shutil.copytree(pretrained, tmp_path_factory.mktemp("described") / "place"))
    workspace = Workspace.open(url(place))
    append(workspace, items=write_items(place / "items.csv"))
    pretrain(workspace, "clicks", "known", SHAPE, CONFIG, Silent())
    workspace.registry.dispose()
    return place


@pytest.fixture
def place(described: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(described, tmp_path / "place"))


def opened(workspace: Workspace, reference: str = "known") -> frozen.Frozen:
    with workspace.registry.read() as session:
        row = backbones.get(session, reference)
    return frozen.load(workspace, row)


def rows_of(workspace: Workspace, *items: str) -> torch.Tensor:
    """The rows of the item table that some items have."""
    with workspace.registry.read() as session:
        log = event_logs.get(session, "clicks")
    return torch.tensor(open_log(workspace, log).vocabulary.rows(items))


def add(workspace: Workspace, place: Path, method: str, name: str | None = None) -> dict[str, Any]:
    alone = ["wide=off", "warm_start=off"] if method in READERS else []  # or all weights may end as 0
    settings = [*QUICK, *alone] if method not in ("bag", "probe") else ["threads=1"]
    return add_task(
        workspace,
        name or f"by_{method}",
        place / "gender.csv",
        method=method,
        settings=settings,
        backbone="known",
    )


def later_log(workspace: Workspace, place: Path) -> dict[str, Any]:
    """Append events of two new items, one of which something is known."""
    more = (place / "later.csv").read_text() + "zoe,strange,1900000009\n7,strange,1900000009\n"
    (place / "later.csv").write_text(more)
    append(workspace, place / "later.csv")
    return describe(workspace, place / "novel.csv", novel="taste1 thing2")


def answers(workspace: Workspace, users: Sequence[str]) -> dict[str, dict[str, dict[str, Any]]]:
    """user -> task -> live answer, without its time."""
    return {
        card["user_id"]: {
            task: {key: value for key, value in answer.items() if key != "as_of"}
            for task, answer in card["tasks"].items()
        }
        for card in profiles.get(workspace, list(users), live=True)["users"]
    }


def sound(workspace: Workspace) -> bool:
    problems: list[str] = verify(workspace, False, Silent())["problems"]
    assert problems == []
    return True


def test_it_opens_as_it_was_trained(workspace: Workspace) -> None:
    base = opened(workspace)
    known = base.described
    assert known is not None
    assert torch.equal(base.body.item_table, known.encoder.table(known.features))
    undescribed = base.body.item_table[rows_of(workspace, "i0000038", "i0000039")]
    assert torch.equal(undescribed, known.encoder.tokens[UNK].expand(2, -1))
    assert len(base.body.item_embedding.later) == 0
    assert opened(workspace, "clicks").described is None


def test_the_same_request_gives_the_same_bytes(workspace: Workspace) -> None:
    other = pretrain(workspace, "clicks", "other", SHAPE, CONFIG, Silent())
    assert other["weights_sha256"] == opened(workspace).sha256
    more = pretrain(workspace, "clicks", "other", SHAPE, PretrainConfig("item-feature", epochs=1), Silent())
    assert more["version"] == 2


def test_later_items_are_read_by_what_is_known_of_them(workspace: Workspace, place: Path) -> None:
    before = opened(workspace)
    later_log(workspace, place)
    base = opened(workspace)
    known, rows = base.described, base.body.item_embedding
    assert known is not None
    assert known.later_known.tolist() == [True, False]  # novel came first
    assert torch.equal(rows.weight, before.body.item_table)
    assert frozen.fingerprint(base.body) == frozen.fingerprint(before.body)
    assert torch.equal(rows.later[1], known.encoder.tokens[UNK])
    like = rows_of(workspace, "i0000017")  # which is called taste1 thing2, too
    features = {name: values[like] * (name == "text") for name, values in known.features.items()}
    torch.testing.assert_close(rows.later[:1], known.encoder(like, features))


@pytest.fixture(scope="module")
def answering(described: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with one task for each method, called by_METHOD, whose answers are materialised."""
    place = Path(shutil.copytree(described, tmp_path_factory.mktemp("answering") / "place"))
    workspace = Workspace.open(url(place))
    for method in (*READERS, *OTHERS):
        add(workspace, place, method)
    materialize(workspace, None, Silent())
    workspace.registry.dispose()
    return place


@pytest.fixture
def asked(answering: Path, tmp_path: Path) -> Iterator[Workspace]:
    """That workspace, opened at `tmp_path / "asked"`."""
    workspace = Workspace.open(url(Path(shutil.copytree(answering, tmp_path / "asked"))))
    yield workspace
    workspace.registry.dispose()


@pytest.mark.slow
def test_patches_that_read_the_bodys_items_know_later_ones(asked: Workspace, tmp_path: Path) -> None:
    """And everybody else is answered bit for bit as before, whatever becomes known."""
    place = tmp_path / "asked"
    users = pl.read_csv(place / "gender.csv", infer_schema=False)["user_id"].to_list()
    same = [user for user in users if user not in LATER][:50]
    before = answers(asked, same)
    later_log(asked, place)
    assert answers(asked, same) == before
    first = answers(asked, [*LATER])
    for method in (*READERS, *OTHERS):
        told = {user: first[user][f"by_{method}"] for user in LATER}
        lost = {user: answer["events"] - answer["known"] for user, answer in told.items()}
        assert lost == ({"007": 0, "7": 1, "zoe": 1} if method in READERS else {"007": 1, "7": 1, "zoe": 2})
    describe(asked, place / "other.csv", novel="taste3 thing0")
    second = answers(asked, [*LATER])
    moved = {
        method
        for method in (*READERS, *OTHERS)
        if any(first[user][f"by_{method}"] != second[user][f"by_{method}"] for user in ("007", "zoe"))
    }
    assert moved == set(READERS)
    assert second["7"] == first["7"]
    assert answers(asked, same) == before
    assert sound(asked)


@pytest.mark.slow
def test_stored_answers_are_computed_anew_where_more_became_known(asked: Workspace, tmp_path: Path) -> None:
    place = tmp_path / "asked"

    def computed() -> set[int]:
        return {table["computed"] for table in materialize(asked, None, Silent(), True)["tables"]}

    assert computed() == {0}
    append(asked, place / "later.csv")
    assert computed() == {len(LATER)}
    describe(asked, place / "novel.csv", novel="taste1 thing2")
    assert computed() == {USERS + 1}
    assert computed() == {0}
    stored = profiles.get(asked, ["zoe"], live=False)["users"][0]["tasks"]
    live = profiles.get(asked, ["zoe"], live=True)["users"][0]["tasks"]
    for task, answer in stored.items():
        assert answer["known"] == live[task]["known"]
        assert answer["probability"] == pytest.approx(live[task]["probability"], abs=1e-5)
    assert stored["by_probe"]["known"] == stored["by_bag"]["known"] + 1


@pytest.mark.slow
def test_a_user_is_forgotten_and_items_stay_known(asked: Workspace, tmp_path: Path) -> None:
    """Also one who alone had an item that came later."""
    later_log(asked, tmp_path / "asked")
    with asked.registry.read() as session:
        tables = [log.items_sha256 for log in event_logs.every(session)]
    for user in ("u0000009", "zoe", "007"):
        forget(asked, user, False, False, None, Silent())
    with asked.registry.read() as session:
        assert [log.items_sha256 for log in event_logs.every(session)] == tables
    known = opened(asked).described
    assert known is not None
    assert known.later_known.tolist() == [True, False]
    assert sound(asked)


def test_a_log_tells_how_much_of_it_is_known(workspace: Workspace, place: Path) -> None:
    add(workspace, place, "probe")
    (place / "events-later.csv").write_text((place / "later.csv").read_text())
    whole = append(workspace, place / "events-later.csv")
    (told,) = whole["coverage"]
    assert (told["backbone"], told["known"]) == ("known@1", whole["events"] - 2)
    later = describe(workspace, place / "novel.csv", novel="wine")  # a word that no item had
    assert later["coverage"][0]["known"] == whole["events"] - 2
    later = describe(workspace, place / "again.csv", novel="thing4")
    assert later["coverage"][0]["known"] == whole["events"]
    assert show_events(workspace, "clicks@3")["coverage"] == later["coverage"]  # as it is known today


def test_an_append_that_was_kept_ends_well_though_the_backbone_is_damaged(
    workspace: Workspace, place: Path
) -> None:
    add(workspace, place, "probe")
    sha256 = opened(workspace).sha256
    path = workspace.objects.path(sha256)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])
    done = run(place, "data append clicks later.csv")
    told = "How many of the events of clicks@3 known@1 knows cannot be told: "
    assert (done.code, done.err) == (0, "")
    assert " ".join(done.out.split()).count(told) == 1
    (row,) = json.loads(run(place, "data show clicks@3 --json").out)["coverage"]
    assert (row["known"], sha256 in row["fault"]) == (None, True)


@pytest.mark.parametrize("what", ["items", "backbone"])
def test_a_damaged_file_is_one_sentence(workspace: Workspace, place: Path, what: str) -> None:
    add(workspace, place, "probe")
    with workspace.registry.read() as session:
        row = backbones.get(session, "known")
        sha256 = row.event_log.items_sha256 if what == "items" else row.weights_sha256
    append(workspace, place / "later.csv")
    path = workspace.objects.path(sha256)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)
    damaged = Workspace(workspace.registry, workspace.objects.fresh())
    with pytest.raises(CorruptObject, match=f"{sha256}.* no longer hashes to its name"):
        profiles.get(damaged, ["007"], live=True)


def test_an_encoder_that_lacks_a_tensor_is_one_sentence(workspace: Workspace) -> None:
    with workspace.registry.read() as session:
        row = backbones.get(session, "known")
    stored = load_file(workspace.objects.path(row.weights_sha256))
    body = opened(workspace).body
    assert Described.of(workspace, row, stored, body.channels) is not None
    del stored["encoder.mixtures.text.weight"]
    with pytest.raises(CorruptObject, match=r"item encoder of known@1 does not fit"):
        Described.of(workspace, row, stored, body.channels)


@pytest.mark.slow
def test_a_lineage_grows_on_it(workspace: Workspace, place: Path) -> None:
    """The root is pruned and trained on by the same objective; the blocks alone give up weights."""
    for name in ("first", "second"):
        add_task(
            workspace, name, place / "gender.csv", method="prune", settings=QUICK, seed=len(name),
            backbone="known",
        )  # fmt: skip
    root = show_backbone(workspace, "known@2")
    assert (root["parent"], root["objective"]) == ("known@1", "item-feature")
    assert [patch["patch"] for patch in root["read_by"]] == ["first@1", "second@1"]
    base = opened(workspace, "known@2")
    assert base.described is not None
    assert torch.equal(base.body.item_table, base.described.encoder.table(base.described.features))
    export_patch(workspace, "second", place / "out", with_labels=True, whole=True)
    import_patch(workspace, place / "out", "alone", None, False)
    later_log(workspace, place)
    told = answers(workspace, ["zoe"])["zoe"]
    lost = {task: answer["events"] - answer["known"] for task, answer in told.items()}
    assert lost == {"first": 1, "second": 1, "alone": 1}
    assert told["alone"]["predicted_probability"] == told["second"]["predicted_probability"]
    assert sound(workspace)


def test_several_workers_are_refused(workspace: Workspace, place: Path) -> None:
    before = everything(place)
    with pytest.raises(InputError, match=r"in one process; leave out --workers"):
        pretrain(workspace, "clicks", "crew", SHAPE, CONFIG, Silent(), Crew(2, None))
    assert everything(place) == before


@pytest.mark.slow
def test_killed_and_resumed_it_ends_with_the_same_bytes(workspace: Workspace, place: Path) -> None:
    assert run(place, COMMAND, "backbone.pretrain:epoch1").code == -signal.SIGKILL
    killed = everything(place)["run"][-1]["id"]
    assert run(place, f"backbone pretrain --resume {killed}").code == 0
    assert opened(workspace, "killed").sha256 == opened(workspace).sha256


def test_a_relearnt_patch_answers_elsewhere_as_it_does_here(
    workspace: Workspace, described: Path, place: Path, tmp_path: Path
) -> None:
    add(workspace, place, "relearn", "gender")
    export_patch(workspace, "gender", place / "patch", with_labels=True)
    there = Path(shutil.copytree(described, tmp_path / "there"))
    elsewhere = Workspace.open(url(there))
    report = import_patch(elsewhere, place / "patch", None, None, False)["report"]
    assert (report["version"], report["promoted"]) == (1, True)
    for each, folder in ((workspace, place), (elsewhere, there)):
        later_log(each, folder)
    users = ["NA", *LATER]
    assert answers(elsewhere, users) == answers(workspace, users)
    assert sound(elsewhere)
    export_patch(workspace, "gender", place / "whole", False, whole=True)  # it reads no other patch
    elsewhere.registry.dispose()


def test_features_of_targets_stay_with_the_patch(workspace: Workspace, place: Path) -> None:
    """A newer table changes neither them nor what the backbone's own items are."""
    users = pl.read_csv(place / "gender.csv", infer_schema=False)["user_id"]
    rows = [f"{user},i{at % 7:07}" for at, user in enumerate(users)]
    (place / "next.csv").write_text("\n".join(["user_id,item_id", *rows]) + "\n")
    add_task(
        workspace, "next", place / "next.csv", method="relearn", settings=QUICK, backbone="known",
        kind_name="recommendation",
    )  # fmt: skip
    with workspace.registry.read() as session:
        row = patches.get(session, "next")
    before, patch = opened(workspace).described, load_file(workspace.objects.path(row.weights_sha256))
    assert before is not None
    for name, values in before.of_items(row.config["schema"]["items"]).items():
        assert torch.equal(patch[f"beside.{name}"], values)
    first = answers(workspace, users[:20])
    describe(workspace, place / "newer.csv", i0000001="taste3 thing4", i0000002="wine")
    texts = [each.of_items(["i0000001"])["text"] for each in (before, opened(workspace).described)]
    assert not torch.equal(*texts)
    assert answers(workspace, users[:20]) == first
    assert sound(workspace)


def test_tasks_move_from_ids_to_features(workspace: Workspace, place: Path) -> None:
    add_task(workspace, "gender", place / "gender.csv", backbone="clicks")
    (row,) = migrate(workspace, "clicks@1", "known@1", True, None, Silent())["tasks"]
    assert (row["version"], row["from"]) == (2, 1)
    with workspace.registry.read() as session:
        assert patches.get(session, "gender@2").backbone.reference == "known@1"
    assert sound(workspace)


def test_relearning_needs_features(workspace: Workspace, place: Path) -> None:
    before = everything(place)
    wanted = re.escape("`peter backbone pretrain DATA --objective item-feature`")
    with pytest.raises(InputError, match=wanted):
        add_task(workspace, "gender", place / "gender.csv", method="relearn", backbone="clicks")
    assert everything(place) == before
