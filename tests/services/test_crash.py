"""Killed at any point, a command that is run again ends as if nothing had happened."""

import random
import re
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import ADD, Command, outcome, run, seed
from newer_schema import NEWER, checkout, knowing
from small_workspace import table_rows, url

import peter
from peter.services.lifecycle.forget import STEPS
from peter.services.workspace import Workspace

KILLS = 40
SMALL = "--channels 8 --blocks 2 --epochs 3 --set threads=1"
COMMANDS = {
    "data.import": "data import events.csv --name again --min-user-count 10",
    "data.append": "data append clicks later.csv",
    "backbone.pretrain": f"backbone pretrain clicks --name other {SMALL}",
    "task.add": f"task add other --labels gender.csv {ADD}",
    "task.promote": "task promote gender@2",
    "task.rollback": "task rollback tier@3",
    "task.remove": "task remove tier",
    "profile.materialize": "profile materialize --tasks tier",
    "task.export": "task export gender patch",
    "task.import": "task import exported --name copy",
    "user.forget": "user forget u0000009",
    "gc": "gc",
    "db.backup": "db backup copy.db",
    "db.upgrade": "db upgrade",
    "tune": "tune gender --trials 2 --search random --space space.toml",
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
    "task.promote:moved",
    "task.promote:committed",
    "task.rollback:moved",
    "task.rollback:committed",
    "task.remove:retired",
    "task.remove:committed",
    "profile.materialize:stored",
    "task.export:written",
    "task.import:stored",
    "task.import:registered",
    "task.import:committed",
    "user.forget:tombstone",
    "user.forget:stored",
    *(f"user.forget:{step}" for step in STEPS),
    "gc:begun",
    "gc:removed",
    "db.backup:copied",
]
MIGRATING = ["db.upgrade:migrated", "db.upgrade:committed"]
TUNING = ["tune:searched", "tune:made"]
RESUMABLE = [point for point in POINTS if point.startswith("backbone.pretrain")]
DONE = ["task.add:committed", "task.remove:committed"]  # refused when typed again
QUICK = [
    "data.import:stored", "task.add:registered", "task.rollback:moved", "task.import:registered",
    "user.forget:stored", "gc:removed", "db.backup:copied",
]  # fmt: skip


def each(points: list[str]) -> Any:
    """A test for each point; `make test` takes one of every sort."""
    marks = [pytest.mark.slow if point in QUICK else pytest.mark.faults for point in points]
    return pytest.mark.parametrize(
        "point", [pytest.param(point, marks=mark) for point, mark in zip(points, marks, strict=True)]
    )


@pytest.fixture(scope="module")
def versioned(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished workspace with more versions of each task, some promoted, and objects of nobody's."""
    place = shutil.copytree(finished, tmp_path_factory.mktemp("versioned"), dirs_exist_ok=True)
    for task in ("gender", "tier"):
        assert run(place, f"task train {task} --method bag --seed 9 --no-twin --no-promote").code == 0
    assert run(place, "task train tier --method bag --seed 10 --no-twin --no-promote").code == 0
    for version in ("tier@2", "tier@3"):
        assert run(place, f"task promote {version}").code == 0
    assert run(place, "task export gender exported --with-labels").code == 0
    workspace = Workspace.open(url(place))
    for text in (b"nobody's", b"nor anybody's"):
        workspace.objects.put_bytes(text)
    workspace.registry.dispose()
    (place / "space.toml").write_text("dropout = {low = 0.0, high = 0.5}\n")
    return place


@pytest.fixture
def place(versioned: Path, tmp_path: Path) -> Path:
    """A copy of that workspace."""
    return shutil.copytree(versioned, tmp_path, dirs_exist_ok=True)


def left(place: Path) -> dict[str, Any]:
    """What a command leaves behind: all that is registered, its objects and its files."""
    held = sorted(path.name for path in (place / ".peter" / "store" / "objects").glob("*/*"))
    files = sorted(path.name for path in place.glob("[!.]*"))  # a killed export leaves a hidden directory
    return {**outcome(place), "objects": held, "files": files}


@pytest.fixture(scope="module")
def uninterrupted(
    versioned: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, Any]]:
    """What a command leaves behind that nobody stops."""
    known: dict[str, dict[str, Any]] = {}

    def leaves(words: str) -> dict[str, Any]:
        if words not in known:
            place = shutil.copytree(versioned, tmp_path_factory.mktemp("whole"), dirs_exist_ok=True)
            assert run(place, words).code == 0
            known[words] = left(place)
        return known[words]

    return leaves


