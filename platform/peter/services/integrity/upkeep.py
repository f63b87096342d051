"""Looking after a workspace: removing what nothing needs, retiring tasks, and who changed what."""

from typing import Any

from sqlalchemy.orm import Session

from peter import faults
from peter.errors import InputError
from peter.registry import audit, lineage, live, patches, record, tasks, twins
from peter.services.workspace import Workspace


def collect(workspace: Workspace, dry: bool = False) -> dict[str, Any]:
    """Remove every object that no row refers to and that is no twin still in use, while writers wait.

    Returns:
        `{removed, bytes}`; where it is only to be told (`dry`), `{removable, bytes}`.
    """

    def needed() -> list[str]:
        with workspace.registry.read() as session:
            found = [*live.objects(session), *twins.named(patches.every(session)).values()]
        faults.reach("gc:begun")
        return found

    found = workspace.objects.collect(needed, dry)
    return {"removable" if dry else "removed": len(found), "bytes": sum(found.values())}


def remove_task(workspace: Workspace, name: str, force: bool) -> dict[str, Any]:
    """Retire a task: it answers no more and keeps its name and history; `{removed: name}`.

    Raises:
        UnknownName: no such task.
        NotOwner: somebody else's task, and no `force`.
        InputError: another task's versions read one of its own.
    """

    def retire(session: Session) -> None:
        task = tasks.hold(session, tasks.get(session, name))
        tasks.authorise(task, workspace.actor, force)
        lineage.hold(session)
        if readers := [version.reference for version in lineage.readers(session, name)]:
            raise InputError(
                f"Task {name!r} stays: {', '.join(readers)} read its versions; remove what reads them first."
            )
        tasks.retire(session, task, workspace.actor)
        faults.reach("task.remove:retired")

    workspace.registry.write(retire)
    faults.reach("task.remove:committed")
    return {"removed": name}


def list_audit(workspace: Workspace, limit: int) -> dict[str, Any]:
    """`{changes: [{id, at, actor, action, subject}]}`, newest first."""
    with workspace.registry.read() as session:
        rows = audit.latest(session, limit)
    fields = ("id", "actor", "action", "subject", "before", "after")
    return {
        "changes": [
            {"at": row.at.isoformat(timespec="seconds"), **{field: getattr(row, field) for field in fields}}
            for row in rows
        ]
    }


def verify_audit(workspace: Workspace) -> dict[str, Any]:
    """`{whole, broken, problems}`.

    `broken` is the id of the first row that was changed or follows a missing one, `problems` has a sentence
    for each row of the registry that the audit does not know, or knows otherwise: its last rows may be gone.
    """
    with workspace.registry.read() as session:
        broken, problems = audit.verify(session), record.problems(session)
    return {"whole": not (broken or problems), "broken": broken.id if broken else None, "problems": problems}
