"""Where a pre-training stands: the epochs that are done, and how far the one under way is."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch. Losses are nats an event, and what a comparison of users adds; metrics are those of
    validation users."""

    epoch: int  # from 1
    train_loss: float
    valid_loss: float
    metrics: dict[str, float]
    seconds: float
    examples_per_second: float  # asked events, or users where none is asked for
    best: bool


@dataclass
class Position:
    """Where a run stands; with the tensors, all that a resumed run needs, since randomness has no state."""

    step: int = 0  # done in the epoch that is under way
    loss: float = 0.0  # sum over the asked events of those steps
    asked: int = 0
    seconds: float = 0.0
    reports: list[EpochReport] = field(default_factory=list)

    @property
    def best(self) -> EpochReport | None:
        """The report of the epoch to keep."""
        return next((report for report in reversed(self.reports) if report.best), None)

    def next_epoch(self, report: EpochReport) -> None:
        """Stand at the beginning of the epoch after the one of `report`."""
        self.step, self.loss, self.asked, self.seconds = 0, 0.0, 0, 0.0
        self.reports.append(report)
