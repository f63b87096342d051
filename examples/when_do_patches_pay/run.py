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
from experiment import Cell, Contender, Record, Records, prepare
from report import Given, main, on_users, picture, table

from peter.data.sources import Source
from peter.data.splits import TEST, assign
from peter.data.synthetic import Bazaar, Population, World

SALT = "s0"
TESTED = 2000  # labelled users who only test: the fewer, the wider every interval
EVENTS = (20, 60)  # of a user, least and most
DEFAULT = Contender("default", "peter")
CONTENDERS = [DEFAULT, *(Contender(name, name) for name in ("bag", "lsa", "probe"))]
RIVALS = [contender.label for contender in CONTENDERS[1:]]
PATIENCE = ("threads=1", "patience=4")
SHARES = (0.1, 0.25, 0.5, 1.0)
REAL = {("movielens-100k", "gender"): ("epochs=20",), ("complete-journey", "marital"): ("epochs=3",)}
ORDER = ("epochs=10", "blocks=4")  # the backbone of the users whom order alone tells apart


@dataclass(frozen=True)
class Corner:
    """A log of so many items and users, of whom some have labels."""

    items: int
    users: int
    labels: Sequence[int]
    genres: int = 50
    stay: float = 0.2
    predictability: float = 0.5

    @property
    def data(self) -> str:
        """Its name among the data sets."""
        return f"bazaar-{self.items}-{self.users}-{self.genres}"

    @property
    def bazaar(self) -> Bazaar:
        """Where they shop."""
        return Bazaar(self.items, self.genres, stay=self.stay, predictability=self.predictability)

    @property
    def backbone(self) -> tuple[str, ...]:
        """Pre-training that sees about four million events, or four times a longer log."""
        passes = max(4, min(30, 4_000_000 // (40 * self.users)))
        negatives = f"negatives={min(1024, self.items // 4)}"
        return (
            f"epochs={passes}",
            negatives,
            "learning_rate=0.003",
            "blocks=4",
            "batch_size=64",
            "precision=bf16",
        )

    def cells(self) -> list[Cell]:
        """Every contender with every number of labels."""
        return [
            Cell(self.data, f"taste_{labels}", contender, SALT, backbone=self.backbone, fit=PATIENCE)
            for labels in self.labels
            for contender in CONTENDERS
        ]


FULL = [
    *(Corner(items, users, (100, 500, 2000)) for items in (500, 5000, 50_000) for users in (5_000, 20_000)),
    Corner(50_000, 100_000, (500,)),
    Corner(50_000, 100_000, (500,), genres=250, stay=0.4, predictability=0.2),
]
SMALL = [Corner(200, 300, (50,), genres=10)]


def write(corner: Corner, folder: Path) -> Source:
    """The log, and a label file for each number of labels: training and validation users, then test users."""
    people = Population.draw(corner.bazaar, corner.users, EVENTS)
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


def write_order(users: int, folder: Path) -> Source:
    """Users of four types that differ in the order of what they do and in nothing else."""
    people = Population.draw(World(), users, EVENTS)
    source = Source(folder / "events.parquet", {"taste": folder / "taste.csv"})
    people.write_events(source.events)
    people.write_labels(source.labels["taste"], "taste")
    return source


def best(corner: Corner) -> float:
    """Log-loss of whoever knows the bazaar."""
    people = Population.draw(corner.bazaar, min(corner.users, 5000), EVENTS)
    chances = corner.bazaar.type_chances(people.items, people.lengths)
    return float(-np.log(chances[np.arange(len(chances)), people.types]).mean())


def rows(corner: Corner, records: Sequence[Record]) -> list[list[str]]:
    """A line a number of labels: log-losses, and the default's gain over each rival with its interval."""
    lines = []
    for at, labels in enumerate(corner.labels):
        known = [f"{corner.items:,} in {corner.genres}", f"{corner.users:,}", f"{labels:,}"]
        some = records[at * len(CONTENDERS) : (at + 1) * len(CONTENDERS)]
        lines.append([*known, *_scores_and_gains(some), f"{best(corner):.3f}"])
    return lines


def _scores_and_gains(records: Sequence[Record]) -> list[str]:
    ours, *theirs = records
    scores = [f"{record['metrics']['log_loss']:.3f}" for record in records]
    return [*scores, *(on_users(ours, rival) for rival in theirs)]


def order(root: Path, records: Records, users: int, backbone: tuple[str, ...], jobs: int) -> str:
    """Accuracy of every contender where order alone tells, beside chance and the best there is."""
    prepare(root, f"order-{users}", partial(write_order, users))
    cells = [
        Cell(f"order-{users}", "taste", each, SALT, backbone=backbone, fit=PATIENCE) for each in CONTENDERS
    ]
    world, found = World(), records.measure(cells, jobs)
    lines = [[record["label"], f"{record['metrics']['accuracy']:.3f}"] for record in found]
    known = [["chance", f"{world.type_chance:.3f}"], ["best possible", f"{world.type_best():.3f}"]]
    return table(["", "accuracy"], [*lines, *known])


def real(root: Path, records: Records, jobs: int) -> str:
    """Few and many labels on the real sets."""
    lines = []
    for (data, task), backbone in REAL.items():
        prepare(root, data)
        for share in SHARES:
            cells = [
                Cell(data, task, each, SALT, share=share, backbone=backbone, fit=PATIENCE)
                for each in CONTENDERS
            ]
            found = records.measure(cells, jobs)
            lines.append([f"{data}: {task}", f"{found[0]['users'][0]}", *_scores_and_gains(found)])
    columns = ["", "labelled for training", *(c.label for c in CONTENDERS)]
    return table([*columns, *(f"default - {rival}" for rival in RIVALS)], lines)


def draw(path: Path, corners: Sequence[Corner], lines: Sequence[Sequence[Record]]) -> None:
    """A map: the default's gain over the best of its rivals, a panel for each number of labels."""
    from matplotlib import pyplot

    wanted = sorted({labels for corner in corners for labels in corner.labels})
    figure, panels = pyplot.subplots(1, len(wanted), figsize=(4 * len(wanted), 3.5), squeeze=False)
    for panel, labels in zip(panels[0], wanted, strict=True):
        for corner, records in zip(corners, lines, strict=True):
            if labels in corner.labels:
                won = _won(records, corner.labels.index(labels))
                panel.scatter(corner.items, corner.users, s=900, c=[won], cmap="RdYlGn", vmin=-1, vmax=1)
                panel.annotate(f"{won:+.2f}", (corner.items, corner.users), ha="center", va="center")
        panel.set(title=f"{labels:,} labelled users", xlabel="items", ylabel="users in the log")
        panel.set(xscale="log", yscale="log")
        panel.margins(0.3)
    figure.suptitle("Nats by which the default beats the best of bag, lsa and probe")
    picture(figure, path)


def _won(records: Sequence[Record], at: int) -> float:
    some = records[at * len(CONTENDERS) : (at + 1) * len(CONTENDERS)]
    ours, *theirs = (float(record["metrics"]["log_loss"]) for record in some)
    return min(theirs) - ours


def pay(given: Given, records: Records) -> str:
    """The table of all corners, and the map of those that are alike."""
    corners = SMALL if given.small else FULL
    for corner in corners:
        prepare(given.root, corner.data, partial(write, corner))
    found = iter(records.measure([cell for corner in corners for cell in corner.cells()], given.jobs))
    lines = [[next(found) for _ in corner.cells()] for corner in corners]
    columns = ["items in genres", "users in the log", "labelled users", *(c.label for c in CONTENDERS)]
    columns += [*(f"default - {rival}" for rival in RIVALS), "best possible"]
    pairs = list(zip(corners, lines, strict=True))
    body = [row for corner, some in pairs for row in rows(corner, some)]
    like = [(corner, some) for corner, some in pairs if corner.genres == corners[0].genres]
    figure = given.page.parent / "figures" / "when_do_patches_pay.svg"
    draw(figure, [corner for corner, _ in like], [some for _, some in like])
    return table(columns, body) + FIGURE


def report(given: Given) -> None:
    """Measure what is missing, then write the sections and the map."""
    records = Records(given.page.with_suffix(".jsonl"), given.root)  # few labels are asked for there, too
    users, backbone = (300, ("epochs=1", "blocks=2")) if given.small else (4000, ORDER)
    given.write(
        "order", lambda: ORDER_TEXT + order(given.root, records, users, backbone, given.jobs), records
    )
    given.write("when do patches pay", lambda: TEXT + pay(given, records), records)
    if not given.small:
        given.write("real sets", lambda: REAL_TEXT + real(given.root, records, given.jobs), records)


ORDER_TEXT = """## Where order alone tells

Synthetic users (`peter.data.synthetic.World`) of four types, every item equally frequent for each.

"""
TEXT = f"""## When do patches pay?

Synthetic shoppers (`peter.data.synthetic.Bazaar`): items belong to genres, and both tastes and the order of
genres tell four types apart. Log-loss on {TESTED:,} held-out users (less is better), and in nats what the
default gains over each rival, with 95 % paired bootstrap intervals over those users. Where half of the steps
go by the type's own order, through 50 genres, the backbone learns that order from everybody and patches pay.
The last row is harder: a fifth of the steps, through 250 genres.

"""
FIGURE = "\n![The map](figures/when_do_patches_pay.svg)\n"
REAL_TEXT = """## The real sets, with few labels and with all

Log-loss on the test users of one split, and the default's gains.

"""

if __name__ == "__main__":
    main(report, str(__doc__))
