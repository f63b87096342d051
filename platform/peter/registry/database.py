"""The way to the registry: whole transactions that read and then write, alike on SQLite and PostgreSQL."""

import os
import random
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import Session

from peter.errors import Busy, InputError, NotInitialised, PeterError
from peter.registry import immutable, locks

Result = TypeVar("Result")

_ATTEMPTS = 10  # about 5 s of waiting, longer than a server takes to restart
# SQLSTATEs of a lost race, a deadlock, a restarting server, a lost connection
_RETRY = ("40001", "40P01", "57P01", "57P02", "57P03", "08")
_DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg"}
_FAULTS: tuple[tuple[str, type[PeterError], str], ...] = (
    ("database is locked", Busy, "is held by another program; wait for it, or end it"),
    ("lock timeout", Busy, "is held by another transaction; wait for it, or end it"),
    ("disk is full", PeterError, "cannot grow, the disk is full; free some space and run the command again"),
    ("No space left", PeterError, "cannot grow, the disk is full; free some space and run the command again"),
    ("readonly database", PeterError, "cannot be written; change its permissions or name another registry"),
    ("unable to open", PeterError, "cannot be opened; make its directory writable or name another registry"),
    ("not a database", InputError, "is not an SQLite database; name another registry"),
    ("malformed", PeterError, "is damaged; put a backup made by `peter db backup` in its place"),
    ("disk I/O error", PeterError, "cannot be read or written by the disk; look at the system's log"),
)


class Registry:
    """A registry database by its URL. Pickles as that URL, and connects anew in every process.

    Args:
        url: `sqlite:///path` or `postgresql://user@host/name`.
        deadline: seconds to wait for another writer before `Busy`.
    """

    def __init__(self, url: str | URL, deadline: float = 60.0) -> None:
        self._url = _parse(url)
        self._deadline = deadline
        self._engine = connect(self._url, deadline)
        self._pid = os.getpid()

    @property
    def url(self) -> URL:
        """Where it is; hides its password when printed."""
        return self._url

    @property
    def path(self) -> Path | None:
        """The database file, or None for a server."""
        return Path(self._url.database or "") if self._url.get_backend_name() == "sqlite" else None

    @property
    def deadline(self) -> float:
        """Seconds to wait for another writer."""
        return self._deadline

    @property
    def engine(self) -> Engine:
        """This process's own connections; a forked child never touches its parent's."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            self._engine.dispose(close=False)
        return self._engine

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One unchanging view of the registry; what is loaded stays usable afterwards.

        Leave it before any long work: a server ends transactions that are idle for a minute.
        """
        options = (
            {"readonly": True}
            if self.path
            else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        )
        self._present()
        with (
            self.told(),
            Session(self.engine.execution_options(**options), expire_on_commit=False) as session,
        ):
            event.listen(session, "before_flush", _refuse)
            yield session

    def write(self, change: Callable[[Session], Result]) -> Result:
        """Run `change` in a transaction of its own and commit; it may be run again after a lost race.

        Raises:
            Busy: other writers held the registry up to the deadline.
            PeterError: the database failed; nothing was changed unless the message says that it may have.
        """
        self._present()
        with self._turn(), self.told():
            for attempt in range(_ATTEMPTS):
                try:
                    return self._transact(change)
                except DBAPIError as error:
                    if attempt == _ATTEMPTS - 1 or not _worth_retrying(error):
                        raise
                time.sleep(random.uniform(0, 0.02 * 2**attempt))
            raise AssertionError("the last attempt returns or raises")

    def compact(self) -> None:
        """Leave nothing of what was deleted in an embedded registry's file and log; a server sees to its own.

        Raises:
            Busy: others read or wrote up to the deadline.
        """
        if self.path is None:
            return
        busy = f"The registry {self} is held by another program; wait for it, or end it."
        with self._turn(), closing(self.engine.raw_connection()) as connection:
            execute = connection.cursor().execute
            try:
                execute("PRAGMA query_only=0")  # it may have been a reader's
                execute("VACUUM")
                held, *_ = execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.OperationalError as error:
                raise Busy(busy) from error
        if held:
            raise Busy(busy)

    def dispose(self) -> None:
        """Close this process's connections."""
        self.engine.dispose()

    def __reduce__(self) -> tuple[Any, ...]:
        return Registry, (self.url, self._deadline)

    def __repr__(self) -> str:
        return f"Registry({str(self)!r})"

    def __str__(self) -> str:
        return str(self.path or self._url.render_as_string(hide_password=True))

    def _present(self) -> None:
        if self.path and not self.path.exists():
            raise NotInitialised(f"There is no registry at {self.path}; run `peter init`.")

    def _turn(self) -> AbstractContextManager[None]:
        if self.path is None:
            return nullcontext()
        return locks.exclusive(self.path.with_name(self.path.name + ".lock"), self._deadline)

    def _transact(self, change: Callable[[Session], Result]) -> Result:
        with Session(self.engine, expire_on_commit=False) as session:
            immutable.guard(session)
            result = change(session)
            session.flush()
            try:
                session.commit()
            except DBAPIError as error:
                if not error.connection_invalidated:
                    raise
                raise PeterError(
                    f"The connection to {self} was lost while a change was being kept; "
                    "see in `peter audit list` whether it was, then run the command again."
                ) from error
            return result

    @contextmanager
    def told(self) -> Iterator[None]:
        """Turn the database's failures into sentences; a fault of ours stays what it is."""
        try:
            yield
        except DBAPIError as error:
            sentence = self._sentence(error)
            if sentence is None:
                raise
            raise sentence from error

    def _sentence(self, error: DBAPIError) -> PeterError | None:
        reason = " ".join(str(error.orig).split())
        for sign, kind, advice in _FAULTS:
            if sign in reason:
                return kind(f"The registry {self} {advice}.")
        if _unreachable(error):
            return PeterError(f"The registry {self} cannot be reached ({reason}); start it, or name another.")
        return None


