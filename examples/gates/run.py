"""Is it worth to know whose blocks to open? UAF's policies against as many gates that open at random.

python examples/gates/run.py            # both real data sets, to docs/results.md
python examples/gates/run.py --small    # minutes: synthetic users, to see that it runs
"""

import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
from experiment import Cell, Contender, Record, Records, prepare
from report import Given, gain, main, spread, table, told

SALTS = 3  # splits, each with a backbone of its own
ALONE = ("wide=off", "summary=off")  # so that the gated blocks alone count
COPIES = (*ALONE, "form=copies")
POLICIES = {
    "hard": (*ALONE, "policy=hard"),
    "soft": (*ALONE, "policy=soft"),
    "reinforced": (*ALONE, "policy=reinforced"),
    "hard, copies of blocks": (*COPIES, "policy=hard"),
}
ALWAYS = {"always open": (*ALONE, "policy=always"), "always open, copies": (*COPIES, "policy=always")}


@dataclass(frozen=True)
class Bench:
    """A data set, what is asked of it, and how."""

    data: str
    tasks: Sequence[str]
    backbone: tuple[str, ...]
    fit: tuple[str, ...]
    salts: int = SALTS

    def cells(self, task: str, label: str, settings: tuple[str, ...]) -> list[Cell]:
        """One a split."""
        contender = Contender(label, "adaptive", settings)
        return Cell(self.data, task, contender, backbone=self.backbone, fit=self.fit).over(self.salts)


PATIENT = ("threads=1", "epochs=12", "patience=12", "caution=0")
FULL = [
    Bench("movielens-100k", ("gender", "age"), ("epochs=20",), PATIENT),
    Bench("complete-journey", ("marital", "income"), ("epochs=3",), PATIENT),
]
SMALL = [
    Bench("synthetic", ("taste",), ("epochs=1", "channels=16", "blocks=2"), ("threads=1", "epochs=1"), 1)
]


def blind(learnt: Record) -> Cell:
    """The same with as many gates open, whoever the user is."""
    cell: Cell = learnt["cell"]
    kept = tuple(each for each in cell.contender.settings if not each.startswith("policy="))
    settings = (*kept, "policy=random", f"share={learnt['open']:.4f}")
    return replace(cell, contender=Contender("random", "adaptive", settings))


def lines(bench: Bench, records: Records, jobs: int) -> Iterator[list[str]]:
    """A row a task and policy; first all policies are measured, then what is as often open."""
    kinds = {**POLICIES, **ALWAYS}.items()
    cells = [cell for task in bench.tasks for kind in kinds for cell in bench.cells(task, *kind)]
    found = records.measure(cells, jobs)
    records.measure([blind(each) for each in found if each["label"] in POLICIES], jobs)
    for task in bench.tasks:
        yield from _lines(bench, task, records)


def _lines(bench: Bench, task: str, records: Records) -> Iterator[list[str]]:
    learnt = {label: records.measure(bench.cells(task, label, how), 1) for label, how in POLICIES.items()}
    twins = {label: records.measure([blind(each) for each in found], 1) for label, found in learnt.items()}
    for label, found in learnt.items():
        gains = [gain(*pair, "log_loss") for pair in zip(found, twins[label], strict=True)]
        yield [
            task, label, _losses(found), _losses(twins[label]), told(gains, found[0]["users"]),
            f"{statistics.fmean(each['open'] for each in found):.2f}",
            f"{statistics.fmean(each['policies'] for each in found):.0f}", f"{found[0]['params']:,}",
        ]  # fmt: skip
    for label, how in ALWAYS.items():
        found = records.measure(bench.cells(task, label, how), 1)
        yield [task, label, _losses(found), "-", "-", "1.00", "1", f"{found[0]['params']:,}"]


def _losses(found: Sequence[Record]) -> str:
    return spread([record["metrics"]["log_loss"] for record in found])


def report(given: Given) -> None:
    """Measure what is missing, then write a section a data set."""
    benches = SMALL if given.small else FULL
    for bench in benches:
        prepare(given.root, bench.data)
    records = Records(given.page.with_suffix(".jsonl"), given.root)

    def text(bench: Bench) -> str:
        columns = [
            "", "policy", "log-loss", "as many at random", "gained by knowing whose",
            "open", "different users", "trained",
        ]  # fmt: skip
        return TEXT.format(data=bench.data) + table(columns, lines(bench, records, given.jobs))

    for bench in benches:
        given.write(f"gates: {bench.data}", partial(text, bench), records)


TEXT = f"""## Gates a user, {{data}}: does it help to know whose blocks to open?

UAF's policies over PeterRec's patches, and over copies of whole blocks as in the authors' code. Log-loss on
test users, mean ± standard deviation over {SALTS} splits with backbones of their own; beside each policy the
same with as large a share of gates open to training users, drawn by a hash of the user's items; what is
gained by knowing whose, more being better, with the 95 % interval of Nadeau and Bengio. `open`: that share.
`different users`: how many ways of having the blocks there are among test users. No counts and no item
summary; of 12 epochs the best on validation users is kept.

"""

if __name__ == "__main__":
    main(report, str(__doc__))
