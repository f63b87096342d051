"""Low-rank deltas are convolutions with other weights."""

import copy

import pytest
import torch
from torch import nn

from peter.errors import InputError
from peter.nn.backbone import Backbone
from peter.nn.lowrank import LowRankGraft
from peter.testing import ITEMS, tiny_body

CHANNELS, BLOCKS, RANK, ALPHA = 8, 3, 2, 5.0
ITEM_ROWS = torch.randint(4, ITEMS, (3, 9), generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[True, False], ids=["causal", "both-ways"])
def body(request: pytest.FixtureRequest) -> Backbone:
    return tiny_body(channels=CHANNELS, blocks=BLOCKS, causal=request.param)


def moved(graft: LowRankGraft) -> LowRankGraft:
    generator = torch.Generator().manual_seed(1)
    for parameter in graft.parameters():
        nn.init.normal_(parameter, std=0.3, generator=generator)
    return graft


def padded() -> torch.Tensor:
    items = ITEM_ROWS.clone()
    items[0, :4] = 0
    return items


@pytest.mark.parametrize("blocks", [None, range(1, 2)])
def test_it_is_the_body_with_merged_weights(body: Backbone, blocks: range | None) -> None:
    """W[tap] + alpha/R A[tap] B^T in place of W[tap]; only in the chosen blocks."""
    graft = moved(LowRankGraft(body, RANK, ALPHA, 0, blocks)).requires_grad_(False)
    merged = copy.deepcopy(body)
    for site, delta in graft.deltas.items():
        added = torch.einsum("tcr,or->tco", delta.down.weight, delta.up.weight)
        merged.site_layer(int(site)).weight += ALPHA / RANK * added  # type: ignore[operator]
    assert set(graft.deltas) == {str(site) for site in ([2, 3] if blocks else range(2 * BLOCKS))}
    for level, wanted in zip(body(padded(), graft), merged(padded()), strict=True):
        torch.testing.assert_close(level, wanted, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(merged(padded())[-1], body(padded())[-1], rtol=0.1, atol=0.01)


def test_a_fresh_one_is_the_body_bit_for_bit(body: Backbone) -> None:
    graft = LowRankGraft(body, RANK, ALPHA, 0)
    assert all(
        torch.equal(level, plain) for level, plain in zip(body(padded(), graft), body(padded()), strict=True)
    )


def test_padded_rows_stay_zero(body: Backbone) -> None:
    levels = body(padded(), moved(LowRankGraft(body, RANK, ALPHA, 0)))
    assert not any(level[:4, 0].any() for level in levels)


def test_what_it_holds_and_how_much(body: Backbone) -> None:
    """3CR + RC a convolution, and nothing of the body."""
    graft = LowRankGraft(body, RANK, ALPHA, 0, range(1, 3))
    assert set(graft.state_dict()) == {
        f"deltas.{site}.{part}.weight" for site in (2, 3, 4, 5) for part in ("down", "up")
    }
    count = sum(parameter.numel() for parameter in graft.parameters())
    assert count == 4 * (3 * CHANNELS * RANK + RANK * CHANNELS)


def test_no_two_start_alike_and_the_seed_decides(body: Backbone) -> None:
    one, other = (LowRankGraft(body, RANK, ALPHA, seed).state_dict() for seed in (0, 1))
    downs = [name for name in one if "down" in name]
    assert len({one[name].numpy().tobytes() for name in downs}) == 2 * BLOCKS
    assert all(not torch.equal(one[name], other[name]) for name in downs)


@pytest.mark.parametrize("rank", [0, -1, CHANNELS + 1])
def test_a_rank_that_is_none_is_refused(body: Backbone, rank: int) -> None:
    with pytest.raises(InputError, match="from 1 to the 8 channels"):
        LowRankGraft(body, rank, ALPHA, 0)


def test_a_body_without_convolutions_is_refused() -> None:
    with pytest.raises(InputError, match="not SelfAttention; give --method peter"):
        LowRankGraft(tiny_body(architecture="sasrec"), RANK, ALPHA, 0)
