"""A trial in a worker: an epoch a step, and what it reports to the driver."""

import math
import traceback
from collections.abc import Callable, Iterator, Mapping
from threading import Lock
from typing import Any, ClassVar

from ray import tune

from peter.errors import PeterError, kept

SCORE = "score"  # the best epoch's so far; lower is better
EPOCH = "epoch_score"  # of the epoch that just ended; a trial's last report has none
FAULT = "fault"  # the sentence of a trial that failed by itself
TRACE = "trace"  # and where

_TELLING = Lock()  # Ray's list of names is not safe for searches that begin in two threads

Start = Callable[[Mapping[str, Any], Mapping[str, Any]], Iterator[float]]


class Trainable(tune.Trainable):
    """An epoch a step; the actor is used again for the next trial, so that torch is imported once.

    Each search has a class of its own: Ray knows trainables, and what they are given, by name alone.
    """

    start: ClassVar[Start]
    context: ClassVar[Mapping[str, Any]]

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._scores, self._best = type(self).start(self.context, new_config), float("inf")
        return True

    def step(self) -> dict[str, Any]:
        try:
            score = next(self._scores, None)
            if score is not None and not math.isfinite(score):
                raise PeterError("an epoch's score is no number; the learning rate may be too high")
        except Exception as error:  # noqa: BLE001 - told as a result: Ray's own errors are lost workers alone
            return {SCORE: float("inf"), tune.result.DONE: True, **_told(error)}
        if score is None:
            return {SCORE: self._best, tune.result.DONE: True}
        self._best = min(self._best, score)
        return {SCORE: self._best, EPOCH: score}

    def cleanup(self) -> None:
        self._scores = iter(())


def trainable(name: str, start: Start, context: Mapping[str, Any]) -> str:
    """Name trials to Ray that run `start`, which is importable, with `context`, which is JSON."""
    made = type(name, (Trainable,), {"start": staticmethod(start), "context": dict(context)})
    with _TELLING:
        tune.register_trainable(name, made)
    return name


def _told(error: Exception) -> dict[str, str]:
    """Its sentence for everybody, and all of it for the owner's directory."""
    return {FAULT: kept(error), TRACE: "".join(traceback.format_exception(error))}
