"""Negative samplers: drawn as often as they say, whatever the order of the items."""

import numpy as np
import pytest
import torch

from peter.data.histories import RESERVED
from peter.data.sampling import FrequencySampler

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
