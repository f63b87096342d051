"""What the examples share: cells of an experiment, measured once and kept.

A cell is one method on one task of one data set under one split. Its record goes to a file as soon as it is
measured, so that a run that is stopped goes on where it was; a table is made of records and of nothing else.
"""

import dataclasses
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # read when torch is loaded: idle threads rest

import torch

from peter.config import BackboneConfig, PretrainConfig, from_options, to_dict
from peter.data.labels import read_labels
from peter.data.sources import SOURCES, Source
from peter.methods import Examples, OtherTask, method
from peter.nn.init import generator
from peter.progress import Silent
from peter.registry import backbones
from peter.services.backbone.pretrain import pretrain
from peter.services.event_log.events import import_events
from peter.services.patch.fitting import Fitted, calibrated, epochs
from peter.services.patch.recipes import Recipe
from peter.services.patch.requests import Request
from peter.services.promotion.contest import Majority
from peter.services.task.kinds import choose
from peter.services.task.labelled import Labelled
from peter.services.task.labelled import prepare as join
from peter.services.workspace import Workspace
from peter.task import cost

Record = dict[str, Any]
DIGITS = 4  # of a user's cost
CHUNK = 6  # cells of one split between two records that are kept
FORM = 2  # of what `prepare` leaves, in the name of its folder; before 2 no log knew its items


@dataclass(frozen=True)
class Contender:
    """A row of a table."""

    label: str
    method: str
    settings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """What is measured at once."""

    data: str
    task: str
    contender: Contender
    salt: str = "s0"  # of the user split; each has a backbone of its own
    seed: int = 0
    share: float = 1.0  # of the training users' labels
    backbone: tuple[str, ...] = ("epochs=20",)  # settings of its shape and of its pre-training
    fit: tuple[str, ...] = ("threads=1",)  # settings of every contender's fit, which have the last word
    others: tuple[str, ...] = ()  # tasks that are learnt beside it, by those who learn several at once

    @property
    def key(self) -> str:
        """Names the record."""
        return key(self, "contender")

    def over(self, splits: int) -> "list[Cell]":
        """The same under each of so many splits."""
        return [dataclasses.replace(self, salt=f"s{at}") for at in range(splits)]


def key(wanted: Any, labelled: str) -> str:
    """A hash of everything that decides a record, the label of a row apart, which is in that field."""
    decides = dataclasses.asdict(wanted)
    del decides[labelled]["label"]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


class Records:
    """Measured cells in a file of JSON lines; only the process that runs the experiment writes.

    Data sets and backbones are below `root` and made again where they are missing: `backbone` makes that of a
    cell and gives its name.
    """

    def __init__(self, path: Path, root: Path, backbone: "Callable[[Path, Cell], str] | None" = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.root, self.path, self.backbone = root, path, backbone or pretrained
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        self.known = {record["key"]: record for record in map(json.loads, lines)}
        self.used: set[tuple[str, str]] = set()

    def made(self) -> str:
        """When and with which code was measured what has been asked for since the last call."""
        dates, commits = ({each[at] for each in self.used} for at in (0, 1))
        self.used = set()
        return f"{' to '.join(sorted({min(dates), max(dates)}))} at {', '.join(sorted(commits))}"

    def measure(self, cells: Sequence[Cell], jobs: int) -> list[Record]:
        """A record for each cell, in that order; first the backbones of all splits, then cells by the few."""
        missing = list({cell.key: cell for cell in cells if cell.key not in self.known}.values())
        splits: dict[tuple[str, ...], list[Cell]] = {}
        for cell in missing:
            splits.setdefault((cell.data, cell.salt, *cell.backbone), []).append(cell)
        chunks = [some[at : at + CHUNK] for some in splits.values() for at in range(0, len(some), CHUNK)]
        self.gather(_measured, chunks, [some[0] for some in splits.values()], jobs)
        self._use(cells)
        return [{**self.known[cell.key], "label": cell.contender.label, "cell": cell} for cell in cells]

    def each(
        self, work: Callable[[Path, Any], Record], wanted: Sequence[Any], backbones: Sequence[Cell], jobs: int
    ) -> list[Record]:
        """A record for each of `wanted`, made by `work` of `root` and that; first the cells' backbones."""
        missing = list({item.key: item for item in wanted if item.key not in self.known}.values())
        self.gather(partial(_one, work), missing, backbones if missing else (), jobs)
        self._use(wanted)
        return [self.known[item.key] for item in wanted]

    def gather(
        self,
        work: Callable[[Path, Any], Sequence[Record]],
        parts: Sequence[Any],
        backbones: Sequence[Cell],
        jobs: int,
    ) -> None:
        """Let processes pre-train the cells' backbones, then measure part after part; keep the records."""
        if not parts:
            return
        pool = _pool(jobs)
        list(pool.map(self.backbone, [self.root] * len(backbones), backbones))
        waiting = [pool.submit(work, self.root, part) for part in parts]
        for done, finished in enumerate(as_completed(waiting), 1):
            for record in finished.result():
                self._keep(record)
            print(f"{done} of {len(parts)} parts measured", flush=True)

    def _use(self, items: Sequence[Any]) -> None:
        self.used |= {tuple(self.known[item.key]["made"]) for item in items}

    def _keep(self, record: Record) -> None:
        self.known[record["key"]] = record
        with self.path.open("a") as file:
            file.write(f"{json.dumps(record)}\n")


def _one(work: Callable[[Path, Any], Record], root: Path, item: Any) -> list[Record]:
    return [work(root, item)]


@cache
def _pool(jobs: int) -> ProcessPoolExecutor:
    """Processes that stay until the program ends: each takes seconds to import what it needs."""
    return ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))


