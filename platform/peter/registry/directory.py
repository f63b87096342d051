"""The object store in a directory: an object is a file, renamed to its name once it is durable."""

import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from peter import faults
from peter.errors import CorruptObject, PeterError
from peter.registry import locks
from peter.registry.objects import KEY, changed, hashed, keyless, missing, named, place, quarantined

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class DirectoryStore:
    """Objects below one directory, which must lie on one file system; see `ObjectStore`.

    Args:
        root: the store's directory; made when the first object is put.
        deadline: seconds to wait for a collection to end before `Busy`.
    """

    def __init__(self, root: Path, deadline: float = 60.0) -> None:
        self.root = root.absolute()
        self._deadline = deadline
        self._verified: set[str] = set()

    def __str__(self) -> str:
        return str(self.root)

    @property
    def address(self) -> str:
        """The directory."""
        return str(self.root)

    def fresh(self) -> "DirectoryStore":
        """The same directory, no hash of which was checked."""
        return DirectoryStore(self.root, self._deadline)

    def put_bytes(self, data: bytes) -> str:
        """Write a file and give its name."""
        with self.workspace() as directory:
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
        """Move a file of this file system to its name."""
        with locks.told(self.root):
            _make_durable(path)
            return self._keep(path, hashed(path))

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A directory of one's own on the store's file system, for files being written; gone afterwards."""
        with ExitStack() as stack:
            with locks.told(self.root), self.holding():  # a collector must not see it before it is owned
                (self.root / "tmp").mkdir(exist_ok=True)
                directory = Path(tempfile.mkdtemp(dir=self.root / "tmp"))
                stack.enter_context(locks.owned(directory))
                stack.callback(shutil.rmtree, directory, ignore_errors=True)
            with locks.told(self.root):
                yield directory

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Keep `collect` away, from the first put to the commit of the row that refers to it."""
        with locks.told(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
        with locks.shared(self.root / "gc.lock", self._deadline):
            yield

    def path(self, sha256: str) -> Path:
        """The stored file itself."""
        if sha256 not in self._verified or not self.exists(sha256):
            self.verify(sha256)
        return self._place(sha256)

    def read(self, sha256: str) -> bytes:
        """The file's bytes, hashed."""
        try:
            data = self._place(sha256).read_bytes()
        except FileNotFoundError:
            raise missing(sha256, self) from None
        if hashlib.sha256(data).hexdigest() != sha256:
            raise changed(sha256, self)
        return data

    def exists(self, sha256: str) -> bool:
        """Whether a file is there, whatever is in it."""
        return self._place(sha256).is_file()

    def verify(self, sha256: str) -> None:
        """Hash the file again."""
        self._verified.discard(sha256)
        try:
            found = hashed(self._place(sha256))
        except FileNotFoundError:
            raise missing(sha256, self) from None
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            raise changed(sha256, self) from error  # a disk that cannot give it back has changed it, too
        if found != sha256:
            raise changed(sha256, self)
        self._verified.add(sha256)

    def secret(self, make: bool) -> bytes:
        """A file that its owner alone may read; a team opens it to its group."""
        path = self.root / KEY
        if make and not path.exists():
            with self.workspace() as directory, locks.told(path):
                handle = os.open(directory / KEY, _NEW, 0o600)
                with os.fdopen(handle, "wb") as file:
                    file.write(secrets.token_bytes())
                    file.flush()
                    os.fsync(file.fileno())
                with suppress(FileExistsError):  # another program was faster
                    os.link(directory / KEY, path)
                sync(self.root)
        try:
            return path.read_bytes()
        except FileNotFoundError:
            raise keyless(self) from None
        except PermissionError:
            raise PeterError(f"{path} cannot be read; ask its owner for `chmod g+r`.") from None

    def sizes(self) -> dict[str, int]:
        """The size of every file that is called like an object and in its place."""
        found = {}
        for path in sorted((self.root / "objects").glob("*/*")):
            if named(path.name) and path.parent.name == path.name[:2]:
                with suppress(FileNotFoundError):  # a collector may run
                    found[path.name] = path.stat().st_size
        return found

    def mend(self, sha256: str, good: Path | None) -> None:
        """Move a bad file aside, and give its name to a good one."""
        bad = self._place(sha256)
        with locks.told(self.root), locks.exclusive(self.root / "gc.lock", self._deadline):
            with suppress(CorruptObject):
                return self.verify(sha256)
            if good and hashed(good) != sha256:
                raise changed(sha256, self)
            if bad.exists():
                aside = self.root / quarantined(sha256)
                aside.parent.mkdir(exist_ok=True)
                os.replace(bad, aside)
                sync(aside.parent)
                sync(bad.parent)
            if good:
                _make_durable(good)
                self._keep(good, sha256)

    def collect(self, live: Callable[[], Collection[str]], dry: bool = False) -> dict[str, int]:
        """Remove files that `live` does not name, and the workspaces of dead makers."""
        with locks.told(self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            with locks.exclusive(self.root / "gc.lock", self._deadline):
                kept = set(live())
                unneeded = {sha256: size for sha256, size in self.sizes().items() if sha256 not in kept}
                if not dry:
                    for sha256 in unneeded:
                        self._verified.discard(sha256)
                        self._place(sha256).unlink(missing_ok=True)
                        faults.reach("gc:removed")
                    self._sweep()
                return unneeded

    def _sweep(self) -> None:
        for directory in (self.root / "tmp").glob("*"):
            with suppress(FileNotFoundError):  # its maker may be done with it at this very moment
                if locks.free(directory):
                    shutil.rmtree(directory, ignore_errors=True)

    def _keep(self, file: Path, sha256: str) -> str:
        """Give a durable file its name, unless a good copy has it already; a bad copy is replaced."""
        kept = self._place(sha256)
        kept.parent.mkdir(parents=True, exist_ok=True)
        if kept.exists() and hashed(kept) == sha256:
            file.unlink()
        else:
            os.replace(file, kept)
        sync(kept.parent)  # also when it was there: whoever put it may not have come to this yet
        sync(kept.parent.parent)
        self._verified.add(sha256)
        return sha256

    def _place(self, sha256: str) -> Path:
        return self.root / place(sha256)


def _make_durable(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(handle, 0o444)
        os.fsync(handle)
    finally:
        os.close(handle)


def sync(path: Path) -> None:
    """Have what is written of a file, or the names in a directory, on the disk."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
