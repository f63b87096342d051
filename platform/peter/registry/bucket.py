"""The object store in a bucket: S3's, of what speaks like it, or Google's, through a directory of copies.

What is put is written to the directory first, then uploaded under its final name, where it appears whole or
not at all. What is read is downloaded once and hashed on the way in.
"""

import copy
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from peter.errors import CorruptObject, InputError, PeterError
from peter.registry import locks
from peter.registry.directory import DirectoryStore
from peter.registry.guards import Guard
from peter.registry.objects import KEY, changed, hashed, keyless, missing, named, place, quarantined

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

Found = TypeVar("Found")

SCHEMES = ("s3", "gs", "gcs")  # where pyarrow's streams make an object appear whole or not at all
_CHUNK = 32 << 20  # bytes in memory at a time


class BucketStore:
    """Objects below a prefix of a bucket; see `ObjectStore`. Its `root` is the directory of copies.

    Args:
        url: `s3://bucket/prefix` and so on, as `pyarrow.fs.FileSystem.from_uri` takes it; credentials, region
            and endpoint that it does not say come from the environment.
        cache: where copies are, for this user alone; several processes may share it.
        guard: what `holding` shares and `collect` takes alone.

    Raises:
        InputError: the URL cannot be used, or there is no such bucket, or it does not let us in.
        PeterError: the directory of copies cannot be made.
    """

    def __init__(self, url: str, cache: Path, guard: Guard) -> None:
        self.address = url
        self._files, self._prefix = _connected(url)
        self._shown = f"{url.partition('://')[0]}://{self._prefix}"
        with locks.told(cache):
            cache.parent.mkdir(parents=True, exist_ok=True)
            cache.mkdir(mode=0o700, exist_ok=True)  # what users did is nothing for others on this machine
        self._cache = DirectoryStore(cache)
        self._guard = guard

    def __str__(self) -> str:
        return self._shown

    @property
    def root(self) -> Path:
        """The directory of copies."""
        return self._cache.root

    def fresh(self) -> "BucketStore":
        """The same bucket, no copy of which was checked."""
        other = copy.copy(self)
        other._cache = self._cache.fresh()
        return other

    def put_bytes(self, data: bytes) -> str:
        """Write a copy, upload it, and give its name."""
        return self._uploaded(self._cache.put_bytes(data))

    def put_file(self, path: Path) -> str:
        """Make a file of the `workspace` the copy, and upload that."""
        return self._uploaded(self._cache.put_file(path))

    def workspace(self) -> AbstractContextManager[Path]:
        """Beside the copies."""
        return self._cache.workspace()

    def holding(self) -> AbstractContextManager[None]:
        """Keep `collect` away, whichever machine it would run on."""
        return self._guard.shared()

    def path(self, sha256: str) -> Path:
        """The copy, downloaded if there is no good one."""
        return self._from_copy(self._cache.path, sha256)

    def read(self, sha256: str) -> bytes:
        """The bytes of the copy, downloaded if there is no good one."""
        return self._from_copy(self._cache.read, sha256)

    def exists(self, sha256: str) -> bool:
        """Whether the bucket has it."""
        with self._told():
            return bool(self._files.get_file_info(self._place(sha256)).is_file)

    def verify(self, sha256: str) -> None:
        """Hash what the bucket has; nothing is kept of it."""
        with open(os.devnull, "wb") as nowhere:
            self._download(sha256, nowhere)

    def sizes(self) -> dict[str, int]:
        """What the bucket says of every object."""
        from pyarrow.fs import FileSelector

        below = FileSelector(f"{self._prefix}/objects", allow_not_found=True, recursive=True)
        with self._told():
            found = self._files.get_file_info(below)
        files = sorted((info.base_name, info.size) for info in found if info.is_file)
        return {name: size for name, size in files if named(name)}  # folders are empty marks

    def secret(self, make: bool) -> bytes:
        """An object with a name of its own; no copy of it is made."""
        path = f"{self._prefix}/{KEY}"
        if make:
            with self._guard.exclusive(), self._told():  # so that there is but one, whoever is first
                if not self._files.get_file_info(path).is_file:
                    with self._files.open_output_stream(path) as stream:
                        stream.write(secrets.token_bytes())
        with self._told():
            try:
                with self._files.open_input_stream(path) as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                raise keyless(self) from None

    def mend(self, sha256: str, good: Path | None) -> None:
        """Move what the bucket has aside, and upload a good file."""
        with self._guard.exclusive():
            with suppress(CorruptObject):
                return self.verify(sha256)
            if good and hashed(good) != sha256:
                raise changed(sha256, self)
            if self.exists(sha256):
                with self._told():
                    self._files.move(self._place(sha256), f"{self._prefix}/{quarantined(sha256)}")
            if good:
                self.put_file(good)

    def collect(self, live: Callable[[], Collection[str]], dry: bool = False) -> dict[str, int]:
        """Remove from the bucket and from this machine's copies what `live` does not name."""
        with self._guard.exclusive():
            kept = set(live())
            unneeded = {sha256: size for sha256, size in self.sizes().items() if sha256 not in kept}
            if not dry:
                for sha256 in unneeded:
                    with self._told(), suppress(FileNotFoundError):
                        self._files.delete_file(self._place(sha256))
                self._cache.collect(lambda: kept)
            return unneeded

    def _from_copy(self, use: Callable[[str], Found], sha256: str) -> Found:
        with suppress(CorruptObject):  # not downloaded yet, or not what it was
            return use(sha256)
        self._fetch(sha256)
        return use(sha256)

    def _fetch(self, sha256: str) -> None:
        with self._cache.workspace() as directory:
            path = directory / "data"
            with locks.told(self.root), path.open("xb") as file:
                self._download(sha256, file)
            self._cache.put_file(path)

    def _download(self, sha256: str, to: BinaryIO) -> None:
        """Raises CorruptObject where what came does not hash to its name; then it must not be kept."""
        digest = hashlib.sha256()
        for chunk in self._chunks(sha256):
            digest.update(chunk)
            to.write(chunk)
        if digest.hexdigest() != sha256:
            raise changed(sha256, self)

    def _chunks(self, sha256: str) -> Iterator[bytes]:
        with self._told():
            try:
                stream = self._files.open_input_stream(self._place(sha256))
            except FileNotFoundError:
                raise missing(sha256, self) from None
        with stream:
            while True:
                with self._told():
                    chunk = stream.read(_CHUNK)
                if not chunk:
                    return
                yield chunk

    def _uploaded(self, sha256: str) -> str:
        """Upload the copy, also where the bucket has the object: what it has may be damaged."""
        with self._cache.path(sha256).open("rb") as file, self._told():
            stream = self._files.open_output_stream(self._place(sha256))
            try:
                for chunk in iter(partial(file.read, _CHUNK), b""):
                    stream.write(chunk)
                    stream.flush()  # or all parts would wait in memory for a slow network
                stream.close()
            except BaseException:
                _abandon(stream)
                raise
        return sha256

    def _place(self, sha256: str) -> str:
        return f"{self._prefix}/{place(sha256)}"

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = " ".join(str(error).split())
            raise PeterError(
                f"The store {self} failed ({reason}); run the command again once it can be reached."
            ) from error


