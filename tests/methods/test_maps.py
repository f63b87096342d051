"""Maps put together give what their parts give, whether their rank is low or not."""

import pytest
import torch
from torch import Tensor

from peter.methods._maps import added, behind, side_by_side
from peter.task import LinearMap

USERS, FEATURES, OUTPUTS = 7, 6, 5
SHARES = [0.5, 2.0]


def drawn(rank: int | None, seed: int, features: int = FEATURES) -> LinearMap:
    generator = torch.Generator().manual_seed(seed)
    up = torch.randn(OUTPUTS, rank or features, generator=generator)
    down = torch.randn(rank, features, generator=generator) if rank else None
    return LinearMap(up, torch.randn(OUTPUTS, generator=generator), down)


def said(found: LinearMap, features: Tensor) -> Tensor:
    inner = features if found.down is None else features @ found.down.T
    return inner @ found.up.T + found.bias


@pytest.fixture
def features() -> Tensor:
    return torch.randn(USERS, FEATURES, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("rank", [None, 2])
def test_a_sum_gives_the_weighted_sum(rank: int | None, features: Tensor) -> None:
    parts = [drawn(rank, seed) for seed in (0, 1)]
    expected = sum(share * said(part, features) for share, part in zip(SHARES, parts, strict=True))
    torch.testing.assert_close(said(added(parts, SHARES), features), expected)


@pytest.mark.parametrize("rank", [None, 2])
def test_side_by_side_each_reads_its_own(rank: int | None, features: Tensor) -> None:
    widths = [4, 2]
    parts = [drawn(rank, seed, width) for seed, width in enumerate(widths)]
    blocks = features.split(widths, dim=1)
    expected = sum(
        share * said(part, block) for share, part, block in zip(SHARES, parts, blocks, strict=True)
    )
    torch.testing.assert_close(said(side_by_side(parts, SHARES), features), expected)


@pytest.mark.parametrize("rank", [None, 2])
def test_a_map_behind_axes_reads_what_is_before_them(rank: int | None, features: Tensor) -> None:
    axes = torch.randn(3, FEATURES, generator=torch.Generator().manual_seed(8))
    part = drawn(rank, 0, 3)
    torch.testing.assert_close(said(behind(axes, part), features), said(part, features @ axes.T))
