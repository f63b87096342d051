"""Forgetting a user: one job of steps, each done once; killed anywhere, it goes on when typed again."""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from peter import faults
from peter.data.splits import TEST, assign
from peter.errors import Busy, InputError, NotOwner, PeterError
from peter.progress import Progress
from peter.registry import (
    aliases,
    backbones,
    erasures,
    event_logs,
    locks,
    models,
    patches,
    profiles,
    runs,
    tasks,
)
from peter.services.forgotten import pseudonym
from peter.services.integrity.upkeep import collect
from peter.services.lifecycle import remains
from peter.services.lifecycle.fit_again import fit_again
from peter.services.workspace import Workspace

Step = Callable[[Workspace, int, str], None]  # workspace, erasure, user


def forget(
    workspace: Workspace, user: str, refit: bool, force: bool, address: str | None, progress: Progress
) -> dict[str, Any]:
    """Forget a user: unknown from the first step on, and at the end in no file of the workspace.

    Args:
        refit: fit champions again that learnt from the user; those of others only by `force`.

    Returns:
        `{again, requested, event_logs, label_sets, backbones, patches, refitted: [{name, version, promoted,
        reason}]}`; `backbones` and `patches` learnt from the user, `again` says that he was forgotten before.

    Raises:
        InputError: nobody ever heard of that user; nothing was changed.
        Busy: a run is under way that may hold him; he is unknown already, and the command goes on later.
    """
    erasure = _known(workspace, user)
    again = erasure is not None and set(STEPS) <= set(erasure.steps["done"])
    if erasure is None:
        erasure = _entombed(workspace, user)
        faults.reach("user.forget:tombstone")
    with progress.bar("forget", len(STEPS), "steps") as bar:
        for name, step in STEPS.items():
            if name not in erasure.steps["done"]:
                step(workspace, erasure.id, user)
                erasure = _noted(workspace, erasure.id, name)
                faults.reach(f"user.forget:{name}")
            bar.advance(1, name)
    found = {noun: sorted(erasure.steps[noun]) for noun in erasures.FOUND}
    refitted = _refitted(workspace, found["patches"], force, address, progress) if refit else []
    requested = erasure.requested_at.isoformat(timespec="seconds")
    return {"again": again, "requested": requested, **found, "refitted": refitted}


def _known(workspace: Workspace, user: str) -> models.Erasure | None:
    """The erasure that was begun. Raises InputError for a user of whom there is none and nothing stored."""
    with workspace.registry.read() as session:
        known = erasures.pseudonyms(session)
        if known:
            called = pseudonym(user, workspace.objects.secret(make=False))
            if erasure := erasures.find(session, called):
                return erasure
    if not remains.places(workspace, user):
        raise InputError(
            f"Nothing is stored of a user {user!r}; check the id, which is written as in the event log."
        )
    return None


def _entombed(workspace: Workspace, user: str) -> models.Erasure:
    """Put up the tombstone and, in one transaction, tables of answers without the user."""
    with workspace.registry.read() as session:
        first = not erasures.pseudonyms(session)
    called = pseudonym(user, workspace.objects.secret(make=first))
    erasure = None
    while erasure is None:  # answers were stored meanwhile that may be the user's
        with workspace.registry.read() as session:
            seen = {table.id: table.sha256 for table in profiles.every(session)}
        with workspace.objects.holding():
            made = {
                table.id: remains.table_without(workspace, table, user)
                for table in remains.tables_with(workspace, user)
            }
            erasure = workspace.registry.write(partial(_begun, workspace.actor, called, seen, made))
    return erasure


def _begun(
    actor: str, called: str, seen: dict[int, str], made: dict[int, str], session: Session
) -> models.Erasure | None:
    erasures.hold(session)
    if begun := erasures.find(session, called):  # by the same command beside this one
        return begun
    tables = profiles.every(session)
    if {table.id: table.sha256 for table in tables} != seen:
        return None
    for table in tables:
        if table.id in made:
            rows = table.rows - 1
            profiles.replace(session, table.patch, table.event_log, made[table.id], rows, table.as_of, actor)
    return erasures.begin(session, called, actor)


def _noted(workspace: Workspace, erasure_id: int, step: str) -> models.Erasure:
    def note(session: Session) -> models.Erasure:
        erasure = erasures.note(session, erasure_id, done=[step])
        if step == list(STEPS)[-1]:
            erasures.finish(session, erasure_id, workspace.actor)
        return erasure

    return workspace.registry.write(note)


def _events(workspace: Workspace, erasure_id: int, user: str) -> None:
    """Every version of every event log without the user, under the number that it has."""
    with workspace.objects.holding():  # what is read here is not removed by another erasure
        while found := list(remains.logs_with(workspace, user)):
            for row in found:
                rest = remains.log_without(workspace, row, user)
                faults.reach("user.forget:stored")
                workspace.registry.write(
                    partial(_log_rewritten, workspace.actor, erasure_id, user, row, rest)
                )


