"""Negative samplers: drawn as often as they say, whatever the order of the items."""

import numpy as np
import pytest
import torch

from peter.data.histories import RESERVED
from peter.data.sampling import SAMPLERS, FrequencySampler, avoiding

DRAWS = 200_000


def counts() -> np.ndarray:
    zipf = (3000 / np.arange(1, 41)).astype(np.int64)
    np.random.default_rng(0).shuffle(zipf)  # rows that do not fall by count, as after an append
    return np.concatenate([np.zeros(RESERVED, np.int64), zipf])


def test_items_are_drawn_as_often_as_they_say() -> None:
    sampler = FrequencySampler(counts())
    drawn = sampler.sample(DRAWS, torch.Generator().manual_seed(0))
    probability = sampler.log_probability.double().exp()
    assert (drawn.dtype, drawn.shape) == (torch.int64, (DRAWS,))
    assert probability.sum().item() == pytest.approx(1)
    assert probability[:RESERVED].tolist() == [0] * RESERVED
    sigma = (probability * (1 - probability) / DRAWS).sqrt()
    measured = torch.bincount(drawn, minlength=44) / DRAWS
    assert ((measured - probability).abs() <= 4.5 * sigma).all()


def test_probabilities_are_the_measured_counts() -> None:
    expected = np.log(counts()[RESERVED:] / counts().sum())
    np.testing.assert_allclose(FrequencySampler(counts()).log_probability[RESERVED:], expected, rtol=1e-6)


def test_an_unseen_item_counts_as_seen_once() -> None:
    sampler = FrequencySampler(np.array([0, 0, 0, 0, 3, 0]))
    np.testing.assert_allclose(sampler.log_probability[4:].exp(), [0.75, 0.25], rtol=1e-6)


def test_the_generator_decides() -> None:
    sampler = FrequencySampler(counts())
    one, same, other = (sampler.sample(99, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


CHANCES = {
    "uniform": lambda rank, counts: np.full(len(counts), 1 / len(counts)),
    "frequency": lambda rank, counts: np.maximum(counts, 1) / np.maximum(counts, 1).sum(),
    "lambdafm": lambda rank, counts: np.exp(-(rank + 1) / (0.3 * len(counts))),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_item_has_the_odds_of_its_own_frequency(name: str) -> None:
    """Ids in no order of frequency: odds by rank, read by id, would go to the wrong items."""
    found = counts()[RESERVED:]
    rank = np.empty(len(found))
    rank[np.argsort(-found, kind="stable")] = np.arange(len(found))
    expected = CHANCES[name](rank, found)
    odds = SAMPLERS[name](torch.from_numpy(found))
    np.testing.assert_allclose(odds, expected / expected.sum(), rtol=1e-6)
    nobody = torch.full((1, 1), -1)
    drawn, log_odds = avoiding(odds, nobody, DRAWS, torch.Generator().manual_seed(0))
    shares = drawn[0].bincount(minlength=len(found)).double() / DRAWS
    np.testing.assert_allclose(shares, odds, atol=0.004)
    torch.testing.assert_close(log_odds[0], odds[drawn[0]].log().float(), rtol=1e-4, atol=1e-4)


def test_the_commonest_item_is_the_likeliest_negative_of_lambdafm() -> None:
    odds = SAMPLERS["lambdafm"](torch.tensor([3, 900, 3, 50]))
    assert odds.argsort(descending=True).tolist() == [1, 3, 0, 2]


def test_a_user_s_own_items_are_never_drawn() -> None:
    positives = torch.tensor([[0, 5, 7], [39, -1, -1], [-1, -1, -1]])
    odds = SAMPLERS["frequency"](torch.from_numpy(counts()[RESERVED:]))
    drawn, log_odds = avoiding(odds, positives, DRAWS, torch.Generator().manual_seed(0))
    for user, own in enumerate(positives.tolist()):
        assert not set(own) & set(drawn[user].tolist())
    rest = 1 - odds[[0, 5, 7]].sum()
    torch.testing.assert_close(log_odds[0], (odds[drawn[0]] / rest).log().float(), rtol=1e-4, atol=1e-4)
    shares = drawn[0].bincount(minlength=40).double() / DRAWS
    torch.testing.assert_close(shares[1], odds[1] / rest, rtol=0, atol=0.004)
