"""Users of a shop, and backbones that were pre-trained elsewhere, where ids stand for other items."""

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import torch
from experiment import Cell, Contender, Record, commit, key, named, opened, place, prepare, pretrained
from safetensors.torch import load_file, save
from sqlalchemy.orm import Session

from peter.data.histories import RESERVED
from peter.data.sources import Source
from peter.data.synthetic import Bazaar, Population
from peter.data.vocabulary import Vocabulary
from peter.nn.view import TABLE
from peter.progress import Silent
from peter.registry import backbones, event_logs, models, patches
from peter.services.backbone.frozen import BODY
from peter.services.backbone.pretrain import pretrain
from peter.services.event_log.events import import_events
from peter.services.task.tasks import list_tasks
from peter.services.version.train import Change, Told, add_tasks, train_tasks
from peter.services.workspace import Workspace

TASK = "taste"
ELSEWHERE = "elsewhere"
MISLED = "-misled"  # behind the name of data
GOOD = "here"  # the backbone of a trial's first version
SEED = 0  # of the shuffle


@dataclass(frozen=True)
class Shop:
    """A log of so many items and users, the first of whom have labels; of each item the genre is known."""

    items: int
    genres: int
    users: int
    labels: int

    @property
    def here(self) -> str:
        """The data set whose backbones are pre-trained on it."""
        return f"shop-{self.items}-{self.users}"

    @property
    def misled(self) -> str:
        """The same with backbones from elsewhere."""
        return f"{self.here}{MISLED}"

    def prepare(self, root: Path) -> None:
        """Write and import the log, once for each sort of backbones, and that of elsewhere."""
        prepare(root, self.here, self.write)
        prepare(root, self.misled, self.write)
        folder, workspace = place(root, self.misled), opened(root, self.misled)
        events, items = folder / f"{ELSEWHERE}.parquet", folder / "items.csv"
        import_events(workspace, [events], ELSEWHERE, None, None, None, 1, 1, Silent(), items)
        workspace.registry.dispose()

    def write(self, folder: Path) -> Source:
        """The log, that of elsewhere, what is known of items in both, and the labels."""
        bazaar = Bazaar(self.items, self.genres, stay=0.2, predictability=0.5, taste=1.0)
        people = Population.draw(bazaar, self.users, (20, 60))
        events, labels, items = folder / "events.parquet", folder / f"{TASK}.csv", folder / "items.csv"
        people.write_events(events)
        people.write_labels(labels, TASK, users=self.labels)
        log = pl.read_parquet(events)
        ids = log["item_id"].unique().sort()
        genre = pl.col("item_id").str.slice(1).cast(pl.Int64) % self.genres
        pl.DataFrame(ids).with_columns(genre=pl.format("g{}", genre)).write_csv(items)
        others = ids.gather(np.random.default_rng(SEED).permutation(len(ids)))
        shuffled = log.with_columns(pl.col("item_id").replace_strict(ids, others))
        shuffled.write_parquet(folder / f"{ELSEWHERE}.parquet")
        return Source(events, {TASK: labels}, items=items)


def backbone(root: Path, cell: Cell) -> str:
    """The name of the cell's backbone, which is pre-trained if it is not there: of misled data elsewhere."""
    if not cell.data.endswith(MISLED):
        return pretrained(root, cell)
    name, shape, config = named(cell)
    workspace, made = opened(root, cell.data), f"{name}_{ELSEWHERE}"
    pretrain(workspace, ELSEWHERE, made, shape, config, Silent())
    workspace.registry.write(lambda session: _carry_over(workspace, session, made, name))
    workspace.registry.dispose()
    return name


def _carry_over(workspace: Workspace, session: Session, made: str, name: str) -> None:
    """Register the backbone `made` as one of the log here, called `name`, unless there is one.

    Each item gets the vector that its id had elsewhere.
    """
    if any(row.name == name for row in backbones.every(session)):
        return
    row, log = backbones.get(session, made), event_logs.get(session, "log")
    here, there = (
        Vocabulary.load(workspace.objects.path(each)) for each in (log.vocab_sha256, row.vocab_sha256)
    )
    stored = load_file(workspace.objects.path(row.weights_sha256))
    table = stored[BODY + TABLE]
    table[RESERVED:] = table[torch.tensor(there.rows(here.item_ids[RESERVED:]))]
    same = ("architecture", "config", "objective", "salt", "params", "metrics")
    with workspace.objects.holding():
        moved = models.Backbone(
            name=name,
            event_log=log,
            weights_sha256=workspace.objects.put_bytes(save(stored)),
            vocab_sha256=log.vocab_sha256,
            **{field: getattr(row, field) for field in same},
        )
        backbones.add(session, moved, workspace.actor)


@dataclass(frozen=True)
class Trial:
    """A team's task: its first version on a backbone from here, its second on one from elsewhere."""

    data: str  # misled
    contender: Contender
    salt: str
    backbone: tuple[str, ...]
    fit: tuple[str, ...]

    @property
    def key(self) -> str:
        """Names the record."""
        return key(self, "contender")

    @property
    def cell(self) -> Cell:
        """Whose backbone the second version is on."""
        return Cell(self.data, TASK, self.contender, self.salt, backbone=self.backbone, fit=self.fit)


def judged(root: Path, trial: Trial) -> Record:
    """Make both versions, as `peter task add` and `peter task train` do.

    Returns:
        `gate`: its verdict on the second.
    """
    bad = backbone(root, trial.cell)
    workspace = opened(root, trial.data)
    _, shape, config = named(trial.cell)
    pretrain(workspace, "log", GOOD, shape, config, Silent())
    task, labels = f"{TASK}_{trial.contender.method}", place(root, trial.data) / f"{TASK}.csv"
    change = Change(trial.contender.method, [*trial.contender.settings, *trial.fit], seed=0)
    told = Told(workspace.actor)
    if not any(each["name"] == task and each["champion"] for each in list_tasks(workspace)["tasks"]):
        add_tasks(
            workspace, {task: labels}, None, None, GOOD, told, change,
            force=False, address=None, progress=Silent(),
        )  # fmt: skip
    train_tasks(
        workspace, [task], None, None, Change(), bad,
        force=False, promote=True, address=None, progress=Silent(),
    )  # fmt: skip
    with workspace.registry.read() as session:
        verdict = patches.get(session, f"{task}@2").metrics["gate"]
    workspace.registry.dispose()
    return {"key": trial.key, "made": [date.today().isoformat(), commit()], "gate": verdict}