@cache
def commit() -> str:
    """Which code measures, where git can tell."""
    asked = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "no commit"


def prepare(root: Path, data: str, write: Callable[[Path], Source] | None = None) -> None:
    """Write the files of a data set (`peter demo` knows it, or `write` is given) and import its events."""
    folder = place(root, data)
    if not (folder / "ready").exists():
        folder.mkdir(parents=True, exist_ok=True)
        source = (write or SOURCES[data])(folder)
        workspace = Workspace.create(_url(folder))
        import_events(workspace, [source.events], "log", None, None, None, 1, 1, Silent(), source.items)
        workspace.registry.dispose()
        (folder / "ready").touch()


def place(root: Path, data: str) -> Path:
    """Where the files of a data set and its workspace are."""
    return root / f"{data}.{FORM}"


def opened(root: Path, data: str) -> Workspace:
    """The workspace of a data set that was prepared."""
    return Workspace.open(_url(place(root, data)))


def _url(folder: Path) -> str:
    return f"sqlite:///{folder}/.peter/registry.db"


def pretrained(root: Path, cell: Cell) -> str:
    """The name of the cell's backbone, which is made if it is not there."""
    name, shape, config = named(cell)
    workspace = opened(root, cell.data)
    pretrain(workspace, "log", name, shape, config, Silent())
    workspace.registry.dispose()
    return name


def named(cell: Cell) -> tuple[str, BackboneConfig, PretrainConfig]:
    """What the cell's backbone is called, its shape and how it is pre-trained."""
    shape, config = from_options(cell.backbone, BackboneConfig(), PretrainConfig(threads=1, salt=cell.salt))
    decides = json.dumps([to_dict(shape), to_dict(config)], sort_keys=True)
    return f"b{hashlib.sha256(decides.encode()).hexdigest()[:12]}", shape, config


def _measured(root: Path, cells: Sequence[Cell]) -> list[Record]:
    backbone = pretrained(root, cells[0])
    workspace = opened(root, cells[0].data)
    records = [_record(workspace, root, backbone, cell) for cell in cells]
    workspace.registry.dispose()
    return records


def _record(workspace: Workspace, root: Path, backbone: str, cell: Cell) -> Record:
    request = requested(workspace, root, backbone, cell)
    users = _fewer(request.users, cell)
    begin = time.perf_counter()
    patch = method(request.recipe.method).build(request.setting, request.recipe.options)
    reports = list(epochs(patch, request.recipe, request.setting, users, Silent()))
    made = calibrated(request.recipe, request.setting, patch, users.valid)
    seconds = time.perf_counter() - begin
    test = users.test
    answer, everyone = made.answer(test.histories), torch.ones(1, len(test.targets))
    found = request.kind.metrics(answer, test.targets, everyone)
    alone = request.kind.metrics(answer, test.targets, torch.eye(len(test.targets)))  # [B], of each user
    costs = cost(request.kind, alone)
    nothing = Majority.of(dataclasses.replace(request, users=users)).answer(test.histories)
    known_nothing = request.kind.metrics(nothing, test.targets, everyone)
    return {
        "key": cell.key,
        "metrics": {name: float(value) for name, value in found.items()},
        "majority": {name: float(value) for name, value in known_nothing.items()},
        "made": [date.today().isoformat(), commit()],
        "costs": [round(value, DIGITS) for value in costs.tolist()],
        "params": made.params,
        "seconds": seconds,
        "valid": min(each.valid_score for each in reports if each.best),
        "curve": [abs(each.valid_score) for each in reports if each.train_loss is not None],
        "rarest": int(test.targets.bincount().min()) if test.targets.dim() == 1 else None,
        "users": [len(part.targets) for part in (users.train, users.valid, users.test)],
        **_gates(made, users),
    }


def _gates(made: Fitted, users: Labelled) -> Record:
    """Of gates, where there are any: the share open to training users, and how many ways test users have."""
    gates, seen = made.gates(users.train.histories), made.gates(users.test.histories)
    if gates is None or seen is None:
        return {}
    return {"open": gates.mean().item(), "policies": len((seen > 0.5).unique(dim=0))}


def requested(workspace: Workspace, root: Path, backbone: str, cell: Cell) -> Request:
    """What a cell asks for on a backbone."""
    with workspace.registry.read() as session:
        row = backbones.get(session, backbone)
    table = read_labels(place(root, cell.data) / f"{cell.task}.csv")
    settings = [*cell.contender.settings, *cell.fit]
    recipe = Recipe.make(choose(table, None), cell.contender.method, settings, cell.seed)
    request = Request.read(workspace, cell.task, table, row, recipe)
    return dataclasses.replace(request, others=partial(_others, root, cell, request))


def _others(root: Path, cell: Cell, request: Request) -> list[OtherTask]:
    found = []
    for task in cell.others:
        table = read_labels(place(root, cell.data) / f"{task}.csv")
        kind = choose(table, None)
        schema = kind.schema(table.labels)
        users = join(request.base, request.log, table, kind, schema)
        found.append(OtherTask(kind, schema, users.train, users.valid))
    return found


def _fewer(users: Labelled, cell: Cell) -> Labelled:
    """A share of the training users, the same for every contender; validation and test users stay."""
    count = len(users.train.targets)
    kept = torch.randperm(count, generator=generator(cell.salt, cell.seed))[: round(cell.share * count)]
    kept = kept.sort().values
    train = Examples(users.train.histories.select(kept), users.train.targets[kept])
    return dataclasses.replace(users, train=train)
