"""A trial in a worker: an epoch a step, and what it reports to the driver."""

import math
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ray import tune

from peter.errors import PeterError

SCORE = "score"  # the best epoch's so far; lower is better
EPOCH = "epoch_score"  # of the epoch that just ended; a trial's last report has none
FAULT = "fault"  # the sentence of a trial that failed by itself
TRACE = "trace"  # and where

Start = Callable[[Mapping[str, Any], Mapping[str, Any]], Iterator[float]]


class Trainable(tune.Trainable):
    """An epoch a step; the actor is used again for the next trial, so that torch is imported once."""

    def setup(self, config: dict[str, Any], start: Start, context: dict[str, Any]) -> None:
        self._start, self._context = start, context
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._scores, self._best = self._start(self._context, new_config), float("inf")
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


def _told(error: Exception) -> dict[str, str]:
    """The text of an error that is none of ours may hold a user's id: it stays in the owner's directory."""
    said = str(error) if isinstance(error, PeterError) else f"unexpected {type(error).__name__}"
    return {FAULT: said, TRACE: "".join(traceback.format_exception(error))}
