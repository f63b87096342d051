"""A connection to Ray that prints nothing and that only this user's programs can use."""

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray
from ray._private import worker

from peter.errors import InputError


@contextmanager
def cluster(address: str | None) -> Iterator[int]:
    """Connect to the cluster at `address`, or start one on this machine, for the block; gives its CPUs.

    Raises:
        InputError: no cluster is there, or it does not take our token.
    """
    _private_token(address)
    for name in ("ray.tune", "ray.train", "ray.air", "optuna"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a failed trial is told once, by whoever searches
    # there is no public switch, and a word on a lost worker would end within a JSON document
    worker._worker_logs_enabled = False
    # Optuna's word on a trial that begins again; warnings belong to the process, searches to threads
    warnings.filterwarnings("ignore", "The reported value is ignored")
    stop = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL
    _connect(address)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, stop)  # Ray's own exits at once, and nobody would note the run's end
    try:
        yield max(1, int(ray.cluster_resources().get("CPU", 1)))
    finally:
        ray.shutdown()


def _connect(address: str | None) -> None:
    try:
        with _hushed():
            ray.init(
                address=address or "local",  # or Ray looks whether another cluster was ever begun here
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level="ERROR",
                configure_logging=True,
            )
    except ConnectionError:
        raise InputError(
            f"No Ray cluster lets us in at {address}; check the address, and that RAY_AUTH_TOKEN or "
            "~/.ray/auth_token is that of the cluster."
        ) from None


@contextmanager
def _hushed() -> Iterator[None]:
    """Without standard error: below Python, Ray says there every second that it is not let in."""
    error = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(error, 2)
        os.close(error)


def cores_each(workers: int, most: int) -> int:
    """Cores that each of so many workers can have, `most` at most, so that all find a place at once.

    Ray would wait for ever for a place that no machine has.

    Raises:
        InputError: there are fewer cores than workers.
    """
    machines = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    for cores in range(most, 0, -1):
        if sum(machine // cores for machine in machines) >= workers:
            return cores
    raise InputError(f"{workers} workers need as many cores; give --workers {sum(machines)} or less.")


def _private_token(address: str | None) -> None:
    """Ray's own token file is readable by everybody, and an explicit address does not switch tokens on."""
    if address:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    file = Path.home() / ".ray" / "auth_token"
    if file.exists():
        file.chmod(0o600)
