"""A copy of the registry that is whole although others write meanwhile."""

import sqlite3
from contextlib import closing
from pathlib import Path

from peter.errors import InputError, NameTaken
from peter.registry import locks
from peter.registry.database import Registry

RESTORE = "restore a backup of the registry."  # how a sentence on damaged rows ends


def backup(registry: Registry, target: Path) -> None:
    """Copy an embedded registry, committed changes only, to one new file that needs no log beside it.

    Raises:
        InputError: a server's own tools are the ones to use.
        NameTaken: `target` exists.
    """
    if registry.path is None:
        raise InputError(f"{registry} is a server's; back it up with pg_dump.")
    if target.exists():
        raise NameTaken(f"{target} exists; name a new file for the backup.")
    with locks.told(target), registry.read() as session:
        target.touch()
        source = session.connection().connection.driver_connection
        assert isinstance(source, sqlite3.Connection)
        try:
            with closing(sqlite3.connect(target)) as copy:
                source.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")
        except BaseException:
            target.unlink()  # half a copy must not be taken for one
            raise
