"""Fitting a patch: the phases that its method declares, one epoch at a time; the body is only read."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from peter.config import FitConfig
from peter.data.histories import Histories
from peter.methods import ClosedForm, Examples, Gradient, Phase, Setting
from peter.nn.backbone import Backbone
from peter.nn.init import generator
from peter.progress import Progress
from peter.task import cost
from peter.training.bootstrap import resample
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
    seconds: float


def fit(
    patch: nn.Module,
    phases: Sequence[Phase],
    train: Examples,
    valid: Examples,
    setting: Setting,
    config: FitConfig,
    progress: Progress,
) -> Iterator[EpochReport]:
    """Fill `patch`. Whoever stops early, or is interrupted, is left with the best validation epoch so far."""
    assert not any(tensor.requires_grad for tensor in setting.body.parameters())
    patch.requires_grad_(False)
    with threads(config.threads):
        for phase in phases:
            if isinstance(phase, ClosedForm):
                yield _solve(patch, phase, train, valid, setting)
            else:
                yield from _Descent(patch, phase, train, valid, setting, config).run(progress)


def predict(patch: nn.Module, body: Backbone, histories: Histories, events: int = EVENTS) -> Tensor:
    """Outputs [B, K] on the CPU, about `events` events at a time."""
    patch.eval()
    with torch.inference_mode():
        parts = [patch(body, histories.select(users)).cpu() for users in histories.batches(events)]
        return torch.cat(parts) if parts else patch(body, histories).cpu()


def _solve(
    patch: nn.Module, phase: ClosedForm, train: Examples, valid: Examples, setting: Setting
) -> EpochReport:
    begin = time.perf_counter()
    phase.fit(train, valid)
    outputs = predict(patch, setting.body, valid.histories)
    score = _costs(outputs, valid, setting, torch.ones(1, len(outputs)))
    return EpochReport(phase.name, 0, None, score.item(), True, time.perf_counter() - begin)


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
        train: Examples,
        valid: Examples,
        setting: Setting,
        config: FitConfig,
    ) -> None:
        self.patch, self.phase, self.setting, self.config = patch, phase, setting, config
        self.train, self.valid = train, valid
        self.loss = phase.loss or setting.kind.learner(train.targets, setting.schema, config.seed)
        self.offsets = phase.offsets() if phase.offsets else None  # [B, K]
        self.optimizer = torch.optim.AdamW(
            phase.parameters, lr=config.learning_rate, weight_decay=config.weight_decay
        )
        users = len(valid.targets)
        self.weights = torch.cat([torch.ones(1, users), resample(users, RESAMPLES)])  # [1+R, B]
        self.start: Tensor | None = None  # [1+R] costs before the first epoch
        self.left = False  # whether an epoch has taken the start's place

    def run(self, progress: Progress) -> Iterator[EpochReport]:
        """The state before, then epoch after epoch; at the end the best state is put back."""
        best, lowest, waited = self._state(), float("inf"), 0
        self._require_grad(True)
        try:
            with progress.bar(self.phase.name, self.config.epochs, "epochs") as bar:
                for epoch in range(self.config.epochs + 1):
                    report = self._epoch(epoch, lowest)
                    if report.best:
                        best, lowest, waited = self._state(), report.valid_score, 0
                    waited += not report.best
                    bar.advance(min(epoch, 1), f"{self.setting.kind.primary} {abs(report.valid_score):.4f}")
                    yield report
                    if waited >= self.config.patience:
                        break
        finally:
            self._require_grad(False)
            self._restore(best)

    def _epoch(self, epoch: int, lowest: float) -> EpochReport:
        begin = time.perf_counter()
        loss = self._descend(epoch) if epoch else None
        outputs = predict(self.patch, self.setting.body, self.valid.histories)
        costs = _costs(outputs, self.valid, self.setting, self.weights)  # [1+R]
        best, score = self._better(costs, lowest), costs[0].item()
        return EpochReport(self.phase.name, epoch, loss, score, best, time.perf_counter() - begin)

    def _better(self, costs: Tensor, lowest: float) -> bool:
        if self.start is None:
            self.start = costs
            return True
        gains = self.start - costs
        self.left = self.left or gains[0].item() > self.config.caution * gains[1:].std().item()
        return self.left and costs[0].item() < lowest

    def _descend(self, epoch: int) -> float:
        """One pass over the training users, in an order that (seed, phase, epoch) decides; the mean loss."""
        self.patch.train()
        users = len(self.train.targets)
        order = torch.randperm(users, generator=generator(self.config.seed, self.phase.name, epoch))
        losses = [self._step(batch) * len(batch) for batch in order.split(self.config.batch_users)]
        return sum(losses) / users

    def _step(self, users: Tensor) -> float:
        """One update; the gradient of long histories is summed over parts that fit into memory."""
        self.optimizer.zero_grad()
        histories, targets, total = self.train.histories.select(users), self.train.targets[users], 0.0
        for part in histories.batches(EVENTS):
            outputs = self.patch(self.setting.body, histories.select(part))  # [b, K]
            if self.offsets is not None:
                outputs = outputs + self.offsets[users[part]].to(outputs.device)
            loss = self.loss(outputs, targets[part].to(outputs.device)) * (len(part) / len(users))
            loss.backward()
            total += loss.item()
        self.optimizer.step()
        if self.phase.after_step:
            self.phase.after_step()
        return total

    def _state(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.patch.state_dict().items()}

    def _restore(self, state: dict[str, Tensor]) -> None:
        self.patch.load_state_dict(state)

    def _require_grad(self, required: bool) -> None:
        for tensor in self.phase.parameters:
            tensor.requires_grad_(required)
