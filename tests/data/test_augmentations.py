"""What is hidden, cut out or shuffled, and what never is."""

import pytest
import torch
from torch import Tensor

from peter.data.augmentations import AUGMENTATIONS, crop, mask, reorder
from peter.data.histories import MASK, PAD, RESERVED

LENGTHS = torch.tensor([1, 2, 3, 10, 20])
SHARES = [0.0, 0.1, 0.3, 0.5, 0.9, 1.0]
every_augmentation = pytest.mark.parametrize("name", AUGMENTATIONS)
every_share = pytest.mark.parametrize("share", SHARES)


def windows() -> Tensor:
    """Left-padded, every event with an item of its own."""
    places = torch.arange(22)
    real = places >= 22 - LENGTHS.unsqueeze(1)
    return (RESERVED + places + 22 * torch.arange(len(LENGTHS)).unsqueeze(1)).where(real, PAD)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def touched(share: float) -> Tensor:
    return (share * LENGTHS).round().minimum(LENGTHS - 1)


@every_augmentation
@every_share
def test_padding_stays_in_front_and_an_event_of_everybody_remains(name: str, share: float) -> None:
    for seed in range(20):
        given = windows()
        changed = AUGMENTATIONS[name](given, share, draws(seed))
        assert torch.equal(given, windows())
        real = changed != PAD
        assert torch.equal(real, real.cummax(1).values)  # all padding comes first
        if name != "crop":
            assert torch.equal(real, given != PAD)
        own = (changed.unsqueeze(2) == given.unsqueeze(1)) & real.unsqueeze(2)
        assert bool(own.any(2).any(1).all())
        assert bool((own.any(2) | ~real | (changed == MASK)).all())  # nobody gets what is another's


@every_augmentation
def test_a_user_of_one_event_stays_as_he_is(name: str) -> None:
    given = torch.tensor([[PAD, PAD, 9], [PAD, PAD, 7]])
    assert all(torch.equal(AUGMENTATIONS[name](given, 0.9, draws(seed)), given) for seed in range(20))
    assert torch.equal(AUGMENTATIONS[name](given[:, -1:], 0.9, draws()), given[:, -1:])


@every_augmentation
def test_the_seed_decides(name: str) -> None:
    one, same, other = (AUGMENTATIONS[name](windows(), 0.5, draws(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@every_augmentation
def test_nothing_is_touched_at_a_share_of_nought(name: str) -> None:
    assert torch.equal(AUGMENTATIONS[name](windows(), 0.0, draws()), windows())


@every_share
def test_mask_hides_that_many_anywhere(share: float) -> None:
    changed = torch.stack([mask(windows(), share, draws(seed)) for seed in range(300)])
    hidden = changed == MASK
    assert torch.equal(hidden.sum(2).float(), touched(share).expand(300, -1))
    assert torch.equal(changed[~hidden], windows().expand_as(changed)[~hidden])
    assert share == 0.0 or bool(hidden[:, -1, 2:].any(0).all())


@every_share
def test_crop_cuts_out_one_run_and_keeps_the_order(share: float) -> None:
    first = set()
    for seed in range(100):
        given, changed = windows(), crop(windows(), share, draws(seed))
        left = (changed != PAD).sum(1)
        assert torch.equal(left.float(), LENGTHS - touched(share))
        for before, after in zip(given, changed, strict=True):
            kept = torch.isin(before, after) & (before != PAD)
            assert torch.equal(before[kept], after[after != PAD])
            gone = (~kept & (before != PAD)).nonzero()[:, 0]
            assert len(gone) == 0 or int(gone[-1] - gone[0]) == len(gone) - 1
        first.add(int(gone[0]) if len(gone) else -1)
    assert len(first) == (1 if share == 0 else 20 - int(touched(share)[-1]) + 1)  # wherever there is room


@every_share
def test_reorder_shuffles_one_run_and_loses_nothing(share: float) -> None:
    moved = torch.zeros(len(LENGTHS), 22, dtype=torch.bool)
    for seed in range(100):
        changed = reorder(windows(), share, draws(seed))
        assert torch.equal(changed.sort(1).values, windows().sort(1).values)
        places = changed != windows()
        moved |= places
        for row, most in zip(places, touched(share), strict=True):
            at = row.nonzero()[:, 0]
            assert len(at) == 0 or int(at[-1] - at[0]) < most
    assert share < 0.1 or bool(moved[-1, 2:].all())
