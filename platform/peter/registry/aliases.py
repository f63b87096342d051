"""Aliases: movable names for versions of a task, with every move on record.

A version that becomes champion challenges no more; that very move is the record of how a challenger ends.
"""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.errors import InputError
from peter.registry import audit, tasks
from peter.registry.models import Alias, AliasHistory, Patch, Task

CHAMPION = "champion"  # the version that answers
CHALLENGER = "challenger"  # the newest one that was left a candidate


def settle(session: Session, patch: Patch, promote: bool, actor: str, why: str) -> None:
    """Let a version that was just registered answer, or else challenge the one that does."""
    if promote:
        move(session, patch, CHAMPION, actor, why)
    elif version(session, patch.task, CHAMPION) != patch.version:  # as when the same request came twice
        move(session, patch, CHALLENGER, actor, why)


def move(session: Session, patch: Patch, alias: str, actor: str, why: str) -> bool:
    """Let `alias` of the patch's task name `patch`; False when it did already."""
    task = tasks.hold(session, patch.task)
    row = _find(session, task, alias)
    before = row.version if row else None
    if before == patch.version:
        return False
    if row:
        row.version = patch.version
    else:
        session.add(Alias(task_id=task.id, alias=alias, version=patch.version))
    session.add(
        AliasHistory(
            task_id=task.id, alias=alias, from_version=before, to_version=patch.version, actor=actor, why=why
        )
    )
    session.flush()
    after = {"version": patch.version, "why": why}
    tasks.record(session, task, actor, "alias.move", f"{task.name}@{alias}", {"version": before}, after)
    challenger = _find(session, task, CHALLENGER)
    if alias == CHAMPION and challenger and challenger.version == patch.version:
        session.delete(challenger)
    return True


def version(session: Session, task: Task, alias: str) -> int | None:
    """The version that `alias` names, or None."""
    return session.scalar(select(Alias.version).where(Alias.task_id == task.id, Alias.alias == alias))


def history(session: Session, task: Task) -> Sequence[AliasHistory]:
    """Every move of the task's aliases, oldest first."""
    return session.scalars(
        select(AliasHistory).where(AliasHistory.task_id == task.id).order_by(AliasHistory.id)
    ).all()


def replayed(session: Session) -> tuple[dict[tuple[int, str], int], list[AliasHistory]]:
    """What all moves lead to, a version by task's id and alias, and those that begin where nothing ended."""
    named: dict[tuple[int, str], int] = {}
    odd = []
    for move in session.scalars(select(AliasHistory).order_by(AliasHistory.id)):
        key, challenger = (move.task_id, move.alias), (move.task_id, CHALLENGER)
        odd += [move] if named.get(key) != move.from_version else []
        named[key] = move.to_version
        if move.alias == CHAMPION and named.get(challenger) == move.to_version:
            del named[challenger]
    return named, odd


def put_back(session: Session, actor: str) -> list[str]:
    """Let every alias that was changed without a move name what its last move says; a sentence for each."""
    done = []
    for (task_id, alias), was in replayed(session)[0].items():
        task = tasks.hold(session, session.get_one(Task, task_id))
        row = session.scalar(select(Alias).where(Alias.task_id == task_id, Alias.alias == alias))
        if row and row.version == was:
            continue
        before = {"version": row.version if row else None}
        row = row or Alias(task_id=task_id, alias=alias, version=was)
        row.version = was
        session.add(row)
        audit.append(session, actor, "alias.put_back", f"{task.name}@{alias}", before, {"version": was})
        done.append(f"{task.name}@{alias} names version {was} again, as its last move says.")
    return done


def with_champions(session: Session) -> list[tuple[Task, Patch | None]]:
    """All tasks by name, each with its champion (which carries its backbone), None for an unfinished one."""
    answering = session.scalars(
        select(Patch)
        .join(Alias, (Alias.task_id == Patch.task_id) & (Alias.version == Patch.version))
        .where(Alias.alias == CHAMPION)
    )
    champions = {patch.task_id: patch for patch in answering}
    return [(task, champions.get(task.id)) for task in tasks.every(session)]


def champions(session: Session) -> list[Patch]:
    """The patch that answers for each finished task, by the task's name."""
    return [patch for _, patch in with_champions(session) if patch]


def require_champions(session: Session) -> list[Patch]:
    """As `champions`, for commands that have nothing to do without one. Raises InputError."""
    found = champions(session)
    if not found:
        raise InputError("No task has a champion yet; add one with `peter task add NAME --labels FILE`.")
    return found


def _find(session: Session, task: Task, alias: str) -> Alias | None:
    return session.scalar(
        select(Alias)
        .where(Alias.task_id == task.id, Alias.alias == alias)
        .execution_options(populate_existing=True)  # it may have been loaded before we held the task
    )
