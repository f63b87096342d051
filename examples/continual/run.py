"""Tasks learnt one after another: who forgets, who gains by what was learnt before, and what it costs.

python examples/continual/run.py            # both real data sets, to docs/results.md
python examples/continual/run.py --small    # minutes: synthetic users, to see that it runs
"""

import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))
from course import RANKING, Course, Way, learn
from experiment import Record, Records, prepare
from report import Given, main, spread, table

PLAIN = ("wide=off", "summary=off", "readout=last", "tcl=on", "warm_start=off", "caution=0")
WAYS = [
    Way("SinMoAll: one model, nothing protected", "full", PLAIN, goes_on=True),
    Way("Conure", "prune", PLAIN),
    Way("experts", "experts", PLAIN),
    Way("mask", "mask", PLAIN),
    Way("PeterRec", "peter", PLAIN),
    Way("separate models (FineAll)", "full", PLAIN),
    Way("joint (MTL)", "joint", PLAIN, together=True),
]
CONURE = next(way for way in WAYS if way.method == "prune")
SHARED = WAYS[0]
READING = {"prune", "experts", "mask"}  # methods for which it matters what was learnt before


@dataclass(frozen=True)
class Bench:
    """A data set, the orders in which its tasks are learnt, and how."""

    data: str
    orders: Sequence[tuple[str, ...]]
    backbone: tuple[str, ...]
    fit: tuple[str, ...]

    def courses(self, way: Way) -> list[Course]:
        """A way's courses, one an order."""
        return [Course(self.data, order, way, self.backbone, self.fit) for order in self.orders]

    def alone(self, way: Way, task: str) -> Course:
        """A task with nothing before it."""
        return Course(self.data, (task,), way, self.backbone, self.fit)


PATIENT = ("threads=1", "epochs=12", "patience=12")
FULL = [
    Bench(
        "movielens-100k",
        [
            ("gender", "age", "occupation"),
            ("age", "occupation", "gender"),
            ("occupation", "gender", "age"),
        ],
        ("epochs=20",),
        PATIENT,
    ),
    Bench(
        "complete-journey",
        [
            ("marital", "kids", "age", "income", "household_size"),
            ("income", "household_size", "age", "kids", "marital"),
        ],
        ("epochs=3",),
        PATIENT,
    ),
]
SMALL = [
    Bench(
        "synthetic",
        [("taste", "region"), ("region", "taste")],
        ("epochs=1", "channels=16"),
        ("threads=1", "epochs=2"),
    )
]


