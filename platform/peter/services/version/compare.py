"""Methods side by side on one task: fitted and measured on the same users; nothing is registered."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from statistics import fmean, median
from time import perf_counter
from typing import Any, Self

import torch
from torch import Tensor

from peter import plugins
from peter.config import FitConfig
from peter.data.histories import Histories
from peter.errors import InputError, PeterError, UnknownName
from peter.methods import GROUP, Setting, method
from peter.progress import Progress, Silent
from peter.registry import models, patches, runs
from peter.services.backbone import frozen
from peter.services.patch.recipes import Recipe
from peter.services.patch.requests import Request
from peter.services.promotion.contest import MAJORITY, Answering, Majority, seeded
from peter.services.promotion.evaluation import scores, spread
from peter.services.running import running
from peter.services.version.batch import Order
from peter.services.workspace import Workspace
from peter.training.bootstrap import Scored, difference, mean, told
from peter.training.threads import threads

SINGLE = 30  # answers to one user that are timed; the median counts
BULK = 3  # answers to many users at once that are timed, likewise
MANY = 2048  # users of such an answer, at most


@dataclass(frozen=True)
class Measured:
    """A method on the task's users: what it answers, and what that costs."""

    name: str
    outputs: dict[str, list[Tensor]]  # by part of the split, calibrated [B, K] of each seed's fit
    params: int  # numbers that were trained
    seconds: float  # that a fit took, on average over seeds
    speed: dict[str, float]  # of answering

    @classmethod
    def of(cls, request: Request, name: str, fits: Sequence[Answering], params: int, seconds: float) -> Self:
        """Let its fits answer."""
        parts = {"valid": request.users.valid, "test": request.users.test}
        outputs = {part: [fit.answer(users.histories) for fit in fits] for part, users in parts.items()}
        return cls(name, outputs, params, seconds, _speed(request, fits[0]))


def compare(
    workspace: Workspace,
    name: str,
    methods: Sequence[str] | None,
    settings: Sequence[str],
    seed: int | None,
    seeds: int,
    address: str | None,
    progress: Progress,
) -> dict[str, Any]:
    """Fit methods on a task's own labels, backbone and split, and put them side by side.

    The champion's method has the champion's options, every other its own defaults.

    Args:
        methods: in the order of the rows; every installed one that fits, the champion's first, if None.
        settings: `--set`; a key counts for the methods that have it.
        seed: the champion's if None.
        seeds: fits of each method, of which metrics and differences are averages.
        address: of a cluster that fits them side by side; None: one after another in this process, where no
            neighbour is part of the seconds.

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
    requests = _requests(workspace, champion, methods, settings, seed, seeds)
    request, names = requests[0], [each.recipe.method for each in requests]
    params = {"methods": names, "settings": list(settings), "seeds": list(request.each_seed)}
    with running(workspace, "compare", name, params, f"peter task compare {name} ..") as run:
        found = [*_measured(workspace, requests, address, progress), _majority(request)]
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


def _requests(
    workspace: Workspace,
    champion: models.Patch,
    methods: Sequence[str] | None,
    settings: Sequence[str],
    seed: int | None,
    seeds: int,
) -> list[Request]:
    """The champion's request by each method; see `compare`."""
    request = Request.after(workspace, champion, seeds=seeds)
    if methods is None:
        methods = [champion.method, *_applicable(request.setting)]
    recipes = _recipes(champion, methods, settings, seed)
    if recipes[0].kind != request.kind:  # it reads the same labels otherwise
        request = Request.after(workspace, champion, recipe=recipes[0], seeds=seeds)
    setting = replace(request, recipe=recipes[0]).setting
    for recipe in recipes:
        method(recipe.method).build(setting, recipe.options)  # refuses options that do not fit
    return [replace(request, recipe=recipe) for recipe in recipes]


def _applicable(setting: Setting) -> list[str]:
    """Every installed method that can be built, as it comes, for a task on its backbone."""
    found = []
    for name in sorted(plugins.modules(GROUP)):
        with suppress(InputError):
            method(name).build(setting, method(name).options())
            found.append(name)
    return found


def _recipes(
    champion: models.Patch, methods: Sequence[str], settings: Sequence[str], seed: int | None
) -> list[Recipe]:
    """One a method; each takes the settings that it knows. Raises UnknownName for one that none knows."""
    names = [each for each in dict.fromkeys(methods) if each != MAJORITY]
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


def work(order: Order) -> Measured:
    """Fit and measure the method that is ordered; in whichever process."""
    request = order.request()
    _warm_up(request)
    return _fitted(request, Silent())


def _measured(
    workspace: Workspace, requests: Sequence[Request], address: str | None, progress: Progress
) -> list[Measured]:
    """Each request's method, in their order."""
    with progress.bar("methods", len(requests), "methods") as bar:
        if address is None:
            _warm_up(requests[0])
            found = []
            for request in requests:
                bar.advance(0, request.recipe.method)
                found.append(_fitted(request, progress))
                bar.advance(1)
            return found
        from peter.distributed.jobs import each  # Ray, for those who need it

        orders = [Order.of(workspace, request) for request in requests]
        places: dict[int, Measured] = {}
        for ended in each(work, orders, max(request.recipe.fit.threads for request in requests), address):
            if ended.error:
                raise PeterError(f"{requests[ended.at].recipe.method}: {ended.error}")
            places[ended.at] = ended.value
            bar.advance(1, requests[ended.at].recipe.method)
        return [places[at] for at in range(len(requests))]


def _fitted(request: Request, progress: Progress) -> Measured:
    recipe, before = request.recipe, frozen.fingerprint(request.base.body)
    fits = [seeded(request, recipe, seed, progress) for seed in request.each_seed]
    frozen.require_untouched(request.base, before)
    return Measured.of(request, recipe.method, fits, fits[0].params, fmean(fit.seconds for fit in fits))


def _warm_up(request: Request) -> None:
    """One epoch that nobody times: a process's first fit loads libraries."""
    short = replace(request.recipe, fit=replace(request.recipe.fit, epochs=1))
    seeded(request, short, short.fit.seed, Silent())


def _majority(request: Request) -> Measured:
    begin = perf_counter()
    known = Majority.of(request)
    return Measured.of(request, MAJORITY, [known], 0, perf_counter() - begin)


def _rows(request: Request, found: Sequence[Measured], backbone_params: int) -> list[dict[str, Any]]:
    parts = {"valid": request.users.valid, "test": request.users.test}
    measured = {
        part: scores(request.setting, users, {each.name: each.outputs[part] for each in found})
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
            **each.speed,
            **_seeds(measured, each.name),
        }
        for each in found
    ]


def _difference(fits: Sequence[Scored], first: Scored) -> dict[str, Any]:
    return dict(told(difference(mean(fits), first)))


def _seeds(measured: dict[str, dict[str, list[Scored]]], name: str) -> dict[str, Any]:
    if len(measured["test"][name]) < 2:
        return {}
    return {"seeds": {part: spread(fits[name]) for part, fits in measured.items()}}


def _speed(request: Request, fit: Answering) -> dict[str, float]:
    """How fast a fit answers, on as many threads as it was fitted with."""
    histories = request.users.train.histories
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
