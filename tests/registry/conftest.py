"""Registries and stores for the tests of their floor, each test on both databases and on both stores."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from peter.registry.bucket import BucketStore
from peter.registry.database import Registry
from peter.registry.directory import DirectoryStore
from peter.registry.guards import FileGuard
from peter.registry.objects import ObjectStore, place


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """A registry before `peter init`."""
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/registry.db" if sqlite else request.getfixturevalue("postgres_url")
    registry = Registry(url, deadline=20)
    yield registry
    registry.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    """A registry with today's tables and no rows."""
    registry = Registry(request.getfixturevalue(f"{request.param}_copy"), deadline=20)
    yield registry
    registry.dispose()


class Place(Protocol):
    """Where a store is, for tests that open it again and break what it holds."""

    def open(self, deadline: float = 5) -> ObjectStore:
        """As another process or machine would open it."""

    def write(self, sha256: str, data: bytes) -> None:
        """Put other bytes in an object's place, behind the store's back."""

    def remove(self, sha256: str) -> None:
        """Take an object away, behind the store's back."""

    def aside(self) -> list[bytes]:
        """What is in quarantine."""


class DirectoryPlace:
    """A directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self, deadline: float = 5) -> DirectoryStore:
        """With nothing checked yet."""
        return DirectoryStore(self.root, deadline)

    def write(self, sha256: str, data: bytes) -> None:
        """Into the file."""
        self.remove(sha256)
        (self.root / place(sha256)).write_bytes(data)

    def remove(self, sha256: str) -> None:
        """The file."""
        (self.root / place(sha256)).unlink()

    def aside(self) -> list[bytes]:
        """Of the files."""
        return [path.read_bytes() for path in sorted((self.root / "quarantine").glob("*"))]


class BucketPlace:
    """A bucket, and directories for the copies of as many machines as open it."""

    def __init__(self, buckets: Any, url: str, root: Path) -> None:
        self.files, self.url, self.root = buckets.files, url, root
        self.prefix = url.partition("@")[2].partition("?")[0]
        self._machines = itertools.count(1)

    def open(self, deadline: float = 5) -> BucketStore:
        """On another machine, which has no copies yet."""
        copies = self.root / f"machine-{next(self._machines)}"
        return BucketStore(self.url, copies, FileGuard(self.root / "gc.lock", deadline))

    def write(self, sha256: str, data: bytes) -> None:
        """Into the bucket."""
        with self.files.open_output_stream(f"{self.prefix}/{place(sha256)}") as stream:
            stream.write(data)

    def remove(self, sha256: str) -> None:
        """From the bucket."""
        self.files.delete_file(f"{self.prefix}/{place(sha256)}")

    def aside(self) -> list[bytes]:
        """Of the bucket."""
        from pyarrow.fs import FileSelector

        found = self.files.get_file_info(FileSelector(f"{self.prefix}/quarantine", allow_not_found=True))
        return [self.files.open_input_stream(info.path).read() for info in found]


@pytest.fixture
def in_directory(tmp_path: Path) -> DirectoryPlace:
    """The place of an empty store in a directory."""
    return DirectoryPlace(tmp_path / "store")


@pytest.fixture
def in_bucket(buckets: Any, tmp_path: Path) -> BucketPlace:
    """The place of an empty store in a bucket on a real server."""
    return BucketPlace(buckets, buckets.create(), tmp_path)


@pytest.fixture(params=["directory", "bucket"])
def stored(request: pytest.FixtureRequest) -> Place:
    """The place of an empty store."""
    found: Place = request.getfixturevalue(f"in_{request.param}")
    return found


@pytest.fixture
def store(stored: Place) -> ObjectStore:
    """An empty object store."""
    return stored.open()
