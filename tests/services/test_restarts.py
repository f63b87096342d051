"""PostgreSQL restarted while commands run: they go on or say why not, and what was acknowledged is there."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from commands import ADD, Ended, outcome, rows_of, run, sentence
from small_workspace import copy_registry, url

WORKERS, RESTARTS = 4, 3
TRAIN = "--method bag --no-twin --set threads=1"


def commands(worker: int) -> list[str]:
    """A task of the worker's own and versions of a common one; every request differs."""
    trained = [f"task train gender --seed {10 * (worker + 1) + turn} {TRAIN}" for turn in range(3)]
    return [f"task add mine{worker} --labels tier.csv {ADD}", *trained, "profile materialize --tasks tier"]


@pytest.mark.timeout(900)
@pytest.mark.faults
@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_server_restarted_beneath_commands(place: Path, own_postgres, mode: str) -> None:
    registry = own_postgres.create()
    copy_registry(url(place), registry)

    def work(worker: int) -> list[tuple[str, Ended]]:
        return [(words, run(place, words, registry=registry)) for words in commands(worker)]

    with ThreadPoolExecutor(WORKERS) as pool:
        working = [pool.submit(work, worker) for worker in range(WORKERS)]
        for _ in range(RESTARTS):
            time.sleep(2)
            own_postgres.restart(mode)
    ended = [pair for future in working for pair in future.result()]
    failed = [words for words, end in ended if end.code]
    said = [sentence(end) for _, end in ended if end.code]
    assert all("run the command again" in told or "start it" in told for told in said)
    print(f"{len(failed)} of {len(ended)} commands failed with a sentence")
    outcome(place, registry)
    require_acknowledged(registry, [words for words, end in ended if not end.code])
    for words in failed:
        again = run(place, words, registry=registry).code
        assert again == 0 or (again == 2 and words.startswith("task add"))  # it was done after all
    outcome(place, registry)
    require_acknowledged(registry, [words for words, _ in ended])


def require_acknowledged(registry: str, done: list[str]) -> None:
    """See that every command that said it was done has its rows."""
    rows = rows_of(registry)
    names = {row["id"]: row["name"] for row in rows["task"]}
    made = {(names[row["task_id"]], row["fit"]["seed"]) for row in rows["patch"]}
    for words in done:
        _, verb, name, *rest = words.split()
        if verb != "materialize":
            assert (name, int(rest[rest.index("--seed") + 1])) in made
