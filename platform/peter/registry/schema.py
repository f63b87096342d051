"""The schema's version: told cheaply to every command, moved only by `peter init` and `peter db upgrade`."""

import io
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sqlalchemy import Connection, inspect, text

from peter import faults
from peter.errors import NotInitialised, PeterError, SchemaMismatch
from peter.registry import locks
from peter.registry.database import Registry, connect
from peter.registry.guards import advisory

if TYPE_CHECKING:
    from alembic.config import Config

_ADVISORY = 0x7065746572  # "peter": one migration of a server's database at a time
_alembic = threading.Lock()  # Alembic keeps the running migration in a global


@dataclass(frozen=True)
class Status:
    """Where a registry's schema stands; revisions are called by four digits, in order."""

    current: str | None  # None: there are no tables yet
    known: tuple[str, ...]

    @property
    def pending(self) -> tuple[str, ...]:
        """The revisions that an upgrade would run; none for a schema newer than this program."""
        return tuple(revision for revision in self.known if revision > (self.current or ""))


def status(registry: Registry) -> Status:
    """Compare the registry with the migrations of this program, without loading Alembic."""
    if registry.path and not registry.path.exists():
        return Status(None, revisions())
    with registry.read() as session:
        return Status(_current(session.connection()), revisions())


def revisions() -> tuple[str, ...]:
    """The packaged revisions, oldest first, by the digits that begin their files' names."""
    files = scripts().joinpath("versions").iterdir()
    return tuple(sorted(file.name[:4] for file in files if file.name[:4].isdigit()))


def scripts() -> Path:
    """The folder that the migrations were installed in."""
    return Path(str(resources.files("peter.migrations")))


def require_current(registry: Registry) -> None:
    """Refuse to work on a registry with another schema than this program's.

    Raises:
        NotInitialised: it has no tables.
        SchemaMismatch: it is older or newer.
    """
    found = status(registry)
    newest = found.known[-1]
    if found.current is None:
        raise NotInitialised(f"There is no registry at {registry}; run `peter init`.")
    if found.current not in found.known:
        raise SchemaMismatch(
            f"The registry {registry} has schema {found.current} and this peter knows up to {newest}; "
            "upgrade peter."
        )
    if found.pending:
        raise SchemaMismatch(
            f"The registry {registry} has schema {found.current} and this peter needs {newest}; "
            "run `peter db upgrade`."
        )


def upgrade(registry: Registry, revision: str = "head") -> Status:
    """Bring the registry to `revision`, making it if need be; all of it or nothing.

    Raises:
        Busy: another migration held its lock up to the deadline.
        SchemaMismatch: the registry is newer than this program.
    """
    from alembic import command

    if registry.path:
        with locks.told(registry.path):
            registry.path.parent.mkdir(parents=True, exist_ok=True)
    with _migrating(registry) as connection:
        current = _current(connection)
        if current and current not in revisions():
            raise SchemaMismatch(
                f"The registry {registry} has schema {current}, newer than this peter; upgrade peter."
            )
        command.upgrade(_config(connection), revision)
        faults.reach("db.upgrade:migrated")
    faults.reach("db.upgrade:committed")
    return status(registry)


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return cast(str | None, connection.scalar(text("SELECT version_num FROM alembic_version")))


def _config(connection: Connection) -> "Config":
    from alembic.config import Config

    config = Config(stdout=io.StringIO())  # standard output belongs to the command's own answer
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config


@contextmanager
def _migrating(registry: Registry) -> Iterator[Connection]:
    """One transaction, under the lock of migrations, that commits if the foreign keys hold afterwards."""
    with _alembic, registry.told(), _alone(registry):
        if registry.path:
            _make_file(registry.path)
        # With foreign keys on, rebuilding a parent table would delete its children.
        engine = connect(registry.url, registry.deadline, foreign_keys=False)
        try:
            with engine.begin() as connection:
                yield connection
                if registry.path:
                    _check_foreign_keys(connection)
        finally:
            engine.dispose()


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
    if broken:
        raise PeterError(f"The migration would leave {broken[0]} without its {broken[2]}; it was undone.")


def _alone(registry: Registry) -> AbstractContextManager[None]:
    if registry.path:
        return locks.exclusive(
            registry.path.with_name(registry.path.name + ".migrate.lock"), registry.deadline
        )
    busy = f"Another migration has been running for {registry.deadline:g} s"
    return advisory(registry.engine, _ADVISORY, registry.deadline, busy)


def _make_file(path: Path) -> None:
    """Make the file and switch on write-ahead logging, which no timeout covers: only here, under the lock."""
    if not path.exists():  # closing a file of ours that is a database would drop SQLite's locks on it
        with locks.told(path):
            path.touch()
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
    finally:
        connection.close()
