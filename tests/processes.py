"""The command line in processes of its own, and the workers that Ray starts below them.

Processes are forked from one that has imported everything: an interpreter that begins costs seconds.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ONE_CORE = ("RAY_OVERRIDE_RESOURCES", '{"CPU": 1}')  # for each that Ray has, a process imports for seconds
forkserver = multiprocessing.get_context("forkserver")
SERVICES = (
    "event_log.events", "backbone.pretrain", "version.train", "profile.materialize", "promotion.promote",
    "integrity.upkeep", "integrity.verify", "profile.cohorts", "transfer.exports", "transfer.imports",
    "lifecycle.forget",
)  # fmt: skip
LAZY = (
    "alembic.command",
    "peter.distributed.jobs",
    "peter.distributed.tune",
    "peter.methods.bag",
    "peter.methods.peter",
    "peter.tasks.classification",
    "psycopg",
    "small_workspace",
    "sklearn.feature_extraction.text",
    "torch._dynamo",
)
forkserver.set_forkserver_preload(["peter.cli.main", *(f"peter.services.{name}" for name in SERVICES), *LAZY])


class Running:
    """A command under way, in a process group of its own."""

    def __init__(self, place: Path, words: tuple[str, ...], said: Path) -> None:
        self._said = (said / "out", said / "err")
        for file in self._said:
            file.touch()
        arguments = (place, words, dict(os.environ), self._said)
        self._process = forkserver.Process(target=_peter, args=arguments)
        self._process.start()

    @property
    def pid(self) -> int:
        """The process's number."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """How it ended, the signal below zero; None while it runs."""
        return self._process.exitcode

    def send(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end, and give what it said."""
        self._process.join(timeout)
        assert self.returncode is not None, "it does not end"
        out, err = (file.read_text() for file in self._said)
        return out, err

    def end(self) -> None:
        """Kill it, if it still runs."""
        self._process.kill()
        self._process.join()


@contextmanager
def started(place: Path, *words: str) -> Iterator[Running]:
    """A command under way; it does not outlive the block."""
    with tempfile.TemporaryDirectory() as said:
        process = Running(place, words, Path(said))
        try:
            yield process
        finally:
            process.end()


def peter(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What a command did."""
    with started(place, *words) as process:
        out, err = process.communicate()
    return subprocess.CompletedProcess(words, process.returncode or 0, out, err)


def _peter(place: Path, words: tuple[str, ...], environment: dict[str, str], said: tuple[Path, ...]) -> None:
    from peter.cli.main import main

    os.setpgid(0, 0)
    os.chdir(place)
    os.environ.clear()
    os.environ.update(environment)
    for number, file in enumerate(said, 1):  # what is said below Python, too
        handle = os.open(file, os.O_WRONLY)
        os.dup2(handle, number)
        os.close(handle)
    sys.argv = ["peter", *words]
    main()


def workers(driver: int, name: str) -> list[int]:
    """The processes below `driver` in which Ray runs something of that name."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    above, found = {}, []
    for pid, parent, words in (line.split(None, 2) for line in listed.splitlines()[1:]):
        above[int(pid)] = int(parent)
        found += [int(pid)] if words.startswith(f"ray::{name}") else []
    return [pid for pid in found if driver in _ancestors(pid, above)]


def wait_for(sign: Callable[[], object], seconds: float = 120) -> None:
    """Wait until `sign` is true."""
    deadline = time.monotonic() + seconds
    while not sign():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.1)


def _ancestors(pid: int, above: dict[int, int]) -> Iterator[int]:
    while pid in above:
        pid = above[pid]
        yield pid
