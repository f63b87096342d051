"""Pre-training: epochs over windows of the event log, early stopping, and resumption to the same bits."""

import dataclasses
import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from peter import config as configs
from peter.config import PretrainConfig
from peter.data.histories import PAD, RESERVED, Histories
from peter.data.sampling import FrequencySampler
from peter.errors import InputError, PeterError
from peter.nn.init import generator
from peter.nn.readout import by_length
from peter.progress import Progress, Silent
from peter.training.checkpoint import (
    Checkpoint,
    copied,
    load_optimizer,
    optimizer_tensors,
    part,
    prefixed,
)
from peter.training.objectives import Batch, Objective, objective
from peter.training.pretrain_model import Negatives, PretrainModel
from peter.training.ranking import catalogue_ranks, ranking_metrics
from peter.training.threads import threads

STEPS = 500  # between two checkpoints inside an epoch
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class EpochReport:
    """One finished epoch. Losses are nats an event, metrics are those of validation users."""

    epoch: int  # from 1
    train_loss: float
    valid_loss: float
    metrics: dict[str, float]
    seconds: float
    examples_per_second: float  # asked events
    best: bool


@dataclass
class _Position:
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
        self.step, self.loss, self.asked, self.seconds = 0, 0.0, 0, 0.0
        self.reports.append(report)


