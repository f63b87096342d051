"""A user who is forgotten is in no file of the workspace, and everybody else is answered as before."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import polars as pl
import pyarrow.parquet as pq
import pytest
from small_workspace import (
    PRETRAIN,
    SHAPE,
    TASKS,
    add_task,
    everything,
    table_rows,
    train_task,
    url,
    write_files,
)

from peter.data.splits import TEST, TRAIN, assign
from peter.errors import Busy, InputError, PeterError
from peter.progress import Silent
from peter.registry import audit, runs
from peter.services.backbone.pretrain import pretrain
from peter.services.event_log.events import append_events, import_events, list_events
from peter.services.forgotten import Forgotten
from peter.services.integrity.upkeep import collect, remove_task
from peter.services.integrity.verify import verify
from peter.services.lifecycle import remains
from peter.services.lifecycle.forget import STEPS, forget
from peter.services.profile.cohorts import export, query
from peter.services.profile.materialize import materialize
from peter.services.profile.profiles import get
from peter.services.task.tasks import check_labels
from peter.services.task.tasks import versions as versions_of
from peter.services.transfer.exports import export_patch
from peter.services.transfer.imports import import_patch
from peter.services.workspace import Workspace


def somebody(place: Path, part: int = TRAIN) -> str:
    """The first user in a part of the split of whom both tasks have a label."""
    users = set.intersection(*(set(labelled(place, task)) for task in TASKS))
    return next(
        user for user in sorted(users) if user.startswith("u") and assign([user], PRETRAIN.salt) == part
    )


def labelled(place: Path, task: str) -> list[str]:
    return pl.read_csv(place / f"{task}.csv", infer_schema=False)["user_id"].to_list()


def forgotten(workspace: Workspace, user: str, refit: bool = False) -> dict[str, Any]:
    return forget(workspace, user, refit, False, None, Silent())


def append(workspace: Workspace, file: Path, log: str = "clicks") -> dict[str, Any]:
    return append_events(workspace, log, [file], None, None, None, Silent())


def traces(directory: Path, user: str) -> list[str]:
    """The files that hold a user's id, as text, as JSON escapes it, packed in Parquet, or as a plain hash."""
    signs = [user.encode(), sha256(user.encode()).hexdigest().encode(), sha256(user.encode()).digest()]
    files = [path for path in directory.rglob("*") if path.is_file()]
    found = [path for path in files if any(sign in path.read_bytes() for sign in signs)]
    found += [path for path in files if path.read_bytes()[:4] == b"PAR1" and user in _texts(path)]
    return sorted({str(path.relative_to(directory)) for path in found})


def _texts(path: Path) -> set[Any]:
    table = pq.read_table(path)
    return {
        value for name in table.column_names for value in table[name].to_pylist() if isinstance(value, str)
    }


