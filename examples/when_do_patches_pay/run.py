"""When do patches pay? The default against counting and against LSA, over labels, items and unlabelled users.

python examples/when_do_patches_pay/run.py            # the whole map, to docs/results.md
python examples/when_do_patches_pay/run.py --small    # minutes: a corner of it, to see that it runs
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

sys.path.append(str(Path(__file__).parent.parent))
from experiment import Cell, Contender, Record, Records, main, on_users, prepare, section, table

from peter.data.sources import Source
from peter.data.splits import TEST, assign
from peter.data.synthetic import Bazaar, Population

SALT = "s0"
TESTED = 2000  # labelled users who only test: the fewer, the wider every interval
CONTENDERS = [
    Contender("default", "peter"),
    Contender("bag", "bag"),
    Contender("lsa", "lsa"),
    Contender("probe", "probe"),
]
RIVALS = [contender.label for contender in CONTENDERS[1:]]
FIT = ("threads=1", "epochs=10", "patience=5")


@dataclass(frozen=True)
class Corner:
    """A log of so many items and users, of whom some have labels."""

    items: int
    users: int
    labels: Sequence[int]

    @property
    def data(self) -> str:
        """Its name among the data sets."""
        return f"bazaar-{self.items}-{self.users}"

    @property
    def backbone(self) -> tuple[str, ...]:
        """Pre-training that sees about four million events, or three times a longer log."""
        passes = max(3, min(30, 4_000_000 // (40 * self.users)))
        negatives = min(1024, self.items // 4)
        return (
            f"epochs={passes}",
            f"negatives={negatives}",
            "learning_rate=0.003",
            "blocks=4",
            "batch_size=64",
        )

    def cells(self) -> list[Cell]:
        """Every contender with every number of labels."""
        return [
            Cell(self.data, f"taste_{labels}", contender, SALT, backbone=self.backbone, fit=FIT)
            for labels in self.labels
            for contender in CONTENDERS
        ]


FULL = [
    *(Corner(items, users, (100, 500, 2000)) for items in (500, 5000, 50_000) for users in (5_000, 20_000)),
    Corner(50_000, 100_000, (500,)),
]
SMALL = [Corner(200, 1000, (50,))]


def write(corner: Corner, folder: Path) -> Source:
    """The log, and a label file for each number of labels: training and validation users, then test users."""
    bazaar = Bazaar(items=corner.items, genres=min(250, corner.items // 20))
    people = Population.draw(bazaar, corner.users, (20, 60))
    events = folder / "events.parquet"
    people.write_events(events)
    people.write_labels(folder / "taste.csv", "taste")
    everyone = pl.read_csv(folder / "taste.csv")
    held = assign(everyone["user_id"], SALT) == TEST
    tested = everyone.filter(held).head(TESTED)
    labels = {}
    for count in corner.labels:
        name = f"taste_{count}"
        labels[name] = folder / f"{name}.csv"
        pl.concat([everyone.filter(~held).head(count), tested]).write_csv(labels[name])
    return Source(events, labels)


def best(corner: Corner) -> float:
    """Log-loss of whoever knows the bazaar."""
    bazaar = Bazaar(items=corner.items, genres=min(250, corner.items // 20))
    people = Population.draw(bazaar, min(corner.users, 5000), (20, 60))
    chances = bazaar.type_chances(people.items, people.lengths)
    return float(-np.log(chances[np.arange(len(chances)), people.types]).mean())


def rows(corner: Corner, records: Sequence[Record]) -> list[list[str]]:
    """A line a number of labels: log-losses, and the default's gain over each rival with its interval."""
    lines = []
    for at, labels in enumerate(corner.labels):
        ours, *theirs = records[at * len(CONTENDERS) : (at + 1) * len(CONTENDERS)]
        scores = [f"{record['metrics']['log_loss']:.3f}" for record in (ours, *theirs)]
        gains = [on_users(ours, rival) for rival in theirs]
        lines.append(
            [f"{corner.items:,}", f"{corner.users:,}", f"{labels:,}", *scores, *gains, f"{best(corner):.3f}"]
        )
    return lines


def draw(path: Path, corners: Sequence[Corner], lines: Sequence[Sequence[Record]]) -> None:
    """A map: the default's gain over the best of its rivals, a panel for each number of labels."""
    from matplotlib import pyplot

    wanted = sorted({labels for corner in corners for labels in corner.labels})
    figure, panels = pyplot.subplots(1, len(wanted), figsize=(4 * len(wanted), 3.5), squeeze=False)
    for panel, labels in zip(panels[0], wanted, strict=True):
        for corner, records in zip(corners, lines, strict=True):
            if labels in corner.labels:
                won = _won(records, corner.labels.index(labels))
                panel.scatter(corner.items, corner.users, s=900, c=[won], cmap="RdYlGn", vmin=-0.4, vmax=0.4)
                panel.annotate(f"{won:+.2f}", (corner.items, corner.users), ha="center", va="center")
        panel.set(title=f"{labels:,} labelled users", xlabel="items", ylabel="users in the log")
        panel.set(xscale="log", yscale="log")
        panel.margins(0.3)
    figure.suptitle("Nats by which the default beats the best of bag, lsa and probe")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def _won(records: Sequence[Record], at: int) -> float:
    some = records[at * len(CONTENDERS) : (at + 1) * len(CONTENDERS)]
    ours, *theirs = (float(record["metrics"]["log_loss"]) for record in some)
    return min(theirs) - ours


def report(root: Path, page: Path, small: bool, jobs: int) -> None:
    """Measure what is missing, then write the section and its map."""
    corners, records = SMALL if small else FULL, Records(root)
    for corner in corners:
        prepare(root, corner.data, partial(write, corner))
    cells = [corner.cells() for corner in corners]
    found = iter(records.measure([cell for some in cells for cell in some], jobs))
    lines = [[next(found) for _ in some] for some in cells]
    columns = ["items", "users in the log", "labelled users", *(c.label for c in CONTENDERS)]
    columns += [*(f"default - {rival}" for rival in RIVALS), "best possible"]
    body = [row for corner, some in zip(corners, lines, strict=True) for row in rows(corner, some)]
    draw(page.parent / "figures" / "when_do_patches_pay.svg", corners, lines)
    section(page, "when do patches pay", TEXT + table(columns, body) + FIGURE)


TEXT = f"""## When do patches pay?

Synthetic shoppers (`peter.data.synthetic.Bazaar`): items belong to genres, and both tastes and the order of
genres tell four types apart. Log-loss on {TESTED:,} held-out users (less is better), and in nats what the
default gains over each rival, with 95 % paired bootstrap intervals over those users.

"""
FIGURE = "\n![The map](figures/when_do_patches_pay.svg)\n"

if __name__ == "__main__":
    main(report, str(__doc__))
