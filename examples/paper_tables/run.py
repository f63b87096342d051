"""The papers' tables on real data: methods, insertions, few labels, with and without pre-training, ablation.

python examples/paper_tables/run.py            # everything, to docs/results.md
python examples/paper_tables/run.py --small    # minutes: synthetic users, to see that it runs
"""

import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
from experiment import (
    Cell,
    Contender,
    Record,
    Records,
    corrected,
    gain,
    main,
    prepare,
    section,
    spread,
    table,
    told,
)

EPOCHS = 12
PATIENT = (f"epochs={EPOCHS}", f"patience={EPOCHS}", "caution=0")  # never stopped early: the best epoch stays
FAITHFUL = ("wide=off", "readout=last", "tcl=on", "warm_start=off", "learning_rate=0.001", *PATIENT)
DEFAULT = Contender("default", "peter")
BASELINES = [Contender(name, name) for name in ("bag", "lsa", "probe")]
WIDE = Contender("wide only", "peter", ("deep=off",))
RIVALS = [*(contender.label for contender in BASELINES), WIDE.label]
METHODS = [
    Contender("FineCLS: head on the last state", "peter", (*FAITHFUL, "blocks=none")),
    Contender("FineLast: last block and head", "last", FAITHFUL),
    Contender("FineAll: everything", "full", FAITHFUL),
    Contender("FineZero: everything, from scratch", "scratch", FAITHFUL),
    Contender("PeterRec, serial (b)", "peter", FAITHFUL),
    Contender("PeterZero: no pre-training", "zero", FAITHFUL),
    Contender("LoRA", "lora", FAITHFUL),
    Contender("ladder", "ladder", FAITHFUL),
    *BASELINES,
    DEFAULT,
]
INSERTIONS = [
    Contender(f"{letter} {name}", "peter", (*FAITHFUL, f"insertion={name}"))
    for letter, name in [
        ("(b)", "serial2"),
        ("(c)", "serial1"),
        ("(c), the authors' code", "serial1-inner"),
        ("(d)", "parallel"),
        ("(d) without inner identity", "parallel-delta"),
        ("(e)", "parallel-after"),
    ]
]
ABLATION = [
    DEFAULT,
    Contender("without the wide term", "peter", ("wide=off",)),
    Contender("without patches: wide term and head", "peter", ("blocks=none",)),
    Contender("read-out: last state", "peter", ("readout=last",)),
    Contender("read-out: mean of the last window", "peter", ("readout=mean",)),
    Contender("read-out: last state and mean", "peter", ("readout=concat",)),
    Contender("head not warm-started", "peter", ("warm_start=off",)),
    Contender("patches in the last two blocks", "peter", ("blocks=6:8",)),
]
SHARES = (0.1, 0.25, 0.5, 1.0)
FEW = [
    DEFAULT,
    *BASELINES,
    Contender("FineAll", "full", FAITHFUL),
    Contender("PeterRec (b)", "peter", FAITHFUL),
]


@dataclass(frozen=True)
class Bench:
    """A data set, the tasks that are shown of it, and how its backbones are pre-trained."""

    data: str
    tasks: Sequence[str]
    every_task: Sequence[str]
    backbone: tuple[str, ...]
    salts: int = 2  # splits of the tables
    many: int = 10  # splits of the protocol "never worse"

    def cells(
        self, contenders: Sequence[Contender], tasks: Sequence[str], salts: int, share: float = 1.0
    ) -> list[Cell]:
        """Every contender on every task and split."""
        return [
            Cell(self.data, task, contender, f"s{salt}", share=share, backbone=self.backbone)
            for salt in range(salts)
            for contender in contenders
            for task in tasks
        ]

    def everything(self) -> list[Cell]:
        """All that the tables will ask for, measured in one go."""
        return [
            *self.cells([DEFAULT, *BASELINES, WIDE], self.every_task, self.many),
            *self.cells([*METHODS, *INSERTIONS, *ABLATION], self.tasks, self.salts),
            *(cell for share in SHARES for cell in self.cells(FEW, self.tasks[:1], self.salts, share)),
        ]


