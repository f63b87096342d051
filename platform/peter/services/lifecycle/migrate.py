"""Moving every task from one backbone version to another, each only where its users lose nothing."""

from typing import Any

from peter.errors import InputError
from peter.interval import turned
from peter.progress import Progress
from peter.registry import aliases, backbones, models, tasks
from peter.services.lifecycle.fit_again import fit_again
from peter.services.workspace import Workspace


def migrate(
    workspace: Workspace, old: str, new: str, force: bool, address: str | None, progress: Progress
) -> dict[str, Any]:
    """Fit every champion of backbone `old` again on `new`, side by side; the gate promotes task by task.

    A task that is not promoted, or that cannot be fitted, stays on `old` and keeps answering.

    Returns:
        `{old, new, tasks: [{name, from, version, promoted, reason, gain}]}`; `gain` is the paired interval of
        the primary metric on the same test users, more being better, and None where nothing was made.

    Raises:
        UnknownName, NotOwner: nothing was begun.
        InputError: no champion reads `old`.
    """
    with workspace.registry.read() as session:
        source, target = (backbones.get(session, reference) for reference in (old, new))
        champions = [patch for patch in aliases.champions(session) if patch.backbone_id == source.id]
        for patch in champions:
            tasks.authorise(patch.task, workspace.actor, force)
    if not champions:
        raise InputError(
            f"No task's champion reads {source.reference}; `peter task list` shows which backbone each reads."
        )
    again = f"peter backbone migrate {old} {new}"
    made = fit_again(workspace, champions, target, address, again, progress)
    rows = [_row(patch, made[patch.task.name]) for patch in champions]
    return {"old": source.reference, "new": target.reference, "tasks": rows}


def _row(champion: models.Patch, made: dict[str, Any]) -> dict[str, Any]:
    row = {"name": champion.task.name, "from": champion.version, "version": None, "promoted": False}
    if "error" in made:
        return {**row, "reason": made["error"], "gain": None}
    report = made["report"]
    gain = report["metrics"]["differences"].get(champion.reference, {}).get(report["metrics"]["primary"])
    gain = turned(gain, report["metrics"]["maximise"]) if gain else gain
    return {**row, **{key: report[key] for key in ("version", "promoted", "reason")}, "gain": gain}
