"""What Ray costs and gives: trials, a shared backbone, and scoring, as ratios of runs side by side.

python benchmarks/distributed.py [trials] [sharing] [scoring]   # all: some minutes on two cores
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import polars as pl

from peter.config import BackboneConfig, PretrainConfig, to_dict
from peter.distributed.cluster import cluster
from peter.distributed.jobs import each, in_order
from peter.distributed.trial import SCORE, Epoch
from peter.distributed.tune import Search, Standing, search
from peter.progress import Silent
from peter.registry import patches
from peter.services.backbone.pretrain import pretrain
from peter.services.event_log.events import import_events
from peter.services.profile.scoring import Chunk, Wanted, score
from peter.services.version import train
from peter.services.workspace import Address, Workspace
from peter.space import Uniform
from peter.training.checkpoint import Checkpoint

TRIALS = 16
ITEMS = 1_170_000  # of 64 channels: 300 MB
USERS, EVENTS = 30_000, 40
CORES = 2


class Unwatched:
    """An observer who is not interested."""

    def started(self, name: str, config: Mapping[str, Any]) -> None: ...
    def reported(self, name: str, standing: Standing) -> None: ...
    def ended(self, name: str, early: bool, error: str | None) -> None: ...


def trial(
    context: Mapping[str, Any], config: Mapping[str, Any], saved: Checkpoint | None = None
) -> Iterator[Epoch]:
    """The shortest trial that uses torch."""
    import torch

    score = float(torch.tensor(config["x"]))
    yield Epoch(score, score, lambda: Checkpoint({}, {}))


def as_function(config: dict[str, Any]) -> None:
    """The same to Ray Tune as a plain function, which it gives a process of its own."""
    from ray import tune

    tune.report({SCORE: next(trial({}, config)).kept})


def ours(trials: int) -> float:
    """Seconds of a search."""
    plan = Search({"x": Uniform(0, 1)}, "random", trials, 1, 0, None, CORES)
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place) / f"run{time.monotonic_ns()}"
        directory.mkdir()
        begin = time.perf_counter()
        assert len(search(trial, {}, plan, directory, Unwatched(), Event())) == trials
        return time.perf_counter() - begin


def plain(trials: int) -> float:
    """Seconds of the same search by plain functions."""
    from ray import tune

    with tempfile.TemporaryDirectory() as place:
        begin = time.perf_counter()
        found = tune.Tuner(
            as_function,
            param_space={"x": tune.uniform(0, 1)},
            tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=CORES),
            run_config=tune.RunConfig(storage_path=place, verbose=0),
        ).fit()
        assert len(found) == trials
        return time.perf_counter() - begin


def trials() -> bool:
    """A trial more, and sixteen of them, held against plain functions."""
    with cluster(None):
        ours(CORES)  # the first pays for starting worker processes
        many, more = (ours(count) for count in (TRIALS, 4 * TRIALS))
        plain_few, plain_many = (plain(count) for count in (TRIALS // 4, TRIALS))
    one, as_process = (more - many) / (3 * TRIALS), (plain_many - plain_few) / (TRIALS - TRIALS // 4)
    ratio, whole = as_process / one, plain_many / many
    print(f"a trial more           {one:.2f} s, {ratio:.1f}x cheaper than a function; bounds 0.7 s, 3x")
    print(f"{TRIALS} trials              {many:.1f} s, {whole:.1f}x faster than functions; bound 2x")
    return one <= 0.7 and ratio >= 3 and whole >= 2


def loaded(job: tuple[str, str, dict[str, Any]]) -> dict[str, float]:
    """Load a frozen backbone again and again, read all of it, and see whose memory it is in."""
    from peter.registry.directory import DirectoryStore
    from peter.services.backbone import frozen

    root, sha256, architecture = job
    workspace: Any = SimpleNamespace(objects=DirectoryStore(Path(root)))
    names = dict.fromkeys(("id", "name", "version", "event_log_id", "vocab_sha256", "salt", "reference"), "")
    row: Any = SimpleNamespace(**names, weights_sha256=sha256, architecture=architecture)
    times = []
    for _ in range(8):
        begin = time.process_time()
        base = frozen.load(workspace, row)
        times.append(time.process_time() - begin)
    assert base.body.item_table.sum() > -1  # reads all of it
    _meet(Path(root), "read")
    memory = _memory(sha256)
    _meet(Path(root), "seen")
    return {"again": statistics.median(times[1:]), **memory}


def _meet(place: Path, what: str) -> None:
    """Wait until all workers are here."""
    (place / f"{what}-{os.getpid()}").touch()
    while len(list(place.glob(f"{what}-*"))) < CORES:
        time.sleep(0.05)


def _memory(name: str) -> dict[str, float]:
    """MB of the mappings of a file: resident, this process's share, and what is private to it."""
    kept: dict[str, float] = {"Rss": 0, "Pss": 0, "Private_Dirty": 0}
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        word, *rest = line.split()
        if "-" in word and not word.endswith(":"):
            inside = line.endswith(name)
        elif inside and word.rstrip(":") in kept:
            kept[word.rstrip(":")] += int(rest[0]) / 1024
    return kept


