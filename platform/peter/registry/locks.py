"""Locks between processes of one host: flock on a file beside what it guards, with a deadline.

A flock dies with its holder and wakes waiters in turn, which SQLite's own lock does not.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from peter.errors import Busy, PeterError

_REFUSED = {
    errno.ENOSPC: "the disk is full; free some space and run the command again",
    errno.EDQUOT: "your disk quota is used up; free some space and run the command again",
    errno.EFBIG: "files may not grow so large; raise `ulimit -f` and run the command again",
    errno.EROFS: "the file system is read-only; mount it for writing or name another place",
    errno.EACCES: "this user may not write there; change the permissions or name another place",
    errno.EPERM: "this user may not write there; change the permissions or name another place",
    errno.ENOTDIR: "a part of its path is a file, not a directory; name another place",
    errno.EEXIST: "its directory is a file; name another place",
}


@contextmanager
def told(place: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write at `place` into one sentence.

    Raises:
        PeterError: the disk is full or read-only, or permission is missing.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _REFUSED:
            raise
        raise PeterError(f"Cannot write {place}: {_REFUSED[error.errno]}.") from error


@contextmanager
def exclusive(path: Path, deadline: float) -> Iterator[None]:
    """Hold `path` alone; its holder's pid is in the file, for the message that others get.

    Raises:
        Busy: `deadline` seconds passed.
    """
    with _locked(path, fcntl.LOCK_EX, deadline) as handle:
        with suppress(OSError):  # a full disk must not cost the lock: the pid is only told, never relied on
            os.ftruncate(handle, 0)  # a holder that was killed left its own
            os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        try:
            yield
        finally:
            with suppress(OSError):
                os.ftruncate(handle, 0)


@contextmanager
def shared(path: Path, deadline: float) -> Iterator[None]:
    """Hold `path` together with other sharers, against those who want it alone.

    Raises:
        Busy: `deadline` seconds passed.
    """
    with _locked(path, fcntl.LOCK_SH, deadline):
        yield


def free(directory: Path) -> bool:
    """Whether nobody holds `directory` itself (see `owned`)."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _try(handle, fcntl.LOCK_EX)
    finally:
        os.close(handle)


@contextmanager
def owned(directory: Path) -> Iterator[None]:
    """Hold a directory of one's own, so that others can see that its maker is alive."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        _release(handle)


@contextmanager
def _locked(path: Path, how: int, deadline: float) -> Iterator[int]:
    with told(path):
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    if not _try(handle, how) and not _wait(handle, how, deadline):
        raise Busy(f"{path} has been held for {deadline:g} s by {_holder(path)}; wait for it, or end it.")
    try:
        yield handle
    finally:
        _release(handle)


def _try(handle: int, how: int) -> bool:
    try:
        fcntl.flock(handle, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(handle: int, how: int, deadline: float) -> bool:
    """Wait in the kernel's queue, which is in turn; flock has no timeout, so a thread waits for us."""
    guard, state = threading.Lock(), {"taken": False, "given_up": False}
    taken = threading.Event()

    def take() -> None:
        fcntl.flock(handle, how)
        with guard:
            if state["given_up"]:
                _release(handle)
            else:
                state["taken"] = True
                taken.set()

    threading.Thread(target=take, daemon=True).start()
    try:
        taken.wait(deadline)
    finally:
        with guard:
            state["given_up"] = not state["taken"]
    return state["taken"]


def _release(handle: int) -> None:
    fcntl.flock(handle, fcntl.LOCK_UN)  # closing alone leaves it with a child that was forked meanwhile
    os.close(handle)


def _holder(path: Path) -> str:
    with suppress(OSError):
        if pid := path.read_text().strip():
            return f"process {pid}"
    return "another process"
