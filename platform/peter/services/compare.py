"""Methods side by side on one task: fitted and measured on the same users; nothing is registered."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from statistics import fmean, median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from peter import plugins
from peter.config import FitConfig
from peter.data.histories import Histories
from peter.errors import InputError, UnknownName
from peter.methods import GROUP, Examples, method
from peter.progress import Progress, Silent
from peter.registry import models, patches, runs
from peter.services import frozen
from peter.services.contest import MAJORITY, Answering, Majority, seeded
from peter.services.evaluation import scores, spread
from peter.services.recipes import Recipe
from peter.services.requests import Request
from peter.services.running import running
from peter.services.workspace import Workspace
from peter.training.bootstrap import Scored, difference, mean, told
from peter.training.threads import threads

SINGLE = 30  # answers to one user that are timed; the median counts
BULK = 3  # answers to many users at once that are timed, likewise
MANY = 2048  # users of such an answer, at most


@dataclass(frozen=True)
class _Contender:
    """What is compared."""

    name: str
    fits: Sequence[Answering]  # one for each seed
    params: int  # numbers that were trained
    seconds: float  # that a fit took, on average over seeds

    def outputs(self, users: Examples) -> list[Tensor]:
        """Calibrated outputs [B, K] of each seed's fit."""
        return [fit.answer(users.histories) for fit in self.fits]


def compare(
    workspace: Workspace,
    name: str,
    methods: Sequence[str] | None,
    settings: Sequence[str],
    seed: int | None,
    seeds: int,
    progress: Progress,
) -> dict[str, Any]:
    """Fit methods on a task's own labels, backbone and split, and put them side by side.

    The champion's method has the champion's options, every other its own defaults.

    Args:
        methods: in the order of the rows; every installed one, the champion's first, if None.
        settings: `--set`; a key counts for the methods that have it.
        seed: the champion's if None.
        seeds: fits of each method, of which metrics and differences are averages.

    Returns:
        `{task, backbone, primary, maximise, seeds, methods: [{method, metrics: {valid, test}, difference,
        params, share, train_seconds, serve_ms_per_user, bulk_users_per_second}]}`; `difference` is the paired
        interval, on test users, of a row minus the first one; with several seeds a row has `seeds`, too.

    Raises:
        UnknownName: no such task, method or setting.
        InputError: a setting does not fit.
        Interrupted: stopped by a signal.
    """
    with workspace.registry.read() as session:
        champion = patches.get(session, name)
    recipes = _recipes(champion, methods, settings, seed)
    request = Request.after(workspace, champion, recipe=recipes[0], seeds=seeds)
    for recipe in recipes:
        method(recipe.method).build(request.setting, recipe.options)  # refuses options that do not fit
    names = [recipe.method for recipe in recipes]
    params = {"methods": names, "settings": list(settings), "seeds": list(request.each_seed)}
    with running(workspace, "compare", name, params, f"peter task compare {name} ..") as run:
        before = frozen.fingerprint(request.base.body)
        found = [*_fitted(request, recipes, progress), _majority(request)]
        frozen.require_untouched(request.base, before)
        rows = _rows(request, found, champion.backbone.params)
        summary = {row["method"]: row["metrics"]["test"] for row in rows}
        workspace.registry.write(lambda session: runs.finish(session, run.id, summary))
    return {
        "task": name,
        "run": run.id,
        "backbone": request.base.reference,
        "primary": request.kind.primary,
        "maximise": request.kind.maximise,
        "users": request.users.report,
        "seeds": {"first": request.recipe.fit.seed, "count": seeds},
        "methods": rows,
    }


def _recipes(
    champion: models.Patch, methods: Sequence[str] | None, settings: Sequence[str], seed: int | None
) -> list[Recipe]:
    """One a method; each takes the settings that it knows. Raises UnknownName for one that none knows."""
    chosen = [champion.method, *sorted(plugins.modules(GROUP))] if methods is None else methods
    names = [each for each in dict.fromkeys(chosen) if each != MAJORITY]
    if not names:
        raise InputError("There is no method to compare; give some, such as --methods peter,probe.")
    kind: Any = Recipe.of(champion).kind
    known: dict[str, set[str]] = {
        each: {field.name for part in (method(each).options, FitConfig, kind) for field in fields(part)}
        for each in names
    }
    everything = {key for keys in known.values() for key in keys}
    for setting in settings:
        if (key := setting.partition("=")[0]) not in everything:
            raise UnknownName("setting", key, everything)
    return [
        Recipe.after(champion, each, [one for one in settings if one.partition("=")[0] in known[each]], seed)
        for each in names
    ]


def _fitted(request: Request, recipes: Sequence[Recipe], progress: Progress) -> list[_Contender]:
    _warm_up(request, recipes[0])
    found = []
    with progress.bar("methods", len(recipes) * request.seeds, "fits") as bar:
        for recipe in recipes:
            fits = []
            for seed in request.each_seed:
                bar.advance(0, recipe.method)
                fits.append(seeded(request, recipe, seed, progress))
                bar.advance(1)
            seconds = fmean(fit.seconds for fit in fits)
            found.append(_Contender(recipe.method, fits, fits[0].params, seconds))
    return found


def _warm_up(request: Request, recipe: Recipe) -> None:
    """One epoch that nobody times: the first fit loads libraries, for which the first row would pay."""
    short = replace(recipe, fit=replace(recipe.fit, epochs=1))
    seeded(request, short, recipe.fit.seed, Silent())


def _majority(request: Request) -> _Contender:
    begin = perf_counter()
    known = Majority.of(request)
    return _Contender(MAJORITY, [known], 0, perf_counter() - begin)


def _rows(request: Request, found: Sequence[_Contender], backbone_params: int) -> list[dict[str, Any]]:
    parts = {"valid": request.users.valid, "test": request.users.test}
    measured = {
        part: scores(request.setting, users, {each.name: each.outputs(users) for each in found})
        for part, users in parts.items()
    }
    first = mean(measured["test"][found[0].name])
    return [
        {
            "method": each.name,
            "metrics": {part: told(mean(fits[each.name])) for part, fits in measured.items()},
            "difference": _difference(measured["test"][each.name], first) if each != found[0] else None,
            "params": each.params,
            "share": each.params / backbone_params,
            "train_seconds": each.seconds,
            **_speed(each, request),
            **_seeds(each, measured),
        }
        for each in found
    ]


def _difference(fits: Sequence[Scored], first: Scored) -> dict[str, Any]:
    return dict(told(difference(mean(fits), first)))


def _seeds(each: _Contender, measured: dict[str, dict[str, list[Scored]]]) -> dict[str, Any]:
    if len(each.fits) < 2:
        return {}
    return {"seeds": {part: spread(fits[each.name]) for part, fits in measured.items()}}


def _speed(each: _Contender, request: Request) -> dict[str, float]:
    """How fast the first fit answers, on as many threads as it was fitted with."""
    histories, fit = request.users.train.histories, each.fits[0]
    many = histories.select(torch.arange(min(MANY, len(histories))))
    alone = [histories.select(torch.tensor([at % len(histories)])) for at in range(SINGLE)]
    with threads(request.recipe.fit.threads):
        fit.answer(alone[0])  # what is made on first use is no part of it
        single = median(_seconds(fit, user) for user in alone)
        bulk = median(_seconds(fit, many) for _ in range(BULK))
    return {"serve_ms_per_user": 1000 * single, "bulk_users_per_second": len(many) / bulk}


def _seconds(fit: Answering, histories: Histories) -> float:
    begin = perf_counter()
    fit.answer(histories)
    return perf_counter() - begin
