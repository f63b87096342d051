"""Fitting one recipe on one task: the job that `task add`, `task train`, `tune` and every baseline share."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter

from torch import Tensor, nn

from peter.data.histories import Histories
from peter.methods import Examples, Older, Setting, method, read_by
from peter.nn.owned import KEPT
from peter.progress import Progress
from peter.services.patch.packing import learnt
from peter.services.patch.recipes import Recipe
from peter.services.task.labelled import Labelled
from peter.training.checkpoint import Checkpoint
from peter.training.fit import EpochReport, fit, gates, predict


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
        """Numbers that were trained, those that nothing was learnt about left out."""
        bits = {name: tensor for name, tensor in self.patch.named_buffers() if name.endswith(KEPT)}
        return learnt({**dict(self.patch.named_parameters()), **bits}, self.setting.items)

    def outputs(self, histories: Histories) -> Tensor:
        """Outputs [B, K] as the head gives them."""
        return predict(self.patch, self.setting.body, histories)

    def gates(self, histories: Histories) -> Tensor | None:
        """Which of its blocks each user has, [B, N], where that is not the same for everybody."""
        return gates(self.patch, self.setting.body, histories)

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


def muted(fit: Fitted, silent: Older) -> Fitted:
    """The same patch as if all numbers of one that it reads were 0."""

    def zeros() -> dict[str, Tensor]:
        return {
            name: tensor * 0 if tensor.is_floating_point() else tensor
            for name, tensor in silent.tensors().items()
        }

    heard = [replace(older, tensors=zeros) if older is silent else older for older in read_by(fit.patch)]
    setting = replace(fit.setting, older=lambda: heard)
    patch = method(fit.recipe.method).build(setting, fit.recipe.options)
    patch.load_state_dict(fit.patch.state_dict())
    return replace(fit, setting=setting, patch=patch.eval())
