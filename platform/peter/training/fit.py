"""Fitting a patch: the phases that its method declares, one epoch at a time; the body is only read."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from peter import schedule
from peter.config import FitConfig
from peter.data.histories import Histories
from peter.methods import ClosedForm, Examples, Gradient, Phase, Setting
from peter.nn.backbone import Backbone
from peter.nn.dropout import Draws, Dropout
from peter.nn.init import generator, seed_of
from peter.nn.names import part, prefixed
from peter.progress import Progress
from peter.task import cost
from peter.training.bootstrap import resample
from peter.training.checkpoint import Checkpoint, copied, load_optimizer, optimizer_tensors
from peter.training.threads import threads

EVENTS = 32_768  # whose activations are kept at once while gradients are summed
RESAMPLES = 200  # of validation users, for the standard error of a gain


@dataclass(frozen=True)
class EpochReport:
    """One step of a fit, as a tuner sees it."""

    phase: str
    epoch: int  # 0: the state before the first epoch of the phase
    train_loss: float | None  # mean over users; None where nothing descends
    valid_score: float  # of validation users, less is better: see `peter.task.cost`
    best: bool  # whether the phase has not been better before
    kept: float  # the score of the state that the phase would end with
    seconds: float
    checkpoint: Callable[[], Checkpoint]  # to go on from, until the next report; empty: from the beginning


def fit(
    patch: nn.Module,
    phases: Sequence[Phase],
    train: Examples,
    valid: Examples,
    setting: Setting,
    config: FitConfig,
    progress: Progress,
    saved: Checkpoint | None = None,
) -> Iterator[EpochReport]:
    """Fill `patch`. Whoever stops early, or is interrupted, is left with the best validation epoch so far.

    Args:
        saved: of a report of the same fit, to go on from bit for bit; only the schedule may say something
            else of the epochs to come.
    """
    assert not any(tensor.requires_grad for tensor in setting.body.parameters())
    patch.requires_grad_(False)
    begun = saved.state.get("phase", 0) if saved else 0
    with threads(config.threads):
        for number, phase in enumerate(phases[begun:], begun):
            if isinstance(phase, ClosedForm):
                yield _solve(patch, phase, train, valid, setting)
                continue
            descent = _Descent(patch, phase, number, train, valid, setting, config)
            if saved and saved.state and number == begun:
                descent.restore(saved)
            else:
                descent.begin()
            yield from descent.run(progress)


def predict(patch: nn.Module, body: Backbone, histories: Histories, events: int = EVENTS) -> Tensor:
    """Outputs [B, K] on the CPU, about `events` events at a time."""
    patch.eval()
    with torch.inference_mode():
        parts = [patch(body, histories.select(users)).cpu() for users in histories.batches(events)]
        return torch.cat(parts) if parts else patch(body, histories).cpu()


def gates(patch: nn.Module, body: Backbone, histories: Histories, events: int = EVENTS) -> Tensor | None:
    """Gates [B, N] on the CPU, where a patch has any (see `peter.methods.Patch`)."""
    patch.eval()
    of = getattr(patch, "gates", None)
    with torch.inference_mode():
        parts = [of(body, histories.select(users)) for users in histories.batches(events)] if of else []
    return torch.cat(parts).cpu() if parts and parts[0] is not None else None


def _solve(
    patch: nn.Module, phase: ClosedForm, train: Examples, valid: Examples, setting: Setting
) -> EpochReport:
    begin = time.perf_counter()
    phase.fit(train, valid)
    outputs = predict(patch, setting.body, valid.histories)
    score = _costs(outputs, valid, setting, torch.ones(1, len(outputs))).item()
    return EpochReport(phase.name, 0, None, score, True, score, time.perf_counter() - begin, _beginning)


def _beginning() -> Checkpoint:
    """A solved phase is solved again: what the next ones need of it may be no part of the patch."""
    return Checkpoint({}, {})


def _costs(outputs: Tensor, valid: Examples, setting: Setting, weights: Tensor) -> Tensor:
    """[R] the primary metric under each row of weights, less being better."""
    return cost(setting.kind, setting.kind.metrics(outputs, valid.targets, weights))


class _Descent:
    """A `Gradient` phase under AdamW over its own parameters and no others.

    Validation users are few and epochs many: the luckiest epoch would often look better than the start, and
    be worse on new users. So the start stands until an epoch beats it by `caution` standard errors of the
    paired gain; from there on the best epoch counts.
    """

    def __init__(
        self,
        patch: nn.Module,
        phase: Gradient,
        number: int,
        train: Examples,
        valid: Examples,
        setting: Setting,
        config: FitConfig,
    ) -> None:
        self.patch, self.phase, self.number = patch, phase, number
        self.train, self.valid, self.setting, self.config = train, valid, setting, config
        self.changes = schedule.read(config.schedule)
        self.rates = {layer: layer.rate for layer in patch.modules() if isinstance(layer, Dropout)}
        self.draws = [layer for layer in patch.modules() if isinstance(layer, Draws)]
        self.optimizer = torch.optim.AdamW(phase.parameters)
        users = len(valid.targets)
        self.weights = torch.cat([torch.ones(1, users), resample(users, RESAMPLES)])  # [1+R, B]

    def begin(self) -> None:
        """Stand before the first epoch."""
        self.offsets = self.phase.offsets() if self.phase.offsets else None  # [B, K]
        self.start: Tensor | None = None  # [1+R] costs before the first epoch
        self.left = False  # whether an epoch has taken the start's place
        self.best, self.lowest, self.waited = copied(self.patch), math.inf, 0
        self.epoch = -1  # the last one that was reported

    def restore(self, saved: Checkpoint) -> None:
        """Stand where `checkpoint` was called."""
        self.patch.load_state_dict(part("patch/", saved.tensors))
        load_optimizer(self.optimizer, part("optimizer/", saved.tensors))
        self.best, self.start = part("best/", saved.tensors), saved.tensors["start"]
        self.offsets = saved.tensors.get("offsets")
        state = saved.state
        self.epoch, self.lowest, self.waited = state["epoch"], state["lowest"], state["waited"]
        self.left = state["left"]
        for layer, passes in zip(self.draws, state["passes"], strict=True):
            layer.passes = passes

    def checkpoint(self) -> Checkpoint:
        """All that the coming epochs depend on, beside what the fit was given."""
        assert self.start is not None
        tensors = {
            **prefixed("patch/", copied(self.patch)),
            **prefixed("best/", self.best),
            **prefixed("optimizer/", deepcopy(optimizer_tensors(self.optimizer))),
            "start": self.start,
            **({} if self.offsets is None else {"offsets": self.offsets}),
        }
        state = {
            "phase": self.number,
            "epoch": self.epoch,
            "lowest": self.lowest,
            "waited": self.waited,
            "left": self.left,
            "passes": [layer.passes for layer in self.draws],
        }
        return Checkpoint(tensors, state)

    def run(self, progress: Progress) -> Iterator[EpochReport]:
        """The state before, then epoch after epoch; at the end the best state is put back."""
        self._require_grad(True)
        try:
            with progress.bar(self.phase.name, self.config.epochs, "epochs") as bar:
                while self.epoch < self.config.epochs and self.waited < self.config.patience:
                    self.epoch += 1
                    report = self._epoch()
                    bar.advance(
                        min(self.epoch, 1), f"{self.setting.kind.primary} {abs(report.valid_score):.4f}"
                    )
                    yield report
        finally:
            self._require_grad(False)
            self._drop({})
            self.patch.load_state_dict(self.best)

    def _epoch(self) -> EpochReport:
        begin = time.perf_counter()
        loss = self._descend() if self.epoch else None
        outputs = predict(self.patch, self.setting.body, self.valid.histories)
        costs = _costs(outputs, self.valid, self.setting, self.weights)  # [1+R]
        score, best = costs[0].item(), self._better(costs)
        if best:
            self.best, self.lowest, self.waited = copied(self.patch), score, 0
        else:
            self.waited += 1
        seconds = time.perf_counter() - begin
        return EpochReport(
            self.phase.name, self.epoch, loss, score, best, self.lowest, seconds, self.checkpoint
        )

    def _better(self, costs: Tensor) -> bool:
        if self.start is None:
            self.start = costs
            return True
        gains = self.start - costs
        self.left = self.left or gains[0].item() > self.config.caution * gains[1:].std().item()
        return self.left and costs[0].item() < self.lowest

    def _descend(self) -> float:
        """One pass over the training users, in an order that (seed, phase, epoch) decides; the mean loss."""
        self._follow()
        self.patch.train()
        users, key = len(self.train.targets), (self.config.seed, self.phase.name, self.epoch)
        self.loss = self.phase.loss or self.setting.kind.learner(
            self.train.targets, self.setting.schema, seed_of(*key)
        )
        order = torch.randperm(users, generator=generator(*key))
        losses = [self._step(batch) * len(batch) for batch in order.split(self.config.batch_users)]
        return sum(losses) / users

    def _follow(self) -> None:
        """Set what the schedule has changed by this epoch."""
        now = schedule.in_force(self.changes, self.epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = now.get("learning_rate", self.config.learning_rate)
            group["weight_decay"] = now.get("weight_decay", self.config.weight_decay)
        self._drop(now)

    def _drop(self, now: Mapping[str, float]) -> None:
        for layer, rate in self.rates.items():
            layer.rate = now.get("dropout", rate)

    def _step(self, users: Tensor) -> float:
        """One update; the gradient of long histories is summed over parts that fit into memory."""
        self.optimizer.zero_grad()
        histories, targets, total = self.train.histories.select(users), self.train.targets[users], 0.0
        for some in histories.batches(EVENTS):
            again = partial(self._outputs, histories.select(some), users[some])
            outputs = again()  # [b, K]
            answers = targets[some].to(outputs.device)
            loss = self.loss(outputs, answers)
            if self.phase.beside:
                loss = loss + self.phase.beside(again, outputs, answers)
            loss = loss * (len(some) / len(users))
            loss.backward()
            total += loss.item()
        self.optimizer.step()
        if self.phase.after_step:
            self.phase.after_step()
        return total

    def _outputs(self, histories: Histories, users: Tensor) -> Tensor:
        """[b, K] of training users [b], whose histories these are."""
        outputs: Tensor = self.patch(self.setting.body, histories)
        return outputs if self.offsets is None else outputs + self.offsets[users].to(outputs.device)

    def _require_grad(self, required: bool) -> None:
        for tensor in self.phase.parameters:
            tensor.requires_grad_(required)
