"""The papers' tables on real data: methods, insertions, few labels, with and without pre-training, ablation.

python examples/paper_tables/run.py            # everything, to docs/results.md
python examples/paper_tables/run.py --small    # minutes: synthetic users, to see that it runs
"""

import statistics
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
from asked import (
    ABLATION,
    BASELINES,
    COLD,
    CROSS,
    DEFAULT,
    EPOCHS,
    FEW,
    FULL,
    METHODS,
    SETTINGS,
    SHARES,
    SMALL,
    WIDE,
    Bench,
    Other,
)
from experiment import Cell, Contender, Record, Records, prepare
from report import Given, gain, main, picture, spread, table, told

from peter.services.promotion.contest import MAJORITY

SHOWN = {"ndcg@10": ("ndcg@10", "uni100_hit@10"), "log_loss": ("log_loss", "accuracy")}
RANKED = ("log_loss", "ndcg@10", "hit@10")
RARE = 5  # test users of a class below which ranking them says nothing: log-loss alone is shown


class Tables:
    """Tables over the benches, from records that are measured when a table first asks for them."""

    def __init__(self, benches: Sequence[Bench], records: Records, given: Given) -> None:
        self.benches, self.records, self.given = benches, records, given

    def methods(self, contenders: Sequence[Contender]) -> str:
        """A row a contender: its metrics on every shown task, mean and deviation over the splits."""
        shown = [(bench, task) for bench in self.benches for task in bench.tasks]
        self._measured(bench.cells(contenders, bench.tasks, bench.salts) for bench in self.benches)
        columns = ["", *(f"{bench.data}: {task}" for bench, task in shown), "trained", "seconds"]
        lines = [[MAJORITY, *(_cell(self._of(*each, BASELINES[0]), MAJORITY) for each in shown), "0", "0.0"]]
        for contender in contenders:
            mine = [self._of(*each, contender) for each in shown]
            sizes = f"{max(record['params'] for some in mine for record in some):,}"
            seconds = statistics.median(record["seconds"] for some in mine for record in some)
            lines.append(
                [contender.label, *(_cell(some, "metrics") for some in mine), sizes, f"{seconds:.1f}"]
            )
        return table(columns, lines)

    def _measured(self, cells: Iterable[Sequence[Cell]]) -> None:
        """Measure all that a table will ask for at once, splits side by side."""
        self.records.measure([cell for some in cells for cell in some], self.given.jobs)

    def _of(self, bench: Bench, task: str, contender: Contender) -> list[Record]:
        return self.records.measure(bench.cells([contender], [task], bench.salts), self.given.jobs)

    def settings(self, others: Sequence[Other]) -> str:
        """A row a setting: what it gains over the default, on validation and on test users of every bench."""
        columns = [
            "",
            *(f"{bench.data}: {part}" for bench in self.benches for part in ("validation", "test")),
        ]
        pairs = [(Other(DEFAULT.label), bench) for bench in self.benches]
        pairs += [(other, bench) for other in others for bench in self.benches]
        self._measured(
            other.on(bench).cells([other.contender], bench.tasks, bench.salts) for other, bench in pairs
        )
        lines = []
        for other in others:
            gains: list[str] = []
            for bench in self.benches:
                changed, contender = other.on(bench), other.contender
                twos = [
                    two
                    for task in bench.tasks
                    for two in zip(
                        self._of(changed, task, contender), self._of(bench, task, DEFAULT), strict=True
                    )
                ]
                gains.append(spread([default["valid"] - found["valid"] for found, default in twos]))
                gains.append(spread([gain(*two, "log_loss") for two in twos]))
            lines.append([other.label, *gains])
        return table(columns, lines)

    def few_labels(self) -> str:
        """A row a contender and a column a share of the labels, for the first task of every bench."""
        self._measured(
            bench.cells(FEW, bench.tasks[:1], bench.salts, share)
            for bench in self.benches
            for share in SHARES
        )
        columns = ["", *(f"{bench.tasks[0]}: {share:.0%}" for bench in self.benches for share in SHARES)]
        lines = []
        for contender in FEW:
            cells = []
            for bench in self.benches:
                for share in SHARES:
                    some = bench.cells([contender], bench.tasks[:1], bench.salts, share)
                    losses = [r["metrics"]["log_loss"] for r in self.records.measure(some, self.given.jobs)]
                    cells.append(spread(losses))
            lines.append([contender.label, *cells])
        return table(columns, lines)

    def curves(self, folder: Path) -> str:
        """Validation loss by epoch of PeterRec and of PeterZero, a panel a task."""
        from matplotlib import pyplot

        shown = [(bench, task) for bench in self.benches for task in bench.tasks]
        figure, panels = pyplot.subplots(1, len(shown), figsize=(4 * len(shown), 3), squeeze=False)
        for panel, (bench, task) in zip(panels[0], shown, strict=True):
            for label, contender in CURVES.items():
                for at, record in enumerate(self._of(bench, task, contender)):
                    curve = record["curve"]
                    colour = "C0" if label == "PeterRec" else "C1"
                    panel.plot(range(1, len(curve) + 1), curve, colour, label=label if not at else None)
            panel.set(title=f"{bench.data}: {task}", xlabel="epoch", ylabel="validation log-loss")
            panel.legend()
        picture(figure, folder / "pretraining.svg")
        return "![PeterRec and PeterZero by epoch](figures/pretraining.svg)\n"

    def against(self, contenders: Sequence[Contender], metrics: Sequence[str]) -> str:
        """The default against each rival on every task: mean gain over the splits and its interval."""
        rivals = [MAJORITY, *(contender.label for contender in contenders if contender != DEFAULT)]
        lines, means = [], []
        for metric in metrics:
            totals: dict[str, list[float]] = {rival: [] for rival in rivals}
            for name, mine in self._by_task(contenders):
                if _tells(metric, mine):
                    gains = [_gains(mine, rival, metric) for rival in rivals]
                    for rival, values in zip(rivals, gains, strict=True):
                        totals[rival].append(statistics.fmean(values))
                    intervals = (told(values, mine[0]["users"]) for values in gains)
                    lines.append([name, metric, str(len(gains[0])), *intervals])
            if lines and lines[-1][1] == metric:
                averages = (f"**{statistics.fmean(values):+.4f}**" for values in totals.values())
                means.append(["mean over tasks", metric, "", *averages])
        columns = ["", "metric", "splits", *(f"default - {rival}" for rival in rivals)]
        return table(columns, [*lines, *means])

    def _by_task(self, contenders: Sequence[Contender]) -> Iterator[tuple[str, list[Record]]]:
        """Records of every task over the splits of the protocols."""
        for bench in self.benches:
            splits = min(bench.many, self.given.splits)
            found = self.records.measure(bench.cells(contenders, bench.every_task, splits), self.given.jobs)
            for task in bench.every_task:
                yield f"{bench.data}: {task}", [record for record in found if record["cell"].task == task]


