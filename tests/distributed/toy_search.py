"""A search that costs nothing, as a program: what it found is printed as JSON.

python toy_search.py DIRECTORY TRIALS PROPOSER SECONDS_AN_EPOCH [TIME_BUDGET [FAILING_WORD]]
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peter.schedule import in_force, read
from peter.space import Choice, LogUniform, Uniform, Whole

if TYPE_CHECKING:
    from peter.distributed.trial import Epoch
    from peter.distributed.tune import Standing
    from peter.training.checkpoint import Checkpoint

EPOCHS, LONG = 4, 18
SPACE = {"x": Uniform(0.0, 1.0), "rate": LogUniform(1e-4, 1e-1), "n": Whole(1, 3), "word": Choice(("a", "b"))}
CHANGING = {"word": Choice(("a", "b")), "learning_rate": Uniform(0.1, 10.0), "dropout": Choice((0.1, 0.3))}


def scores(
    context: Mapping[str, Any], config: Mapping[str, Any], saved: "Checkpoint | None"
) -> Iterator["Epoch"]:
    """Better epoch by epoch, where no fault is asked for."""
    from peter.distributed.trial import Epoch

    if "learning_rate" in config:
        yield from descent(context, config, saved)
        return
    kept = 9.0
    for epoch in range(EPOCHS):
        time.sleep(context["pause"])
        if config["word"] == context["fail"]:
            raise ValueError("a secret")
        if epoch == 1:
            _die(Path(context["directory"]))
        score = config["x"] + 1 / (1 + epoch)
        kept = kept if epoch == EPOCHS - 1 else score  # the last one is luck
        yield Epoch(score, kept, state)  # nobody asks for one


def descent(
    context: Mapping[str, Any], config: Mapping[str, Any], saved: "Checkpoint | None"
) -> Iterator["Epoch"]:
    """Falls each epoch by the rate of that epoch."""
    from peter.distributed.trial import Epoch

    begun = saved.state if saved else {"epoch": 0, "level": 0.0}
    level, changes = begun["level"], read(config.get("schedule", ""))
    for epoch in range(begun["epoch"] + 1, LONG + 1):
        time.sleep(context["pause"])
        if epoch == LONG - 2:
            _die(Path(context["directory"]))
        level -= {**config, **in_force(changes, epoch)}["learning_rate"]
        yield Epoch(level, level, partial(state, epoch=epoch, level=level))


def state(**values: Any) -> "Checkpoint":
    """A checkpoint without tensors; torch is loaded where one is asked for."""
    from peter.training.checkpoint import Checkpoint

    return Checkpoint({}, values)


def _die(directory: Path) -> None:
    """As often as there are files called `death`."""
    for death in directory.glob("death*"):
        death.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


class Told:
    """Writes what an observer is told, a line of JSON each."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def started(self, name: str, config: Mapping[str, Any]) -> None:
        self._write("started", name, dict(config))

    def reported(self, name: str, standing: "Standing") -> None:
        self._write("reported", name, vars(standing))

    def ended(self, name: str, early: bool, error: str | None) -> None:
        self._write("ended", name, error)

    def _write(self, *line: Any) -> None:
        with self.file.open("a") as lines:
            lines.write(json.dumps(line) + "\n")


def told(directory: Path) -> list[list[Any]]:
    """All that an observer was told, by all programs on that directory; an unfinished line is left out."""
    file = directory / "told.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith("]")]


def main() -> None:
    from peter.distributed.cluster import cluster
    from peter.distributed.tune import Search, search

    directory, trials, proposer, pause, *more = sys.argv[1:]
    budget, fail = ([*more, "", ""])[:2]
    space, epochs = (CHANGING, LONG) if proposer == "pbt" else (SPACE, EPOCHS)
    plan = Search(space, proposer, int(trials), epochs, 7, float(budget) if budget else None, 2)
    context = {"pause": float(pause), "fail": fail, "directory": directory}
    observer = Told(Path(directory) / "told.jsonl")
    with cluster(None):
        found = search(scores, context, plan, Path(directory), observer, threading.Event())
    print(json.dumps([vars(outcome) for outcome in found]))


if __name__ == "__main__":
    sys.modules["toy_search"] = sys.modules["__main__"]
    scores.__module__ = "toy_search"  # as workers know it
    main()
