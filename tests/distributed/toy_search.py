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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peter.space import Choice, LogUniform, Uniform, Whole

if TYPE_CHECKING:
    from peter.distributed.trial import Epoch

EPOCHS = 4
SPACE = {"x": Uniform(0.0, 1.0), "rate": LogUniform(1e-4, 1e-1), "n": Whole(1, 3), "word": Choice(("a", "b"))}


def scores(context: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator["Epoch"]:
    """Better epoch by epoch, where no fault is asked for."""
    from peter.distributed.trial import Epoch

    kept = 9.0
    for epoch in range(EPOCHS):
        time.sleep(context["pause"])
        if config["word"] == context["fail"]:
            raise ValueError("a secret")
        if epoch == 1:
            _die(Path(context["directory"]))
        score = config["x"] + 1 / (1 + epoch)
        kept = kept if epoch == EPOCHS - 1 else score  # the last one is luck
        yield Epoch(score, kept)


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

    def reported(self, name: str, epoch: "Epoch") -> None:
        self._write("reported", name, epoch.score)

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
    plan = Search(SPACE, proposer, int(trials), EPOCHS, 7, float(budget) if budget else None, 2)
    context = {"pause": float(pause), "fail": fail, "directory": directory}
    observer = Told(Path(directory) / "told.jsonl")
    with cluster(None):
        found = search(scores, context, plan, Path(directory), observer, threading.Event())
    print(json.dumps([vars(outcome) for outcome in found]))


if __name__ == "__main__":
    sys.modules["toy_search"] = sys.modules["__main__"]
    scores.__module__ = "toy_search"  # as workers know it
    main()
