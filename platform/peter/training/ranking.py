"""Ranks over the full catalogue and the metrics made of them."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from peter.nn.backbone import Backbone
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
def catalogue_ranks(body: Backbone, table: Tensor, bias: Tensor, inputs: Tensor, answers: Tensor) -> Tensor:
    """Rank [B] of each answer [B], a row of `table` [V, C], at the last position of inputs [B, L].

    Every row of `table` competes and none else: it holds no reserved rows.
    """
    found = torch.empty(len(inputs))
    for rows, items in by_length(inputs, EVENTS):
        last = body(items.to(table.device))[-1][-1]  # [b, C]
        for at in range(0, len(rows), 1 + SCORES // len(table)):
            some = slice(at, at + 1 + SCORES // len(table))
            scores = torch.addmm(bias, last[some], table.T)  # [b, V]
            found[rows[some]] = ranks(scores, answers[rows[some]].to(table.device)).cpu()
    return found


def ranking_metrics(ranks: Tensor, cutoffs: Sequence[int] = CUTOFFS) -> Mapping[str, float]:
    """hit@k, mrr@k and ndcg@k with one answer a user: means over ranks [B]; nothing when there are none."""
    metrics: dict[str, float] = {}
    if not len(ranks):
        return metrics
    for k in cutoffs:
        inside = (ranks <= k).double()  # [B]
        metrics[f"hit@{k}"] = float(inside.mean())
        metrics[f"mrr@{k}"] = float((inside / ranks).mean())
        metrics[f"ndcg@{k}"] = float((inside / torch.log2(ranks + 1)).mean())
    return metrics
