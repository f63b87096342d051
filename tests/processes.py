"""The command line in processes of its own, and the workers that Ray starts below them."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAM = [sys.executable, "-c", "from peter.cli.main import main; main()"]


def peter(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """What a command did."""
    return subprocess.run([*PROGRAM, *words], cwd=place, capture_output=True, text=True, check=False)


@contextmanager
def started(place: Path, *words: str) -> Iterator["subprocess.Popen[str]"]:
    """A command under way, in a process group of its own; it does not outlive the block."""
    process = subprocess.Popen(
        [*PROGRAM, *words],
        cwd=place,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        process_group=0,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


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
