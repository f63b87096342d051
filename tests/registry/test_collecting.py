"""A collector that never rests, beside processes that register what they store: nothing is lost."""

import multiprocessing
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import registry_rows as rows
from sqlalchemy.orm import Session

from peter.progress import Silent
from peter.registry import aliases, live, patches, profiles, tasks
from peter.registry.database import Registry
from peter.registry.directory import DirectoryStore
from peter.services.integrity.upkeep import collect
from peter.services.integrity.verify import verify
from peter.services.workspace import Workspace

# Forked children only use the registry and the store, never the threads of libraries that other tests loaded.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

WRITERS, TURNS = 3, 12
OBJECTS = ("sequences", "users", "vocabulary", "weights", "labels", "weights of first")  # of `rows.world`


def _train(workspace: Workspace, collections: Any, worker: int) -> None:
    """What `task train` and `profile materialize` leave: objects first, then the rows, under one holding."""
    for turn in range(TURNS):
        while collections.value < turn // 3:  # or writers without a pause would keep a collector out
            time.sleep(0.001)
        put = workspace.objects.put_bytes
        with workspace.objects.holding():
            labels, weights, answers = (put(f"{what} {worker} {turn}".encode()) for what in ("l", "w", "a"))

            request, stored = f"{worker} {turn}", (labels, weights, answers)

            def register(session: Session, request: str = request, stored: tuple[str, ...] = stored) -> None:
                before = patches.get(session, "gender")
                labelled = rows.labels(before.task)
                labelled.sha256 = stored[0]
                made = rows.patch(tasks.add_labels(session, labelled, "ann"), before.backbone, request)
                made.weights_sha256 = stored[1]
                aliases.move(session, patches.add(session, made, "ann"), aliases.CHAMPION, "ann", "newer")
                first, log = patches.get(session, "gender@1"), before.backbone.event_log
                profiles.replace(session, first, log, stored[2], 1, datetime.now(UTC), "ann")

            workspace.registry.write(register)


def test_gc_beside_writers_leaves_no_reference_without_its_object(
    registry: Registry, in_directory: DirectoryStore
) -> None:
    workspace = Workspace(registry, in_directory.open(deadline=60))
    assert [workspace.objects.put_bytes(text.encode()) for text in OBJECTS] == [
        rows.sha(text) for text in OBJECTS
    ]
    registry.write(rows.world)
    fork = multiprocessing.get_context("fork")
    collections = fork.Value("i", 0)
    writers = [
        fork.Process(target=_train, args=(workspace, collections, worker)) for worker in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    removed = 0
    while any(writer.is_alive() for writer in writers):
        removed += collect(workspace)["removed"]
        collections.value += 1
    removed += collect(workspace)["removed"]
    assert [writer.exitcode for writer in writers] == [0] * WRITERS
    assert removed == WRITERS * TURNS - 1  # each table of answers but the last was replaced
    with registry.read() as session:
        needed = live.objects(session)
    assert list(workspace.objects.sizes()) == sorted(needed)
    for name in needed:
        workspace.objects.verify(name)
    assert verify(workspace, True, Silent())["problems"] == []
