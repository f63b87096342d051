"""The whole-history read-out against a loop over single users."""

import pytest
import torch
from torch import Tensor

from peter.config import BackboneConfig
from peter.data.histories import Histories
from peter.nn.backbone import Backbone, build_backbone
from peter.nn.patch import SerialGraft
from peter.nn.readout import by_length, level_means
from peter.nn.view import Grafted

LENGTHS = [0, 3, 10, 11, 25, 1, 0, 40, 7]


@pytest.fixture
def body() -> Backbone:
    config = BackboneConfig(channels=8, blocks=2, max_length=10)
    return build_backbone(config, 30, seed=0).requires_grad_(False)


@pytest.fixture
def histories() -> Histories:
    offsets = torch.tensor([0, *LENGTHS]).cumsum(0)
    items = torch.randint(4, 30, (int(offsets[-1]),), generator=torch.Generator().manual_seed(0))
    return Histories(items, offsets)


def one_user(body: Backbone, events: Tensor) -> Tensor:
    """Windows cut from the newest end, each fed alone and unpadded."""
    if not len(events):
        return torch.zeros(body.levels * body.channels)
    head = len(events) % body.max_length
    windows = [events[:head]] * (head > 0) + list(events[head:].split(body.max_length))
    windows = [window for window in windows if len(window)]
    sums = [torch.cat([level.sum((0, 1)) for level in body(window[None])]) for window in windows]
    return torch.stack(sums).sum(0) / len(events)


@pytest.mark.parametrize("events_per_batch", [1, 16, 8192])
def test_mean_over_all_events_in_batches_of_any_size(
    body: Backbone, histories: Histories, events_per_batch: int
) -> None:
    means = level_means(body, histories, events_per_batch=events_per_batch)
    expected = [
        one_user(body, histories.items[first:last])
        for first, last in zip(histories.offsets[:-1], histories.offsets[1:], strict=True)
    ]
    torch.testing.assert_close(means, torch.stack(expected))


def test_users_without_events_are_zero(body: Backbone, histories: Histories) -> None:
    means = level_means(body, histories)
    assert not means[torch.tensor(LENGTHS) == 0].any()
    assert level_means(body, histories.select(torch.tensor([0, 6]))).shape == (2, 24)
    assert level_means(body, histories.select(torch.tensor([], dtype=torch.int64))).shape == (0, 24)


def test_gradients_reach_the_graft_only(body: Backbone, histories: Histories) -> None:
    assert not level_means(body, histories).requires_grad
    graft = SerialGraft(body, 2, seed=0)
    level_means(Grafted(body, graft), histories).square().sum().backward()
    assert all(parameter.grad is None for parameter in body.parameters())
    assert graft.norms["1"].weight.grad is not None
    assert any(parameter.grad.any() for parameter in graft.patches.parameters() if parameter.grad is not None)


def test_short_windows_do_not_pay_for_long_ones(histories: Histories) -> None:
    windows = histories.windows(10).items
    batches = list(by_length(windows, 10))
    assert sum(items.numel() for _, items in batches) < 0.85 * windows.numel()
    assert torch.cat([rows for rows, _ in batches]).sort()[0].tolist() == list(range(len(windows)))
