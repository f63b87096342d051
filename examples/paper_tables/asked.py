"""What the tables ask for: contenders, other settings, and data sets with their splits."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from experiment import Cell, Contender

EPOCHS = 12
PATIENT = (f"epochs={EPOCHS}", f"patience={EPOCHS}", "caution=0")  # never stopped early: the best epoch stays
PLAIN = ("wide=off", "summary=off", "readout=last", "warm_start=off", *PATIENT)
FAITHFUL = (*PLAIN, "tcl=on")
DEFAULT = Contender("default", "peter")
BASELINES = [Contender(name, name) for name in ("bag", "lsa", "probe")]
WIDE = Contender("wide only", "peter", ("deep=off",))
RIVALS = [*(contender.label for contender in BASELINES), WIDE.label]
METHODS = [
    Contender("FineCLS: head on the last state", "peter", (*FAITHFUL, "blocks=none")),
    Contender("FineLast: last block and head", "last", FAITHFUL),
    Contender("FineAll: everything", "full", FAITHFUL),
    Contender("FineZero: everything, from scratch", "scratch", FAITHFUL),
    Contender("joint: all tasks at once (MTL)", "joint", FAITHFUL),
    *(
        Contender(f"PeterRec, {insertion} ({letter})", "peter", (*FAITHFUL, f"insertion={insertion}"))
        for letter, insertion in [
            ("b", "serial2"),
            ("c", "serial1"),
            ("c, the authors' code", "serial1-inner"),
            ("d", "parallel"),
            ("d without inner identity", "parallel-delta"),
            ("e", "parallel-after"),
        ]
    ),
    Contender("PeterZero: no pre-training", "zero", FAITHFUL),
    Contender("LoRA", "lora", FAITHFUL),
    Contender("ladder", "ladder", PLAIN),
    *BASELINES,
    DEFAULT,
]
ABLATION = [
    DEFAULT,
    Contender("without the wide term", "peter", ("wide=off",)),
    Contender("without the item summary", "peter", ("summary=off",)),
    Contender("without patches: wide term, summary and levels", "peter", ("blocks=none",)),
    WIDE,
    Contender("read-out: last state", "peter", ("readout=last",)),
    Contender("read-out: mean of the last window", "peter", ("readout=mean",)),
    Contender("read-out: last state and mean", "peter", ("readout=concat",)),
    Contender("head not warm-started", "peter", ("warm_start=off",)),
    Contender("start not preferred", "peter", ("caution=0",)),
]
SHARES = (0.1, 0.25, 0.5, 1.0)
FEW = [
    DEFAULT,
    *BASELINES,
    Contender("FineAll", "full", FAITHFUL),
    Contender("PeterRec (b)", "peter", (*FAITHFUL, "insertion=serial2")),
]
COLD = [DEFAULT, *BASELINES, Contender("scratch", "scratch"), WIDE]


@dataclass(frozen=True)
class Other:
    """The default with something else in place of what was chosen."""

    label: str
    settings: tuple[str, ...] = ()
    shape: tuple[str, ...] = ()  # of the backbone
    times: float = 1  # as many epochs of pre-training

    @property
    def contender(self) -> Contender:
        """The patch's part of it."""
        return Contender(self.label, "peter", self.settings)

    def on(self, bench: "Bench") -> "Bench":
        """The bench with the backbones that it asks for."""
        epochs = max(1, round(self.times * bench.epochs))
        return replace(bench, epochs=epochs, shape=(*bench.shape, *self.shape))


SETTINGS = [
    Other("learning rate 3e-4", ("learning_rate=0.0003",)),
    Other("learning rate 3e-3", ("learning_rate=0.003",)),
    Other("dropout 0.2", ("dropout=0.2",)),
    Other("label smoothing 0.05", ("label_smoothing=0.05",)),
    Other("patches twice as wide", ("reduction=4",)),
    Other("patches in the last two blocks", ("blocks=6:8",)),
    Other("backbone twice as wide", shape=("channels=128",)),
    Other("a third of the pre-training", times=1 / 3),
    Other("twice the pre-training", times=2),
]


@dataclass(frozen=True)
class Bench:
    """A data set, the tasks that are shown of it, and how its backbones are pre-trained."""

    data: str
    tasks: Sequence[str]
    every_task: Sequence[str]
    epochs: int  # of pre-training
    shape: tuple[str, ...] = ()  # of the backbone
    salts: int = 2  # splits of the tables
    many: int = 10  # splits at most of the protocols "never worse" and "cold start"
    fit: tuple[str, ...] = ("threads=1",)

    @property
    def backbone(self) -> tuple[str, ...]:
        """Settings of its backbones."""
        return (f"epochs={self.epochs}", *self.shape)

    def cells(
        self, contenders: Sequence[Contender], tasks: Sequence[str], salts: int, share: float = 1.0
    ) -> list[Cell]:
        """Every contender on every task and split."""
        return [
            Cell(
                self.data, task, contender, f"s{salt}", share=share, backbone=self.backbone, fit=self.fit,
                others=self._others(contender, task),
            )
            for salt in range(salts)
            for contender in contenders
            for task in tasks
        ]  # fmt: skip

    def _others(self, contender: Contender, task: str) -> tuple[str, ...]:
        if contender.method != "joint":
            return ()
        return tuple(other for other in self.every_task if other != task)


PATIENCE = ("threads=1", "patience=4")
FULL = [
    Bench(
        "movielens-100k",
        ("gender", "age"),
        ("gender", "age", "occupation"),
        20,
        fit=PATIENCE,
    ),
    Bench(
        "complete-journey",
        ("marital", "income"),
        ("marital", "kids", "age", "income", "household_size"),
        3,
        fit=PATIENCE,
    ),
]
CROSS = [Bench("complete-journey-cross", ("drugstore",), ("drugstore",), 3, salts=5, many=5, fit=PATIENCE)]
QUICK = ("threads=1", "epochs=1")
SMALL = [Bench("synthetic", ("taste",), ("taste", "region"), 1, ("channels=16",), 1, 2, QUICK)]
