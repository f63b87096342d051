"""Pre-training: epochs over windows of the event log, early stopping, and resumption to the same bits."""

import dataclasses
import hashlib
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from peter import config as configs
from peter.config import PretrainConfig
from peter.data.histories import Histories
from peter.data.sampling import FrequencySampler
from peter.errors import InputError, PeterError
from peter.nn.graft import DropoutGraft, Graft
from peter.nn.init import generator
from peter.nn.names import part, prefixed
from peter.nn.readout import by_length
from peter.progress import Progress, Silent
from peter.training.batches import Batch, batches, trimmed
from peter.training.checkpoint import Checkpoint, copied, load_optimizer, optimizer_tensors
from peter.training.contrast import spread
from peter.training.objectives import Objective, objective
from peter.training.position import EpochReport, Position
from peter.training.pretrain_model import Negatives, PretrainModel
from peter.training.pretrain_ranking import newest, ranking
from peter.training.team import ALONE, Team
from peter.training.threads import threads

STEPS = 500  # between two checkpoints inside an epoch
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def pretrain(
    model: PretrainModel,
    train: Histories,
    valid: Histories,
    config: PretrainConfig,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    team: Team = ALONE,
) -> Iterator[EpochReport]:
    """Train `model` in place, one report an epoch; at the end it holds the best epoch's weights.

    Where the objective asks for no items it holds the last epoch's: two views agree best where all collapse.
    What an objective trains beside it (`Objective.head`) is in the checkpoint and nowhere else.

    A run that finds its `checkpoint` gives the reports of the finished epochs again and goes on behind them;
    it ends with the same bits as one that was never stopped, on the same machine with `config.threads`.

    Args:
        model: body and output table; the body decides which objectives fit.
        train: histories of training users; nobody else is learnt from.
        valid: histories of validation users, for early stopping.
        config: the settings; with `negatives`, these are drawn as often as `train` holds them.
        checkpoint: a file to resume from and to keep up to date.
        progress: draws a bar an epoch.
        team: who trains it; each member makes this call with the same arguments, and all get the same
            reports. Steps are those of one process, up to the rounding of sums. The leader alone writes the
            checkpoint, which every member reads.

    Raises:
        InputError: objective and body do not match, no user has two events, or another run's checkpoint.
        PeterError: the loss is no longer a number.
    """
    run = _Run(model, train, valid, config, checkpoint, team)
    run.resume()
    run.agree()
    yield from list(run.position.reports)
    while not run.finished:
        with threads(team.threads or config.threads):
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


