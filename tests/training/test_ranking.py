"""Ranks and their metrics on numbers small enough to check by hand."""

import math

import pytest
import torch

from peter.config import BackboneConfig
from peter.nn.backbone import build_backbone
from peter.training import ranking
from peter.training.ranking import (
    catalogue_ranks,
    positive_ranks,
    ranking_metrics,
    ranks,
    sampled_ranks,
)


def test_ranks_by_hand() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.1, 0.9, 0.5], [0.1, 0.9, 0.5]])
    assert ranks(scores, torch.tensor([1, 2, 0])).tolist() == [1, 2, 3]


def test_ties_share_their_mean_rank() -> None:
    assert ranks(torch.tensor([[2.0, 1.0, 1.0, 1.0, 0.0]]), torch.tensor([2])).tolist() == [3]
    constant = ranks(torch.zeros(1, 99), torch.tensor([4]))
    assert constant.tolist() == [50]


def test_scores_that_are_no_numbers_rank_last() -> None:
    scores = torch.tensor([[math.nan, 1.0, 2.0]])
    assert ranks(scores, torch.tensor([0])) >= 3
    assert ranks(scores, torch.tensor([2])) == 2


def test_metrics_by_hand() -> None:
    metrics = ranking_metrics(torch.tensor([1.0, 3.0, 7.0, 100.0]))
    assert metrics["hit@5"] == pytest.approx(2 / 4)
    assert metrics["hit@10"] == pytest.approx(3 / 4)
    assert metrics["mrr@5"] == pytest.approx((1 + 1 / 3) / 4)
    assert metrics["ndcg@10"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 4)
    assert metrics["mrr@5"] <= metrics["ndcg@5"] <= metrics["hit@5"]


def test_no_users_no_metrics() -> None:
    assert ranking_metrics(torch.empty(0)) == {}


def test_random_scores_hit_at_the_rate_of_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(4000, 50, generator=generator)
    found = ranks(scores, torch.randint(50, (4000,), generator=generator))
    assert ranking_metrics(found)["hit@10"] == pytest.approx(10 / 50, abs=0.02)


def test_catalogue_ranks_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    body = build_backbone(BackboneConfig(channels=8, blocks=2), 30, seed=0)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(4, 30, (11, 9), generator=generator)
    inputs[:4, :5] = 0
    answers = torch.randint(26, (11,), generator=generator)
    table, bias = torch.randn(26, 8, generator=generator), torch.zeros(26)
    at_once = catalogue_ranks(body, table, bias, inputs, answers)
    assert torch.equal(at_once, ranks(body(inputs)[-1][-1] @ table.T, answers))
    monkeypatch.setattr(ranking, "SCORES", 52)
    assert torch.equal(catalogue_ranks(body, table, bias, inputs, answers), at_once)


def test_a_user_s_other_answers_are_left_out_of_the_ranking() -> None:
    scores = torch.tensor([[5.0, 4.0, 3.0, 2.0], [1.0, 1.0, 0.0, math.nan]])
    found = positive_ranks(scores, torch.tensor([[0, 1, 3], [0, -1, -1]]))
    assert found[0].tolist() == [1, 1, 2]
    assert found[1].tolist() == [2.5, math.inf, math.inf]  # a tie and, ahead of all, what is not a number


def test_positive_ranks_do_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(50, 300, generator=generator)
    positives = torch.rand(50, 300, generator=generator).topk(4).indices
    positives[::3, 2:] = -1
    whole = positive_ranks(scores, positives), sampled_ranks(scores, positives, 99, 0)
    monkeypatch.setattr(ranking, "SCORES", 600)
    assert torch.equal(positive_ranks(scores, positives), whole[0])
    assert torch.equal(sampled_ranks(scores, positives, 99, 0), whole[1])


def test_sampled_negatives_are_distinct_and_never_the_user_s_own() -> None:
    """Scores that give them away: of distinct items, each counted once, all 99 are ahead of the answer."""
    generator = torch.Generator().manual_seed(0)
    positives = torch.rand(200, 150, generator=generator).topk(20).indices  # 130 others
    scores = torch.ones(200, 150).scatter(1, positives, 0.0)
    assert set(sampled_ranks(scores, positives, 99, 0).flatten().tolist()) == {100}
    own = torch.zeros(200, 150).scatter(1, positives, 1.0)
    assert set(sampled_ranks(own, positives, 99, 0).flatten().tolist()) == {1}
    assert set(sampled_ranks(scores, positives, 140, 0).flatten().tolist()) == {131}  # all there are


def test_sampled_negatives_are_uniform_and_hang_on_seed_and_user_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    items, users = 60, 6000
    positives = torch.rand(users, items, generator=generator).topk(2).indices
    drawn = torch.zeros(items)
    for item in range(items):  # who is ahead when one item alone outscores everything
        scores = torch.zeros(users, items)
        scores[:, item] = 1
        ahead = sampled_ranks(-scores, positives, 5, 0) < 3.5  # that item, drawn, is last
        drawn[item] = (ahead & (positives != item)).double().mean()
    assert drawn.std() / drawn.mean() < 0.15
    scores = torch.rand(users, items, generator=generator)
    first, other = (sampled_ranks(scores, positives, 5, seed) for seed in (0, 1))
    assert not torch.equal(first, other)
    order = torch.randperm(users, generator=generator)
    assert torch.equal(sampled_ranks(scores[order], positives[order], 5, 0), first[order])
