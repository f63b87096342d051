"""Several searches at once, without Ray: who is told what when one of them fails or all are stopped."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from peter.distributed.tune import Outcome
from peter.errors import Interrupted, PeterError
from peter.progress import Silent
from peter.registry import aliases, patches, runs
from peter.services.version import together as module
from peter.services.version.searches import Plan
from peter.services.version.together import Job, together
from peter.services.workspace import Workspace

Look = Callable[[Job, int, threading.Event], list[Outcome]]
BEST = Outcome({"dropout": 0.25}, 0.4, None)


@pytest.fixture
def jobs(workspace: Workspace) -> list[Job]:
    """One for each task."""

    def begin(session) -> list[Job]:
        found = []
        for task in ("gender", "tier"):
            patch = patches.get(session, task)
            space = {"dropout": [0.1, 0.25]}
            plan = Plan(patch.reference, "clicks@1", "peter", space, "optuna", 2, 0, 1, None, False)
            found.append(Job(patch, plan, runs.start(session, "tune", task, plan.to_json(), "ann")))
        return found

    return workspace.registry.write(begin)


@pytest.fixture
def searching(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put this in the place of every search, and a cluster of so many CPUs below it."""

    def put(look: Look, cpus: int = 5) -> None:
        @contextmanager
        def cluster(address: str | None) -> Iterator[int]:
            yield cpus

        def searched(workspace, plan, recipe, run, at_once, stop, progress) -> list[Outcome]:
            return look(run.subject, at_once, stop)

        monkeypatch.setattr(module, "cluster", cluster)
        monkeypatch.setattr(module, "searched", searched)

    return put


def states(workspace: Workspace, jobs: list[Job]) -> list[str]:
    with workspace.registry.read() as session:
        return [runs.get(session, job.run.id).state for job in jobs]


def test_searches_run_side_by_side_and_share_the_cpus(
    workspace: Workspace, jobs: list[Job], searching
) -> None:
    both, shares = threading.Barrier(2, timeout=60), []

    def look(task: str, at_once: int, stop: threading.Event) -> list[Outcome]:
        both.wait()
        shares.append(at_once)
        return [Outcome({"dropout": 0.1}, 0.5, None), BEST]

    searching(look)
    found = together(workspace, jobs, None, Silent())["tasks"]
    assert shares == [2, 2]
    assert [(task["name"], task["version"]) for task in found] == [("gender", 2), ("tier", 2)]
    assert states(workspace, jobs) == ["done", "done"]
    with workspace.registry.read() as session:
        assert patches.get(session, "gender@2").config["options"]["dropout"] == 0.25
        assert aliases.version(session, jobs[0].patch.task, aliases.CHAMPION) == 1  # as the plan says


def test_no_more_searches_run_than_there_are_cpus(workspace: Workspace, jobs: list[Job], searching) -> None:
    running, most = [], []

    def look(task: str, at_once: int, stop: threading.Event) -> list[Outcome]:
        running.append(task)
        most.append((len(running), at_once))
        time.sleep(0.2)
        running.remove(task)
        return [BEST]

    searching(look, cpus=1)
    found = together(workspace, jobs, None, Silent())["tasks"]
    assert most == [(1, 1), (1, 1)]
    assert [(task["trials"], task["planned"], task["time_up"]) for task in found] == [(1, 2, True)] * 2


def test_one_that_fails_does_not_stop_the_others(workspace: Workspace, jobs: list[Job], searching) -> None:
    def look(task: str, at_once: int, stop: threading.Event) -> list[Outcome]:
        if task == "gender":
            raise PeterError("no trial succeeded")
        return [BEST]

    searching(look)
    with pytest.raises(PeterError, match=r"^no trial succeeded$"):
        together(workspace, jobs, None, Silent())
    assert states(workspace, jobs) == ["failed", "done"]


def test_an_interruption_stops_all_and_names_every_run(
    workspace: Workspace, jobs: list[Job], searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(task: str, at_once: int, stop: threading.Event) -> list[Outcome]:
        assert stop.wait(60)
        raise KeyboardInterrupt

    def stopped(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    searching(look)
    real, waits = module.wait, iter([stopped])
    monkeypatch.setattr(module, "wait", lambda *args, **more: next(waits, real)(*args, **more))
    with pytest.raises(Interrupted) as raised:
        together(workspace, jobs, None, Silent())
    for job in jobs:
        assert f"`peter tune --resume {job.run.id}`" in str(raised.value)
    assert states(workspace, jobs) == ["interrupted", "interrupted"]


def test_one_interrupted_in_its_training_stops_the_searches(
    workspace: Workspace, jobs: list[Job], searching, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(task: str, at_once: int, stop: threading.Event) -> list[Outcome]:
        if task == "gender":
            return [BEST]
        assert stop.wait(60)
        raise KeyboardInterrupt

    def make(*_: Any) -> None:
        raise KeyboardInterrupt

    searching(look)
    monkeypatch.setattr(module.versions, "make", make)
    with pytest.raises(Interrupted):
        together(workspace, jobs, None, Silent())
    assert states(workspace, jobs) == ["interrupted", "interrupted"]


@pytest.mark.parametrize(
    ("error", "raised", "state"),
    [
        (ConnectionError("no cluster"), ConnectionError, "failed"),
        (KeyboardInterrupt(), Interrupted, "interrupted"),
    ],
)
def test_without_a_cluster_no_run_is_left_under_way(
    workspace: Workspace, jobs: list[Job], monkeypatch: pytest.MonkeyPatch, error, raised, state: str
) -> None:
    def cluster(address: str | None) -> None:
        raise error

    monkeypatch.setattr(module, "cluster", cluster)
    with pytest.raises(raised):
        together(workspace, jobs, "nowhere:1", Silent())
    assert states(workspace, jobs) == [state, state]
