"""A trial in a worker: an epoch a step, and what it reports to the driver."""

import math
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, ClassVar

from ray import tune

from peter.errors import PeterError, kept
from peter.schedule import followed

if TYPE_CHECKING:  # torch is loaded by the trials that need it
    from peter.training.checkpoint import Checkpoint

SCORE = "score"  # of the state that the trial would end with; lower is better
EPOCH = "epoch_score"  # of the newest epoch
CURVE = "curve"  # of the scores of all epochs; a trial's last report has none
RECIPE = "recipe"  # the config that a fit of its own would need to become what the trial has
FAULT = "fault"  # the sentence of a trial that failed by itself
TRACE = "trace"  # and where
FILE = "trial.safetensors"  # in a directory of Ray's

_TELLING = Lock()  # Ray's list of names is not safe for searches that begin in two threads


@dataclass(frozen=True)
class Epoch:
    """What a trial tells after an epoch; lower is better."""

    score: float
    kept: float  # of the epoch that stands, which need not be the luckiest
    checkpoint: Callable[[], "Checkpoint"] = field(compare=False)  # its state has the `epoch`, or is empty


Start = Callable[[Mapping[str, Any], Mapping[str, Any], "Checkpoint | None"], Iterator[Epoch]]


class Trainable(tune.Trainable):
    """An epoch a step; the actor is used again for the next trial, so that torch is imported once.

    Each search has a class of its own: Ray knows trainables, and what they are given, by name alone.
    A checkpoint may be another trial's, which this one takes over and goes on from by its own config; what
    it then reports of the past is that trial's.
    """

    start: ClassVar[Start]
    context: ClassVar[Mapping[str, Any]]

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._epoch: Epoch | None = None
        self._recipe, self._kept, self._curve = dict(new_config), float("inf"), list[float]()
        self._begin(self._recipe, None)
        return True

    def _begin(self, recipe: dict[str, Any], saved: "Checkpoint | None") -> None:
        self._coming, self._epochs = recipe, type(self).start(self.context, recipe, saved)

    def step(self) -> dict[str, Any]:
        try:
            epoch = next(self._epochs, None)
            if epoch and not math.isfinite(epoch.score):
                raise PeterError("an epoch's score is no number; the learning rate may be too high")
        except Exception as error:  # noqa: BLE001 - told as a result: Ray's own errors are lost workers alone
            return {SCORE: math.inf, EPOCH: math.inf, tune.result.DONE: True, **_told(error)}
        if epoch is None:
            return {SCORE: self._kept, EPOCH: math.inf, RECIPE: self._recipe, tune.result.DONE: True}
        self._epoch, self._kept, self._recipe = epoch, epoch.kept, self._coming
        self._curve.append(epoch.score)
        return {SCORE: epoch.kept, EPOCH: epoch.score, CURVE: list(self._curve), RECIPE: self._recipe}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        assert self._epoch is not None  # Ray asks for one after a report
        saved = self._epoch.checkpoint()
        state = {"fit": saved.state, RECIPE: self._recipe, CURVE: self._curve, SCORE: self._kept}
        replace(saved, state=state).write(Path(checkpoint_dir) / FILE)

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        from peter.training.checkpoint import Checkpoint

        saved = Checkpoint.read(Path(checkpoint_dir) / FILE)
        fit = saved.state["fit"]
        if not fit:
            return  # nothing had been descended: it begins by its own config
        self._recipe, self._kept, self._curve = (saved.state[key] for key in (RECIPE, SCORE, CURVE))
        self._begin(followed(self._recipe, self.config, fit["epoch"] + 1), replace(saved, state=fit))

    def cleanup(self) -> None:
        self._epochs = iter(())


def trainable(name: str, start: Start, context: Mapping[str, Any]) -> str:
    """Name trials to Ray that run `start`, which is importable, with `context`, which is JSON."""
    made = type(name, (Trainable,), {"start": staticmethod(start), "context": dict(context)})
    with _TELLING:
        tune.register_trainable(name, made)
    return name


def _told(error: Exception) -> dict[str, str]:
    """Its sentence for everybody, and all of it for the owner's directory."""
    return {FAULT: kept(error), TRACE: "".join(traceback.format_exception(error))}
