"""Many programs at once on one workspace: nothing lost, nothing twice, nobody waits without a word."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from commands import ADD, Command, outcome, rows_of, run, sentence
from newer_schema import NEWER, checkout, knowing

from peter.registry import locks, tasks
from peter.registry.database import Registry

PROCESSES = 8
TRAIN = "--method bag --no-twin --set threads=1"


def works(worker: int, turn: int) -> list[str]:
    """What one of the programs does: a task of its own, a version of a common task, a promotion.

    Two workers each ask for the same version, which must be made once.
    """
    return [
        f"task add mine_{worker}_{turn} --labels tier.csv {ADD}",
        f"task train gender --seed {100 * turn + worker // 2} {TRAIN}",
        f"task promote gender@{1 + worker % 2}",
    ]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "turns", [pytest.param(1, marks=pytest.mark.slow), pytest.param(2, marks=pytest.mark.faults)]
)
def test_eight_programs_add_train_and_promote(place: Path, registry_url: str, turns: int) -> None:
    before = rows_of(registry_url)

    def work(worker: int) -> list[int | None]:
        typed = [words for turn in range(1, turns + 1) for words in works(worker, turn)]
        return [run(place, words, registry=registry_url).code for words in typed]

    with ThreadPoolExecutor(PROCESSES) as pool:
        codes = list(pool.map(work, range(PROCESSES)))
    assert codes == [[0] * 3 * turns] * PROCESSES
    outcome(place, registry_url)  # no gap in versions, no break in champions, one audit row a change
    rows = rows_of(registry_url)
    made = {table: len(rows[table]) - len(before[table]) for table in ("task", "patch", "run")}
    added, trained = PROCESSES * turns, PROCESSES // 2 * turns
    assert (made["task"], made["patch"]) == (added, added + trained)
    assert added + trained <= made["run"] <= 2 * added
    assert Counter(run["state"] for run in rows["run"]) == {"done": len(rows["run"])}
    verified = run(place, "verify --json", registry=registry_url)
    assert (verified.code, '"problems": []' in verified.out) == (0, True), verified


def test_four_programs_upgrade_an_old_registry(tmp_path: Path, released: str) -> None:
    prepare = partial(knowing, checkout(tmp_path))
    words = f"db upgrade --registry {released} --json"
    started = [Command(tmp_path, words, prepare=prepare) for _ in range(4)]
    ended = [command.ended() for command in started]
    assert [(end.code, end.err) for end in ended] == [(0, "")] * 4
    assert all(f'"{NEWER}"' in end.out for end in ended)


def hasty() -> None:
    """Let this process wait for nobody."""
    Registry.__init__.__defaults__ = (0.2,)


def test_who_waits_too_long_is_told_for_which_process(place: Path) -> None:
    with locks.exclusive(place / ".peter" / "registry.db.lock", 1):
        for words in ("task remove tier", "task promote gender@1"):
            told = sentence(run(place, words, prepare=hasty))
            assert f"held for 0.2 s by process {os.getpid()}; wait for it, or end it." in told


def test_who_waits_too_long_for_a_transaction_is_told(place: Path, postgres, postgres_finished: str) -> None:
    registry = Registry(postgres.create(like=postgres_finished))
    address = registry.url.render_as_string(hide_password=False)

    def hold(session: object) -> str:
        tasks.hold(session, tasks.get(session, "tier"))
        return sentence(run(place, "task remove tier", prepare=hasty, registry=address))

    assert "is held by another transaction; wait for it, or end it." in registry.write(hold)
    assert run(place, "task remove tier", prepare=hasty, registry=address).code == 0
    registry.dispose()
    postgres.drop(address)