CURVES = {
    label: next(contender for contender in METHODS if contender.label.startswith(label))
    for label in ("PeterRec", "PeterZero")
}


def _tells(metric: str, records: Sequence[Record]) -> bool:
    """Whether they have the metric, and users enough of every class to rank them by."""
    few = any(record["rarest"] is not None and record["rarest"] < RARE for record in records)
    return metric in records[0]["metrics"] and not (metric == "roc_auc" and few)


def _gains(records: Sequence[Record], rival: str, metric: str) -> list[float]:
    """The default's gains over a rival, one a split."""
    ours, theirs = ([r for r in records if r["label"] == label] for label in (DEFAULT.label, rival))
    if rival == MAJORITY:
        theirs = [{"metrics": record["majority"]} for record in ours]
    return [gain(mine, other, metric) for mine, other in zip(ours, theirs, strict=True)]


def _cell(records: Sequence[Record], of: str) -> str:
    shown = next(pair for name, pair in SHOWN.items() if name in records[0]["metrics"])
    return " / ".join(spread([record[of][metric] for record in records]) for metric in shown)


def report(given: Given) -> None:
    """Measure what is missing, section by section, and write each when it is complete."""
    benches, cross = (SMALL, []) if given.small else (FULL, CROSS)
    for bench in [*benches, *cross]:
        prepare(given.root, bench.data)
    records = Records(given.page.with_suffix(".jsonl"), given.root)  # beside the page: hours of work
    tables, cold = Tables(benches, records, given), Tables(cross, records, given)
    first = Tables([replace(bench, salts=1) for bench in benches], records, given)
    protocol = [DEFAULT, *BASELINES, WIDE]
    settings = SETTINGS[:: 4 if given.small else 1]
    sections = {
        "never worse": lambda: NEVER_WORSE + tables.against(protocol, ("log_loss", "roc_auc")),
        "cold start": lambda: COLD_TEXT + cold.against(COLD, RANKED) + "\n" + cold.methods(COLD),
        "methods": lambda: METHODS_TEXT + tables.methods(METHODS),
        "ablation": lambda: ABLATION_TEXT + tables.methods(ABLATION),
        "settings": lambda: SETTINGS_TEXT + first.settings(settings),
        "few labels": lambda: FEW_TEXT + tables.few_labels(),
        "pre-training": lambda: CURVES_TEXT + tables.curves(given.page.parent / "figures"),
    }
    for name, text in sections.items():
        if cross or name != "cold start":
            given.write(name, text, records)


NEVER_WORSE = """## Never worse than counting?

Gains of the default patch over each baseline on test users, more being better: the mean over salted splits,
each with a backbone of its own, and its 95 % interval, corrected for splits that share users (Nadeau and
Bengio, 2003). Nothing was tuned on test users. `wide only` is the default's own wide term: the last column is
what the neural part adds. Areas under the curve are left out where a class has fewer than five test users.

"""
METHODS_TEXT = f"""## The papers' methods beside ours

Log-loss / accuracy on test users, mean ± standard deviation over splits. Rows named after the papers are
faithful: one window, the last state behind a trained [TCL], a random head, no wide term; {EPOCHS} epochs,
never stopped early, since patches show a plateau and then a second rise (PeterRec, figure 5), and the best
validation epoch is kept. `trained` counts numbers, the largest over the tasks.

"""
ABLATION_TEXT = """## What each part of the default is worth

Log-loss / accuracy on test users, mean ± standard deviation over splits.

"""
SETTINGS_TEXT = """## Would other settings be better?

What the default would gain in log-loss by another setting, more being better: mean ± standard deviation over
the tasks above, on their first split. Settings are chosen on validation users; test users stand beside for
the reader's judgement.

"""
COLD_TEXT = """## Cold start: GROCERY to DRUG GM

Households of The Complete Journey as if the drugstore had opened on 1 July: which of its types of product a
household buys, from its groceries before its first such purchase alone. Gains of the default over each rival,
more being better, mean over splits with a backbone each; every item is ranked. The log-loss of the softmax
over all items sees every choice, the other metrics the first ten alone. Below: ndcg@10, and beside it the hit
rate at 10 among each item and 99 others (`uni100`), far easier. `majority` is popularity.

"""
FEW_TEXT = "## Few labels\n\nLog-loss with a share of the training users' labels.\n\n"
CURVES_TEXT = """## With and without pre-training

Validation loss by epoch of the same patches on the pre-trained body (PeterRec) and on a random one
(PeterZero).

"""

if __name__ == "__main__":
    main(report, str(__doc__))
