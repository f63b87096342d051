"""When is a pre-trained backbone worse than none, who notices, and what helps? Re-learning (ANT) measured.

python examples/negative_transfer/run.py            # everything, to docs/results.md
python examples/negative_transfer/run.py --small    # minutes: few synthetic users, to see that it runs
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
from elsewhere import TASK, Shop, Trial, backbone, judged
from experiment import Cell, Contender, Records, prepare
from report import Given, gain, main, spread, table, told

PLAIN = ("wide=off", "summary=off", "readout=last", "warm_start=off", "caution=0")  # as published
SCRATCH = Contender("scratch", "scratch", PLAIN)
USUAL = Contender("scratch, default", "scratch")
DEFAULT = Contender("peter, default", "peter")
CARRYING = [Contender("full", "full", PLAIN), Contender("peter", "peter", PLAIN)]
ANT = [
    Contender("relearn", "relearn", PLAIN),
    Contender("relearn, ids=off", "relearn", (*PLAIN, "ids=off")),
    Contender("relearn, random encoder", "relearn", (*PLAIN, "encoder=random")),
    Contender("relearn, ids=off, random encoder", "relearn", (*PLAIN, "ids=off", "encoder=random")),
]
SHOPPERS = [
    SCRATCH,
    *CARRYING,
    Contender("probe", "probe", ("readout=last",)),
    *ANT,
    USUAL,
    DEFAULT,
]
BASELINES = [SCRATCH, USUAL, Contender("bag, default", "bag")]  # the same on any backbone
READERS = [
    *CARRYING,
    Contender("probe, default", "probe"),
    Contender("full, default", "full"),
    DEFAULT,
]
RELEARNT = [*ANT, Contender("relearn, default", "relearn")]
ANY, NEXT, FEATURE = "-", "next item", "item features"
BY_FEATURES = ("objective=item-feature",)
OBJECTIVES: dict[str, tuple[str, ...]] = {ANY: (), NEXT: (), FEATURE: BY_FEATURES}
SHAPE = ("architecture=sasrec", "blocks=2")


@dataclass(frozen=True)
class Bench:
    """Tasks of a data set with the metrics that are shown, and how its backbones are pre-trained."""

    data: str
    tasks: Mapping[str, Sequence[str]]
    backbone: tuple[str, ...]
    fit: tuple[str, ...]
    salts: int  # splits, each with backbones of its own

    def cells(self, task: str, contender: Contender, *objective: str) -> list[Cell]:
        """One a split."""
        settings = (*self.backbone, *objective)
        return Cell(self.data, task, contender, backbone=settings, fit=self.fit).over(self.salts)


@dataclass(frozen=True)
class Size:
    """How much is asked."""

    shop: Shop
    shoppers: Bench
    judged: Sequence[Contender]
    real: Sequence[Bench]


PATIENCE = ("threads=1", "patience=4")
SHOP, SMALL_SHOP = Shop(1000, 50, 2500, 2000), Shop(60, 6, 300, 240)
FULL = Size(
    SHOP,
    Bench(
        SHOP.here,
        {TASK: ("log_loss",)},
        ("epochs=4", "channels=32", "batch_size=64", "learning_rate=0.003", *SHAPE, *BY_FEATURES),
        ("threads=1", "epochs=12", "patience=12"),
        5,
    ),
    [*CARRYING, ANT[1]],
    [
        Bench(
            "complete-journey-cross",
            {"drugstore": ("ndcg@10", "log_loss")},
            ("epochs=3", "dropout=0.2", *SHAPE),
            PATIENCE,
            3,
        ),
        Bench(
            "movielens-100k",
            {"gender": ("log_loss",), "age": ("log_loss",)},
            ("epochs=20", "dropout=0.2", *SHAPE),
            PATIENCE,
            3,
        ),
    ],
)
QUICK = ("epochs=1", "channels=8", *SHAPE)
SMALL = Size(
    SMALL_SHOP,
    Bench(SMALL_SHOP.here, {TASK: ("log_loss",)}, (*QUICK, *BY_FEATURES), ("threads=1", "epochs=1"), 1),
    CARRYING[:1],
    [Bench(SMALL_SHOP.here, {TASK: ("log_loss", "accuracy")}, QUICK, ("threads=1", "epochs=1"), 1)],
)


def twin(contender: Contender) -> Contender:
    """The same from random values."""
    return SCRATCH if contender.settings else USUAL


def transfer(size: Size, records: Records, jobs: int) -> str:
    """A row a contender: its log-loss on either sort of backbones, and what it gains over its twin."""
    benches = [size.shoppers, replace(size.shoppers, data=size.shop.misled)]
    asked = [cell for bench in benches for each in SHOPPERS for cell in bench.cells(TASK, each)]
    records.measure(asked, jobs)
    lines = []
    for contender in SHOPPERS:
        shown = (_shown(bench, TASK, contender, records, jobs) for bench in benches)
        lines.append([contender.label, *shown])
    return table(["", "backbone from here", "backbone from elsewhere"], lines)


def _shown(
    bench: Bench,
    task: str,
    contender: Contender,
    records: Records,
    jobs: int,
    objective: Sequence[str] = (),
) -> str:
    """Each metric of a contender over the splits, and what it gains in that over its twin."""
    ours = records.measure(bench.cells(task, contender, *objective), jobs)
    theirs = records.measure(bench.cells(task, twin(contender)), jobs)
    said = []
    for metric in bench.tasks[task]:
        said.append(spread([record["metrics"][metric] for record in ours]))
        if contender != twin(contender):
            gains = [gain(*pair, metric) for pair in zip(ours, theirs, strict=True)]
            said[-1] += f"; {told(gains, ours[0]['users'])}"
    return " / ".join(said)


def _about(size: Size) -> str:
    return TRANSFER.format(**asdict(size.shop), salts=size.shoppers.salts)


def gate(size: Size, records: Records, jobs: int) -> str:
    """A row a method: what the gate says of a second version on a backbone from elsewhere."""
    bench = replace(size.shoppers, data=size.shop.misled)
    trials = [Trial(bench.data, each, "s0", bench.backbone, bench.fit) for each in size.judged]
    found = records.each(judged, trials, [trials[0].cell], jobs)
    lines = []
    for trial, record in zip(trials, found, strict=True):
        said = record["gate"]
        lines.append([trial.contender.label, "yes" if said["promote"] else "no", said["reason"]])
    return table(["", "promoted", "the gate"], lines)


def relearning(size: Size, records: Records, jobs: int) -> str:
    """A row a contender and what its backbone was pre-trained on, a column a task."""
    rows = [(contender, ANY) for contender in BASELINES]
    rows += [(contender, NEXT) for contender in READERS]
    rows += [(contender, FEATURE) for contender in [*READERS, *RELEARNT]]
    shown = [(bench, task) for bench in size.real for task in bench.tasks]
    records.measure(
        [
            cell
            for bench, task in shown
            for contender, objective in rows
            for cell in bench.cells(task, contender, *OBJECTIVES[objective])
        ],
        jobs,
    )
    lines = []
    for contender, objective in rows:
        cells = (_shown(*each, contender, records, jobs, OBJECTIVES[objective]) for each in shown)
        lines.append([contender.label, objective, *cells])
    columns = (f"{bench.data}: {task}, {' / '.join(bench.tasks[task])}" for bench, task in shown)
    return table(["", "pre-trained on", *columns], lines)


def report(given: Given) -> None:
    """Measure what is missing, then write the sections."""
    size = SMALL if given.small else FULL
    size.shop.prepare(given.root)
    for bench in size.real:
        prepare(given.root, bench.data)
    records = Records(given.page.with_suffix(".jsonl"), given.root, backbone)
    sections = {
        "negative transfer": lambda: _about(size) + transfer(size, records, given.jobs),
        "negative transfer: the gate": lambda: GATE + gate(size, records, given.jobs),
        "re-learning": lambda: RELEARNING + relearning(size, records, given.jobs),
    }
    for name, text in sections.items():
        given.write(name, text, records)


TRANSFER = """## Negative transfer: a backbone from elsewhere

