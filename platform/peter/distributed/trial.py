"""A trial in a worker: an epoch a step, and what it reports to the driver."""

import math
import traceback
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any, ClassVar, NamedTuple

from ray import tune

from peter.errors import PeterError, kept

SCORE = "score"  # of the state that the trial would end with; lower is better
EPOCH = "epoch_score"  # of the epoch that just ended; a trial's last report has none
FAULT = "fault"  # the sentence of a trial that failed by itself
TRACE = "trace"  # and where

_TELLING = Lock()  # Ray's list of names is not safe for searches that begin in two threads


class Epoch(NamedTuple):
    """What a trial tells after an epoch; lower is better."""

    score: float
    kept: float  # of the epoch that stands, which need not be the luckiest


Start = Callable[[Mapping[str, Any], Mapping[str, Any]], Iterator[Epoch]]


class Trainable(tune.Trainable):
    """An epoch a step; the actor is used again for the next trial, so that torch is imported once.

    Each search has a class of its own: Ray knows trainables, and what they are given, by name alone.
    """

    start: ClassVar[Start]
    context: ClassVar[Mapping[str, Any]]

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._epochs, self._kept = type(self).start(self.context, new_config), float("inf")
        return True

    def step(self) -> dict[str, Any]:
        try:
            epoch = next(self._epochs, None)
            if epoch and not math.isfinite(epoch.score):
                raise PeterError("an epoch's score is no number; the learning rate may be too high")
        except Exception as error:  # noqa: BLE001 - told as a result: Ray's own errors are lost workers alone
            return {SCORE: float("inf"), tune.result.DONE: True, **_told(error)}
        if epoch is None:
            return {SCORE: self._kept, tune.result.DONE: True}
        self._kept = epoch.kept
        return {SCORE: epoch.kept, EPOCH: epoch.score}

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
