"""A workspace: one registry database and the store beside it, opened together."""

import getpass
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from peter.errors import InputError
from peter.registry import guards, locks, schema
from peter.registry.bucket import BucketStore, cache_directory
from peter.registry.database import Registry
from peter.registry.directory import DirectoryStore
from peter.registry.objects import ObjectStore


@dataclass(frozen=True)
class Workspace:
    """Where a company's backbones, patches and profiles are."""

    registry: Registry
    objects: ObjectStore

    @property
    def root(self) -> Path:
        """The store's directory, or that of this machine's copies of a bucket."""
        return self.objects.root

    @property
    def runs(self) -> Path:
        """Where runs of this machine's have their directories, each called by its id."""
        return self.root / "runs"

    def run_directory(self, run_id: int) -> Path:
        """A run's own files (checkpoints, Ray's state); only who began the run may read them.

        Raises:
            PeterError: it cannot be made.
        """
        path = self.runs / str(run_id)
        with locks.told(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
        return path

    @property
    def actor(self) -> str:
        """Who the audit names: PETER_USER, or the account that runs the program."""
        return os.environ.get("PETER_USER") or getpass.getuser()

    @classmethod
    def open(cls, url: str, store: str | Path | None = None) -> "Workspace":
        """Open an existing workspace.

        Args:
            store: a directory, or a bucket as `s3://bucket/prefix`; None: a directory beside the registry.

        Raises:
            NotInitialised: there is none.
            SchemaMismatch: its schema is not this program's.
            InputError: the store cannot be used.
        """
        registry = Registry(url)
        schema.require_current(registry)
        return cls._beside(registry, store)

    @classmethod
    def create(cls, url: str, store: str | Path | None = None) -> "Workspace":
        """Make the workspace, or complete one that was begun; existing work is left as it is.

        Raises:
            InputError: the registry or the store cannot be used; a bucket must exist already.
        """
        registry = Registry(url)
        workspace = cls._beside(registry, store)
        schema.upgrade(registry)
        workspace.root.mkdir(parents=True, exist_ok=True)
        return workspace

    @classmethod
    def _beside(cls, registry: Registry, store: str | Path | None) -> "Workspace":
        place = store or (registry.path.parent / "store" if registry.path else None)
        if place is None:
            raise InputError(
                "A registry on PostgreSQL has no place of its own for files; "
                "give --store DIR or --store s3://BUCKET/PREFIX."
            )
        return cls(registry, store_at(str(place), registry))


@dataclass(frozen=True)
class Address:
    """Where another process finds a workspace; not printed, for passwords may be in it."""

    registry: str = field(repr=False)
    store: str = field(repr=False)

    @classmethod
    def of(cls, workspace: Workspace) -> "Address":
        """That of an open workspace."""
        url = workspace.registry.url.render_as_string(hide_password=False)
        return cls(url, workspace.objects.address)

    def open(self) -> Workspace:
        """The workspace, opened once a process."""
        return _opened(self)


@cache
def _opened(address: Address) -> Workspace:
    return Workspace.open(address.registry, address.store)


def store_at(place: str, registry: Registry) -> ObjectStore:
    """The store that `--store` names. Raises InputError."""
    if place.startswith("file:///"):
        return DirectoryStore(Path(unquote(urlsplit(place).path)))
    if "://" not in place:
        return DirectoryStore(Path(place))
    return BucketStore(place, cache_directory(place), guards.beside(registry))
