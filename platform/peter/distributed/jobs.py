"""Jobs that need nothing of each other, each in a process of its own, on this machine or on a cluster."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from peter.distributed.cluster import cluster
from peter.errors import kept

AGAIN = 2  # times a job is begun anew whose process or machine is gone; it writes nothing, so it may


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
        threads: cores that a job keeps busy.
        address: of a cluster; None: this machine.
    """
    with cluster(address) as cores:
        task = ray.remote(num_cpus=min(threads, cores), max_retries=AGAIN)(_done)
        places = {task.remote(work, job): at for at, job in enumerate(jobs)}
        while places:
            (ended,), _ = ray.wait(list(places), num_returns=1)
            yield _ended(places.pop(ended), ended)


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