def pretrain(
    model: PretrainModel,
    train: Histories,
    valid: Histories,
    config: PretrainConfig,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[EpochReport]:
    """Train `model` in place, one report an epoch; at the end it holds the best epoch's weights.

    A run that finds its `checkpoint` gives the reports of the finished epochs again and goes on behind them;
    it ends with the same bits as one that was never stopped, on the same machine with `config.threads`.

    Args:
        model: body and output table; the body decides which objectives fit.
        train: histories of training users; nobody else is learnt from.
        valid: histories of validation users, for early stopping.
        config: the settings; with `negatives`, these are drawn as often as `train` holds them.
        checkpoint: a file to resume from and to keep up to date.
        progress: draws a bar an epoch.

    Raises:
        InputError: objective and body do not match, no user has two events, or another run's checkpoint.
        PeterError: the loss is no longer a number.
    """
    run = _Run(model, train, valid, config, checkpoint)
    run.resume()
    yield from list(run.position.reports)
    while not run.finished:
        with threads(config.threads):
            report = run.epoch(progress or Silent())
        yield report
    model.load_state_dict(run.best)


def checked(config: PretrainConfig, causal: bool, train: Histories, valid: Histories) -> Objective:
    """The objective that `config` names, if there is something to learn by it.

    Raises:
        InputError: objective and body do not match, or no user has two events.
    """
    for who, users in (("training", train), ("validation", valid)):
        if not bool((users.lengths > 1).any()):
            raise InputError(f"No {who} user has two events to learn an order from; import more events.")
    return objective(config, causal)


def ranking_of(model: PretrainModel, users: Histories, config: PretrainConfig) -> dict[str, float]:
    """hit@k, mrr@k and ndcg@k of each user's newest event among the full catalogue."""
    with threads(config.threads):
        return _ranking(model, *_newest(model, users, config))


def _ranking(model: PretrainModel, inputs: Tensor, answers: Tensor) -> dict[str, float]:
    return dict(ranking_metrics(catalogue_ranks(model.body, model.table, model.bias, inputs, answers)))


def _newest(model: PretrainModel, users: Histories, config: PretrainConfig) -> tuple[Tensor, Tensor]:
    """Inputs [B, L] that ask for the newest event, and the answers [B] as rows of the output table."""
    inputs, answers = objective(config, model.body.causal).last(users, model.body.max_length)
    known = answers >= RESERVED
    return inputs[known], answers[known] - RESERVED


class _Run:
    """A pre-training under way. Every draw's generator is seeded by (seed, what for, epoch, step)."""

    def __init__(
        self,
        model: PretrainModel,
        train: Histories,
        valid: Histories,
        config: PretrainConfig,
        checkpoint: Path | None,
    ) -> None:
        self.model, self.config, self.checkpoint = model, config, checkpoint
        self.objective: Objective = checked(config, model.body.causal, train, valid)
        length = model.body.max_length
        self.windows = self.objective.windows(train, length)  # [W, S]
        self.valid_windows = self.objective.windows(valid, length)
        self.last = _newest(model, valid, config)
        counts = train.items.bincount(minlength=model.items)
        self.sampler = FrequencySampler(counts.numpy()) if config.negatives else None
        self.optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.position, self.best = _Position(), copied(model)
        self.identity = self._identity()

    @property
    def finished(self) -> bool:
        """All epochs done, or too many without a better one."""
        done, best = len(self.position.reports), self.position.best
        return done >= self.config.epochs or (best is not None and done - best.epoch >= self.config.patience)

    def epoch(self, progress: Progress) -> EpochReport:
        """Do what is left of the epoch under way, validate, and checkpoint."""
        number = len(self.position.reports) + 1
        started = time.monotonic() - self.position.seconds
        batches = _batches(self.windows, self.config.batch_size, generator(self.config.seed, "order", number))
        label = f"epoch {number} of {self.config.epochs}"
        with progress.bar(label, total=len(batches), unit="steps") as bar:
            bar.advance(self.position.step)
            for rows in batches[self.position.step :]:
                loss = self._step(number, _trimmed(self.windows[rows]))
                self.position.seconds = time.monotonic() - started
                bar.advance(1, note=f"loss {loss:.3f}")
                if self.position.step % STEPS == 0:
                    self._write()
            report = self._report(number)
            bar.advance(0, f"valid loss {report.valid_loss:.3f}")
        if report.best:
            self.best = copied(self.model)
        self.position.next_epoch(report)
        self._write()
        return report

    def _step(self, epoch: int, windows: Tensor) -> float:
        position = self.position
        draws = generator(self.config.seed, "step", epoch, position.step)
        batch = self.objective.batch(windows, self.model.items, draws)
        loss = self._loss(batch, draws, PRECISIONS[self.config.precision])
        value = loss.item()
        if not math.isfinite(value):
            raise PeterError(
                f"The loss is {value} in epoch {epoch}; "
                f"give a learning_rate below {self.config.learning_rate}."
            )
        self.optimizer.zero_grad()
        torch.autograd.backward(loss)
        self.optimizer.step()
        asked = int((batch.targets != PAD).sum())
        position.step += 1
        position.loss += value * asked
        position.asked += asked
        return value

    def _loss(self, batch: Batch, draws: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
        negatives = None
        if self.sampler is not None:
            drawn = self.sampler.sample(self.config.negatives, draws)
            negatives = Negatives(drawn, self.sampler.log_probability)
        return self.model.loss(batch, negatives, dtype)

    def _report(self, number: int) -> EpochReport:
        position, best = self.position, self.position.best
        valid_loss = self._valid_loss()
        return EpochReport(
            epoch=number,
            train_loss=position.loss / max(1, position.asked),
            valid_loss=valid_loss,
            metrics=_ranking(self.model, *self.last),
            seconds=position.seconds,
            examples_per_second=position.asked / max(position.seconds, 1e-9),
            best=best is None or valid_loss < best.valid_loss,
        )

    @torch.no_grad()
    def _valid_loss(self) -> float:
        """The training loss on validation users, with the same draws in every epoch."""
        total, asked = 0.0, 0
        size = self.config.batch_size * self.valid_windows.shape[1]
        for at, (_, windows) in enumerate(by_length(self.valid_windows, size)):
            draws = generator(self.config.seed, "valid", at)
            batch = self.objective.batch(windows, self.model.items, draws)
            count = int((batch.targets != PAD).sum())
            total += self._loss(batch, draws).item() * count
            asked += count
        return total / max(1, asked)

    def resume(self) -> None:
        """Go back to where the checkpoint stands, if there is one."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        saved = Checkpoint.read(self.checkpoint)
        if saved.state["identity"] != self.identity:
            raise InputError(
                f"{self.checkpoint} was begun with other settings or other events; remove it to start again."
            )
        self.model.load_state_dict(part("model", saved.tensors))
        self.best = part("best", saved.tensors)
        load_optimizer(self.optimizer, part("optimizer", saved.tensors))
        position = saved.state["position"]
        reports = [EpochReport(**report) for report in position.pop("reports")]
        self.position = _Position(**position, reports=reports)

    def _write(self) -> None:
        if self.checkpoint is None:
            return
        tensors = (
            prefixed("model", self.model.state_dict())
            | prefixed("best", self.best)
            | prefixed("optimizer", optimizer_tensors(self.optimizer))
        )
        state = {"identity": self.identity, "position": dataclasses.asdict(self.position)}
        Checkpoint(tensors, state).write(self.checkpoint)

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to be this run's."""
        windows = [
            hashlib.blake2b(seen.contiguous().numpy().data, digest_size=16).hexdigest()
            for seen in (self.windows, self.valid_windows)
        ]
        shapes = {name: list(value.shape) for name, value in self.model.state_dict().items()}
        return {"config": configs.to_dict(self.config), "windows": windows, "shapes": shapes}


def _batches(windows: Tensor, size: int, order: torch.Generator) -> list[Tensor]:
    """Rows of `windows` in batches of like length; which rows meet and the batches' order are random."""
    shuffled = torch.randperm(len(windows), generator=order)
    lengths = (windows[shuffled] != PAD).sum(1)
    batches = torch.split(shuffled[lengths.argsort(stable=True)], size)
    return [batches[at] for at in torch.randperm(len(batches), generator=order).tolist()]


def _trimmed(windows: Tensor) -> Tensor:
    """Without the columns that are padding in every window."""
    return windows[:, windows.shape[1] - int((windows != PAD).sum(1).max()) :]
