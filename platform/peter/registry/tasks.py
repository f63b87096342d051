"""Tasks and their label sets, and who may change them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.errors import NameTaken, NotOwner, UnknownName
from peter.registry import audit, names, rows
from peter.registry.columns import utc_now
from peter.registry.models import LabelSet, Patch, Task
from peter.registry.record import SEAL, seal


def add(session: Session, task: Task, actor: str) -> Task:
    """Register a new task.

    Raises:
        InputError: the name is not allowed beside those of the other tasks.
        NameTaken: a task has it, or had it before it was removed.
    """
    rows.lock(session, "task", "")  # one at a time: names must fit each other, not only differ
    require_free(session, task.name)
    session.add(task)
    session.flush()
    after = {"kind": task.kind, "owner": task.owner, "sensitive": task.sensitive, "outputs": task.outputs}
    audit.append(session, actor, "task.add", task.name, after=after)
    return task


def require_free(session: Session, name: str) -> None:
    """Refuse a name that no new task may have. Raises as `add`."""
    names.check_task(name, [other.name for other in every(session)])
    if session.scalar(select(Task.id).where(Task.name == name)):
        raise NameTaken(
            f"A task called {name!r} was removed, and its history keeps the name; choose another."
        )


def find(session: Session, name: str) -> Task | None:
    """The task of that name, or None where there is none, or it was removed."""
    return session.scalar(select(Task).where(Task.name == name, Task.retired_at.is_(None)))


def get(session: Session, name: str) -> Task:
    """The task of that name.

    Raises:
        UnknownName: there is none, or it was removed.
    """
    task = find(session, name)
    if task is None:
        raise UnknownName("task", name, {other.name for other in every(session)})
    return task


def every(session: Session) -> Sequence[Task]:
    """All tasks that were not removed, by name."""
    return session.scalars(select(Task).where(Task.retired_at.is_(None)).order_by(Task.name)).all()


def begin_again(session: Session, task: Task, kind: str, outputs: dict[str, Any], actor: str) -> Task:
    """Let an unfinished task be what this try makes of it: its labels may be others than the first time."""
    task = hold(session, task)
    before = {"kind": task.kind, "outputs": task.outputs}
    after = {"kind": kind, "outputs": outputs}
    if after != before:
        task.kind, task.outputs = kind, outputs
        record(session, task, actor, "task.begin_again", task.name, before, after)
    return task


def retire(session: Session, task: Task, actor: str) -> None:
    """Remove a task from every list; its versions and their history stay."""
    task = hold(session, task)
    task.retired_at = utc_now()
    record(session, task, actor, "task.retire", task.name)


def authorise(task: Task, actor: str, force: bool) -> None:
    """Let the owner, or anybody by force, change a task; `record` notes the force in the audit.

    Raises:
        NotOwner: somebody else's task, and no force.
    """
    if task.owner != actor and not force:
        raise NotOwner(
            f"Task {task.name!r} belongs to {task.owner}; ask them, or repeat the command with --force."
        )


def record(
    session: Session,
    task: Task,
    actor: str,
    action: str,
    subject: str,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    """Append a change of `task` to the audit, naming the owner where it was somebody else's doing."""
    if actor != task.owner:
        after = {**(after or {}), "forced_past_owner": task.owner}
    audit.append(session, actor, action, subject, before, after)


def hold(session: Session, task: Task) -> Task:
    """The task's row; others who would change it or number below it wait until the transaction ends."""
    return session.scalars(
        select(Task).where(Task.id == task.id).with_for_update().execution_options(populate_existing=True)
    ).one()


def add_labels(session: Session, labels: LabelSet, actor: str) -> LabelSet:
    """Register a checked label file of a task, or give the one with the same bytes."""
    task = hold(session, labels.task)
    if known := find_labels(session, task, labels.sha256):
        return known
    labels.task = task
    session.add(labels)
    session.flush()
    record(session, task, actor, "label_set.add", task.name, after=_labels_told(labels))
    return labels


def label_sets(session: Session) -> Sequence[LabelSet]:
    """Every label set of every task, retired ones too."""
    return session.scalars(select(LabelSet).order_by(LabelSet.id)).all()


def rewrite_labels(session: Session, labels: LabelSet, rewritten: LabelSet, actor: str) -> bool:
    """Let a label set refer to what is left of it without a user who was forgotten.

    Two that differed by this user alone become one.

    Returns:
        False: it is no longer what `labels` was, because another user was forgotten meanwhile.
    """
    task, was, found = hold(session, labels.task), labels.sha256, session.get(LabelSet, labels.id)
    if found is None or found.sha256 != was:
        return False
    if same := find_labels(session, task, rewritten.sha256):
        for patch in session.scalars(select(Patch).where(Patch.label_set_id == found.id)):
            patch.label_set = same
            session.flush()
            audit.append(session, actor, "patch.relabel", patch.reference, after={SEAL: seal(patch)})
        session.delete(found)
    else:
        same = found
        for name in ("sha256", "rows", "users", "report"):
            setattr(found, name, getattr(rewritten, name))
    session.flush()
    audit.append(session, actor, "label_set.rewrite", task.name, {"sha256": was}, _labels_told(same))
    return True


def find_labels(session: Session, task: Task, sha256: str) -> LabelSet | None:
    """The task's label set with these bytes."""
    return session.scalar(select(LabelSet).where(LabelSet.task_id == task.id, LabelSet.sha256 == sha256))


def _labels_told(labels: LabelSet) -> dict[str, Any]:
    return {"rows": labels.rows, "users": labels.users, "sha256": labels.sha256, SEAL: seal(labels)}
