"""Tuning several tasks at once: their searches share one cluster, and each one's best becomes a version."""

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Event
from typing import Any

from peter import faults
from peter.distributed.cluster import cluster
from peter.distributed.tune import Outcome, tidy
from peter.errors import Interrupted, PeterError
from peter.progress import Progress
from peter.registry import models, runs
from peter.services.patch.recipes import Recipe
from peter.services.patch.requests import Request
from peter.services.running import RESUME, ended
from peter.services.version import versions
from peter.services.version.searches import Plan, changed, searched
from peter.services.workspace import Workspace

Found = Future[list[Outcome]]


@dataclass(frozen=True)
class Job:
    """A task's search."""

    patch: models.Patch
    plan: Plan
    run: models.Run


def together(
    workspace: Workspace, jobs: Sequence[Job], address: str | None, progress: Progress
) -> dict[str, Any]:
    """Search for all jobs at once, CPUs shared out evenly, and make a version of each one's best.

    A search runs in a thread of its own. Versions are made in this one, as the searches end: there can be
    only one count of torch's threads, and a signal reaches the main thread alone.

    Returns:
        `{tasks: [{name, run, trials, planned, time_up, version, promoted, reason}]}`, in the jobs' order.

    Raises:
        Interrupted: stopped by a signal; the message says how to go on with each run.
        PeterError: of the jobs that failed, once all others are done.
    """
    made: dict[int, dict[str, Any]] = {}
    errors: list[PeterError] = []
    left, stop = {job.run.id: job for job in jobs}, Event()
    try:
        with cluster(address) as cpus, progress.bar("tune", len(jobs), "tasks") as bar:
            for job, future in _searches(workspace, jobs, cpus, stop, progress):
                del left[job.run.id]
                try:
                    with ended(workspace, job.run, RESUME["tune"]):
                        made[job.run.id] = _make_best(workspace, job, future, stop, progress)
                except PeterError as error:
                    errors.append(error)
                bar.advance(1)
    except (Exception, KeyboardInterrupt) as error:
        told = [_given_up(workspace, job, error) for job in left.values()]
        if isinstance(error, KeyboardInterrupt) and told:
            raise _one([*errors, *told]) from None
        raise
    if errors:
        raise _one(errors)
    return {"tasks": [made[job.run.id] for job in jobs]}


def _given_up(workspace: Workspace, job: Job, error: BaseException) -> PeterError:
    """Let the registry know of a run that ends before its search did."""
    try:
        with ended(workspace, job.run, RESUME["tune"]):
            raise error
    except PeterError as told:
        return told
    except Exception as other:  # noqa: BLE001 - the caller raises it
        return PeterError(str(other))


def _searches(
    workspace: Workspace, jobs: Sequence[Job], cpus: int, stop: Event, progress: Progress
) -> Iterator[tuple[Job, Found]]:
    """Each job with its search as that ends; Ctrl-C stops all of them, and is told by their futures."""
    tasks = min(len(jobs), cpus)

    def look(job: Job) -> list[Outcome]:
        recipe = Recipe.of(job.patch)
        return searched(workspace, job.plan, recipe, job.run, cpus // tasks, stop, progress)

    with ThreadPoolExecutor(tasks) as pool:
        pending = {pool.submit(look, job): job for job in jobs}
        try:
            while pending:
                for future in _next(pending, stop):
                    yield pending.pop(future), future
        finally:
            stop.set()  # or the pool would wait for searches that nobody wants any more


def _next(pending: dict[Found, Job], stop: Event) -> set[Found]:
    try:
        return wait(pending, return_when=FIRST_COMPLETED).done
    except KeyboardInterrupt:
        stop.set()
        return set()


def _make_best(
    workspace: Workspace, job: Job, future: Found, stop: Event, progress: Progress
) -> dict[str, Any]:
    """A version of the best that a search found. Raises KeyboardInterrupt once everything is to stop."""
    try:
        found = future.result()
        if stop.is_set():
            raise KeyboardInterrupt
        faults.reach("tune:searched")
        best = min(found, key=lambda outcome: math.inf if outcome.score is None else outcome.score)
        recipe = changed(Recipe.of(job.patch), best.config, job.plan.seed)
        wanted = Request.after(workspace, job.patch, recipe=recipe, seeds=job.plan.seeds)
        report = versions.make(workspace, wanted, job.plan.promote, progress)["report"]
    except (KeyboardInterrupt, Interrupted):
        stop.set()
        raise
    faults.reach("tune:made")
    time_up = len(found) < job.plan.trials or any(outcome.cut for outcome in found)
    told = {"trials": len(found), "planned": job.plan.trials, "time_up": time_up}
    summary = {"best": best.score, "config": best.config, "version": report["version"], **told}
    workspace.registry.write(lambda session: runs.finish(session, job.run.id, summary))
    tidy(workspace.run_directory(job.run.id))
    kept = {key: report[key] for key in ("version", "promoted", "reason")}
    return {"name": job.patch.task.name, "run": job.run.id, **told, **kept}


def _one(errors: Sequence[PeterError]) -> PeterError:
    """All of them in one."""
    if len(errors) == 1:
        return errors[0]
    kind = Interrupted if any(isinstance(error, Interrupted) for error in errors) else PeterError
    return kind(" ".join(map(str, errors)))
