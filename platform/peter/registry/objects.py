"""The object store: everything big is an immutable file named by the sha256 of its bytes.

A file is durable before any row refers to it: a crash leaves an object too many, never a row too many.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from peter.errors import CorruptObject
from peter.registry import locks

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class ObjectStore:
    """Objects below one directory, which must lie on one file system.

    Args:
        root: the store's directory; made when the first object is put.
        deadline: seconds to wait for a collection to end before `Busy`.
    """

    def __init__(self, root: Path, deadline: float = 60.0) -> None:
        self.root = root.absolute()
        self._deadline = deadline
        self._verified: set[str] = set()

    def put_bytes(self, data: bytes) -> str:
        """Store `data` durably and give its name.

        Raises:
            PeterError: the disk is full or read-only.
        """
        with self.workspace() as directory, locks.told(self.root):
            file = directory / "data"
            handle = os.open(file, _NEW, 0o444)
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(handle, rest) :]
                os.fsync(handle)
            finally:
                os.close(handle)
            return self._keep(file, hashlib.sha256(data).hexdigest())

    def put_file(self, path: Path) -> str:
        """Move a finished file out of a `workspace()` into the store and give its name.

        Raises:
            PeterError: the disk is full or read-only.
        """
        with locks.told(self.root):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                os.fchmod(handle, 0o444)
                os.fsync(handle)
            finally:
                os.close(handle)
            return self._keep(path, _sha256(path))

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A directory of one's own on the store's file system, for files being written; gone afterwards."""
        with ExitStack() as stack:
            with locks.told(self.root), self.holding():  # a collector must not see it before it is owned
                (self.root / "tmp").mkdir(exist_ok=True)
                directory = Path(tempfile.mkdtemp(dir=self.root / "tmp"))
                stack.enter_context(locks.owned(directory))
                stack.callback(shutil.rmtree, directory, ignore_errors=True)
            yield directory

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keep `collect` away, from the first put to the commit of the row that refers to it."""
        with locks.told(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        with locks.shared(self.root / "gc.lock", self._deadline):
            yield

    def path(self, sha256: str) -> Path:
        """The file of an object, hashed once a process; never write to it.

        Raises:
            CorruptObject: it is missing or does not hash to its name.
        """
        if sha256 not in self._verified or not self.exists(sha256):
            self.verify(sha256)
        return self._place(sha256)

    def read(self, sha256: str) -> bytes:
        """An object's bytes, hashed on the way.

        Raises:
            CorruptObject: it is missing or does not hash to its name.
        """
        try:
            data = self._place(sha256).read_bytes()
        except FileNotFoundError:
            raise self._missing(sha256) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise self._changed(sha256)
        return data

    def exists(self, sha256: str) -> bool:
        """Whether a file is there, whatever is in it."""
        return self._place(sha256).is_file()

    def verify(self, sha256: str) -> None:
        """Hash an object again.

        Raises:
            CorruptObject: it is missing or does not hash to its name.
        """
        self._verified.discard(sha256)
        try:
            found = _sha256(self._place(sha256))
        except FileNotFoundError:
            raise self._missing(sha256) from None
        if found != sha256:
            raise self._changed(sha256)
        self._verified.add(sha256)

    def all(self) -> Iterator[str]:
        """The names of all objects, sorted."""
        for place in sorted((self.root / "objects").glob("*/*")):
            yield place.name

    def collect(self, live: Callable[[], Collection[str]]) -> list[str]:
        """Remove every object that `live` does not name, and give their names; sweep dead makers' workspaces.

        `live` is called once all writers are done and no other can start.
        """
        with locks.told(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            with locks.exclusive(self.root / "gc.lock", self._deadline):
                kept = set(live())
                removed = [sha256 for sha256 in self.all() if sha256 not in kept]
                for sha256 in removed:
                    self._verified.discard(sha256)
                    self._place(sha256).unlink(missing_ok=True)
                for directory in (self.root / "tmp").glob("*"):
                    with suppress(FileNotFoundError):  # its maker may be done with it at this very moment
                        if locks.free(directory):
                            shutil.rmtree(directory, ignore_errors=True)
                return removed

    def _keep(self, file: Path, sha256: str) -> str:
        """Give a durable file its name, unless a good copy has it already; a bad copy is replaced."""
        place = self._place(sha256)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists() and _sha256(place) == sha256:
            file.unlink()
        else:
            os.replace(file, place)
        _sync(place.parent)  # also when it was there: whoever put it may not have come to this yet
        _sync(place.parent.parent)
        self._verified.add(sha256)
        return sha256

    def _place(self, sha256: str) -> Path:
        if not re.fullmatch("[0-9a-f]{64}", sha256):
            raise CorruptObject(
                f"{sha256!r} is not the name of an object; run `peter verify` for where it is used."
            )
        return self.root / "objects" / sha256[:2] / sha256

    def _missing(self, sha256: str) -> CorruptObject:
        return CorruptObject(
            f"Object {sha256} is missing from {self.root}; put it back from a backup of the store, "
            "and run `peter verify` to see what needs it."
        )

    def _changed(self, sha256: str) -> CorruptObject:
        return CorruptObject(
            f"Object {self._place(sha256)} no longer hashes to its name; put it back from a backup "
            "of the store, or run `peter verify --repair` to see what can be made again."
        )


def _sha256(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
