"""Soft masks: what they multiply, that a fresh one is 1, and what of it is trained."""

import pytest
import torch
from torch import Tensor, nn

from peter.nn.backbone import Backbone
from peter.nn.mask import MaskGraft
from peter.testing import ITEMS, tiny_body

SHARPNESS = 3.0


@pytest.fixture
def body() -> Backbone:
    return tiny_body()


def items() -> Tensor:
    drawn = torch.randint(4, ITEMS, (3, 9), generator=torch.Generator().manual_seed(0))
    drawn[0, :4] = 0
    return drawn


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def masked(body: Backbone, others: int) -> MaskGraft:
    """With every tensor drawn."""
    shape = (body.sites, body.channels)
    graft = MaskGraft(body, [normal(*shape, seed=seed) for seed in range(others)], SHARPNESS)
    for at, parameter in enumerate(graft.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(90 + at))
    return graft


@pytest.mark.parametrize("others", [0, 2])
def test_a_fresh_one_is_the_body_bit_for_bit(body: Backbone, others: int) -> None:
    read = [normal(body.sites, body.channels, seed=seed) for seed in range(others)]
    graft = MaskGraft(body, read, SHARPNESS)
    assert torch.equal(graft.masks(), torch.ones(body.sites, body.channels))
    assert all(
        torch.equal(level, plain) for level, plain in zip(body(items(), graft), body(items()), strict=True)
    )


def test_a_mask_letter_for_letter(body: Backbone) -> None:
    graft = masked(body, 2)
    site, x, y = 1, normal(4, 2, body.channels, seed=7), normal(4, 2, body.channels, seed=8)
    z = graft.embedding[site].clone()
    for other in range(2):
        z = z + graft.relation[site, other] * normal(body.sites, body.channels, seed=other)[site].tanh()
    torch.testing.assert_close(graft.outside(site, x, y), y * 2 / (1 + torch.exp(-SHARPNESS * z)))
    assert torch.equal(graft.inside(site, x, y), y)
    assert bool(((graft.masks() > 0) & (graft.masks() < 2)).all())


def test_it_turns_channels_off_and_no_other(body: Backbone) -> None:
    graft = MaskGraft(body, [], SHARPNESS)
    with torch.no_grad():
        graft.embedding[0, 3] = -50
    y = normal(4, 2, body.channels, seed=8)
    kept = [channel for channel in range(body.channels) if channel != 3]
    changed = graft.outside(0, y, y)
    assert not changed[..., 3].any()
    assert torch.equal(changed[..., kept], y[..., kept])
    assert torch.equal(graft.outside(1, y, y), y)


def test_gradient_reaches_the_embedding_and_the_relation_at_once(body: Backbone) -> None:
    read = [normal(body.sites, body.channels, seed=seed) for seed in range(2)]
    graft = MaskGraft(body, read, SHARPNESS)
    (body(items(), graft)[-1] * normal(9, 3, body.channels, seed=4)).sum().backward()
    for parameter in (graft.embedding, graft.relation):
        assert parameter.grad is not None
        assert bool(parameter.grad.any(dim=1).all())
    assert not any(other.requires_grad for other in read)


@pytest.mark.parametrize("others", [0, 3])
def test_it_holds_what_it_trains_and_nothing_of_others(body: Backbone, others: int) -> None:
    graft = masked(body, others)
    assert (
        set(graft.state_dict()) == {"embedding", "relation"} == {name for name, _ in graft.named_parameters()}
    )
    assert sum(tensor.numel() for tensor in graft.parameters()) == body.sites * (body.channels + others)


def test_padded_rows_stay_zero(body: Backbone) -> None:
    assert not any(level[:4, 0].any() for level in body(items(), masked(body, 1)))
