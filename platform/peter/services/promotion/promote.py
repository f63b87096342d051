"""Moving the champion by hand: promote a version, or roll back to the one before."""

from typing import Any

from sqlalchemy.orm import Session

from peter import faults
from peter.errors import InputError
from peter.registry import aliases, models, patches, references, tasks
from peter.services.task.tasks import show_task
from peter.services.workspace import Workspace

ROLLED_BACK = "rolled back"  # the reason in the history by which a way back is told from a promotion


def promote(workspace: Workspace, reference: str, force: bool, why: str) -> dict[str, Any]:
    """Make `gender@3` the champion of its task.

    Returns:
        The task's document, with the version that was `left`: the champion so far, None where there was none,
        3 where it was that already.

    Raises:
        UnknownName: no such version.
        NotOwner: somebody else's task, and no `force`.
        PeterError: the version, or another task's champion, no longer answers as it did.
    """
    from peter.services.integrity import verify

    with workspace.registry.read() as session:
        chosen = patches.get(session, reference)
    task = chosen.task
    tasks.authorise(task, workspace.actor, force)
    verify.require(workspace, [*verify.others(workspace, task.name), chosen], task.name)

    def move(session: Session) -> int | None:
        patch = patches.get(session, reference)
        left = aliases.version(session, tasks.hold(session, patch.task), aliases.CHAMPION)
        reason = f"promoted by hand: {why}" if why else "promoted by hand"
        aliases.move(session, patch, aliases.CHAMPION, workspace.actor, reason)
        faults.reach("task.promote:moved")
        return left

    left = workspace.registry.write(move)
    faults.reach("task.promote:committed")
    return {**show_task(workspace, task.name), "left": left}


def rollback(workspace: Workspace, reference: str, force: bool) -> dict[str, Any]:
    """Give `champion` back to the version that held it before.

    Args:
        reference: `gender@3`, the version to leave, which changes nothing where it was rolled back before; or
            `gender`, whichever leads now.

    Returns:
        The task's document, with the version that was `left`.

    Raises:
        InputError: no version held it before, or the one to leave does not.
        NotOwner: somebody else's task, and no `force`.
    """

    def move(session: Session) -> models.Patch:
        task = tasks.get(session, references.parse(reference).name)
        task = tasks.hold(session, task)  # nobody may promote while we look back
        tasks.authorise(task, workspace.actor, force)
        left, champion = patches.get(session, reference), patches.get(session, task.name)
        if left.version == champion.version:
            patch = patches.get(session, f"{task.name}@{_before(session, task)}")
            aliases.move(session, patch, aliases.CHAMPION, workspace.actor, ROLLED_BACK)
        else:
            _require_rolled_back(session, left, champion)
        faults.reach("task.rollback:moved")
        return left

    left = workspace.registry.write(move)
    faults.reach("task.rollback:committed")
    return {**show_task(workspace, left.task.name), "left": left.version}


def _require_rolled_back(session: Session, left: models.Patch, champion: models.Patch) -> None:
    """Raises InputError for a version that never led, or was not left by a rollback."""
    moves = aliases.history(session, left.task)
    ends = [row for row in moves if (row.alias, row.from_version) == (aliases.CHAMPION, left.version)]
    if not ends or ends[-1].why != ROLLED_BACK:
        raise InputError(
            f"{left.reference} cannot be left: {champion.reference} is champion; see `peter task versions "
            f"{left.task.name}`."
        )


def _before(session: Session, task: models.Task) -> int:
    """The champion before the present one: rolling back twice goes two versions back, not forth again."""
    held: list[int] = []
    for row in aliases.history(session, task):
        if row.alias == aliases.CHAMPION:
            if row.why == ROLLED_BACK and held[-2:-1] == [row.to_version]:
                held.pop()
            else:
                held.append(row.to_version)
    if len(held) < 2:
        raise InputError(
            f"No other version of {task.name!r} was champion before {task.name}@{held[-1]}; see `peter task "
            f"versions {task.name}`, or name the version to leave, `peter task rollback {task.name}@VERSION`."
        )
    return held[-2]
