"""A copy of the registry that is whole although others write meanwhile."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from peter import faults
from peter.errors import InputError, NameTaken, PeterError
from peter.registry import locks
from peter.registry.database import Registry
from peter.registry.directory import sync

RESTORE = "restore a backup of the registry."  # how a sentence on damaged rows ends


def backup(registry: Registry, target: Path) -> None:
    """Copy an embedded registry, committed changes only, to one new file that needs no log beside it.

    Raises:
        InputError: a server's own tools are the ones to use.
        NameTaken: `target` exists.
        PeterError: it cannot be written.
    """
    if registry.path is None:
        raise InputError(f"{registry} is a server's; back it up with pg_dump.")
    if target.exists():
        raise NameTaken(f"{target} exists; name a new file for the backup.")
    draft = target.with_name(f"{target.name}.draft")  # half a copy must not be taken for one
    with locks.told(target), registry.read() as session:
        source = session.connection().connection.driver_connection
        assert isinstance(source, sqlite3.Connection)
        try:
            _copy(source, draft)
            faults.reach("db.backup:copied")
            os.replace(draft, target)
            sync(target.parent)
        except sqlite3.OperationalError as error:
            raise PeterError(
                f"Cannot write {target} ({error}); make room and run the command again."
            ) from error
        finally:
            draft.unlink(missing_ok=True)


def _copy(source: sqlite3.Connection, target: Path) -> None:
    target.unlink(missing_ok=True)  # of a program that was killed
    target.touch()
    with closing(sqlite3.connect(target)) as copy:
        copy.execute("PRAGMA synchronous=FULL")
        source.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
