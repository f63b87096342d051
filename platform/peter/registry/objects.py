"""What an object store is: everything big is an immutable object named by the sha256 of its bytes.

An object is durable before any row refers to it: a crash leaves an object too many, never a row too many.
"""

import hashlib
import re
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from peter.errors import CorruptObject, PeterError

KEY = "erasure.key"  # below a store's root


class ObjectStore(Protocol):
    """Objects in a directory (`registry.directory`) or in a bucket (`registry.bucket`).

    `str()` says where it is, with nothing in it that is secret.
    """

    @property
    def root(self) -> Path:
        """A directory of this machine's where a run may keep what is no object."""

    @property
    def address(self) -> str:
        """What `--store` is given to open it again; a password may be in it."""

    def fresh(self) -> "ObjectStore":
        """The same store, trusting no hash that was checked before."""

    def put_bytes(self, data: bytes) -> str:
        """Store `data` durably and give its name.

        Raises:
            PeterError: it cannot be written: a full or read-only disk, a server that is gone.
        """

    def put_file(self, path: Path) -> str:
        """Move a finished file out of a `workspace()` into the store and give its name.

        Raises:
            PeterError: it cannot be written.
        """

    def workspace(self) -> AbstractContextManager[Path]:
        """A directory of one's own for files being written; gone afterwards."""

    def holding(self) -> AbstractContextManager[None]:
        """Keep `collect` away, from the first put to the commit of the row that refers to it.

        Raises:
            Busy: a collection did not end in time.
        """

    def path(self, sha256: str) -> Path:
        """An object as a file of this machine, hashed once a process; never write to it.

        Raises:
            CorruptObject: it is missing or does not hash to its name.
        """

    def read(self, sha256: str) -> bytes:
        """An object's bytes, hashed on the way.

        Raises:
            CorruptObject: it is missing or does not hash to its name.
        """

    def exists(self, sha256: str) -> bool:
        """Whether an object is there, whatever is in it."""

    def verify(self, sha256: str) -> None:
        """Hash an object again, where it is stored.

        Raises:
            CorruptObject: it is missing or does not hash to its name.
        """

    def sizes(self) -> dict[str, int]:
        """The bytes that each object takes, by its name, sorted."""

    def secret(self, make: bool) -> bytes:
        """The key under which users are forgotten; here, so that no copy of the registry has it.

        Args:
            make: make it where there is none.

        Raises:
            PeterError: it cannot be read, or is missing.
        """

    def mend(self, sha256: str, good: Path | None) -> None:
        """Let `good`, a file of a `workspace()`, be the object, unless what is stored is whole after all.

        Bad bytes are moved to `quarantine/`, where nobody looks for objects; nothing is deleted.

        Raises:
            Busy: writers were not done in time.
            CorruptObject: `good` does not hash to the name.
        """

    def collect(self, live: Callable[[], Collection[str]], dry: bool = False) -> dict[str, int]:
        """Remove every object that `live` does not name (`dry`: none); their bytes, by name.

        `live` is called once all writers are done and no other can start. Workspaces of dead makers go, too.

        Raises:
            Busy: writers were not done in time; nothing was removed.
        """


def place(sha256: str) -> str:
    """Where an object is below a store's root; a directory copied to a bucket is the same store.

    Raises:
        CorruptObject: it is not the name of an object.
    """
    if not named(sha256):
        raise CorruptObject(
            f"{sha256!r} is not the name of an object; run `peter verify` for where it is used."
        )
    return f"objects/{sha256[:2]}/{sha256}"


def named(name: str) -> bool:
    """Whether an object can be called so."""
    return re.fullmatch("[0-9a-f]{64}", name) is not None


def quarantined(sha256: str) -> str:
    """Where bad bytes of an object go, below a store's root; never the same place twice."""
    return f"quarantine/{sha256}.{datetime.now(UTC):%Y%m%dT%H%M%S%f}"


def keyless(store: ObjectStore) -> PeterError:
    """The error of a store that lost the key under which users were forgotten."""
    return PeterError(
        f"{store}/{KEY} is missing, without which nobody knows who was forgotten; "
        "put it back from a backup of the store."
    )


def missing(sha256: str, store: ObjectStore) -> CorruptObject:
    """The error of an object that is not there."""
    return CorruptObject(
        f"Object {sha256} is missing from {store}; put it back with `peter verify --repair --from STORE`, "
        "a copy of the store."
    )


def changed(sha256: str, store: ObjectStore) -> CorruptObject:
    """The error of an object with other bytes than it is named by."""
    return CorruptObject(
        f"Object {store}/{place(sha256)} no longer hashes to its name; put it back with "
        "`peter verify --repair --from STORE`, a copy of the store."
    )


def hashed(path: Path) -> str:
    """The sha256 of a file, in hex."""
    with path.open("rb", buffering=0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