def connect(url: URL, deadline: float, foreign_keys: bool = True) -> Engine:
    """An engine whose transactions may read and then write without losing anybody's update."""
    if url.get_backend_name() == "sqlite":
        return _connect_sqlite(url, deadline, foreign_keys)
    options = f"-c lock_timeout={round(deadline * 1000)} -c idle_in_transaction_session_timeout=60s"
    try:
        # A lock is held through a long upload on a connection that says nothing, which networks forget.
        settings = {"options": options, "keepalives_idle": 60}
        return create_engine(url, pool_pre_ping=True, connect_args=settings, hide_parameters=True)
    except ModuleNotFoundError as error:
        raise InputError(
            "This PostgreSQL registry needs the driver psycopg; run `pip install 'peter-rec[postgres]'`."
        ) from error


def _connect_sqlite(url: URL, deadline: float, foreign_keys: bool) -> Engine:
    # rw, not rwc: a mistyped path must not become an empty registry
    address = f"file:{quote(url.database or '')}?mode=rw"

    def open_file() -> sqlite3.Connection:
        connection = sqlite3.connect(address, uri=True, timeout=deadline, check_same_thread=False)
        connection.isolation_level = None  # the driver's own BEGIN comes too late to prevent lost updates
        try:
            for setting in (f"foreign_keys={int(foreign_keys)}", "synchronous=FULL", "secure_delete=ON"):
                connection.execute(f"PRAGMA {setting}")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    engine = create_engine(url, creator=open_file, poolclass=QueuePool, hide_parameters=True)
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    readonly = connection.get_execution_options().get("readonly", False)
    connection.exec_driver_sql(f"PRAGMA query_only={int(readonly)}")
    connection.exec_driver_sql("BEGIN" if readonly else "BEGIN IMMEDIATE")


def _refuse(session: Session, *_: Any) -> None:
    raise AssertionError("a session of Registry.read() only reads; change rows in Registry.write()")


def _worth_retrying(error: DBAPIError) -> bool:
    return _unreachable(error) or _sqlstate(error).startswith(_RETRY)


def _unreachable(error: DBAPIError) -> bool:
    return error.connection_invalidated or (isinstance(error, OperationalError) and _sqlstate(error) == "")


def _sqlstate(error: DBAPIError) -> str:
    """PostgreSQL's five characters, "" when no server was there to send them; SQLite has none."""
    return getattr(error.orig, "sqlstate", "none") or ""


def _parse(given: str | URL) -> URL:
    try:
        url = make_url(given)
    except ArgumentError:  # not repeated in the message: a password may be in it
        raise InputError(
            "The registry's URL cannot be read; write sqlite:///PATH or postgresql://USER@HOST/NAME."
        ) from None
    backend = url.get_backend_name()
    if backend not in _DRIVERS:
        raise InputError(
            f"{backend} cannot hold a registry; write sqlite:///PATH or postgresql://USER@HOST/NAME."
        )
    return _file(url) if backend == "sqlite" else url.set(drivername=_DRIVERS[backend])


def _file(url: URL) -> URL:
    if url.database in (None, "", ":memory:") or url.database.startswith("file:"):
        raise InputError("A registry must outlive the command; write sqlite:///PATH with the path of a file.")
    path = Path(url.database).expanduser().absolute()
    return URL.create(_DRIVERS["sqlite"], database=str(path))