class _Run:
    """A pre-training under way. Every draw's generator is seeded by (seed, what for, epoch, step)."""

    def __init__(
        self,
        model: PretrainModel,
        train: Histories,
        valid: Histories,
        config: PretrainConfig,
        checkpoint: Path | None,
        team: Team,
    ) -> None:
        self.model, self.config, self.checkpoint, self.team = model.to(team.device), config, checkpoint, team
        self.module = cast(nn.Module, self.model)
        self.objective: Objective = checked(config, model.body.causal, train, valid)
        length = model.body.max_length
        self.windows = self.objective.windows(train, length)  # [W, S]
        self.valid_windows = self.objective.windows(valid, length)
        self.last = newest(model, valid, config)
        counts = train.items.bincount(minlength=model.items)
        self.sampler = FrequencySampler(counts.numpy()) if config.negatives else None
        self.learner = team.learner(self.module)
        self.head = self.objective.head(model.body)
        assert self.head is None or team.size == 1, "no member would see all the users that it compares"
        self.trained = nn.ModuleList([self.module, *([self.head] if self.head else [])]).to(team.device)
        self.optimizer = torch.optim.AdamW(
            self.trained.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self.position, self.best = Position(), copied(self.module)
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
        steps = batches(self.windows, self.config.batch_size, generator(self.config.seed, "order", number))
        label = f"epoch {number} of {self.config.epochs}"
        with progress.bar(label, total=len(steps), unit="steps") as bar:
            bar.advance(self.position.step)
            for rows in steps[self.position.step :]:
                loss = self._step(number, trimmed(self.windows[rows]))
                self.position.seconds = time.monotonic() - started
                bar.advance(1, note=f"loss {loss:.3f}")
                if self.position.step % STEPS == 0:
                    self._write()
            report = self._report(number)
            bar.advance(0, f"valid loss {report.valid_loss:.3f}")
        if report.best:
            self.best = copied(self.module)
        self.position.next_epoch(report)
        self._write()
        return report

    def _step(self, epoch: int, windows: Tensor) -> float:
        position = self.position
        draws = generator(self.config.seed, "step", epoch, position.step)
        batch = self.objective.batch(windows, self.model.items, draws)
        asked = batch.asked
        loss, own = self._own_loss(batch, draws)
        (value,) = self.team.summed(loss.item() * (own / asked))
        if not math.isfinite(value):
            raise PeterError(
                f"The loss is {value} in epoch {epoch}; "
                f"give a learning_rate below {self.config.learning_rate}."
            )
        self.optimizer.zero_grad()
        torch.autograd.backward(loss * (own * self.team.size / asked))  # the team takes the mean
        self.optimizer.step()
        position.step += 1
        position.loss += value * asked
        position.asked += asked
        return value

    def _own_loss(self, batch: Batch, draws: torch.Generator) -> tuple[Tensor, int]:
        """The mean loss over the places that this member asks about, and how many they are."""
        own = replace(batch, inputs=self.team.own(batch.inputs), targets=self.team.own(batch.targets))
        negatives, dtype = self._negatives(draws), PRECISIONS[self.config.precision]
        if len(own.inputs):
            return self._loss(self.learner, own, negatives, dtype, self._dropout(batch, draws)), own.asked
        some = replace(batch, inputs=batch.inputs[:1], targets=batch.targets[:1])
        return self.learner(some, negatives, dtype), 0  # counts for nothing: gradients wait for all members

    def _loss(
        self,
        learner: nn.Module,
        batch: Batch,
        negatives: Negatives | None,
        dtype: torch.dtype = torch.float32,
        graft: Graft | None = None,
    ) -> Tensor:
        """Of the places that are asked about, and of the users who are compared."""
        losses = []
        if self.head is None or batch.places:
            losses.append(learner(batch, negatives, dtype, graft))
        if self.head is not None:
            losses.append(self.head(self.model.body, batch.views, dtype))
        return torch.stack(losses).sum()

    def _dropout(self, batch: Batch, draws: torch.Generator) -> Graft | None:
        if not self.config.dropout:
            return None
        seed = generator("dropout", draws.initial_seed()).initial_seed()
        return DropoutGraft(self.config.dropout, seed, len(batch.inputs), self.team.own)

    def _negatives(self, draws: torch.Generator) -> Negatives | None:
        if self.sampler is None:
            return None
        drawn = self.sampler.sample(self.config.negatives, draws)
        return Negatives(drawn, self.sampler.log_probability)

    def _report(self, number: int) -> EpochReport:
        position, best = self.position, self.position.best
        valid_loss, metrics = self._valid_loss(), ranking(self.model, self.last, self.team)
        if self.head is not None:
            metrics |= spread(self.model.body, self.valid_windows)
        return EpochReport(
            epoch=number,
            train_loss=position.loss / max(1, position.asked),
            valid_loss=valid_loss,
            metrics=metrics,
            seconds=position.seconds,
            examples_per_second=position.asked / max(position.seconds, 1e-9),
            best=best is None or self.last is None or valid_loss < best.valid_loss,
        )

    @torch.no_grad()
    def _valid_loss(self) -> float:
        """The training loss on validation users, with the same draws in every epoch."""
        total, asked = 0.0, 0
        self.trained.eval()
        size = self.config.batch_size * self.valid_windows.shape[1]
        for at, (_, windows) in enumerate(by_length(self.valid_windows, size)):
            if at % self.team.size != self.team.rank:
                continue
            draws = generator(self.config.seed, "valid", at)
            batch = self.objective.batch(windows, self.model.items, draws)
            total += self._loss(self.module, batch, self._negatives(draws)).item() * batch.asked
            asked += batch.asked
        self.trained.train()
        total, asked_by_all = self.team.summed(total, asked)
        return total / max(1, asked_by_all)

    def resume(self) -> None:
        """Go back to where the checkpoint stands, if there is one."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return
        saved = Checkpoint.read(self.checkpoint)
        if saved.state["identity"] != self.identity:
            raise InputError(
                f"{self.checkpoint} was begun with other settings or other events; remove it to start again."
            )
        self.model.load_state_dict(part("model/", saved.tensors))
        if self.head is not None:
            self.head.load_state_dict(part("head/", saved.tensors))
        self.best = part("best/", saved.tensors)
        load_optimizer(self.optimizer, part("optimizer/", saved.tensors))
        position = saved.state["position"]
        reports = [EpochReport(**report) for report in position.pop("reports")]
        self.position = Position(**position, reports=reports)

    def agree(self) -> None:
        """Raises PeterError where members stand at different places, having read different checkpoints."""
        place = len(self.position.reports), self.position.step
        if self.team.summed(*place) != [each * self.team.size for each in place]:
            raise PeterError(
                f"Workers found different states of {self.checkpoint}; "
                "keep the store where all of them see it."
            )

    def _write(self) -> None:
        if self.checkpoint is None or not self.team.leads:
            return
        tensors = (
            prefixed("model/", self.model.state_dict())
            | prefixed("head/", self.head.state_dict() if self.head else {})
            | prefixed("best/", self.best)
            | prefixed("optimizer/", optimizer_tensors(self.optimizer))
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
