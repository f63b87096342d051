"""Materialising again costs what is new, and whoever computes, the answers are the same."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from processes import peter, started, wait_for, workers
from small_workspace import LATER, everything, table_rows, train_task

from peter.errors import InputError
from peter.progress import Silent
from peter.registry import event_logs, models
from peter.services.backbone import frozen
from peter.services.event_log.events import append_events
from peter.services.profile import scoring
from peter.services.profile.materialize import materialize
from peter.services.promotion.promote import promote
from peter.services.workspace import Workspace

USERS = 300


def again(workspace: Workspace, incremental: bool = True) -> dict[str, dict[str, Any]]:
    found = materialize(workspace, None, Silent(), incremental)["tables"]
    return {table["task"]: table for table in found}


def stored(workspace: Workspace, table: dict[str, Any]) -> pl.DataFrame:
    return pl.read_parquet(workspace.objects.path(table["sha256"]))


def test_where_nothing_happened_nothing_is_computed(workspace: Workspace) -> None:
    first, second = again(workspace, incremental=False), again(workspace)
    for task in first:
        assert (first[task]["computed"], second[task]["computed"]) == (USERS, 0)
        assert {**second[task], "computed": USERS} == first[task]


def test_a_backbone_is_opened_once_and_no_object_within_a_transaction(
    workspace: Workspace, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append_events(workspace, "clicks", [place / "later.csv"], None, None, None, Silent())
    store, pool = type(workspace.objects), workspace.registry.engine.pool
    path, load, opened = store.path, frozen.load, []

    def outside(objects: Any, sha256: str) -> Path:
        assert pool.checkedout() == 0  # type: ignore[attr-defined]
        return path(objects, sha256)

    def once(workspace: Workspace, row: models.Backbone) -> frozen.Frozen:
        opened.append(row.reference)
        return load(workspace, row)

    monkeypatch.setattr(store, "path", outside)
    monkeypatch.setattr(frozen, "load", once)
    assert set(again(workspace)) == {"gender", "tier"}
    assert opened == ["clicks@1"]


def test_where_nobody_is_left_it_says_so(workspace: Workspace) -> None:
    workspace.registry.write(lambda session: setattr(event_logs.get(session, "clicks"), "users", 0))
    before = table_rows(workspace.registry)
    with pytest.raises(InputError, match=r"Everybody in clicks@1 was forgotten; append events of others"):
        again(workspace)
    assert table_rows(workspace.registry) == before


def test_a_new_champion_is_computed_alone(workspace: Workspace) -> None:
    train_task(workspace, "gender", method="bag", promote=False)
    promote(workspace, "gender@2", False, "")
    assert {task: table["computed"] for task, table in again(workspace).items()} == {
        "gender": USERS,
        "tier": 0,
    }


def test_after_an_append_those_with_new_events_are_computed(
    workspace: Workspace, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {task: stored(workspace, table) for task, table in again(workspace).items()}
    append_events(workspace, "clicks", [place / "later.csv"], None, None, None, Silent())
    monkeypatch.setattr(scoring, "USERS", 77)  # so that the row groups of the two are others
    for task, table in again(workspace).items():
        assert (table["computed"], table["users"]) == (len(LATER), USERS + 1)
        found = stored(workspace, table)
        assert found["user_id"].is_sorted()
        same = found.filter(~pl.col("user_id").is_in(list(LATER)))
        assert same.equals(before[task].filter(~pl.col("user_id").is_in(list(LATER))))
        whole = stored(workspace, again(workspace, incremental=False)[task])
        assert found.schema == whole.schema
        for name in found.columns:
            if name in (
                "probability",
                "predicted_probability",
            ):  # rounding hangs on who is computed beside
                assert (found[name] - whole[name]).abs().max() < 1e-5
            else:
                assert found[name].equals(whole[name])
    assert {table["computed"] for table in again(workspace).values()} == {0}


@pytest.mark.slow
def test_so_many_processes_write_the_same_bytes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as in a worker: a sum's rounding hangs on it
    alone = peter(place, "profile", "materialize", "--json")
    many = peter(place, "profile", "materialize", "--workers", "2", "--json")
    assert (many.returncode, many.stderr) == (0, "")
    objects = [[table["sha256"] for table in json.loads(done.stdout)["tables"]] for done in (alone, many)]
    assert objects[0] == objects[1]

    peter(place, "data", "append", "clicks", "later.csv")
    more = json.loads(
        peter(place, "profile", "materialize", "--workers", "2", "--incremental", "--json").stdout
    )
    assert [(table["computed"], table["users"]) for table in more["tables"]] == [(3, 301), (3, 301)]


@pytest.fixture
def crowded(place: Path) -> Path:
    """So many users that scoring takes its time: a log of its own, with a task of its own."""
    users = 200_000
    everybody = pl.DataFrame({"user_id": [f"v{at:06}" for at in range(users)]})
    events = everybody.join(pl.DataFrame({"item_id": [f"i{at:07}" for at in range(8)]}), how="cross")
    events.with_columns(timestamp=pl.int_range(pl.len())).write_csv(place / "crowd.csv")
    everybody.head(400).with_columns(odd=pl.int_range(400) % 2).cast(pl.String).write_csv(place / "odd.csv")
    for words in (
        "data import crowd.csv --name crowd",
        "backbone pretrain crowd --channels 8 --blocks 2 --epochs 1 --set max_length=8 --set batch_size=4096",
        "task add odd --labels odd.csv --backbone crowd --no-twin --set epochs=1",
    ):
        done = peter(place, *words.split())
        assert done.returncode == 0, done.stderr
    return place


@pytest.mark.slow
def test_a_killed_worker_costs_no_answer_and_doubles_none(crowded: Path) -> None:
    with started(crowded, "profile", "materialize", "--tasks", "odd", "--workers", "2", "--json") as process:
        wait_for(lambda: workers(process.pid, "_Worker.do"))
        os.kill(workers(process.pid, "_Worker.do")[0], signal.SIGKILL)
        out, err = process.communicate(timeout=240)
    assert (process.returncode, err) == (0, "")
    (table,) = json.loads(out)["tables"]
    found = pq.read_table(crowded / ".peter/store/objects" / table["sha256"][:2] / table["sha256"])
    assert found["user_id"].to_pylist() == [f"v{at:06}" for at in range(200_000)]
    assert [run["state"] for run in everything(crowded)["run"] if run["kind"] == "score"][-1] == "done"
