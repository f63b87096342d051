"""The lock between those who put objects into a store and who cleans it, where the store has none of its own.

A bucket cannot be locked, but all who write to it share a registry, and that can.
"""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sqlalchemy import Engine, text

from peter.errors import Busy
from peter.registry import locks
from peter.registry.database import Registry

_WRITERS = 0x70657467  # "petg": the advisory lock of a server's database that keeps its store


class Guard(Protocol):
    """Any number of holders that share it, or one that has it alone.

    Raises:
        Busy: the others were not done before the deadline.
    """

    def shared(self) -> AbstractContextManager[None]:
        """Hold it together with other sharers."""

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold it alone."""


def beside(registry: Registry) -> Guard:
    """The guard of the store that a registry refers to."""
    if registry.path:
        return FileGuard(registry.path.with_name(registry.path.name + ".gc.lock"), registry.deadline)
    return ServerGuard(registry)


@dataclass(frozen=True)
class FileGuard:
    """A file that is locked; its directory must be there."""

    path: Path
    deadline: float

    def shared(self) -> AbstractContextManager[None]:
        """Against a collector on this machine."""
        return locks.shared(self.path, self.deadline)

    def exclusive(self) -> AbstractContextManager[None]:
        """Against writers on this machine."""
        return locks.exclusive(self.path, self.deadline)


@dataclass(frozen=True)
class ServerGuard:
    """An advisory lock of PostgreSQL; whoever loses the connection loses it, and is told so at the end."""

    registry: Registry

    def shared(self) -> AbstractContextManager[None]:
        """Against a collector on any machine."""
        return self._held(shared=True)

    def exclusive(self) -> AbstractContextManager[None]:
        """Against writers on any machine."""
        return self._held(shared=False)

    @contextmanager
    def _held(self, shared: bool) -> Iterator[None]:
        registry = self.registry
        busy = f"The store of {registry} has been held for {registry.deadline:g} s by another command"
        with registry.told(), advisory(registry.engine, _WRITERS, registry.deadline, busy, shared):
            yield


@contextmanager
def advisory(engine: Engine, key: int, deadline: float, busy: str, shared: bool = False) -> Iterator[None]:
    """A lock of PostgreSQL's by its number, on a connection of its own: the end of a transaction keeps it.

    Raises:
        Busy: `deadline` seconds passed; with the words of `busy`.
    """
    kind = "_shared" if shared else ""
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        end = time.monotonic() + deadline
        while not connection.scalar(text(f"SELECT pg_try_advisory_lock{kind}({key})")):
            if time.monotonic() > end:
                raise Busy(f"{busy}; wait for it, or end it.")
            time.sleep(0.05)
        try:
            yield
        finally:
            connection.execute(text(f"SELECT pg_advisory_unlock{kind}({key})"))