@pytest.fixture(scope="module")
def crowded(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user is everywhere: two versions of a log, labels, answers, a run that failed, nobody's objects."""
    place = shutil.copytree(finished, tmp_path_factory.mktemp("crowded"), dirs_exist_ok=True)
    workspace, user = Workspace.open(url(place)), somebody(place)
    (place / "more.csv").write_text(f"user_id,item_id,timestamp\n{user},i0000001,1900000000\n")
    append(workspace, place / "more.csv")
    materialize(workspace, ["gender"], Silent())
    train_task(workspace, "gender", method="bag", promote=False)

    def fail(session: Any) -> int:
        run = runs.start(session, "tune", "gender", {}, "ann")
        runs.fail(session, run.id, f"no label of {user!r} can be read")
        return run.id

    directory = workspace.run_directory(workspace.registry.write(fail))
    (directory / "trial-1.txt").write_text(f"KeyError: {user!r}")
    workspace.objects.put_bytes(f"an import of {user} that was killed".encode())
    workspace.registry.dispose()
    return place


@pytest.fixture
def everywhere(crowded: Path, workspace: Workspace, place: Path) -> str:
    """That user, in a copy of that workspace."""
    workspace.registry.dispose()  # its connections are to the files that go
    shutil.rmtree(place / ".peter")
    shutil.copytree(crowded, place, dirs_exist_ok=True)
    return somebody(place)


def others_answers(workspace: Workspace, user: str, place: Path, live: bool) -> dict[str, Any]:
    told = get(workspace, [each for each in labelled(place, "gender") if each != user], live)["users"]
    for card in told:
        for answer in card["tasks"].values():
            del answer["as_of"]
    return {card["user_id"]: card for card in told}


def test_nothing_is_left_of_a_user(workspace: Workspace, place: Path, everywhere: str) -> None:
    assert len(traces(place / ".peter", everywhere)) >= 8
    stored, live = (others_answers(workspace, everywhere, place, each) for each in (False, True))
    report = forgotten(workspace, everywhere)
    assert traces(place / ".peter", everywhere) == []
    assert not report["again"]
    assert report["event_logs"] == ["clicks@1", "clicks@2"]
    assert report["label_sets"] == ["gender", "tier"]
    assert report["backbones"] == ["clicks@1"]
    assert report["patches"] == ["gender@1", "gender@2", "tier@1"]
    assert others_answers(workspace, everywhere, place, live=False) == stored
    assert others_answers(workspace, everywhere, place, live=True) == live
    assert verify(workspace, quick=False, progress=Silent())["problems"] == []
    assert collect(workspace)["removed"] == 0
    assert [log["users"] for log in list_events(workspace)["event_logs"]] == [299, 299]
    for live_ in (False, True):
        with pytest.raises(InputError, match="has no events that any backbone reads"):
            get(workspace, [everywhere], live_)
    again = materialize(workspace, None, Silent(), incremental=True)["tables"]
    assert [(table["users"], table["computed"]) for table in again] == [(299, 0), (299, 0)]


def _skip_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remains, "tables_with", lambda workspace, user: iter(()))


def _skip(step: str) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda monkeypatch: monkeypatch.setitem(STEPS, step, lambda *_: None)


@pytest.mark.parametrize(
    "skip",
    [_skip_tables, *(_skip(step) for step in STEPS if step != "checked")],
    ids=["tables", *(step for step in STEPS if step != "checked")],
)
def test_each_step_is_needed(
    workspace: Workspace, place: Path, everywhere: str, monkeypatch: pytest.MonkeyPatch, skip: Any
) -> None:
    skip(monkeypatch)
    monkeypatch.setitem(STEPS, "checked", lambda *_: None)
    forgotten(workspace, everywhere)
    assert traces(place / ".peter", everywhere)


