"""Patches: the numbered versions of a task."""

import hashlib
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from peter.errors import UnknownName
from peter.registry import aliases, audit, record, references, rows, tasks
from peter.registry.models import NEEDS_RETRAIN, READY, Alias, Patch, Task


def add(session: Session, patch: Patch, actor: str) -> Patch:
    """Register `patch`, whose weights are in the object store, as its task's next version.

    A request that was answered before gives the version that answered it.
    """
    task = tasks.hold(session, patch.task)
    if known := answering(session, task, patch.request_sha256):
        return known
    patch.task, patch.backbone = task, rows.own(session, patch.backbone)
    patch.label_set = rows.own(session, patch.label_set)
    patch.version = rows.following(session, Patch.version, Patch.task_id == task.id)
    session.add(patch)
    session.flush()
    after = {
        "method": patch.method,
        "backbone": patch.backbone.reference,
        "labels_sha256": patch.label_set.sha256,
        "weights_sha256": patch.weights_sha256,
        record.SEAL: record.seal(patch),
    }
    tasks.record(session, task, actor, "patch.add", patch.reference, after=after)
    return patch


def get(session: Session, reference: str) -> Patch:
    """The patch `gender@3`, `gender@challenger`, or the champion of `gender`.

    Raises:
        InputError: `reference` is no reference.
        UnknownName: no such task, version or alias; for an unfinished task there is none.
    """
    wanted = references.parse(reference)
    task = tasks.get(session, wanted.name)
    number = wanted.version or aliases.version(session, task, wanted.alias or aliases.CHAMPION)
    patch = session.scalar(select(Patch).where(Patch.task_id == task.id, Patch.version == number))
    if patch is None:
        raise UnknownName("patch", reference, _known(session, task))
    return patch


def versions(session: Session, task: Task) -> Sequence[Patch]:
    """All versions of a task, oldest first."""
    return session.scalars(select(Patch).where(Patch.task_id == task.id).order_by(Patch.version)).all()


def every(session: Session) -> Sequence[Patch]:
    """All versions of all tasks, those of removed ones too, in the order in which they were made."""
    return session.scalars(select(Patch).order_by(Patch.id)).all()


def answering(session: Session, task: Task, request_sha256: str) -> Patch | None:
    """The version that this very request made, if it was made before."""
    return session.scalar(
        select(Patch).where(Patch.task_id == task.id, Patch.request_sha256 == request_sha256)
    )


def outdate(session: Session, patch: Patch, actor: str) -> None:
    """Mark a version that learnt from somebody who was forgotten since; it answers until another replaces it.

    The request that made it no longer answers to its hash: made again, it is another version.
    """
    patch = rows.own(session, patch)
    if patch.state != NEEDS_RETRAIN:
        patch.state = NEEDS_RETRAIN
        patch.request_sha256 = hashlib.sha256(f"{patch.request_sha256} outdated".encode()).hexdigest()
        session.flush()
        after = {"state": patch.state, record.SEAL: record.seal(patch)}
        audit.append(session, actor, "patch.outdate", patch.reference, {"state": READY}, after)


def _known(session: Session, task: Task) -> list[str]:
    numbers = session.scalars(select(Patch.version).where(Patch.task_id == task.id))
    moving = session.scalars(select(Alias.alias).where(Alias.task_id == task.id))
    return [f"{task.name}@{tail}" for tail in (*numbers, *moving)]
