"""A patch and its baselines, fitted on the same users: what a report compares and the gate judges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from peter.data.histories import Histories
from peter.methods import Examples
from peter.progress import Progress
from peter.services.fitting import Fitted, fitted
from peter.services.recipes import TWIN, Recipe
from peter.services.requests import Request

OURS = "ours"
MAJORITY = "majority"  # needs no fit
WIDE = "wide"  # our own wide term alone
BASELINES = ("bag", "probe")  # methods, each with its own defaults

Answers = Mapping[str, Sequence[Tensor]]  # contender -> outputs [B, K], one for each seed


@dataclass(frozen=True)
class Contest:
    """A patch and its baselines, each fitted once for every seed."""

    request: Request
    fits: Mapping[str, Sequence[Fitted]]  # contender -> one for each seed; the first is judged and kept
    skipped: Sequence[str]  # baselines that nobody wanted to wait for

    @property
    def ours(self) -> Fitted:
        """What becomes the version."""
        return self.fits[OURS][0]

    def answers(self, users: Examples) -> Answers:
        """Calibrated outputs of all contenders, the majority among them."""
        answers = {name: [fit.answer(users.histories) for fit in fits] for name, fits in self.fits.items()}
        return {**answers, MAJORITY: [majority(self.request, users.histories)] * self.request.seeds}

    def rivals(self, users: Examples) -> dict[str, Tensor]:
        """Uncalibrated outputs of all baselines, for a judge who calibrates them himself."""
        found = {name: fits[0].outputs(users.histories) for name, fits in self.fits.items() if name != OURS}
        return {**found, MAJORITY: majority(self.request, users.histories)}


def contest(request: Request, progress: Progress) -> Contest:
    """Fit the patch that `request` asks for, and all its baselines."""
    recipes = {OURS: request.recipe, **_baselines(request)}
    fits: dict[str, list[Fitted]] = {name: [] for name in recipes}
    with progress.bar("contenders", len(recipes) * request.seeds, "fits") as bar:
        for name, recipe in recipes.items():
            for seed in request.each_seed:
                bar.advance(0, name)
                fits[name].append(seeded(request, recipe, seed, progress))
                bar.advance(1)
    skipped = [TWIN] if TWIN not in fits and request.recipe.method != TWIN else []
    return Contest(request, fits, skipped)


def seeded(request: Request, recipe: Recipe, seed: int, progress: Progress) -> Fitted:
    """Fit a recipe on the request's users under a seed."""
    return fitted(recipe.seeded(seed), replace(request.setting, seed=seed), request.users, progress)


def majority(request: Request, histories: Histories) -> Tensor:
    """Outputs [B, K] of knowing nothing but the training labels."""
    prior = request.kind.prior(request.users.train.targets, request.schema)
    return prior.expand(len(histories), -1)


def _baselines(request: Request) -> dict[str, Recipe]:
    """What counts, what reads the bare backbone, what the patch holds beside its deep part, and its twin."""
    recipe = request.recipe
    found = {name: recipe.beside(name) for name in BASELINES if name != recipe.method}
    if wide := recipe.wide_alone():
        found[WIDE] = wide
    if request.twin and recipe.method != TWIN:
        found[TWIN] = recipe.twin()
    return found
