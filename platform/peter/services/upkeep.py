"""Looking after a workspace: removing what nothing needs, retiring tasks, and who changed what."""

from typing import Any

from sqlalchemy.orm import Session

from peter import faults
from peter.registry import audit, live, tasks
from peter.services.workspace import Workspace


def collect(workspace: Workspace) -> dict[str, Any]:
    """Remove every object that no row refers to, while writers wait; `{removed: n}`."""

    def needed() -> list[str]:
        with workspace.registry.read() as session:
            found = list(live.objects(session))
        faults.reach("gc:begun")
        return found

    return {"removed": len(workspace.objects.collect(needed))}


def remove_task(workspace: Workspace, name: str, force: bool) -> dict[str, Any]:
    """Retire a task: it answers no more and keeps its name and history; `{removed: name}`.

    Raises:
        UnknownName: no such task.
        NotOwner: somebody else's task, and no `force`.
    """

    def retire(session: Session) -> None:
        task = tasks.get(session, name)
        tasks.authorise(task, workspace.actor, force)
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
    """`{whole, broken}`: the id of the first row that was changed or follows a missing one."""
    with workspace.registry.read() as session:
        broken = audit.verify(session)
    return {"whole": broken is None, "broken": broken.id if broken else None}