A made-up shop: {users} users, the first {labels} of them with one of four tastes to tell; {items} items of
{genres} genres, which are all that is known of items. The backbones are alike (sasrec, pre-trained by item
features) but for their logs: that of `elsewhere` is the same with the ids of items shuffled, so that what was
learnt of an item is true of another one. Log-loss on test users, mean ± standard deviation over {salts}
splits with backbones of their own; behind the semicolon the gain over `scratch`, the same architecture from
random values under the same budget, more being better, with the 95 % interval of Nadeau and Bengio. Below
zero is negative transfer. Rows are as published: the last state is read by a random head (of `probe` a
solved one); `default` reads all levels beside counts and keeps its start until an epoch beats it. `relearn`
with a random encoder is its control: it has the features, but the blocks carry nothing over to it.

"""
GATE = """## Negative transfer: what the gate says

The same shop in a registry, on the first split: version 1 of a task on the backbone from here, then
`peter task train TASK --backbone ELSEWHERE`. On another backbone a version need not be better than the
champion, only not worse than that, its from-scratch twin and the majority.

"""
RELEARNING = """## Re-learning (ANT) on real data, and pre-training by item features

On test users, mean ± standard deviation over splits with backbones of their own; behind the semicolon the
gain over the same from scratch, more being better, with the 95 % interval of Nadeau and Bengio. All on the
same Transformer (sasrec, two blocks). Rows are as published: the last state is read by a random head;
`default` reads all levels beside counts and the item summary. Known of items are title, year and genres of
films; name, department and price of types of product, those of the drugstore among them.

"""

if __name__ == "__main__":
    main(report, str(__doc__))
