"""Fitting one recipe on one task: the job that `task add`, `task train`, `tune` and every baseline share."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter

from torch import Tensor, nn

from peter.data.histories import Histories
from peter.methods import Examples, Setting, method
from peter.progress import Progress
from peter.services.item_columns import learnt
from peter.services.labelled import Labelled
from peter.services.recipes import Recipe
from peter.training.checkpoint import Checkpoint
from peter.training.fit import EpochReport, fit, predict


@dataclass(frozen=True)
class Fitted:
    """A trained patch with what its outputs need to become honest probabilities."""

    recipe: Recipe
    setting: Setting
    patch: nn.Module
    calibration: dict[str, float]
    seconds: float = 0.0  # that fitting took; none where it was read from the store

    @property
    def params(self) -> int:
        """Numbers that were trained, weights of items that nothing was learnt about left out."""
        return learnt(dict(self.patch.named_parameters()), self.setting.items)

    def outputs(self, histories: Histories) -> Tensor:
        """Outputs [B, K] as the head gives them."""
        return predict(self.patch, self.setting.body, histories)

    def answer(self, histories: Histories) -> Tensor:
        """Calibrated outputs [B, K]."""
        return self.setting.kind.calibrated(self.outputs(histories), self.calibration)


def epochs(
    patch: nn.Module,
    recipe: Recipe,
    setting: Setting,
    users: Labelled,
    progress: Progress,
    saved: Checkpoint | None = None,
) -> Iterator[EpochReport]:
    """Train `patch` in place, one report an epoch; who stops early keeps the best epoch so far."""
    phases = method(recipe.method).phases(patch, setting, recipe.options)
    return fit(patch, phases, users.train, users.valid, setting, recipe.fit, progress, saved)


def fitted(recipe: Recipe, setting: Setting, users: Labelled, progress: Progress) -> Fitted:
    """Build, train and calibrate a patch."""
    begin = perf_counter()
    patch = method(recipe.method).build(setting, recipe.options)
    for _ in epochs(patch, recipe, setting, users, progress):
        pass
    made = calibrated(recipe, setting, patch, users.valid)
    return replace(made, seconds=perf_counter() - begin)


def calibrated(recipe: Recipe, setting: Setting, patch: nn.Module, valid: Examples) -> Fitted:
    """A trained patch with its calibration on validation users."""
    outputs = predict(patch, setting.body, valid.histories)
    return Fitted(recipe, setting, patch, setting.kind.calibrate(outputs, valid.targets))
