"""Tuning: what to search for which task, begun or gone on with; `together` does the rest."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from peter.config import BackboneConfig, from_dict
from peter.distributed.tune import PBT
from peter.errors import InputError
from peter.methods import method
from peter.progress import Progress
from peter.registry import aliases, models, patches, runs, tasks
from peter.schedule import CHANGING, SCHEDULE
from peter.services.patch.requests import Request
from peter.services.version.searches import Plan
from peter.services.version.together import Job, together
from peter.services.workspace import Workspace
from peter.space import Space, ends, read_space, to_json

FIXED = {"seed": "--seed", "threads": "the machine"}  # settings that say nothing of a patch's quality


def tune(
    workspace: Workspace,
    names: Sequence[str],
    search: str,
    space: Path | None,
    trials: int,
    seed: int,
    seeds: int,
    time_budget: float | None,
    promote: bool,
    address: str | None,
    force: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Search for a better patch for each named task, or for all at once; never looks at test users.

    Args:
        search: who proposes the next trial: optuna or random; pbt: the trials are a population, of which
            those that fall behind go on from those that lead.
        space: TOML file of what to vary; None: what each method says.
        seeds: fits of the best configuration, which its report tells of.
        time_budget: seconds of a task's search.

    Returns:
        `{tasks: [{name, run, trials, planned, time_up, version, promoted, reason}]}`.

    Raises:
        UnknownName, NotOwner: of any task; nothing was begun.
        InputError: no task has a champion, nothing to tune, or a space that cannot be used.
        Interrupted: stopped by a signal; the message says how to go on.
    """
    with workspace.registry.read() as session:
        champions = [patches.get(session, name) for name in names] or aliases.require_champions(session)
        for patch in champions:
            tasks.authorise(patch.task, workspace.actor, force)
    plans = [
        Plan(
            patch=patch.reference, backbone=patch.backbone.reference, method=patch.method,
            space=to_json(_space(workspace, patch, space, search)), search=search, trials=trials, seed=seed,
            seeds=seeds, time_budget=time_budget, promote=promote,
        )
        for patch in champions
    ]  # fmt: skip

    def begin(session: Session) -> list[Job]:
        runs.interrupt_dead(session)
        return [
            Job(patch, plan, runs.start(session, "tune", patch.task.name, plan.to_json(), workspace.actor))
            for patch, plan in zip(champions, plans, strict=True)
        ]

    return together(workspace, workspace.registry.write(begin), address, progress)


def resume(
    workspace: Workspace, run_id: int, address: str | None, force: bool, progress: Progress
) -> dict[str, Any]:
    """Go on with a search that was stopped or killed; its time budget begins anew.

    Returns:
        As `tune`.

    Raises:
        UnknownName, NotOwner, InputError: no such run, no tuning, somebody else's, under way, or done.
    """

    def take(session: Session) -> Job:
        runs.interrupt_dead(session)
        run = runs.get(session, run_id)
        if run.kind != "tune":
            raise InputError(f"Run {run_id} is no tuning but a {run.kind}; see `peter run list`.")
        plan = from_dict(Plan, run.params)
        patch = patches.get(session, plan.patch)
        tasks.authorise(patch.task, workspace.actor, force)
        return Job(patch, plan, runs.resume(session, run_id, workspace.actor))

    return together(workspace, [workspace.registry.write(take)], address, progress)


def _space(workspace: Workspace, patch: models.Patch, file: Path | None, search: str) -> Space:
    """What to vary. Raises InputError where that is nothing, or cannot be used."""
    own = method(patch.method).space(from_dict(BackboneConfig, patch.backbone.architecture))
    space = own if file is None else _read(file, Request.after(workspace, patch))
    if not space:
        raise InputError(
            f"Method {patch.method} of {patch.task.name} has nothing to tune; "
            f"train another one with `peter task train {patch.task.name} --method peter`."
        )
    if search == PBT and (SCHEDULE in space or not space.keys() & set(CHANGING)):
        raise InputError(
            f"{file or f'Method {patch.method}'} must vary something that a population changes as it trains "
            f"({', '.join(CHANGING)}), and no {SCHEDULE}; correct --space, or give --search optuna."
        )
    return space


def _read(file: Path, request: Request) -> Space:
    """A file's space, every value of which is tried on the patch before anything begins."""
    space = read_space(file, request.recipe.settings)
    for key, domain in space.items():
        if key in FIXED:
            raise InputError(f"{file}: {key} is not searched but given by {FIXED[key]}; leave it out.")
        for value in ends(domain):
            try:
                recipe = request.recipe.changed({key: value})
                method(recipe.method).build(request.setting, recipe.options)
            except InputError as error:
                raise InputError(f"{file}: {error}") from None
    return space
