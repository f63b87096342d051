"""A patch and its baselines, fitted on the same users: what a report compares and the gate judges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Protocol

from torch import Tensor

from peter.data.histories import Histories
from peter.methods import Examples
from peter.progress import Progress
from peter.services.patch.fitting import Fitted, fitted
from peter.services.patch.recipes import TWIN, Recipe
from peter.services.patch.requests import Request
from peter.services.promotion.twins import Twins
from peter.task import TaskKind

OURS = "ours"
MAJORITY = "majority"
WIDE = "wide"  # our own wide term alone
COLD = "cold"  # the same patch from a fresh trunk, where ours goes on from another task's
BLIND = "blind"  # the same patch with as many gates open, but at random
UNREAD = "unread"  # the same patch without what it reads of others
BASELINES = ("bag", "probe")  # methods, each with its own defaults

Answers = Mapping[str, Sequence[Tensor]]  # contender -> outputs [B, K], one for each seed


class Answering(Protocol):
    """Whoever has an answer for the users of a request, as `Fitted` has for everybody."""

    def outputs(self, histories: Histories) -> Tensor:
        """Outputs [B, K] before calibration."""

    def answer(self, histories: Histories) -> Tensor:
        """Calibrated outputs."""


@dataclass(frozen=True)
class Majority:
    """Knows nothing but the training labels; calibrated like everybody else."""

    kind: TaskKind
    prior: Tensor  # [K]
    calibration: Mapping[str, float]

    @classmethod
    def of(cls, request: Request) -> "Majority":
        """That of the request's training users, calibrated on its validation users."""
        kind, valid = request.kind, request.users.valid
        prior = kind.prior(request.users.train.targets, request.schema)
        return cls(kind, prior, kind.calibrate(prior.expand(len(valid.targets), -1), valid.targets))

    def outputs(self, histories: Histories) -> Tensor:
        return self.prior.expand(len(histories), -1)

    def answer(self, histories: Histories) -> Tensor:
        return self.kind.calibrated(self.outputs(histories), self.calibration)


@dataclass(frozen=True)
class Contest:
    """A patch and its baselines."""

    request: Request
    ours: Sequence[Fitted]  # one for each seed; the first becomes the version
    baselines: Mapping[str, Sequence[Answering]]  # likewise
    skipped: Sequence[str]  # baselines that nobody wanted to wait for

    def beside(self, name: str, other: Answering) -> "Contest":
        """The same with one more baseline, first of all, which has no seeds."""
        return replace(self, baselines={name: [other] * self.request.seeds, **self.baselines})

    def answers(self, users: Examples) -> Answers:
        """Calibrated outputs of the patch and of all baselines."""
        contenders: dict[str, Sequence[Answering]] = {OURS: self.ours, **self.baselines}
        return {name: [each.answer(users.histories) for each in fits] for name, fits in contenders.items()}

    def rivals(self, users: Examples) -> dict[str, Tensor]:
        """Outputs of the first seed's baselines, for a judge who calibrates them himself."""
        return {name: fits[0].outputs(users.histories) for name, fits in self.baselines.items()}


def contest(request: Request, twins: Twins, progress: Progress) -> Contest:
    """Fit the patch that `request` asks for, and all its baselines; of `twins` those that are not known."""
    recipes = _baselines(request)
    ours: list[Fitted] = []
    fits: dict[str, list[Answering]] = {name: [] for name in recipes}
    with progress.bar("contenders", (1 + len(recipes)) * request.seeds, "fits") as bar:
        for seed in request.each_seed:
            bar.advance(0, OURS)
            ours.append(seeded(request, request.recipe, seed, progress, warm=True))
            bar.advance(1)
        for name, (seed, mine) in product(recipes, zip(request.each_seed, ours, strict=True)):
            bar.advance(0, name)
            recipe = _as_open(request, mine) if name == BLIND else recipes[name]
            fit = partial(seeded, request, recipe, seed, progress)
            fits[name].append(twins.answering(request, recipe.seeded(seed), fit) if name == TWIN else fit())
            bar.advance(1)
    skipped = [TWIN] if TWIN not in fits and request.recipe.method != TWIN else []
    return Contest(request, ours, {**fits, MAJORITY: [Majority.of(request)] * request.seeds}, skipped)


def seeded(request: Request, recipe: Recipe, seed: int, progress: Progress, warm: bool = False) -> Fitted:
    """Fit a recipe on the request's users under a seed; if `warm`, from where the request goes on."""
    tensors = request.warm.patch.tensors if warm and request.warm else None
    setting = replace(request.setting, seed=seed, warm=tensors)
    return fitted(recipe.seeded(seed), setting, request.users, progress)


def _as_open(request: Request, ours: Fitted) -> Recipe:
    """The recipe whose gates are open to training users as often as ours, whoever they are."""
    gates = ours.gates(request.users.train.histories)
    assert gates is not None
    return request.recipe.blind(gates.mean().item())


def _baselines(request: Request) -> dict[str, Recipe]:
    """What counts, what reads the bare backbone, parts of the patch itself, and its twin."""
    recipe = request.recipe
    found = {name: recipe.beside(name) for name in BASELINES if name != recipe.method}
    if wide := recipe.wide_alone():
        found[WIDE] = wide
    if request.warm:
        found[COLD] = recipe
    if recipe.gated and not request.warm:  # a random policy has no trunk alike to go on from
        found[BLIND] = recipe
    if request.reads and recipe.options.reads:
        found[UNREAD] = recipe.unread()
    if request.twin and recipe.method != TWIN:
        found[TWIN] = recipe.twin()
    return found
