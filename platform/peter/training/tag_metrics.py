"""Metrics of independent tags, each under many rows of user weights at once; see `peter.training.metrics`.

Letters: K tags. Every metric maps outputs [B, K] (logits), targets [B, K] (0 or 1) and weights [R, B] to [R].
"""

import torch
from torch import Tensor
from torch.nn import functional

from peter.training.metrics import blocks, mean, sums


def log_loss(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Mean over users and tags of minus the logarithm of the probability of what is true."""
    return mean(_losses(outputs, targets).mean(1), weights)


def relative_log_loss(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Log-loss over that of the best constants, the tags' own shares: 1 says that nothing was learnt.

    The normalised entropy of He et al., ADKDD 2014, section 3. Where every user of a row has the same tags
    there is nothing to explain, and the answer is 1.
    """
    users = weights.sum(1, dtype=torch.float64)[:, None]  # [R, 1]
    shares = (sums(targets[None], weights)[0] / users).clamp(0, 1)  # [R, K]
    least: Tensor = (torch.special.entr(shares) + torch.special.entr(1 - shares)).mean(1)  # [R]
    ratio = log_loss(outputs, targets, weights) / least
    return ratio.where(least > 0, 1.0)


def mean_average_precision(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Average precision of each tag's ranking of users, averaged over the tags that a row has users of.

    Steps without interpolation, ties taken as one step, as scikit-learn does. 0 without any tag.
    """
    columns = zip(outputs.double().T, targets.T, strict=True)
    precisions = torch.stack([_average_precision(*column, weights) for column in columns])  # [K, R]
    return precisions.nanmean(0).nan_to_num(nan=0.0)


def micro_f1(told: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """F1 over all pairs of user and tag, for tags `told` [B, K] (0 or 1)."""
    hits, seen = _hits(told, targets, weights)  # [R, K]
    return _f1(hits.sum(1), seen.sum(1))


def macro_f1(told: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """F1 averaged over the tags that a row holds, as truth or as `told` [B, K]."""
    hits, seen = _hits(told, targets, weights)  # [R, K]
    return _f1(hits, seen).sum(1) / (seen > 0).sum(1).clamp(min=1)


def _losses(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(outputs.double(), targets.double(), reduction="none")


def _hits(told: Tensor, targets: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    hits, seen = sums(torch.stack([told * targets, told + targets]), weights)
    return hits, seen


def _f1(hits: Tensor, seen: Tensor) -> Tensor:
    return 2 * hits / seen.where(seen > 0, 1)


def _average_precision(score: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """[R]; NaN without any user of the tag. What is seen at a user of the tag counts, and nothing between."""
    order = score.argsort(descending=True, stable=True)
    _, tie, counts = score[order].unique_consecutive(return_inverse=True, return_counts=True)
    at = truth[order].nonzero()[:, 0]  # [P] places of the tag's users, the likeliest first
    last = counts.cumsum(0)[tie[at]] - 1  # [P] the last place of each one's tie
    last_own = torch.searchsorted(at, last, right=True) - 1  # [P] the last of the tag's users in that tie
    values = []
    for rows in blocks(weights):
        own = rows[:, order[at]]  # [r, P]
        precision = own.cumsum(1)[:, last_own] / rows[:, order].cumsum(1)[:, last].clamp(min=1e-12)
        values.append((own * precision).sum(1) / own.sum(1))
    return torch.cat(values)
