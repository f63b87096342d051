"""What is a backbone best pre-trained on? The next item, two views of a user (CLUE), or both.

python examples/objectives/run.py            # everything, to docs/results.md
python examples/objectives/run.py --small    # minutes: synthetic users, to see that it runs
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
from experiment import Cell, Contender, Record, Records, prepare
from report import Given, gain, main, spread, table, told

SALTS = 3  # splits, each with backbones of its own
NEXT = "next item"
INFONCE = ("contrast=infonce", "view_dropout=0.2")
OBJECTIVES = {
    NEXT: (),
    "views": ("objective=contrastive",),
    "views, InfoNCE": ("objective=contrastive", *INFONCE),
    "both": ("objective=next-item+contrastive",),
    "both, InfoNCE": ("objective=next-item+contrastive", *INFONCE),
}
ALONE = ("wide=off", "summary=off")
READERS = [
    Contender("probe", "probe"),
    Contender("probe of [UR]", "probe", ("readout=last", "tcl=on")),
    Contender("patches", "peter", ALONE),
    Contender("patches of [UR]", "peter", (*ALONE, "readout=last", "tcl=on", "tcl_from=backbone")),
    Contender("default", "peter"),
]


@dataclass(frozen=True)
class Bench:
    """A data set, what is asked of it, and its backbones."""

    data: str
    tasks: Sequence[str]
    backbone: tuple[str, ...]
    salts: int = SALTS
    fit: tuple[str, ...] = ("threads=1", "patience=4")

    def cells(self, task: str, objective: str, reader: Contender) -> list[Cell]:
        """One a split."""
        settings = (*self.backbone, *OBJECTIVES[objective])
        return Cell(self.data, task, reader, backbone=settings, fit=self.fit).over(self.salts)


SHAPE = ("architecture=sasrec", "blocks=2", "dropout=0.2")
FULL = [
    Bench("movielens-100k", ("gender", "age"), ("epochs=20", *SHAPE)),
    Bench("complete-journey", ("marital",), ("epochs=3", *SHAPE)),
]
SMALL = [Bench("synthetic", ("taste",), ("epochs=1", "channels=16", *SHAPE), 1, ("threads=1", "epochs=1"))]


def lines(bench: Bench, records: Records, jobs: int) -> list[list[str]]:
    """A row a task and an objective: every reader's log-loss, and what it gains over having NEXT alone."""
    asked = {
        (task, objective, reader.label): bench.cells(task, objective, reader)
        for task in bench.tasks
        for objective in OBJECTIVES
        for reader in READERS
    }
    records.measure([cell for some in asked.values() for cell in some], jobs)
    found = {key: records.measure(some, jobs) for key, some in asked.items()}
    return [
        [task, objective, *_cells(found, task, objective)] for task in bench.tasks for objective in OBJECTIVES
    ]


def _cells(found: dict[tuple[str, str, str], list[Record]], task: str, objective: str) -> list[str]:
    shown = []
    for reader in READERS:
        ours, theirs = found[task, objective, reader.label], found[task, NEXT, reader.label]
        shown.append(spread([record["metrics"]["log_loss"] for record in ours]))
        if objective != NEXT:
            gains = [gain(*pair, "log_loss") for pair in zip(ours, theirs, strict=True)]
            shown[-1] += f"; {told(gains, ours[0]['users'])}"
    return shown


def report(given: Given) -> None:
    """Measure what is missing, then write the section."""
    benches = SMALL if given.small else FULL
    for bench in benches:
        prepare(given.root, bench.data)
    records = Records(given.page.with_suffix(".jsonl"), given.root)

    def text(bench: Bench) -> str:
        columns = ["", "pre-trained on", *(reader.label for reader in READERS)]
        return TEXT.format(data=bench.data) + table(columns, lines(bench, records, given.jobs))

    for bench in benches:
        given.write(f"objectives: {bench.data}", partial(text, bench), records)


TEXT = f"""## Pre-training on the next item, on two views of a user, or on both: {{data}}

Log-loss on test users, mean ± standard deviation over {SALTS} splits with backbones of their own; behind the
semicolon what the reader gains over its own log-loss on `{NEXT}`, more being better, with the 95 % interval
of Nadeau and Bengio. All on the same Transformer (sasrec, two blocks). `views` is CLUE as near as its paper
tells: SimSiam, and dropout of one half as the only augmentation. Otherwise than there, a user is a window of
his events, no dropout is in attention, the predictor ends without normalisation, and what is read stays
frozen, which CLUE fine-tunes. InfoNCE is ours, with dropout of a fifth; `both` adds a tenth of either loss.
`probe of [UR]` reads the state behind the token that CLUE trains, `probe` the mean states of all levels, and
so do the patches, without counts or item summary; `default` has both.

"""

if __name__ == "__main__":
    main(report, str(__doc__))
