"""Killed at any point, a command that is run again ends as if nothing had happened."""

import contextlib
import multiprocessing
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_workspace import table_rows, url

import peter
from peter import faults
from peter.progress import Silent
from peter.registry.record import SEAL
from peter.services.forget import STEPS
from peter.services.verify import verify
from peter.services.workspace import Workspace

SMALL = "--channels 8 --blocks 2 --epochs 3 --set threads=1"
COMMANDS = {
    "data.import": "data import events.csv --name again --min-user-count 10",
    "data.append": "data append clicks later.csv",
    "backbone.pretrain": f"backbone pretrain clicks --name other {SMALL}",
    "task.add": "task add other --labels gender.csv --seed 3 --set epochs=1 --set threads=1",
    "profile.materialize": "profile materialize --tasks tier",
    "task.export": "task export gender patch",
    "task.import": "task import exported --name copy",
    "user.forget": "user forget u0000009",
}
POINTS = [
    "data.import:written",
    "data.import:stored",
    "data.import:registered",
    "data.append:written",
    "data.append:stored",
    "data.append:registered",
    "backbone.pretrain:epoch1",
    "backbone.pretrain:epoch2",
    "backbone.pretrain:trained",
    "backbone.pretrain:stored",
    "task.add:task",
    "task.add:trained",
    "task.add:stored",
    "task.add:registered",
    "task.add:committed",
    "profile.materialize:stored",
    "task.export:written",
    "task.import:stored",
    "task.import:registered",
    "task.import:committed",
    "user.forget:tombstone",
    "user.forget:stored",
    *(f"user.forget:{step}" for step in STEPS),
]
RESUMABLE = [point for point in POINTS if point.startswith("backbone.pretrain")]
FORGOTTEN = re.compile(
    "id|run_id|.*_at|at|as_of|.*hash|pseudonym"
)  # columns that differ between two runs of one command

processes = multiprocessing.get_context(
    "forkserver"
)  # forks what has imported everything and done nothing yet
services = ("events", "pretrain", "train", "materialize", "exports", "imports", "forget")
lazy = (
    "peter.methods.peter",
    "peter.tasks.classification",
    "sklearn.feature_extraction.text",
    "torch._dynamo",
)
processes.set_forkserver_preload(["peter.cli.main", *(f"peter.services.{name}" for name in services), *lazy])


def peter_in(place: str, words: list[str], point: str | None) -> None:
    """A process: the command line in a directory, to be killed at a point."""
    from peter.cli.main import main

    os.chdir(place)
    os.environ.update({faults.VARIABLE: point} if point else {})
    sys.argv = ["peter", *words]
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        main()


def run(place: Path, words: str, point: str | None = None) -> int | None:
    """Exit code of `peter` in a process of its own; negative: the signal that ended it."""
    process = processes.Process(target=peter_in, args=(str(place), words.split(), point))
    process.start()
    process.join()
    code = process.exitcode
    process.close()
    return code


def prepare(place: Path, words: str) -> None:
    """What is to be imported must have been exported."""
    if words.startswith("task import"):
        assert run(place, "task export gender exported --with-labels") == 0


def outcome(place: Path) -> dict[str, Any]:
    """Everything that was registered, but for when and by which run, once every object proved to be whole."""
    workspace = Workspace.open(url(place))
    assert verify(workspace, False, Silent())["problems"] == []
    rows = table_rows(workspace.registry)
    workspace.registry.dispose()
    rows["audit"] = [row for row in rows["audit"] if not row["action"].startswith("run.")]
    for row in rows["audit"]:
        (row["after"] or {}).pop(SEAL, None)  # a digest of what differs, too
    for patch in rows["patch"]:
        del patch["metrics"]["seconds"]
    return {
        table: [{key: row[key] for key in row if not FORGOTTEN.fullmatch(key)} for row in found]
        for table, found in rows.items()
        if table not in ("run", "trial")
    }


@pytest.fixture(scope="module")
def uninterrupted(
    finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, Any]]:
    """What a command leaves behind that nobody stops."""
    known: dict[str, dict[str, Any]] = {}

    def leaves(words: str) -> dict[str, Any]:
        if words not in known:
            place = shutil.copytree(finished, tmp_path_factory.mktemp("whole"), dirs_exist_ok=True)
            prepare(place, words)
            assert run(place, words) == 0
            known[words] = outcome(place)
        return known[words]

    return leaves


def test_every_point_is_tested() -> None:
    sources = Path(peter.__file__).parent.rglob("*.py")
    found = {
        point for path in sources for point in re.findall(r'faults\.reach\(f?"(.+?)"\)', path.read_text())
    }
    written = {re.sub(r"epoch\d", "epoch{report.epoch}", point) for point in POINTS}
    written = {re.sub(r"data\.\w+", "data.{verb}", point) for point in written}
    steps = {f"user.forget:{step}" for step in STEPS}
    assert found == {"user.forget:{name}" if point in steps else point for point in written}


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
def test_killed_and_run_again(place: Path, uninterrupted, point: str) -> None:
    words = COMMANDS[point.partition(":")[0]]
    prepare(place, words)
    assert run(place, words, point) == -signal.SIGKILL
    outcome(place)
    assert not (place / "patch").exists()  # an export is whole or not there
    assert run(place, words) == (2 if point == "task.add:committed" else 0)
    assert outcome(place) == uninterrupted(words)


@pytest.mark.slow
@pytest.mark.parametrize("point", RESUMABLE)
def test_killed_and_resumed(place: Path, uninterrupted, point: str) -> None:
    words = COMMANDS["backbone.pretrain"]
    assert run(place, words, point) == -signal.SIGKILL
    workspace = Workspace.open(url(place))
    killed = table_rows(workspace.registry)["run"][-1]["id"]
    workspace.registry.dispose()
    assert run(place, f"backbone pretrain --resume {killed}") == 0
    assert outcome(place) == uninterrupted(words)
    assert run(place, f"backbone pretrain --resume {killed}") == 2