FULL = [
    Bench("movielens-100k", ("gender", "age"), ("gender", "age", "occupation"), ("epochs=20",)),
    Bench(
        "complete-journey",
        ("marital", "income"),
        ("marital", "kids", "age", "income", "household_size"),
        ("epochs=3",),
    ),
]
SMALL = [Bench("synthetic", ("taste",), ("taste", "region"), ("epochs=2", "blocks=2", "channels=16"), 2, 2)]


class Tables:
    """Tables over the benches, from records that are measured when a table first asks for them."""

    def __init__(self, benches: Sequence[Bench], records: Records, jobs: int) -> None:
        self.benches, self.records, self.jobs = benches, records, jobs

    def methods(self, contenders: Sequence[Contender]) -> str:
        """A row a contender: log-loss of every shown task, mean and deviation over the splits."""
        columns = ["", *(f"{bench.data}: {task}" for bench in self.benches for task in bench.tasks)]
        columns += ["trained", "seconds"]
        found = {
            (bench.data, task, contender.label): self._of(bench, contender, task)
            for bench in self.benches
            for contender in contenders
            for task in bench.tasks
        }
        lines = [self._majority()]
        for contender in contenders:
            mine = [some for (_, _, label), some in found.items() if label == contender.label]
            cells = [_loss_and_accuracy(some, "metrics") for some in mine]
            sizes = f"{max(record['params'] for some in mine for record in some):,}"
            seconds = statistics.median(record["seconds"] for some in mine for record in some)
            lines.append([contender.label, *cells, sizes, f"{seconds:.1f}"])
        return table(columns, lines)

    def _majority(self) -> list[str]:
        some = [self._of(bench, BASELINES[0], task) for bench in self.benches for task in bench.tasks]
        return ["majority", *(_loss_and_accuracy(records, "majority") for records in some), "0", "0.0"]

    def _of(self, bench: Bench, contender: Contender, task: str) -> list[Record]:
        return self.records.measure(bench.cells([contender], [task], bench.salts), self.jobs)

    def few_labels(self) -> str:
        """A row a contender and a column a share of the labels, for the first task of every bench."""
        columns = ["", *(f"{bench.tasks[0]}: {share:.0%}" for bench in self.benches for share in SHARES)]
        lines = []
        for contender in FEW:
            cells = []
            for bench in self.benches:
                for share in SHARES:
                    some = bench.cells([contender], bench.tasks[:1], bench.salts, share)
                    losses = [r["metrics"]["log_loss"] for r in self.records.measure(some, self.jobs)]
                    cells.append(spread(losses))
            lines.append([contender.label, *cells])
        return table(columns, lines)

    def curves(self, path: Path) -> None:
        """Validation loss by epoch of PeterRec and of PeterZero, a panel a task."""
        from matplotlib import pyplot

        shown = [(bench, task) for bench in self.benches for task in bench.tasks]
        figure, panels = pyplot.subplots(1, len(shown), figsize=(4 * len(shown), 3), squeeze=False)
        for panel, (bench, task) in zip(panels[0], shown, strict=True):
            for label, method in (("PeterRec", "peter"), ("PeterZero", "zero")):
                for at, record in enumerate(self._of(bench, Contender(label, method, FAITHFUL), task)):
                    curve = record["curve"]
                    colour = "C0" if method == "peter" else "C1"
                    panel.plot(range(1, len(curve) + 1), curve, colour, label=label if not at else None)
            panel.set(title=f"{bench.data}: {task}", xlabel="epoch", ylabel="validation log-loss")
            panel.legend()
        figure.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None})

    def never_worse(self) -> str:
        """The default against each baseline on every task: mean gain over the splits and its interval."""
        columns = ["", "metric", *(f"default - {rival}" for rival in RIVALS)]
        lines = []
        totals: dict[str, list[float]] = {rival: [] for rival in RIVALS}
        for bench in self.benches:
            cells = bench.cells([DEFAULT, *BASELINES, WIDE], bench.every_task, bench.many)
            found = self.records.measure(cells, self.jobs)
            for task in bench.every_task:
                for metric, gains in _gains([r for r in found if r["cell"].task == task]):
                    for rival, (values, _) in gains.items():
                        totals[rival].append(corrected(values, [1, 0, 0])[0])
                    cells_ = [told(values, users) for values, users in gains.values()]
                    lines.append([f"{bench.data}: {task}", metric, *cells_])
        means = [f"**{statistics.fmean(totals[rival]):+.4f}**" for rival in RIVALS]
        return table(columns, [*lines, ["mean of all", "", *means]])