def _log_rewritten(
    actor: str, erasure_id: int, user: str, row: models.EventLog, rest: models.EventLog, session: Session
) -> None:
    if event_logs.rewrite(session, row, rest, actor):
        read = [each for each in backbones.every(session) if each.event_log_id == row.id]
        learnt = [each.reference for each in read if _learnt(each, user)]
        erasures.note(session, erasure_id, event_logs=[row.reference], backbones=learnt)
        behind = [patch for patch in patches.every(session) if patch.backbone.event_log_id == row.id]
        _outdate(session, erasure_id, user, behind, actor)


def _labels(workspace: Workspace, erasure_id: int, user: str) -> None:
    """Every label set without the user."""
    with workspace.objects.holding():
        while found := list(remains.labels_with(workspace, user)):
            for row, table in found:
                rest = remains.labels_without(workspace, row, table, user)
                workspace.registry.write(
                    partial(_labels_rewritten, workspace.actor, erasure_id, user, row, rest)
                )


def _labels_rewritten(
    actor: str, erasure_id: int, user: str, row: models.LabelSet, rest: models.LabelSet, session: Session
) -> None:
    behind = [patch for patch in patches.every(session) if patch.label_set_id == row.id]
    if tasks.rewrite_labels(session, row, rest, actor):
        erasures.note(session, erasure_id, label_sets=[row.task.name])
        _outdate(session, erasure_id, user, behind, actor)


def _outdate(
    session: Session, erasure_id: int, user: str, behind: Sequence[models.Patch], actor: str
) -> None:
    """Mark the versions that learnt from the user among those behind what he was removed from."""
    learnt = [patch for patch in behind if _learnt(patch.backbone, user)]
    learnt += _heirs(patches.every(session), {patch.id for patch in learnt})
    for patch in learnt:
        patches.outdate(session, patch, actor)
    erasures.note(session, erasure_id, patches=[patch.reference for patch in learnt])


def _heirs(every: Sequence[models.Patch], learnt: set[int]) -> list[models.Patch]:
    """The versions that read those, or went on from them, in turn; of `every` version, oldest first."""
    heirs = []
    for patch in sorted(every, key=lambda patch: patch.id):
        parents = {*patch.reads, patch.config.get("warm_start", {}).get("id")}
        if patch.id not in learnt and parents & learnt:
            learnt = learnt | {patch.id}
            heirs.append(patch)
    return heirs


def _learnt(backbone: models.Backbone, user: str) -> bool:
    """Whether the user is none of those that a backbone and its patches are only reported on."""
    return bool(assign([user], backbone.salt)[0] != TEST)


def _runs(workspace: Workspace, erasure_id: int, user: str) -> None:
    """No run's directory: what learnt from the user begins anew. Raises Busy for one that is under way."""

    def under_way(session: Session) -> dict[str, models.Run]:
        runs.interrupt_dead(session)
        runs.withhold(session, repr(user))
        return {str(run.id): run for run in runs.every(session) if run.state == "running"}

    busy = workspace.registry.write(under_way)
    for directory in workspace.runs.glob("*"):
        if run := busy.get(directory.name):
            raise Busy(
                f"The user is unknown from now on, but run {run.id}, a {run.kind} by process {run.pid} of "
                f"{run.host}, may still hold them; stop it or wait for it, then type the command again."
            )
        with locks.told(directory):
            shutil.rmtree(directory)


def _objects(workspace: Workspace, erasure_id: int, user: str) -> None:
    """Nothing that no row refers to: what was rewritten, and what was put and never registered."""
    collect(workspace)


def _registry(workspace: Workspace, erasure_id: int, user: str) -> None:
    """No free page of the database and nothing in its log."""
    workspace.registry.compact()


def _nothing(workspace: Workspace, erasure_id: int, user: str) -> None:
    """Look through all that is stored. Raises PeterError where the user still is."""
    if left := remains.places(workspace, user):
        where = ", ".join(f"{row.__tablename__} {row.id}" for row in left)
        raise PeterError(f"The user is still in {where}; run `peter verify`, then type the command again.")


STEPS: dict[str, Step] = {
    "events": _events,
    "labels": _labels,
    "runs": _runs,
    "objects": _objects,
    "registry": _registry,
    "checked": _nothing,
}


def _refitted(
    workspace: Workspace, learnt: list[str], force: bool, address: str | None, progress: Progress
) -> list[dict[str, Any]]:
    """Each champion that learnt from the user, fitted again; what became of it."""
    with workspace.registry.read() as session:
        champions = [patch for patch in aliases.champions(session) if patch.reference in learnt]
    refused = {
        patch.task.name: told for patch in champions if (told := _refusal(patch, workspace.actor, force))
    }
    mine = [patch for patch in champions if patch.task.name not in refused]
    made = fit_again(workspace, mine, None, address, "peter user forget USER --refit", progress)
    rows = [{"name": name, "error": told} for name, told in refused.items()]
    for name, document in made.items():
        report = document.get("report", {})
        keys = ("version", "promoted", "reason")
        rows.append({"name": name, **{key: report[key] for key in keys}} if report else document)
    return sorted(rows, key=lambda row: row["name"])


def _refusal(patch: models.Patch, actor: str, force: bool) -> str | None:
    try:
        tasks.authorise(patch.task, actor, force)
    except NotOwner as error:
        return str(error)
    return None