def sharing() -> bool:
    """A backbone of 300 MB in two workers."""
    import torch
    from safetensors.torch import save

    from peter.nn.backbone import build_backbone
    from peter.registry.directory import DirectoryStore

    shape = BackboneConfig()
    with tempfile.TemporaryDirectory() as root:
        tensors = build_backbone(shape, ITEMS, None).state_dict()
        tensors["item_embedding.weight"] = torch.zeros(ITEMS, shape.channels)
        sha256 = DirectoryStore(Path(root)).put_bytes(
            save({f"body.{key}": value for key, value in tensors.items()})
        )
        job = (root, sha256, to_dict(shape))
        found = [cast(dict[str, float], ended.value) for ended in each(loaded, [job] * CORES, 1, None)]
    again, private = (max(worker[key] for worker in found) for key in ("again", "Private_Dirty"))
    shares = ", ".join(f"{worker['Pss']:.0f} of {worker['Rss']:.0f} MB" for worker in found)
    a_trial = again * CORES / TRIALS  # a worker opens it once, for all its trials of a search
    print(
        f"a backbone of 300 MB   {1000 * again:.1f} ms of CPU to open, once a worker and search: "
        f"{1000 * a_trial:.1f} ms a trial of {TRIALS}; bound 10 ms"
    )
    print(f"                       shares {shares}; private {private:.0f} MB; bound 0")
    return a_trial < 0.01 and private == 0


def scored(directory: Path) -> tuple[Address, Wanted]:
    """A workspace with many users and a task."""
    users = pl.DataFrame({"user_id": [f"u{at:06}" for at in range(USERS)]})
    events = users.join(pl.DataFrame({"item": range(EVENTS)}), how="cross").with_row_index("timestamp")
    items = pl.format("i{}", (pl.col("item") * 7 + pl.col("timestamp") // EVENTS) % 1000)
    events.with_columns(item_id=items).select("user_id", "item_id", "timestamp").write_csv(
        directory / "e.csv"
    )
    users.head(500).with_columns(odd=pl.int_range(500) % 2).write_csv(directory / "odd.csv")
    workspace = Workspace.create(f"sqlite:///{directory}/registry.db")
    import_events(workspace, [directory / "e.csv"], "log", None, None, None, 1, 1, Silent())
    pretrain(workspace, "log", "log", BackboneConfig(blocks=4), PretrainConfig(epochs=1), Silent())
    told = train.Told(owner="")
    change = train.Change(method="peter", settings=["epochs=1"], twin=False)
    train.add_tasks(
        workspace, {"odd": directory / "odd.csv"}, None, None, None, told, change, False, None, Silent()
    )
    with workspace.registry.read() as session:
        patch = patches.get(session, "odd")
    return Address.of(workspace), Wanted(patch.id, patch.backbone.event_log_id)


def users_a_second(address: Address, wanted: Wanted, workers: int) -> float:
    """Of so many processes, once each has opened what it needs."""
    size = 1024
    warm = [Chunk(address, wanted, 0, 1)] * workers
    chunks = [Chunk(address, wanted, first, first + size) for first in range(0, USERS - size, size)]
    results = in_order(score, [*warm, *chunks], workers, None)
    for _ in warm:
        next(results)
    begin = time.perf_counter()
    count = sum(len(table) for table, _ in results)
    return count / (time.perf_counter() - begin)


def scoring() -> bool:
    """Users a second by one worker and by two."""
    with tempfile.TemporaryDirectory() as place:
        where = scored(Path(place))
        rates = [[users_a_second(*where, workers) for workers in (1, 2)] for _ in range(3)]
    gain = statistics.median(two / one for one, two in rates)
    one, two = (statistics.median(column) for column in zip(*rates, strict=True))
    print(f"scoring                {one:,.0f} and {two:,.0f} users/s, {gain:.2f}x by two workers; bound 1.7x")
    return gain >= 1.7


if __name__ == "__main__":
    wanted = set(sys.argv[1:])
    parts = {"trials": trials, "sharing": sharing, "scoring": scoring}
    good = [part() for name, part in parts.items() if not wanted or name in wanted]
    sys.exit(not all(good))
