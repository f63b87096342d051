"""The connection to the registry: nothing lost, nothing half done, one sentence for every failure."""

import multiprocessing
import os
import pickle
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import registry_rows as rows
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError
from sqlalchemy.orm import Session

from peter.errors import Busy, InputError, NameTaken, NotInitialised, PeterError
from peter.registry import aliases, audit, event_logs, locks, patches, tasks
from peter.registry.backup import backup
from peter.registry.database import Registry
from peter.registry.models import Alias, Audit, Run

# Forked children only use the registry and the store, never the threads of libraries that other tests loaded.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

PROCESSES, VERSIONS = 8, 6


def _add_versions(registry: Registry, worker: int) -> None:
    for turn in range(VERSIONS):

        def add_and_promote(session: Session, request: str = f"{worker} {turn}") -> None:
            champion = patches.get(session, "gender")
            made = patches.add(session, rows.patch(champion.label_set, champion.backbone, request), "ann")
            aliases.move(session, made, aliases.CHAMPION, "ann", "newer")

        registry.write(add_and_promote)


def _in_processes(
    target: Callable[..., None], *arguments: object, processes: int = PROCESSES
) -> list[int | None]:
    fork = multiprocessing.get_context("fork")  # quick, and a child may not use its parent's connections
    started = [fork.Process(target=target, args=(*arguments, worker)) for worker in range(processes)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    return [process.exitcode for process in started]


def test_eight_processes_lose_no_version_no_move_and_no_audit_row(registry: Registry) -> None:
    registry.write(rows.world)
    with registry.read() as session:
        before = session.scalars(select(func.count()).select_from(Audit)).one()
    assert _in_processes(_add_versions, registry) == [0] * PROCESSES
    made = PROCESSES * VERSIONS
    with registry.read() as session:
        task = tasks.get(session, "gender")
        numbers = [patch.version for patch in patches.versions(session, task)]
        assert numbers == list(range(1, made + 2))
        moves = aliases.history(session, task)
        assert [move.from_version for move in moves[1:]] == [move.to_version for move in moves[:-1]]
        assert aliases.version(session, task, aliases.CHAMPION) == made + 1
        assert session.scalar(select(func.count()).select_from(Audit)) == before + 2 * made
        assert audit.verify(session) is None


def _add_logs(registry: Registry, worker: int) -> None:
    for _ in range(VERSIONS):
        registry.write(lambda session: event_logs.add(session, rows.event_log(), f"worker {worker}"))


def test_versions_without_a_parent_row_have_no_gap_either(registry: Registry) -> None:
    assert _in_processes(_add_logs, registry, processes=3) == [0] * 3
    with registry.read() as session:
        assert [log.version for log in event_logs.every(session)] == list(range(1, 3 * VERSIONS + 1))


def test_a_lost_race_runs_the_whole_change_again(registry: Registry) -> None:
    class Deadlock(Exception):
        sqlstate = "40P01"

    seen: list[int] = []

    def collide_twice(session: Session) -> str:
        seen.append(session.scalars(select(func.count()).select_from(Run)).one())
        session.add(_run())
        session.flush()
        if len(seen) < 3:
            raise OperationalError("UPDATE", {}, Deadlock())
        return "done"

    assert registry.write(collide_twice) == "done"
    assert seen == [0, 0, 0]
    with registry.read() as session:
        assert session.scalar(select(func.count()).select_from(Run)) == 1


def test_a_connection_lost_in_the_commit_is_not_retried(registry: Registry) -> None:
    calls: list[int] = []

    def add(session: Session) -> None:
        calls.append(1)
        session.add(_run())
        event.listen(session, "before_commit", _lose_connection)

    with pytest.raises(PeterError, match="peter audit list"):
        registry.write(add)
    assert calls == [1]


def _lose_connection(session: Session) -> None:
    raise DBAPIError("COMMIT", {}, Exception("server closed the connection"), connection_invalidated=True)


@pytest.mark.parametrize("registry", ["postgresql"], indirect=True)
def test_a_server_that_ends_a_connection_is_asked_again(registry: Registry) -> None:
    other = pickle.loads(pickle.dumps(registry))
    calls: list[int] = []

    def add(session: Session) -> None:
        calls.append(1)
        rows.world(session)
        if len(calls) == 1:
            other.write(lambda session: session.execute(text(_END_OTHERS)))
        session.execute(text("SELECT 1"))

    registry.write(add)
    assert calls == [1, 1]
    other.dispose()


_END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


def test_a_read_session_refuses_to_write(registry: Registry) -> None:
    registry.write(rows.world)
    with registry.read() as session:
        tasks.get(session, "gender").owner = "bob"
        with pytest.raises(AssertionError, match="only reads"):
            session.flush()
    with pytest.raises((InternalError, PeterError)), registry.read() as session:
        session.execute(text("UPDATE task SET owner = 'bob'"))
    assert registry.write(lambda session: tasks.get(session, "gender").owner) == "ann"


def test_a_read_session_sees_one_moment(registry: Registry) -> None:
    with registry.read() as session:
        assert tasks.every(session) == []
        registry.write(rows.world)
        assert tasks.every(session) == []
    with registry.read() as session:
        assert len(tasks.every(session)) == 1


def test_foreign_keys_hold(registry: Registry) -> None:
    patch = registry.write(rows.world)
    with pytest.raises(DBAPIError, match=r"(?i)foreign key"):
        registry.write(
            lambda session: session.add(Alias(task_id=patch.task.id, alias="challenger", version=9))
        )


def _run(**changes: Any) -> Run:
    values: dict[str, Any] = {"params": {}, "state": "running"}
    return Run(kind="train", subject="gender", actor="ann", host="h", pid=1, **values | changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"params": {"lr": [1.0, float("nan")]}}, r"\$\.lr\[1\] is nan"),
        ({"params": {"lr": float("-inf")}}, r"\$\.lr is -inf"),
        ({"storage": "a\x00b"}, "cannot be stored"),
        ({"storage": "\udc80"}, "cannot be stored"),
        ({"started_at": datetime(2026, 1, 1)}, "has no zone"),
    ],
)
def test_what_one_database_would_bend_both_refuse(
    registry: Registry, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        registry.write(lambda session: session.add(_run(**changes)))


def test_an_unknown_state_is_refused(registry: Registry) -> None:
    with pytest.raises(DBAPIError, match="ck_run_state"):
        registry.write(lambda session: session.add(_run(state="napping")))


def test_values_come_back_as_they_went(registry: Registry) -> None:
    berlin = datetime(2026, 7, 1, 12, 30, 15, 123456, tzinfo=timezone(timedelta(hours=2)))
    params = {"z": 0.1, "a": [1, None, "ü\u2028"], "big": 2**53}
    run = registry.write(lambda session: _added(session, _run(started_at=berlin, params=params)))
    with registry.read() as session:
        found = session.get_one(Run, run.id)
        assert found.started_at == berlin
        assert found.started_at.tzinfo is UTC
        assert found.params == params
        assert found.metrics is None


def _added(session: Session, run: Run) -> Run:
    session.add(run)
    return run


def test_a_registry_travels_as_its_url(registry: Registry) -> None:
    registry.write(rows.world)
    copy = pickle.loads(pickle.dumps(registry))
    with copy.read() as session:
        assert tasks.get(session, "gender").owner == "ann"
    copy.dispose()


def test_a_forked_child_has_connections_of_its_own(registry: Registry) -> None:
    registry.write(rows.world)
    child = os.fork()
    if child == 0:
        try:
            registry.write(lambda session: tasks.add(session, rows.task("age"), "ann"))
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with registry.read() as session:
        assert [task.name for task in tasks.every(session)] == ["age", "gender"]


@pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
def test_a_writer_that_waits_too_long_names_the_holder(registry: Registry) -> None:
    assert registry.path
    hasty = Registry(f"sqlite:///{registry.path}", deadline=0.1)
    with (
        locks.exclusive(Path(f"{registry.path}.lock"), 1),
        pytest.raises(Busy, match=f"process {os.getpid()};"),
    ):
        hasty.write(rows.world)
    hasty.write(rows.world)


def test_a_writer_kept_waiting_by_a_transaction_is_told(registry: Registry) -> None:
    registry.write(rows.world)
    hasty = Registry(registry.url, deadline=0.2)

    def hold(session: Session) -> None:
        tasks.hold(session, tasks.get(session, "gender"))
        with pytest.raises(Busy, match="wait for it, or end it"):
            hasty.write(lambda other: tasks.retire(other, tasks.get(other, "gender"), "ann"))

    registry.write(hold)
    hasty.write(lambda session: tasks.retire(session, tasks.get(session, "gender"), "ann"))
    hasty.dispose()


@pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
def test_a_full_disk_is_one_sentence_and_changes_nothing(registry: Registry) -> None:
    def outgrow(session: Session) -> None:
        session.execute(text("PRAGMA max_page_count = 1"))  # the least there can be: what is there already
        session.add(_run(params={"text": "x" * 100_000}))

    with pytest.raises(PeterError, match="disk is full; free some space"):
        registry.write(outgrow)
    registry.dispose()
    registry.write(rows.world)


def test_a_given_up_wait_does_not_keep_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with locks.exclusive(lock, 1), pytest.raises(Busy), locks.exclusive(lock, 0.05):
        pass
    time.sleep(0.05)  # the thread that waited gets it now, and must let go
    with locks.exclusive(lock, 5), pytest.raises(Busy, match="held for"), locks.shared(lock, 0.05):
        pass
    with locks.shared(lock, 5), locks.shared(lock, 1):
        pass


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("sqlite://", "outlive"),
        ("sqlite:///:memory:", "outlive"),
        ("sqlite:///file:x?mode=memory&uri=true", "outlive"),
        ("mysql://ann:secret@host/db", "mysql cannot hold a registry"),
        ("secret nonsense", "cannot be read"),
    ],
)
def test_an_unusable_url_is_told_without_its_password(url: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence) as caught:
        Registry(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_is_not_there_is_told_without_its_password() -> None:
    registry = Registry("postgresql://ann:secret@127.0.0.1:1/none")
    assert "secret" not in repr(registry)
    with pytest.raises(PeterError, match="cannot be reached") as caught, registry.read() as session:
        session.execute(text("SELECT 1"))
    assert "secret" not in str(caught.value)


def test_a_missing_registry_is_not_made_by_looking(tmp_path: Path) -> None:
    registry = Registry(f"sqlite:///{tmp_path}/none.db")
    for attempt in (lambda: registry.read().__enter__(), lambda: registry.write(rows.world)):
        with pytest.raises(NotInitialised, match="peter init"):
            attempt()
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "registry.db").write_text("user_id,gender\n" * 100)
    registry = Registry(f"sqlite:///{tmp_path}/registry.db")
    with pytest.raises(InputError, match="not an SQLite database"), registry.read() as session:
        tasks.every(session)


@pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
def test_settings_of_every_sqlite_connection(registry: Registry) -> None:
    with registry.read() as session:
        settings = {
            name: session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "foreign_keys", "synchronous", "secure_delete", "query_only")
        }
    assert settings == {
        "journal_mode": "wal",
        "foreign_keys": 1,
        "synchronous": 2,
        "secure_delete": 1,
        "query_only": 1,
    }


@pytest.mark.parametrize("registry", ["sqlite"], indirect=True)
def test_a_backup_has_what_was_committed_and_overwrites_nothing(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[Path, bool]] = []
    named = tmp_path / "copy.db"
    monkeypatch.setattr("peter.registry.backup.sync", lambda path: synced.append((path, named.exists())))
    registry.write(rows.world)
    backup(registry, named)
    assert synced == [(tmp_path, True)]  # its name, too, is on the disk
    registry.write(lambda session: tasks.add(session, rows.task("age"), "ann"))
    copy = Registry(f"sqlite:///{tmp_path}/copy.db")
    with copy.read() as session:
        assert [task.name for task in tasks.every(session)] == ["gender"]
    with pytest.raises(NameTaken, match=r"copy\.db exists"):
        backup(registry, tmp_path / "copy.db")
    copy.dispose()