def test_every_point_is_tested() -> None:
    sources = Path(peter.__file__).parent.rglob("*.py")
    found = {
        point for path in sources for point in re.findall(r'faults\.reach\(f?"(.+?)"\)', path.read_text())
    }
    written = {re.sub(r"epoch\d", "epoch{report.epoch}", point) for point in POINTS + MIGRATING + TUNING}
    written = {re.sub(r"data\.\w+", "data.{verb}", point) for point in written}
    steps = {f"user.forget:{step}" for step in STEPS}
    assert found == {"user.forget:{name}" if point in steps else point for point in written}


@each(POINTS)
def test_killed_and_run_again(place: Path, uninterrupted, point: str) -> None:
    words = COMMANDS[point.partition(":")[0]]
    assert run(place, words, point).code == -signal.SIGKILL
    outcome(place, quick=True)
    assert not (place / "patch").exists()  # an export is whole or not there
    assert run(place, words).code == (2 if point in DONE else 0)
    assert left(place) == uninterrupted(words)


@pytest.mark.faults
@pytest.mark.parametrize("point", RESUMABLE)
def test_killed_and_resumed(place: Path, uninterrupted, point: str) -> None:
    words = COMMANDS["backbone.pretrain"]
    assert run(place, words, point).code == -signal.SIGKILL
    killed = last_run(place)
    assert run(place, f"backbone pretrain --resume {killed}").code == 0
    assert left(place) == uninterrupted(words)
    assert run(place, f"backbone pretrain --resume {killed}").code == 2


@pytest.mark.timeout(900)
@pytest.mark.faults
@pytest.mark.parametrize("point", TUNING)
def test_a_killed_search_goes_on(place: Path, uninterrupted, point: str) -> None:
    assert run(place, COMMANDS["tune"], point).code == -signal.SIGKILL
    outcome(place, quick=True)
    assert run(place, f"tune --resume {last_run(place, 'tune')}").code == 0
    assert left(place) == uninterrupted(COMMANDS["tune"])


def last_run(place: Path, kind: str = "pretrain") -> int:
    """The newest run of a kind."""
    workspace = Workspace.open(url(place))
    found = [row["id"] for row in table_rows(workspace.registry)["run"] if row["kind"] == kind]
    workspace.registry.dispose()
    return int(found[-1])


@pytest.mark.timeout(900)
@pytest.mark.faults
def test_killed_at_random(versioned: Path, uninterrupted, tmp_path: Path) -> None:
    """Forty times, again and again before the command is let through."""
    draw, words = random.Random(seed()), COMMANDS["task.add"]
    begun = time.monotonic()
    wanted = uninterrupted(words)
    seconds = time.monotonic() - begun
    kills, rounds = 0, 0
    while kills < KILLS:
        rounds += 1
        place = shutil.copytree(versioned, tmp_path / str(rounds))
        for _ in range(draw.randint(1, 8)):
            command = Command(place, words)
            command.process.join(draw.uniform(0, seconds))
            command.process.kill()
            code = command.ended().code
            kills += code == -signal.SIGKILL
            outcome(place, quick=True)
        assert run(place, words).code in (0, 2)
        assert left(place) == wanted
    print(f"{kills} kills in {rounds} workspaces")


@each(MIGRATING)
def test_an_upgrade_killed_and_run_again(tmp_path: Path, released: str, point: str) -> None:
    words, prepare = f"db upgrade --registry {released} --json", partial(knowing, checkout(tmp_path))
    assert run(tmp_path, words, point, prepare=prepare).code == -signal.SIGKILL
    found = run(tmp_path, f"db status --registry {released} --json", prepare=prepare)
    assert (f'"{NEWER}"' in found.out.partition("newest")[0]) == (point == "db.upgrade:committed")
    assert run(tmp_path, words, prepare=prepare).code == 0
    refused = run(tmp_path, f"task list --registry {released} --store store")
    assert (refused.code, f"has schema {NEWER}" in refused.err) == (2, True)