def cache_directory(url: str) -> Path:
    """Where this machine's copies of a bucket are: below PETER_CACHE, or the user's directory for caches."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    bucket, _, query = url.partition("?")
    bucket = re.sub("://[^/]*:.*@", "://", bucket)  # a new key opens the same bucket
    name = hashlib.sha256(f"{bucket.rstrip('/')}?{query}".encode()).hexdigest()[:16]
    return Path(os.environ.get("PETER_CACHE") or Path(home, "peter"), name)


def _connected(url: str) -> "tuple[FileSystem, str]":
    """The bucket's server, and bucket and prefix as it is asked for them; nothing is changed there."""
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem, FileType

    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise InputError(
            f"{scheme}:// cannot hold a store; give --store DIR, s3://BUCKET/PREFIX or gs://BUCKET/PREFIX."
        )
    try:
        files, prefix = FileSystem.from_uri(_hurried(url))
        bucket = prefix.partition("/")[0]
        found = bool(bucket) and files.get_file_info(bucket).type != FileType.NotFound
    except ArrowException:  # not repeated in the message, nor chained: a key may be in it
        raise InputError(
            f"The store's URL cannot be read; write {scheme}://BUCKET/PREFIX, with %2F for a slash in a key."
        ) from None
    except OSError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"The bucket of --store cannot be used ({reason}); check its URL, its endpoint and your keys."
        ) from None
    if not found:
        raise InputError(f"There is no bucket {bucket!r} for --store; make it, or name another.")
    return files, prefix.rstrip("/")


def _hurried(url: str) -> str:
    """With an end to Google's retries, which go on for a quarter of an hour and heed no Ctrl-C."""
    if url.startswith("s3:") or "retry_limit_seconds" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}retry_limit_seconds=30"


def _abandon(stream: object) -> None:
    """Never close an upload that failed.

    Closing it, which Python would do when nobody refers to it any more, tells the server that the object is
    complete, and pyarrow has no other way to end it. The process keeps one chunk of it until it ends.
    """
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(stream))