def _gains(records: Sequence[Record]) -> Iterator[tuple[str, dict[str, tuple[list[float], list[int]]]]]:
    """For each metric the default's gains over each rival, one a split, and the users of a split."""
    ours = [record for record in records if record["label"] == DEFAULT.label]
    for metric in ("log_loss", "roc_auc"):
        gains = {}
        for rival in RIVALS:
            theirs = [record for record in records if record["label"] == rival]
            pairs = zip(ours, theirs, strict=True)
            gains[rival] = [gain(mine, other, metric) for mine, other in pairs], ours[0]["users"]
        yield metric, gains


def _loss_and_accuracy(records: Sequence[Record], of: str) -> str:
    return " / ".join(
        spread([record[of][metric] for record in records]) for metric in ("log_loss", "accuracy")
    )


def report(root: Path, page: Path, small: bool, jobs: int) -> None:
    """Measure what is missing and write every section."""
    benches = SMALL if small else FULL
    for bench in benches:
        prepare(root, bench.data)
    records = Records(root)
    records.measure([cell for bench in benches for cell in bench.everything()], jobs)
    tables = Tables(benches, records, jobs)
    section(page, "never worse", NEVER_WORSE + tables.never_worse())
    section(page, "methods", METHODS_TEXT + tables.methods(METHODS))
    section(page, "ablation", ABLATION_TEXT + tables.methods(ABLATION))
    section(page, "insertions", INSERTIONS_TEXT + tables.methods(INSERTIONS))
    section(page, "few labels", FEW_TEXT + tables.few_labels())
    tables.curves(page.parent / "figures" / "pretraining.svg")
    section(page, "pre-training", CURVES_TEXT)


NEVER_WORSE = """## Never worse than counting?

Gains of the default patch over each baseline on test users, more being better: the mean over salted splits,
each with a backbone of its own, and its 95 % interval, corrected for splits that share users (Nadeau and
Bengio, 2003). Nothing was tuned on test users. `wide only` is the default's own wide term: the last column is
what the neural part adds.

"""
METHODS_TEXT = f"""## The papers' methods beside ours

Log-loss / accuracy on test users, mean ± standard deviation over splits. Rows named after the papers are
faithful: one window, the last state behind a trained [TCL], a random head, no wide term; {EPOCHS} epochs,
never stopped early, since patches show a plateau and then a second rise (PeterRec, figure 5), and the best
validation epoch is kept. `trained` counts numbers, the largest over the tasks.

"""
ABLATION_TEXT = "## What each part of the default is worth\n\n"
INSERTIONS_TEXT = "## Where a patch is inserted (PeterRec, figure 3)\n\n"
FEW_TEXT = "## Few labels\n\nLog-loss with a share of the training users' labels.\n\n"
CURVES_TEXT = """## With and without pre-training

Validation loss by epoch of the same patches on the pre-trained body (PeterRec) and on a random one
(PeterZero).

![PeterRec and PeterZero by epoch](figures/pretraining.svg)
"""

if __name__ == "__main__":
    main(report, str(__doc__))
