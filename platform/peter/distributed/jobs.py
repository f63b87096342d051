"""Jobs that need nothing of each other, each in a process of its own, on this machine or on a cluster."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import ray

from peter.distributed.cluster import cluster, cores_each
from peter.errors import PeterError, kept

AHEAD = 2  # jobs of a process that are begun before the oldest value is taken
RETRIES = 2  # times a job is begun anew whose process or machine is gone; it writes nothing, so it may


@dataclass(frozen=True)
class Ended:
    """What became of the job at a place of the list."""

    at: int
    value: Any
    error: str | None  # one sentence; None: the value counts


def each(
    work: Callable[[Any], Any], jobs: Sequence[Any], threads: int, address: str | None
) -> Iterator[Ended]:
    """Run `work` on every job, as many at once as there are cores; the first to end comes first.

    Args:
        work: importable; it must write nothing.
        jobs: what it needs, picklable: names and addresses, never a frozen tensor.
        threads: cores that a job keeps busy, if a machine has as many.
        address: of a cluster; None: this machine.
    """
    with cluster(address):
        task = ray.remote(num_cpus=cores_each(1, threads), max_retries=RETRIES)(_done)
        places = {task.remote(work, job): at for at, job in enumerate(jobs)}
        while places:
            (ended,), _ = ray.wait(list(places), num_returns=1)
            yield _ended(places.pop(ended), ended)


def in_order(
    work: Callable[[Any], Any], jobs: Iterable[Any], workers: int, address: str | None
) -> Generator[Any, None, None]:
    """What `work` gives for each job, in the order of the jobs, from so many processes of one core each.

    Only a few jobs a process are begun ahead of what was taken, so that memory stays bounded. A process keeps
    what `work` caches; one that is lost is begun again with its jobs, and no value is given twice.

    Args:
        work: importable; it must write nothing.
        jobs: what it needs, picklable: names and addresses, never a frozen tensor.
        address: of a cluster; None: this machine.

    Raises:
        InputError: fewer cores than workers.
        PeterError: a job failed, or its process was lost again and again.
    """
    with cluster(address):
        cores = cores_each(workers, 1)
        actor = ray.remote(num_cpus=cores, max_restarts=RETRIES, max_task_retries=RETRIES)(_Worker)
        team = [actor.remote(work) for _ in range(workers)]
        begun = (team[at % workers].do.remote(job) for at, job in enumerate(jobs))
        ahead = deque(islice(begun, AHEAD * workers))
        while ahead:
            ended = _ended(0, ahead.popleft())
            if ended.error:
                raise PeterError(ended.error)
            ahead.extend(islice(begun, 1))
            yield ended.value


class _Worker:
    """A process that does one job after another."""

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work

    def do(self, job: Any) -> tuple[Any, str | None]:
        return _done(self._work, job)


def _done(work: Callable[[Any], Any], job: Any) -> tuple[Any, str | None]:
    """What it gives, or why not."""
    try:
        return work(job), None
    except Exception as error:  # noqa: BLE001  one job's end is not that of the others
        return None, kept(error)


def _ended(at: int, reference: Any) -> Ended:
    try:
        return Ended(at, *ray.get(reference))
    except ray.exceptions.RayError as error:  # its process died again and again
        return Ended(at, None, f"its process ended without a word ({type(error).__name__})")
