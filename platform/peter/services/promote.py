"""Moving the champion by hand: promote a version, or roll back to the one before."""

from typing import Any

from sqlalchemy.orm import Session

from peter.errors import InputError
from peter.registry import aliases, patches, tasks
from peter.services.tasks import show_task
from peter.services.workspace import Workspace


def promote(workspace: Workspace, reference: str, force: bool, why: str) -> dict[str, Any]:
    """Make `gender@3` the champion of its task; the task's document.

    Raises:
        UnknownName: no such version.
        NotOwner: somebody else's task, and no `force`.
        PeterError: another task's champion no longer answers as it did.
    """
    from peter.services import verify

    with workspace.registry.read() as session:
        name = patches.get(session, reference).task.name
    verify.require_others(workspace, name)

    def move(session: Session) -> None:
        patch = patches.get(session, reference)
        tasks.authorise(patch.task, workspace.actor, force)
        aliases.move(session, patch, aliases.CHAMPION, workspace.actor, why or "promoted by hand")

    workspace.registry.write(move)
    return show_task(workspace, name)


def rollback(workspace: Workspace, name: str, force: bool) -> dict[str, Any]:
    """Give `champion` back to the version that held it before; the task's document.

    Raises:
        InputError: no version held it before.
        NotOwner: somebody else's task, and no `force`.
    """

    def move(session: Session) -> None:
        task = tasks.get(session, name)
        tasks.authorise(task, workspace.actor, force)
        before = _before(session, name)
        patch = patches.get(session, f"{name}@{before}")
        aliases.move(session, patch, aliases.CHAMPION, workspace.actor, "rolled back")

    workspace.registry.write(move)
    return show_task(workspace, name)


def _before(session: Session, name: str) -> int:
    """The champion before the present one: rolling back twice goes two versions back, not forth again."""
    held: list[int] = []
    for row in aliases.history(session, tasks.get(session, name)):
        if row.alias == aliases.CHAMPION:
            held = held[: held.index(row.to_version)] if row.to_version in held else held
            held.append(row.to_version)
    if len(held) < 2:
        raise InputError(
            f"No other version of {name!r} was champion before; see `peter task versions {name}`."
        )
    return held[-2]
