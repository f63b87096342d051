"""Softmax losses against torch's cross-entropy."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from peter.data.sampling import avoiding
from peter.nn import losses
from peter.nn.losses import (
    full_softmax,
    positives_bpr,
    positives_sampled,
    positives_softmax,
    sampled_softmax,
)

ROWS, CHANNELS, ITEMS = 37, 6, 23


@pytest.fixture(params=["one chunk", "many chunks"])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "many chunks":
        monkeypatch.setattr(losses, "LIMIT", 5 * ITEMS)


def operands() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    h, table, bias = (
        torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
        for shape in ((ROWS, CHANNELS), (ITEMS, CHANNELS), (ITEMS,))
    )
    return h, table, bias, torch.randint(ITEMS, (ROWS,), generator=generator)


def gradients(loss: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(3 * loss, inputs)


@pytest.mark.usefixtures("chunks")
def test_full_softmax_is_cross_entropy() -> None:
    h, table, bias, targets = operands()
    ours, theirs = full_softmax(h, table, bias, targets), F.cross_entropy(h @ table.T + bias, targets)
    torch.testing.assert_close(ours, theirs)
    for mine, torchs in zip(gradients(ours, h, table, bias), gradients(theirs, h, table, bias), strict=True):
        torch.testing.assert_close(mine, torchs)


@pytest.mark.usefixtures("chunks")
def test_sampling_every_item_once_is_the_full_softmax() -> None:
    h, table, bias, targets = operands()
    uniform = torch.full((ITEMS,), -math.log(ITEMS), dtype=torch.float64)
    sampled = sampled_softmax(h, table, bias, targets, torch.randperm(ITEMS), uniform)
    full = full_softmax(h, table, bias, targets)
    torch.testing.assert_close(sampled, full)
    for mine, torchs in zip(gradients(sampled, h, table, bias), gradients(full, h, table, bias), strict=True):
        torch.testing.assert_close(mine, torchs)


def test_sampled_softmax_has_numerically_right_gradients() -> None:
    h, table, bias, targets = operands()
    negatives, skewed = torch.tensor([1, 5, 5, 7, 20]), torch.arange(1.0, ITEMS + 1).log().double() - 6

    def loss(h: Tensor, table: Tensor, bias: Tensor) -> Tensor:
        return sampled_softmax(h, table, bias, targets, negatives, skewed)

    assert torch.autograd.gradcheck(loss, (h, table, bias))


def test_partition_is_estimated_without_bias() -> None:
    h, table, bias, targets = (tensor.detach() for tensor in operands())
    probability = torch.arange(1.0, ITEMS + 1).double()  # as skewed as items are popular
    probability /= probability.sum()
    generator = torch.Generator().manual_seed(1)
    row, scores = slice(0, 1), (h @ table.T + bias)[0]
    estimates = []
    for _ in range(4000):
        negatives = torch.multinomial(probability, 8, replacement=True, generator=generator)
        loss = sampled_softmax(h[row], table, bias, targets[row], negatives, probability.log())
        estimates.append(loss + scores[targets[0]])  # the log of the estimated sum
    drawn = torch.stack(estimates).exp()
    assert abs(drawn.mean() - scores.exp().sum()) < 4 * drawn.std() / math.sqrt(len(drawn))


def test_no_gradient_is_computed_where_none_is_wanted() -> None:
    h, table, bias, targets = operands()
    full_softmax(h.detach(), table, bias.detach(), targets).backward()
    assert table.grad is not None
    assert h.grad is None
    assert bias.grad is None
    with torch.no_grad():
        assert not full_softmax(h, table, bias, targets).requires_grad


def test_nothing_asked_costs_nothing() -> None:
    h, table, bias, targets = operands()
    assert full_softmax(h[:0], table, bias, targets[:0]) == 0


@pytest.mark.parametrize("items", [10, 1_700, 500_000])
def test_chunks_stay_below_32_megabytes(items: int) -> None:
    assert losses._chunk(items) * items * 4 <= 32 * 2**20


POSITIVES = torch.tensor([[0, 4], [7, -1], [-1, -1]])


def scores() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 9, generator=generator, dtype=torch.float64, requires_grad=True)


def test_positives_softmax_is_cross_entropy_against_shares() -> None:
    shares = torch.zeros(2, 9, dtype=torch.float64)
    shares[0, [0, 4]], shares[1, 7] = 0.5, 1
    loss = positives_softmax(scores()[:2], POSITIVES[:2])
    torch.testing.assert_close(loss, F.cross_entropy(scores()[:2], shares))


def test_positives_sampled_estimates_the_softmax_over_a_positive_and_all_others() -> None:
    """However odd the odds: logQ makes up for them."""
    x = scores().detach()[:1]
    odds = torch.rand(9, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn, log_odds = avoiding(odds, POSITIVES[:1], 200_000, torch.Generator().manual_seed(2))
    exact = [F.cross_entropy(x[:, [own, 1, 2, 3, 5, 6, 7, 8]], torch.tensor([0])) for own in (0, 4)]
    found = positives_sampled(x, POSITIVES[:1], drawn, log_odds.double())
    assert found.item() == pytest.approx(sum(exact).item() / 2, abs=0.01)


def test_positives_bpr_by_hand_and_where_a_sigmoid_would_vanish() -> None:
    x = torch.tensor([[0.0, 1.0, 3.0], [5.0, 5.0, -2000.0]], requires_grad=True)
    loss = positives_bpr(x, torch.tensor([[0, 1], [2, -1]]), torch.tensor([[2, 2], [0, 1]]))
    first = (math.log1p(math.exp(3)) + math.log1p(math.exp(2))) / 2
    assert loss.item() == pytest.approx((first + 2005) / 2)
    loss.backward()
    assert x.grad is not None
    assert x.grad[1, 2].item() == pytest.approx(-0.5)  # half the users


@pytest.mark.parametrize("name", ["softmax", "sampled", "bpr"])
def test_users_without_positives_count_nothing_but_users(name: str) -> None:
    negatives = torch.tensor([[1, 2]]).expand(3, 2)
    uniform = torch.full((3, 2), -math.log(9), dtype=torch.float64)
    loss = {
        "softmax": lambda x: positives_softmax(x, POSITIVES),
        "sampled": lambda x: positives_sampled(x, POSITIVES, negatives, uniform),
        "bpr": lambda x: positives_bpr(x, POSITIVES, negatives),
    }[name]
    x = scores()
    (slope,) = torch.autograd.grad(loss(x), x)
    assert not slope[2].any()
    assert torch.autograd.gradcheck(loss, [x])