@pytest.mark.parametrize("step", ["events", "labels"])
def test_a_user_who_is_still_there_is_noticed(
    workspace: Workspace, place: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    _skip(step)(monkeypatch)
    user = somebody(place)
    with pytest.raises(PeterError, match=r"The user is still in (event_log|label_set) 1") as told:
        forgotten(workspace, user)
    assert user not in str(told.value)


def test_forgetting_twice_changes_nothing(workspace: Workspace, place: Path, everywhere: str) -> None:
    first = forgotten(workspace, everywhere)
    before = everything(place)
    assert forgotten(workspace, everywhere) == {**first, "again": True}
    assert everything(place) == before


def test_a_user_nobody_knows_changes_nothing(workspace: Workspace, place: Path) -> None:
    before = everything(place)
    with pytest.raises(InputError, match="Nothing is stored of a user 'stranger'"):
        forgotten(workspace, "stranger")
    assert everything(place) == before


class Killed(Exception):
    """Where a program would be killed."""


def killed_after_the_tombstone(workspace: Workspace, user: str) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(STEPS, "events", Mock(side_effect=Killed))
        with pytest.raises(Killed):
            forgotten(workspace, user)


@pytest.fixture
def entombed(workspace: Workspace, place: Path) -> str:
    """A user whose erasure was stopped right after the tombstone."""
    user = somebody(place)
    killed_after_the_tombstone(workspace, user)
    return user


def test_from_the_tombstone_on_a_user_is_unknown(workspace: Workspace, place: Path, entombed: str) -> None:
    assert remains.places(workspace, entombed) != []
    for live in (False, True):
        with pytest.raises(InputError, match="has no events"):
            get(workspace, [entombed], live)
        get(workspace, ["007"], live)
    assert query(workspace, f"user_id = '{entombed}'", 9)["users"] == []
    assert len(query(workspace, "true", 999)["users"]) == 299
    export(workspace, place / "all.csv")
    assert entombed not in (place / "all.csv").read_text()
    assert check_labels(workspace, place / "gender.csv", None, None, None)["forgotten"] == 1


def test_until_the_user_is_gone_nothing_is_learnt(workspace: Workspace, place: Path, entombed: str) -> None:
    before = everything(place)
    for learn in (
        lambda: materialize(workspace, None, Silent()),
        lambda: train_task(workspace, "gender", method="bag"),
        lambda: pretrain(workspace, "clicks", "other", SHAPE, PRETRAIN, Silent()),
        lambda: append(workspace, place / "later.csv"),
    ):
        with pytest.raises(Busy, match="is unfinished"):
            learn()
    assert everything(place) == before
    assert not forgotten(workspace, entombed)["again"]
    assert append(workspace, place / "later.csv")["version"] == 2


def test_what_comes_in_later_leaves_the_user_out(workspace: Workspace, place: Path) -> None:
    user = somebody(place)
    forgotten(workspace, user)
    files = [place / "events.csv", place / "later.csv"]
    read = import_events(workspace, files, "whole", None, None, None, 1, 1, Silent())
    events = pl.concat([pl.read_csv(file, infer_schema=False) for file in files])
    assert read["report"]["dropped"]["forgotten"] == len(events.filter(user_id=user))
    assert read["events"] == len(events.filter(pl.col("user_id") != user))
    (place / "again.csv").write_text(f"user_id,item_id,timestamp\n{user},i0000001,9\n7,i0000001,9\n")
    appended = append(workspace, place / "again.csv")
    assert (appended["report"]["dropped"]["forgotten"], appended["users"]) == (1, 299)
    made = add_task(workspace, "other", place / "gender.csv", method="bag", seed=3)["report"]
    assert made["version"] == 1
    labels = table_rows(workspace.registry)["label_set"]
    assert labels[-1]["report"]["forgotten"] == 1
    assert labels[-1]["sha256"] == labels[0]["sha256"]  # a new file and a rewritten set say the same
    assert traces(place / ".peter", user) == []


def test_a_patch_whose_labels_name_the_user_comes_without(workspace: Workspace, place: Path) -> None:
    user, patch = somebody(place), place / "patch"
    export_patch(workspace, "gender", patch, with_labels=True)
    assert traces(patch, user) != []
    forgotten(workspace, user)
    made = [import_patch(workspace, patch, "copy", None, False)["report"]["version"] for _ in range(2)]
    assert made == [1, 1]
    mine, copied = (table_rows(workspace.registry)["label_set"][at] for at in (0, -1))
    assert (copied["sha256"], copied["users"]) == (mine["sha256"], mine["users"])
    assert copied["report"]["forgotten"] == 1
    assert traces(place / ".peter", user) == []
    assert verify(workspace, quick=False, progress=Silent())["problems"] == []


def test_a_file_from_before_is_still_known(workspace: Workspace, place: Path) -> None:
    forgotten(workspace, somebody(place))
    logs = list_events(workspace)["event_logs"]
    append(workspace, place / "events.csv")
    assert list_events(workspace)["event_logs"] == logs


def test_champions_that_learnt_from_the_user_are_fitted_again(workspace: Workspace, place: Path) -> None:
    user = somebody(place)
    remove_task(workspace, "tier", force=False)  # one task alone is fitted in this process
    assert forgotten(workspace, user)["label_sets"] == ["gender", "tier"]
    assert [row["state"] for row in versions_of(workspace, "gender")["versions"]] == ["needs-retrain"]
    (gender,) = forgotten(workspace, user, refit=True)["refitted"]
    assert (gender["version"], gender["promoted"]) == (2, True)
    assert "not worse than gender@1" in gender["reason"]
    made = versions_of(workspace, "gender")["versions"]
    assert [(row["state"], row["champion"]) for row in made] == [("needs-retrain", False), ("ready", True)]
    assert forgotten(workspace, user, refit=True)["refitted"] == []
    assert pretrain(workspace, "clicks", "clicks", SHAPE, PRETRAIN, Silent())["version"] == 2
    assert pretrain(workspace, "clicks", "clicks", SHAPE, PRETRAIN, Silent())["version"] == 2


def test_somebody_else_s_champion_is_fitted_again_by_force_alone(
    workspace: Workspace, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PETER_USER", "privacy")
    gender, tier = forgotten(workspace, somebody(place), refit=True)["refitted"]
    assert "--force" in gender["error"]
    assert "--force" in tier["error"]


def test_who_was_only_reported_on_taught_nobody(workspace: Workspace, place: Path) -> None:
    report = forgotten(workspace, somebody(place, TEST))
    assert (report["backbones"], report["patches"]) == ([], [])
    assert report["event_logs"] == ["clicks@1"]


@pytest.mark.parametrize("what", ["task train", "data append", "profile materialize"])
@pytest.mark.parametrize("when", ["before objects are put", "before they are registered"])
def test_what_was_read_before_is_not_kept_after(
    workspace: Workspace, place: Path, monkeypatch: pytest.MonkeyPatch, what: str, when: str
) -> None:
    user = somebody(place)
    (place / "more.csv").write_text(f"user_id,item_id,timestamp\n{user},i0000001,1900000000\n")
    keeping = Forgotten.keeping

    @contextmanager
    def interrupted(self: Forgotten, workspace: Workspace) -> Iterator[None]:
        monkeypatch.setattr(Forgotten, "keeping", keeping)
        if when == "before objects are put":
            forgotten(workspace, user)
        with keeping(self, workspace):
            killed_after_the_tombstone(workspace, user)
            yield

    learn: dict[str, Callable[[], Any]] = {
        "task train": lambda: train_task(workspace, "gender", method="bag"),
        "data append": lambda: append(workspace, place / "more.csv"),
        "profile materialize": lambda: materialize(workspace, None, Silent()),
    }
    monkeypatch.setattr(Forgotten, "keeping", interrupted)
    with pytest.raises(Busy, match="was forgotten meanwhile" if when.endswith("put") else "is unfinished"):
        learn[what]()
    forgotten(workspace, user)
    assert traces(place / ".peter", user) == []


def test_a_run_that_is_under_way_is_waited_for(workspace: Workspace, place: Path, everywhere: str) -> None:
    run = workspace.registry.write(lambda session: runs.start(session, "pretrain", "clicks", {}, "ann").id)
    workspace.run_directory(run)
    with pytest.raises(Busy, match=f"run {run}, a pretrain by process"):
        forgotten(workspace, everywhere)
    workspace.registry.write(lambda session: runs.fail(session, run, "stopped"))
    assert not forgotten(workspace, everywhere)["again"]
    assert traces(place / ".peter", everywhere) == []


def test_label_sets_that_differed_by_the_user_alone_become_one(workspace: Workspace, place: Path) -> None:
    user = somebody(place)
    table = pl.read_csv(place / "gender.csv", infer_schema=False)
    other = next(
        label for label in table["gender"].unique() if label != table.filter(user_id=user)["gender"][0]
    )
    changed = pl.when(user_id=user).then(pl.lit(other)).otherwise("gender").alias("gender")
    table.with_columns(changed).write_csv(place / "changed.csv")
    train_task(workspace, "gender", method="bag", labels=place / "changed.csv", promote=False)
    assert forgotten(workspace, user)["patches"] == ["gender@1", "gender@2", "tier@1"]
    rows = table_rows(workspace.registry)
    assert len(rows["label_set"]) == 2
    assert len({patch["label_set_id"] for patch in rows["patch"]}) == 2
    assert verify(workspace, quick=False, progress=Silent())["problems"] == []


def test_the_pseudonym_is_nothing_without_the_key(workspace: Workspace, place: Path) -> None:
    user = somebody(place)
    forgotten(workspace, user)
    (row,) = table_rows(workspace.registry)["erasure"]
    assert row["pseudonym"] != sha256(user.encode()).hexdigest()
    key = workspace.root / "erasure.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_bytes() not in (place / ".peter" / "registry.db").read_bytes()
    key.rename(place / "elsewhere")
    for ask in (lambda: get(workspace, ["007"], False), lambda: forgotten(workspace, "7")):
        with pytest.raises(PeterError, match=r"erasure\.key is missing"):
            ask()


def test_everybody_may_be_forgotten(tmp_path: Path) -> None:
    workspace = Workspace.create(url(tmp_path))
    (tmp_path / "one.csv").write_text("user_id,item_id,timestamp\nonly-me,a,1\n")
    import_events(workspace, [tmp_path / "one.csv"], "small", None, None, None, 1, 1, Silent())
    forgotten(workspace, "only-me")
    (log,) = list_events(workspace)["event_logs"]
    assert (log["users"], log["events"], log["first_at"]) == (0, 0, None)
    assert traces(tmp_path / ".peter", "only-me") == []
    with pytest.raises(InputError, match="some who were forgotten"):
        import_events(workspace, [tmp_path / "one.csv"], "small", None, None, None, 1, 1, Silent())
    (tmp_path / "two.csv").write_text("user_id,item_id,timestamp\nanother,b,1\n")
    assert append(workspace, tmp_path / "two.csv", "small")["users"] == 1
    workspace.registry.dispose()


@pytest.fixture
def shared(buckets: Any, postgres_url: str, tmp_path: Path, monkeypatch: Any) -> Iterator[Workspace]:
    """A team's workspace: a registry on PostgreSQL, a store in a bucket, and one task."""
    monkeypatch.setenv("PETER_CACHE", str(tmp_path / "copies"))
    write_files(tmp_path)
    workspace = Workspace.create(postgres_url, buckets.create())
    import_events(workspace, [tmp_path / "events.csv"], "clicks", None, None, None, 1, 1, Silent())
    pretrain(workspace, "clicks", "clicks", SHAPE, PRETRAIN, Silent())
    add_task(workspace, "gender", tmp_path / "gender.csv", method="bag")
    materialize(workspace, None, Silent())
    yield workspace
    workspace.registry.dispose()


@pytest.mark.slow
def test_a_team_forgets_as_one_does(shared: Workspace, tmp_path: Path) -> None:
    user = somebody(tmp_path)
    assert traces(tmp_path / "copies", user) != []
    report = forgotten(shared, user, refit=True)
    assert [(row["name"], row["version"]) for row in report["refitted"]] == [("gender", 2)]
    assert traces(tmp_path / "copies", user) == []
    assert remains.places(shared, user) == []
    assert user not in json.dumps(table_rows(shared.registry), default=str)
    with shared.registry.read() as session:
        assert audit.verify(session) is None
    assert verify(shared, quick=False, progress=Silent())["problems"] == []
    assert "erasure.key" not in {path.name for path in (tmp_path / "copies").rglob("*")}
    assert forgotten(shared, user)["again"]
