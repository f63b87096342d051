"""Lineage: which versions stand on which backbone and read which others, without their metrics."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.errors import Busy
from peter.registry import rows
from peter.registry.aliases import CHAMPION
from peter.registry.models import Alias, Patch, Task


@dataclass(frozen=True)
class Version:
    """A version of a task that was not removed."""

    id: int
    backbone_id: int
    task: str
    number: int
    method: str
    reads: tuple[int, ...]  # ids of the versions that it reads
    champion: bool

    @property
    def reference(self) -> str:
        """task@version."""
        return f"{self.task}@{self.number}"


def versions(session: Session) -> list[Version]:
    """All of them, by task and number."""
    answering = session.execute(select(Alias.task_id, Alias.version).where(Alias.alias == CHAMPION))
    champions = {(task, number) for task, number in answering}
    found = session.execute(
        select(
            Patch.id, Patch.backbone_id, Patch.task_id, Task.name, Patch.version, Patch.method, Patch.reads
        )
        .join(Patch.task)
        .where(Task.retired_at.is_(None))
        .order_by(Task.name, Patch.version)
    )
    return [
        Version(id_, backbone, name, number, method, tuple(reads), (task, number) in champions)
        for id_, backbone, task, name, number, method, reads in found
    ]


def readers(session: Session, task: str) -> list[Version]:
    """The versions of other tasks that read a version of `task`."""
    every = versions(session)
    own = {version.id for version in every if version.task == task}
    return [version for version in every if version.task != task and own.intersection(version.reads)]


def readers_in_turn(every: Sequence[Version], task: str) -> set[str]:
    """The other tasks any version of which reads a version of `task`, or of such a task."""
    owner = {version.id: version.task for version in every}
    found, more = {task}, True
    while more:
        new = {v.task for v in every if found & {owner.get(read) for read in v.reads}} - found
        found, more = found | new, bool(new)
    return found - {task}


def hold(session: Session) -> None:
    """Keep others who add readers, or remove what is read, waiting until this transaction ends."""
    rows.lock(session, "lineage", "")


def require(session: Session, reads: Sequence[int]) -> None:
    """Raises Busy when one of the versions that a new one is about to read was removed with its task."""
    if not reads:
        return
    hold(session)
    there = {version.id for version in versions(session)}
    if not there.issuperset(reads):
        raise Busy("A task whose patch was to be read was removed meanwhile; type the command again.")


def require_last(session: Session, backbone: int, method: str, reads: Sequence[int]) -> None:
    """Raises Busy when `reads` are not all versions by that method on that backbone, which append in turn."""
    hold(session)  # also for the first of a line, who reads nobody
    there = {
        version.id
        for version in versions(session)
        if (version.backbone_id, version.method) == (backbone, method)
    }
    if there != set(reads):
        raise Busy("Another patch was appended to the lineage meanwhile; type the command again.")
