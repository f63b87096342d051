"""Tuning: search a method's settings over the frozen backbone, train the best anew, let the gate judge it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from peter.config import BackboneConfig, from_dict
from peter.distributed.tune import Outcome, Search, search
from peter.errors import InputError, PeterError
from peter.methods import method
from peter.progress import Bar, Progress, Silent
from peter.registry import aliases, models, patches, runs, tasks, trials
from peter.services import versions
from peter.services.fitting import epochs
from peter.services.recipes import Recipe
from peter.services.requests import Request
from peter.services.running import running
from peter.services.workspace import Workspace
from peter.space import Domain


def tune(
    workspace: Workspace,
    names: Sequence[str],
    count: int,
    seed: int,
    time_budget: float | None,
    promote: bool,
    address: str | None,
    force: bool,
    progress: Progress,
) -> dict[str, Any]:
    """Search for a better patch for each named task, or for all; never looks at test users.

    Returns:
        `{tasks: [{name, run, trials, version, promoted, reason}]}`.

    Raises:
        UnknownName, NotOwner: of any task; nothing was begun.
        InputError: no task has a champion, or a task's method has nothing to tune.
        Interrupted: stopped by a signal.
    """
    with workspace.registry.read() as session:
        champions = [patches.get(session, name) for name in names] or aliases.require_champions(session)
        for patch in champions:
            tasks.authorise(patch.task, workspace.actor, force)
    for patch in champions:
        if not _space(patch):
            raise InputError(
                f"Method {patch.method} of {patch.task.name} has nothing to tune; "
                f"train another one with `peter task train {patch.task.name} --method peter`."
            )
    return {
        "tasks": [
            _tuned(workspace, patch, count, seed, time_budget, promote, address, progress)
            for patch in champions
        ]
    }


def _space(patch: models.Patch) -> Mapping[str, Domain]:
    return method(patch.method).space(from_dict(BackboneConfig, patch.backbone.architecture))


def scores(context: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[float]:
    """One trial in a worker: validation scores, epoch by epoch, of the patch's recipe changed by `config`."""
    request = _request(context["registry"], context["store"], context["patch"])
    recipe = _changed(request.recipe, config, context["seed"])
    made_for = replace(request, recipe=recipe).setting
    patch = method(recipe.method).build(made_for, recipe.options)
    for report in epochs(patch, recipe, made_for, request.users, Silent()):
        yield report.valid_score


@cache
def _request(registry: str, store: str, reference: str) -> Request:
    """A version's own request; read once in a worker, whatever number of trials it runs."""
    workspace = Workspace.open(registry, Path(store))
    with workspace.registry.read() as session:
        patch = patches.get(session, reference)
    return Request.after(workspace, patch)


def _changed(recipe: Recipe, config: Mapping[str, Any], seed: int) -> Recipe:
    """The recipe with each setting of `config` where it belongs; one thread, as trials share the machine."""
    options = {key: value for key, value in config.items() if hasattr(recipe.options, key)}
    fit = {key: value for key, value in config.items() if key not in options}
    return replace(
        recipe,
        options=replace(recipe.options, **options),
        fit=replace(recipe.fit, seed=seed, threads=1, **fit),
    )


def _tuned(
    workspace: Workspace,
    champion: models.Patch,
    count: int,
    seed: int,
    time_budget: float | None,
    promote: bool,
    address: str | None,
    progress: Progress,
) -> dict[str, Any]:
    name = champion.task.name
    request = Request.after(workspace, champion)
    space = _space(champion)
    plan = Search(space, count, request.recipe.fit.epochs, seed, time_budget)
    params = {"trials": count, "seed": seed, "backbone": request.base.reference, "settings": sorted(space)}
    with running(workspace, "tune", name, params, f"peter tune {name}") as run:
        found = _searched(workspace, champion, plan, run, address, progress)
        best = min(found, key=lambda outcome: math.inf if outcome.score is None else outcome.score)
        recipe = _changed(request.recipe, best.config, seed)
        recipe = replace(recipe, fit=replace(recipe.fit, threads=request.recipe.fit.threads))
        document = versions.make(workspace, replace(request, recipe=recipe), promote, progress)
        report = document["report"]
        summary = {"best": best.score, "config": best.config, "version": report["version"]}
        workspace.registry.write(lambda session: runs.finish(session, run.id, summary))
    kept = {key: report[key] for key in ("version", "promoted", "reason")}
    return {"name": name, "run": run.id, "trials": len(found), **kept}


def _searched(
    workspace: Workspace,
    champion: models.Patch,
    plan: Search,
    run: models.Run,
    address: str | None,
    progress: Progress,
) -> list[Outcome]:
    """The outcomes of the trials that have a score. Raises PeterError when there is none."""
    context = {
        "registry": workspace.registry.url.render_as_string(hide_password=False),
        "store": str(workspace.root),
        "patch": champion.reference,  # not the task: its champion may change while workers start
        "seed": plan.seed,
    }
    directory = workspace.run_directory(run.id)
    with progress.bar(f"tune {champion.task.name}", plan.trials, "trials") as bar:
        watcher = _Watcher(workspace, run.id, bar)
        found = search(scores, context, plan, directory, address, watcher)
    scored = [outcome for outcome in found if outcome.score is not None and not outcome.error]
    if not scored:
        told = next((outcome.error for outcome in found if outcome.error), "no trial finished an epoch")
        raise PeterError(f"No trial for {champion.task.name} succeeded: {told}; see {directory}.")
    return scored


@dataclass
class _Watcher:
    """Keeps the registry's trials and the bar up to date, in the driver."""

    workspace: Workspace
    run_id: int
    bar: Bar
    best: float = math.inf

    def started(self, name: str, config: Mapping[str, Any]) -> None:
        """See `peter.distributed.tune.Observer`."""
        self.workspace.registry.write(lambda session: trials.add(session, self.run_id, name, dict(config)))

    def reported(self, name: str, score: float) -> None:
        """See `peter.distributed.tune.Observer`."""
        self.best = min(self.best, score)
        self.workspace.registry.write(
            lambda session: trials.update(session, self.run_id, name, "running", {"score": score})
        )
        self.bar.advance(0, f"best {self.best:.4f}")

    def ended(self, name: str, error: str | None) -> None:
        """See `peter.distributed.tune.Observer`."""
        state = "failed" if error else "done"
        self.workspace.registry.write(
            lambda session: trials.update(session, self.run_id, name, state, error=error)
        )
        self.bar.advance(1, f"best {self.best:.4f}")
