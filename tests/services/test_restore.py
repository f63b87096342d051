"""Backups that are taken while others write, and what a team has after it put them back."""

import shutil
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

import processes
import pytest
from small_workspace import another_version, url

from peter.progress import Silent
from peter.registry import patches, schema, tasks
from peter.registry.backup import backup
from peter.registry.database import Registry
from peter.services.integrity.upkeep import collect
from peter.services.integrity.verify import verify
from peter.services.workspace import Workspace

WRITERS = 3


@contextmanager
def writers(place: Path) -> Iterator[None]:
    """Others who register versions all the time, each on a connection of its own."""
    stop = Event()

    def write(worker: int) -> None:
        workspace, turn = Workspace.open(url(place)), 0
        while not stop.is_set():
            another_version(workspace, "gender", f"{worker} {turn}".encode())
            turn += 1
        workspace.registry.dispose()

    with ThreadPoolExecutor(WRITERS) as pool:
        working = [pool.submit(write, worker) for worker in range(WRITERS)]
        try:
            yield
        finally:
            stop.set()
    for writer in working:
        writer.result()


def versions(workspace: Workspace) -> int:
    with workspace.registry.read() as session:
        return len(patches.versions(session, tasks.get(session, "gender")))


def wait_for_more(workspace: Workspace, count: int = 5) -> None:
    wanted = versions(workspace) + count
    while versions(workspace) < wanted:
        time.sleep(0.01)


def test_a_backup_while_others_write_is_restored_whole(
    workspace: Workspace, place: Path, tmp_path_factory
) -> None:
    kept, peter = tmp_path_factory.mktemp("backup"), place / ".peter"
    with writers(place):
        wait_for_more(workspace)
        backup(workspace.registry, kept / "registry.db")
        wait_for_more(workspace)
        shutil.copytree(peter / "store" / "objects", kept / "objects")
        wait_for_more(workspace)
    lost = versions(workspace)
    workspace.registry.dispose()
    shutil.rmtree(peter)

    shutil.copytree(kept / "objects", peter / "store" / "objects")
    shutil.copy(kept / "registry.db", peter / "registry.db")
    schema.upgrade(Registry(url(place)))
    restored = Workspace.open(url(place))
    assert verify(restored, False, Silent())["problems"] == []
    assert 5 < versions(restored) < lost - 5
    assert collect(restored)["removed"] > 0  # objects of versions that came after the registry's backup
    with sqlite3.connect(peter / "registry.db") as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()
    with writers(place):
        wait_for_more(restored)
    restored.registry.dispose()


@pytest.mark.slow
def test_gc_beside_commands_that_train_leaves_everything_whole(workspace: Workspace, place: Path) -> None:
    quick = ("--no-twin", "--set", "epochs=1", "--set", "threads=1")
    with (
        processes.started(place, "task", "train", "gender", "--seed", "1", *quick) as one,
        processes.started(place, "task", "train", "tier", "--seed", "1", *quick) as two,
        processes.started(place, "task", "add", "other", "--labels", "gender.csv", *quick) as three,
    ):
        while None in [each.returncode for each in (one, two, three)]:
            collect(workspace)
        assert [each.returncode for each in (one, two, three)] == [0, 0, 0]
    report = verify(workspace, False, Silent())
    assert (report["problems"], report["checked"]["champions"]) == ([], 3)
