"""Ranks over the full catalogue and the metrics made of them."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from peter.nn.backbone import Backbone
from peter.nn.losses import masked
from peter.nn.readout import EVENTS, by_length

CUTOFFS = (5, 10)
SCORES = 2**22  # held at a time: 16 MB


def ranks(scores: Tensor, answers: Tensor) -> Tensor:
    """Rank [B] of each answer [B] among all scores [B, V], the best being 1.

    Ties share their mean rank, so that a constant scorer gets what guessing would; a score that is not a
    number ranks last.
    """
    own = scores.gather(1, answers.unsqueeze(1))  # [B, 1]
    ahead = (~(scores <= own)).sum(1)
    tied = (scores == own).sum(1).clamp(min=1)
    return 1 + ahead + (tied - 1) / 2  # [B]


@torch.no_grad()
def catalogue_ranks(
    body: Backbone,
    table: Tensor,
    bias: Tensor,
    inputs: Tensor,
    answers: Tensor,
    scored: Callable[[Tensor], Tensor] = lambda h: h,
) -> Tensor:
    """Rank [B] of each answer [B], a row of `table` [V, C], at the last position of inputs [B, L].

    Every row of `table` competes and none else: it holds no reserved rows. `scored` is what of the last level
    [b, C] is multiplied with it.
    """
    found = torch.empty(len(inputs))
    for rows, items in by_length(inputs, EVENTS):
        last = scored(body(items.to(table.device))[-1][-1])  # [b, C]
        for at in range(0, len(rows), 1 + SCORES // len(table)):
            some = slice(at, at + 1 + SCORES // len(table))
            scores = torch.addmm(bias, last[some], table.T)  # [b, V]
            found[rows[some]] = ranks(scores, answers[rows[some]].to(table.device)).cpu()
    return found


@torch.no_grad()
def positive_ranks(scores: Tensor, positives: Tensor) -> Tensor:
    """Rank [B, M] of each of a user's `positives` [B, M] (-1: none) among all scores [B, K] but its others.

    Where there is no positive the rank is infinite.
    """
    others = masked(scores, positives, -math.inf)  # [B, K]

    def contest(users: Tensor, items: Tensor) -> Tensor:
        return others[users].scatter(1, items[:, None], scores[users, items][:, None])

    return _each(positives, scores.shape[1], lambda users, items: ranks(contest(users, items), items))


@torch.no_grad()
def sampled_ranks(scores: Tensor, positives: Tensor, negatives: int, seed: int) -> Tensor:
    """The same among so many `negatives` only, distinct items that are not the user's, each as likely.

    They hang on the seed, the user's positives and the positive in question, not on who else is ranked. A
    catalogue with fewer items to offer gives all of them.
    """
    items = scores.shape[1]
    drawn = torch.Generator().manual_seed(seed)
    order = torch.randperm(items, generator=drawn).to(scores.device)
    marks = torch.randint(2**31, (2, items), generator=drawn).to(scores.device)
    width = min(items, negatives + positives.shape[1])  # W: enough of them are negatives
    mine = masked(torch.zeros_like(scores, dtype=torch.bool), positives, True)  # [B, K]
    user_mark = torch.where(positives < 0, 0, marks[0][positives.clamp(min=0)]).sum(1)  # [B]

    def rank(users: Tensor, own: Tensor) -> Tensor:
        first = (user_mark[users] + marks[1][own])[:, None]
        window = order[(first + torch.arange(width, device=first.device)) % items]  # [n, W]
        free = ~mine[users].gather(1, window)
        free &= free.cumsum(1) <= negatives
        against = scores[users].gather(1, window).masked_fill(~free, -math.inf)
        return ranks(torch.cat([scores[users, own][:, None], against], 1), torch.zeros_like(own))

    return _each(positives, items, rank)


def _each(positives: Tensor, width: int, rank: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`rank` of users and items [n], for all pairs there are, some at a time: [B, M]."""
    found = torch.full(positives.shape, math.inf, device=positives.device)
    users, places = (positives >= 0).nonzero(as_tuple=True)
    for some in torch.arange(len(users)).split(1 + SCORES // width):
        at = users[some], places[some]
        found[at] = rank(at[0], positives[at])
    return found


def gains(ranks: Tensor, k: int) -> dict[str, Tensor]:
    """hit@k, mrr@k and ndcg@k of each answer by its rank, of the ranks' shape, in double precision."""
    inside = (ranks <= k).double()
    return {f"hit@{k}": inside, f"mrr@{k}": inside / ranks, f"ndcg@{k}": inside / torch.log2(ranks + 1)}


def ranking_metrics(ranks: Tensor, cutoffs: Sequence[int] = CUTOFFS) -> Mapping[str, float]:
    """hit@k, mrr@k and ndcg@k with one answer a user: means over ranks [B]; nothing when there are none."""
    if not len(ranks):
        return {}
    return {name: float(gain.mean()) for k in cutoffs for name, gain in gains(ranks, k).items()}
