"""Metrics of class outputs, each under many rows of user weights at once, so that a bootstrap costs one pass.

Letters: B users, K outputs, R rows of weights. Every metric maps outputs [B, K] (logits), targets [B] and
weights [R, B] to [R]. A row of ones gives the plain value; a row of counts gives the value on that resample.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional

BINS = 15  # of the expected calibration error, as in Guo et al., ICML 2017
_CELLS = 1 << 20  # numbers of a block of weight rows that is worked on at once


def accuracy(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Share of users whose largest output is the true one."""
    return mean((outputs.argmax(1) == targets).double(), weights)


def macro_f1(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """F1 averaged over the classes that a row holds, as truth or as prediction."""
    truth = functional.one_hot(targets, outputs.shape[1]).double()  # [B, K]
    guess = functional.one_hot(outputs.argmax(1), outputs.shape[1]).double()  # [B, K]
    hits, seen = sums(torch.stack([truth * guess, truth + guess]), weights)  # [R, K] each
    f1 = 2 * hits / seen.where(seen > 0, 1)  # [R, K]
    return torch.sum(f1, 1) / torch.sum(seen > 0, 1)


def log_loss(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Mean of minus the logarithm of the true class's probability."""
    return mean(functional.cross_entropy(outputs.double(), targets, reduction="none"), weights)


def ece(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Expected calibration error of the top class over equal-width bins (Guo et al., ICML 2017)."""
    confidence, right, bins = _binned(outputs, targets)
    gap = right - confidence
    gaps = sums((functional.one_hot(bins, BINS) * gap[:, None])[None], weights)[0]  # [R, BINS]
    return gaps.abs().sum(1) / weights.sum(1, dtype=torch.float64)


def reliability(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of every bin of `ece` that holds users: their mean confidence, share of right answers, and number."""
    confidence, right, bins = _binned(outputs, targets)
    cells = functional.one_hot(bins, BINS).double()  # [B, BINS]
    users = cells.sum(0)
    held = users > 0
    means = (torch.stack([confidence, right]) @ cells)[:, held] / users[held]
    return means[0], means[1], users[held].long()


def _binned(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Confidence [B] of the top class, whether it is right, and the equal-width bin of the confidence."""
    confidence, guess = outputs.double().softmax(1).max(1)  # [B]
    bins = ((confidence * BINS).ceil().long() - 1).clamp(0, BINS - 1)
    return confidence, (guess == targets).double(), bins


def roc_auc(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Area under the ROC curve: of class 1 of two, else one versus rest, averaged over occurring classes.

    Ties count one half. A row that holds one class only has no pair to order and gets 0.5.
    """
    outputs = outputs.double()
    if outputs.shape[1] == 2:
        return _auc(outputs[:, 1] - outputs[:, 0], targets == 1, weights).nan_to_num(nan=0.5)
    scores = outputs.log_softmax(1)  # [B, K]
    areas = [_auc(scores[:, k], targets == k, weights) for k in range(outputs.shape[1])]
    return torch.stack(areas).nanmean(0).nan_to_num(nan=0.5)


def _auc(score: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """[R]: sorted once; a pair of both kinds counts 1 if ordered, 1/2 if tied. NaN without any pair."""
    order = score.argsort(stable=True)
    ties = score[order].unique_consecutive(return_counts=True)[1].cumsum(0) - 1  # [G] last user of each tie
    truth = truth[order]
    areas = []
    for rows in blocks(weights):
        rows = rows[:, order]  # [r, B]
        positive = per_tie((rows * truth).cumsum(1), ties)  # [r, G]
        negative = per_tie((rows * ~truth).cumsum(1), ties)
        below = negative.cumsum(1) - negative / 2  # [r, G] negatives under a tie, and half of those in it
        areas.append((positive * below).sum(1) / (positive.sum(1) * negative.sum(1)))
    return torch.cat(areas)


def per_tie(running: Tensor, ties: Tensor) -> Tensor:
    """Sums [R, G] within ties from running sums [R, B] of sorted users; `ties`: the last user of each."""
    return running[:, ties].diff(dim=1, prepend=running.new_zeros(len(running), 1))


def mean(values: Tensor, weights: Tensor) -> Tensor:
    """[B] under [R, B] -> [R], in double precision."""
    return sums(values[None, :, None], weights)[0, :, 0] / weights.sum(1, dtype=torch.float64)


def sums(values: Tensor, weights: Tensor) -> Tensor:
    """[N, B, K] under [R, B] -> [N, R, K], in double precision."""
    values = values.double()
    return torch.cat([rows @ values for rows in blocks(weights)], 1)


def blocks(weights: Tensor) -> Iterator[Tensor]:
    """Some rows at a time: double precision for all of [R, B] would not fit for many users."""
    for rows in weights.split(max(1, _CELLS // max(1, weights.shape[1]))):
        yield rows.double()