class Tables:
    """A bench's table, and the matrices behind it."""

    def __init__(self, bench: Bench, records: Records, given: Given) -> None:
        self.bench, self.records, self.given = bench, records, given
        wanted = [course for way in WAYS for course in bench.courses(way)]
        wanted += [bench.alone(way, task) for way in WAYS if _carries(way) for task in bench.orders[0]]
        self._found(wanted)

    def _found(self, courses: Sequence[Course]) -> list[Record]:
        cells = [courses[0].cell(courses[0].order[0])]
        return self.records.each(learn, courses, cells, self.given.jobs)

    def ways(self) -> str:
        """A row a way: what tasks are worth in the end, what was forgotten, what was gained, what it took."""
        tasks = self.bench.orders[0]
        columns = [
            "",
            *tasks,
            "forgotten",
            "gained by what came before",
            f"next item {RANKING}",
            "trained",
            "seconds",
        ]
        return table(columns, (row for way in WAYS for row in self._rows(way)))

    def _rows(self, way: Way) -> Iterator[list[str]]:
        courses = self.bench.courses(way)
        found = self._found(courses)
        if way == CONURE:
            yield self._row(
                f"{way.label}, before retraining", courses, found, [each["before"] for each in found]
            )
        yield self._row(way.label, courses, found, [each["costs"][-1] for each in found])

    def _row(
        self, label: str, courses: Sequence[Course], found: Sequence[Record], costs: Sequence[Sequence[float]]
    ) -> list[str]:
        ended = [
            dict(zip(course.order, values, strict=True))
            for course, values in zip(courses, costs, strict=True)
        ]
        ranking = (
            f"{found[0]['ranking'][0]:.4f} -> {statistics.fmean(each['ranking'][-1] for each in found):.4f}"
        )
        return [
            label,
            *(spread([cost[task] for cost in ended]) for task in self.bench.orders[0]),
            _forgotten(courses[0].way, found),
            self._gained(courses, ended) if _carries(courses[0].way) else "0",
            ranking if not courses[0].way.together else "-",
            f"{statistics.fmean(count for each in found for count in each['params']):,.0f}",
            f"{statistics.fmean(seconds for each in found for seconds in each['seconds']):.0f}",
        ]

    def _gained(self, courses: Sequence[Course], ended: Sequence[dict[str, float]]) -> str:
        """How much better a later task is than with nothing before it: just after it was learnt."""
        gains = []
        for course, [record] in ((course, self._found([course])) for course in courses):
            for at, task in list(enumerate(course.order))[1:]:
                [alone] = self._found([self.bench.alone(course.way, task)])
                gains.append(alone["costs"][0][0] - record["costs"][at][at])
        return f"{statistics.fmean(gains):+.4f}"

    def matrix(self, way: Way) -> str:
        """R[i][j] of the first order: a row a task, a column what was learnt last."""
        course = self.bench.courses(way)[0]
        [found] = self._found([course])
        rows = [
            [task, *("" for _ in range(at)), *(f"{costs[at]:.3f}" for costs in found["costs"][at:])]
            for at, task in enumerate(course.order)
        ]
        rows.append([f"next item {RANKING}", *(f"{value:.4f}" for value in found["ranking"][1:])])
        return table(["", *(f"after {task}" for task in course.order)], rows)


def _carries(way: Way) -> bool:
    """Whether what was learnt before can matter to a later task."""
    return way.goes_on or way.method in READING


def _forgotten(way: Way, found: Sequence[Record]) -> str:
    """By how much older tasks are worse in the end than when they were learnt; 0 only if no bit moved."""
    if way.together:
        return "-"
    losses = [
        each["costs"][-1][at] - each["costs"][at][at]
        for each in found
        for at in range(len(each["costs"]) - 1)
    ]
    moved = max(each["moved"] for each in found)
    return f"{statistics.fmean(losses):+.4f}" if moved else "0"


def report(given: Given) -> None:
    """Measure what is missing, a data set after another, and write its section when it is complete."""
    benches = SMALL if given.small else FULL
    records = Records(given.page.with_suffix(".jsonl"), given.root)
    for bench in benches:
        prepare(given.root, bench.data)
        given.write(f"continual: {bench.data}", partial(_text, bench, records, given), records)


def _text(bench: Bench, records: Records, given: Given) -> str:
    tables = Tables(bench, records, given)
    return "\n".join(
        [
            TEXT.format(data=bench.data),
            tables.ways(),
            f"{SHARED.label}, first order:\n\n{tables.matrix(SHARED)}",
            f"{CONURE.label}, first order:\n\n{tables.matrix(CONURE)}",
        ]
    )


TEXT = """## Learning tasks one after another: {data}

Log-loss of each task on test users after the last task was learnt, less being better: mean ± standard
deviation over orders. `forgotten` is how much worse a task is in the end than when it was learnt, on average
over all tasks but the last; a plain 0 says that no answer of any task moved by a single bit. `gained by what
came before` compares each later task with the same method when nothing was learnt before it. The next item is
what the backbone was pre-trained for. `trained` and `seconds` (of one core) are a task's. As in the papers,
one window is read, at a trained [TCL], by a random head without a wide term, so that the trunk alone counts;
Conure frees 70 % of what is free, and descends once before pruning and once after. Below: R[i][j], the
log-loss of task i after task j.

"""

if __name__ == "__main__":
    main(report, str(__doc__))
