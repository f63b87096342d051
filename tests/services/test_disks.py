"""On a disk that is full or read-only a command fails with one sentence and leaves nothing half done."""

import resource
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from commands import ADD, Ended, outcome, run, sentence

COMMANDS = {
    "import": "data import events.csv --name again --min-user-count 10",
    "add": f"task add other --labels gender.csv {ADD}",
    "materialize": "profile materialize --tasks tier",
    "promote": "task promote gender@1",
    "backup": "db backup copy.db",
}
SIZES = [0, 8, 16, 32, 64, 128, 256]  # KiB left
LIMITS = [1, 16, 64, 160]  # KiB that a file may have
QUICK = [("add", 16), ("import", 8), ("backup", 64)]
ROOMY = 64 << 10


class Disk:
    """A file system in memory that a test can shrink, fill and grow."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def mount(self, options: str) -> None:
        """Mount it, or mount it otherwise."""
        words = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.path)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"needs a user who may mount: {done.stderr.strip()}")

    def leave(self, kib: int) -> None:
        """Make it so small that only so much is free."""
        self.mount(f"remount,size={shutil.disk_usage(self.path).used // 1024 + kib}k")


@pytest.fixture
def disk(tmp_path: Path, finished: Path) -> Iterator[Disk]:
    """A disk with room for a finished workspace, which is on it."""
    disk = Disk(tmp_path / "disk")
    disk.path.mkdir()
    disk.mount(f"size={ROOMY}k")
    shutil.copytree(finished, disk.path, dirs_exist_ok=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk.path], check=True)


@pytest.fixture(scope="module")
def uninterrupted(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What each command leaves behind where there is room."""
    known: dict[str, Any] = {}

    def leaves(name: str) -> Any:
        if name not in known:
            place = shutil.copytree(finished, tmp_path_factory.mktemp("roomy"), dirs_exist_ok=True)
            assert run(place, COMMANDS[name]).code == 0
            known[name] = outcome(place)
        return known[name]

    return leaves


@pytest.fixture(scope="module")
def before(finished: Path) -> Any:
    """What is there before any command."""
    return outcome(finished)


def each(sizes: list[int]) -> Any:
    """Every command with every size; `make test` takes QUICK."""
    return pytest.mark.parametrize(
        ("name", "kib"),
        [
            pytest.param(name, kib, marks=pytest.mark.slow if (name, kib) in QUICK else pytest.mark.faults)
            for name in COMMANDS
            for kib in sizes
        ],
    )


def told(ended: Ended) -> None:
    """See that a command was done, or that it said in one sentence what it needs."""
    if ended.code:
        assert any(words in sentence(ended) for words in ("run the command again", "system's log"))


def go_on(place: Path, name: str, ended: Ended, before: Any, whole: Any) -> None:
    """Where a command failed, see that it changed nothing or did it all, and run it again."""
    if ended.code:
        left = outcome(place, quick=True)
        if left == whole != before:
            return
        if name == "add":  # its name is kept, and whose it is
            left = {
                **left,
                "task": left["task"][: len(before["task"])],
                "audit": left["audit"][: len(before["audit"])],
            }
        assert left == before
        assert run(place, COMMANDS[name]).code == 0


@each(SIZES)
def test_a_full_disk(disk: Disk, before: Any, uninterrupted: Any, name: str, kib: int) -> None:
    disk.leave(kib)
    ended = run(disk.path, COMMANDS[name])
    told(ended)
    disk.mount(f"remount,size={ROOMY}k")
    go_on(disk.path, name, ended, before, uninterrupted(name))
    assert outcome(disk.path) == uninterrupted(name)


def limited(kib: int) -> None:
    """Let this process write no larger files."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (kib << 10, kib << 10))


@pytest.mark.faults
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "step"), [("import", 8), ("materialize", 4)])
def test_every_size_of_disk(disk: Disk, before: Any, uninterrupted: Any, name: str, step: int) -> None:
    """A command writes in many ways; whichever comes to the disk's end tells so."""
    for kib in range(0, 512, step):
        disk.leave(kib)
        ended = run(disk.path, COMMANDS[name])
        told(ended)
        disk.mount(f"remount,size={ROOMY}k")
        left = outcome(disk.path, quick=True)
        if left != before:  # all is done, though the disk may have had no room for the end of the run
            assert left == uninterrupted(name)
            break
        assert ended.code == 1
        assert run(disk.path, "gc").code == 0
    print(f"{kib // step} sizes were too small")
    assert kib > step


@each(LIMITS)
def test_a_limit_on_files(place: Path, before: Any, uninterrupted: Any, name: str, kib: int) -> None:
    ended = run(place, COMMANDS[name], prepare=partial(limited, kib))
    told(ended)
    go_on(place, name, ended, before, uninterrupted(name))
    assert outcome(place) == uninterrupted(name)


@pytest.mark.slow
def test_a_read_only_disk(disk: Disk, before: Any) -> None:
    disk.mount(f"remount,ro,size={ROOMY}k")
    for words in ("task list --json", "profile get 007 --json", "verify --quick --json"):
        read = run(disk.path, words)
        assert read.code == 0 or sentence(read), words
    for words in (*COMMANDS.values(), "gc", "task remove tier", "data append clicks later.csv"):
        said = sentence(run(disk.path, words))
        assert any(sign in said for sign in ("writable", "read-only", "cannot be written")), said
    disk.mount(f"remount,rw,size={ROOMY}k")
    assert outcome(disk.path) == before
