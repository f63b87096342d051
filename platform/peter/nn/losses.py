"""Losses over item tables: softmax cross-entropy whose logits never exist as a whole, full or sampled;
and losses of users with several positives, over scores [B, K] that do exist.

In the latter `positives` [B, M] are items of a user, -1 where there is none; users without any count nothing.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

CACHED = 2**18  # logits of a chunk that stays in a core's cache: fastest by a factor of two to three
LIMIT = 2**23  # logits of a chunk at most: 32 MB


class _SoftmaxLoss(torch.autograd.Function):
    """Mean over rows of log(sum over candidates of exp(score)) - positive; gradients are found on the way.

    `hits` None: the positive is one of the candidates. Otherwise `hits` [K] are the candidates' ids and the
    positive is none of them: candidates equal to a row's target do not count for that row.
    """

    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        table: Tensor,
        bias: Tensor,
        positive: Tensor,
        targets: Tensor,
        hits: Tensor | None,
        learning: bool,
    ) -> Tensor:
        needed = ctx.needs_input_grad[:4] if learning else [False] * 4
        grads = [
            torch.zeros_like(x) if need else None
            for need, x in zip(needed, (h, table, bias, positive), strict=True)
        ]
        count, chunk = max(1, len(h)), _chunk(len(table))
        total = h.new_zeros((), dtype=torch.float64)
        for at in (slice(first, first + chunk) for first in range(0, len(h), chunk)):
            logits = torch.addmm(bias, h[at], table.T)  # [n, K]
            norm = _log_partition(logits, positive[at], targets[at], hits)  # [n]
            total += (norm - positive[at]).sum(dtype=torch.float64)
            if learning:
                _accumulate(grads, at, logits.sub_(norm.unsqueeze(1)).exp_().div_(count), h, table)
            if grads[3] is not None:
                inside = 0 if hits is None else (positive[at] - norm).exp()
                grads[3][at] = (inside - 1) / count
        ctx.save_for_backward(*grads)
        return (total / count).to(h.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return *(None if saved is None else saved * grad for saved in ctx.saved_tensors), None, None, None


def _log_partition(logits: Tensor, positive: Tensor, targets: Tensor, hits: Tensor | None) -> Tensor:
    if hits is None:
        return logits.logsumexp(1)
    logits.masked_fill_(hits == targets.unsqueeze(1), -math.inf)
    return torch.logaddexp(logits.logsumexp(1), positive)


def _accumulate(grads: list[Tensor | None], at: slice, share: Tensor, h: Tensor, table: Tensor) -> None:
    """Gradients of a chunk whose logits [n, K] have gradient `share`."""
    if grads[0] is not None:
        grads[0][at] = share @ table
    if grads[1] is not None:
        grads[1].addmm_(share.T, h[at])
    if grads[2] is not None:
        grads[2] += share.sum(0)


def _chunk(candidates: int) -> int:
    return max(1, min(max(CACHED // candidates, 64), LIMIT // candidates))


def full_softmax(h: Tensor, table: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of h [N, C] against all items of `table` [V, C] with `bias` [V]; targets [N]."""
    positive = _positive(h, table, bias, targets)
    return _loss(h, table, bias, positive, targets, None)


def sampled_softmax(
    h: Tensor, table: Tensor, bias: Tensor, targets: Tensor, negatives: Tensor, log_probability: Tensor
) -> Tensor:
    """Cross-entropy of h [N, C] against each target [N] and shared `negatives` [S], drawn with replacement.

    A negative's score is lowered by the log of how often it is expected (S times its probability, whose
    log is `log_probability` [V]); the target's is not, since it is always there; negatives that hit a row's
    target are dropped. The sum inside the logarithm is then an unbiased estimate of the full one
    (importance sampling after Bengio and Senecal, 2008).
    """
    expected = math.log(len(negatives)) + log_probability[negatives]
    rows, offsets = F.embedding(negatives, table), bias[negatives] - expected  # [S, C], [S]
    positive = _positive(h, table, bias, targets)
    return _loss(h, rows, offsets, positive, targets, negatives)


def in_batch_softmax(h: Tensor, table: Tensor, targets: Tensor, counts: Tensor) -> Tensor:
    """Cross-entropy of h [N, C] against the targets of all rows, those of the row's own item left out.

    Args:
        table: [U, C] the distinct targets.
        targets: [N] each row's own among them.
        counts: [U] of how many rows each is the target: so often it is a negative of the others.
    """
    positive = (h * F.embedding(targets, table)).sum(1)
    return _loss(h, table, counts.to(h).log(), positive, targets, torch.arange(len(table), device=h.device))


def _loss(*operands: Tensor | None) -> Tensor:
    loss: Tensor = _SoftmaxLoss.apply(  # type: ignore[no-untyped-call]
        *operands, torch.is_grad_enabled()
    )
    return loss


def _positive(h: Tensor, table: Tensor, bias: Tensor, targets: Tensor) -> Tensor:
    return (h * F.embedding(targets, table)).sum(1) + bias[targets]  # [N]


def positives_softmax(scores: Tensor, positives: Tensor) -> Tensor:
    """Mean over users of the mean over their positives of the cross-entropy of scores [B, K]."""
    return _mean_positive(scores.logsumexp(1, keepdim=True) - _own(scores, positives), positives)


def positives_sampled(scores: Tensor, positives: Tensor, negatives: Tensor, log_odds: Tensor) -> Tensor:
    """The same, each positive against the user's `negatives` [B, S] alone, which hold no positive of it.

    A negative's score is lowered by the log of how often it is expected, S times its odds, whose logarithm is
    `log_odds` [B, S]: see `sampled_softmax`.
    """
    against = scores.gather(1, negatives) - log_odds - math.log(negatives.shape[1])  # [B, S]
    own = _own(scores, positives)
    return _mean_positive(torch.logaddexp(own, against.logsumexp(1, keepdim=True)) - own, positives)


def positives_bpr(scores: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Mean of -log sigmoid(positive - negative) over all pairs of a user, then users (BPR, Rendle et al., UAI
    2009, section 4.1).

    By softplus, whose slope lasts where the logarithm of a sigmoid would have become infinite.
    """
    gap = scores.gather(1, negatives)[:, None, :] - _own(scores, positives)[:, :, None]  # [B, M, S]
    return _mean_positive(F.softplus(gap).mean(2), positives)


def _own(scores: Tensor, positives: Tensor) -> Tensor:
    """[B, M] scores of positives; anything where there is none."""
    return scores.gather(1, positives.clamp(min=0))


def _mean_positive(losses: Tensor, positives: Tensor) -> Tensor:
    """Mean over users of the mean of [B, M] over positives."""
    real = positives >= 0
    each = torch.where(real, losses, 0).sum(1) / real.sum(1).clamp(min=1)  # [B]
    return each.mean()


def masked(scores: Tensor, positives: Tensor, value: float) -> Tensor:
    """A copy of [B, K] with `value` at each user's `positives` [B, M], of which -1 is none."""
    wide = F.pad(scores, (0, 1))  # a last column that takes what is none
    return wide.scatter(1, torch.where(positives < 0, scores.shape[1], positives), value)[:, :-1]
