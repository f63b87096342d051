"""Erasures: what was read before a user was forgotten is told from what was read after."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime

import pytest
import registry_rows as rows

from peter.errors import Busy, PeterError
from peter.registry import erasures, event_logs, live, patches, runs, tasks
from peter.registry.database import Registry
from peter.registry.objects import ObjectStore


def begun(registry: Registry, pseudonym: str = "p1") -> int:
    return registry.write(lambda session: erasures.begin(session, pseudonym, "ann").id)


def test_a_fence_tells_before_from_after(registry: Registry) -> None:
    def fence() -> int:
        with registry.read() as session:
            return erasures.fence(session)

    assert fence() == 0
    registry.write(lambda session: erasures.require(session, 0))
    erasure = begun(registry)
    for refused in (fence, lambda: registry.write(lambda session: erasures.require(session, 0))):
        with pytest.raises(Busy, match=f"{datetime.now(UTC):%Y-%m-%d} .* is unfinished"):
            refused()
    registry.write(lambda session: erasures.note(session, erasure, done=["events"]))
    registry.write(lambda session: erasures.note(session, erasure, done=["labels", "labels"]))
    assert fence() == 1
    with pytest.raises(Busy, match="forgotten meanwhile"):
        registry.write(lambda session: erasures.require(session, 0))
    registry.write(lambda session: erasures.require(session, 1))
    with registry.read() as session:
        assert erasures.pseudonyms(session) == {"p1"}
        found = erasures.find(session, "p1")
        assert found is not None
        assert found.steps["done"] == ["events", "labels"]
        assert erasures.find(session, "p2") is None


def test_a_log_that_another_erasure_rewrote_is_left_alone(registry: Registry) -> None:
    described = rows.event_log(items_sha256=rows.sha("items"))
    log = registry.write(lambda session: event_logs.add(session, described, "ann"))
    one, two = (rows.event_log(users_sha256=rows.sha(who), users=942) for who in ("one", "two"))
    assert registry.write(lambda session: event_logs.rewrite(session, log, one, "ann"))
    assert not registry.write(lambda session: event_logs.rewrite(session, log, two, "ann"))
    with registry.read() as session:
        rewritten = event_logs.get(session, "movies@1")
        assert rewritten.users_sha256 == rows.sha("one")
        assert rewritten.items_sha256 == rows.sha("items")  # what is known of items is of no user
        assert rows.sha("items") in live.objects(session)


def test_labels_that_another_erasure_rewrote_are_left_alone(registry: Registry) -> None:
    def add(session):
        task = tasks.add(session, rows.task(), "ann")
        return tasks.add_labels(session, rows.labels(task), "ann")

    labels = registry.write(add)
    one, two = (rows.labels(labels.task, who) for who in ("one", "two"))
    assert registry.write(lambda session: tasks.rewrite_labels(session, labels, one, "ann"))
    assert not registry.write(lambda session: tasks.rewrite_labels(session, labels, two, "ann"))
    with registry.read() as session:
        assert [row.sha256 for row in tasks.label_sets(session)] == [rows.sha("one")]


def test_a_request_whose_version_is_outdated_makes_another(registry: Registry) -> None:
    def made_again(session) -> tuple[str, int]:
        first = rows.world(session)
        for _ in range(2):
            patches.outdate(session, first, "ann")
        second = patches.add(session, rows.patch(first.label_set, first.backbone), "ann")
        return first.state, second.version

    assert registry.write(made_again) == ("needs-retrain", 2)


def test_a_text_is_removed_from_errors(registry: Registry) -> None:
    def fail(session):
        run = runs.start(session, "train", "gender", {}, "ann")
        return runs.fail(session, run.id, "100% of '50%_' is wrong").id

    run = registry.write(fail)
    registry.write(lambda session: runs.withhold(session, "'5_%_'"))
    with registry.read() as session:
        assert "'50%_'" in (runs.get(session, run).error or "")
    registry.write(lambda session: runs.withhold(session, "'50%_'"))
    with registry.read() as session:
        assert runs.get(session, run).error == "100% of .. is wrong"


def test_compacting_leaves_an_empty_log_and_waits_for_nobody_for_ever(sqlite_copy: str) -> None:
    registry = Registry(sqlite_copy, deadline=0.2)
    assert registry.path is not None
    begun(registry, "a pseudonym")
    registry.write(lambda session: session.delete(erasures.find(session, "a pseudonym")))
    log = registry.path.with_name(f"{registry.path.name}-wal")
    with closing(sqlite3.connect(registry.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM run").fetchone()
        with pytest.raises(Busy, match="held by another program"):
            registry.compact()
    registry.compact()
    assert log.stat().st_size == 0
    assert b"a pseudonym" not in registry.path.read_bytes()
    registry.dispose()


def test_a_store_has_one_key_and_never_makes_another_by_itself(stored) -> None:
    store: ObjectStore = stored.open()
    with pytest.raises(PeterError, match=r"erasure\.key is missing"):
        store.secret(make=False)
    key = store.secret(make=True)
    assert len(key) == 32
    assert stored.open().secret(make=True) == stored.open().secret(make=False) == key
    assert store.collect(list) == {}
    assert list(store.sizes()) == []
    assert stored.open().secret(make=False) == key
