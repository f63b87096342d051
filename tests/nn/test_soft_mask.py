"""Soft masks: what they multiply, that a fresh one is 1, and what of it is trained."""

import pytest
import torch
from torch import Tensor, nn
from windows import windows

from peter.nn.backbone import Backbone
from peter.nn.mask import MaskGraft, SoftMasks
from peter.testing import tiny_body

SHARPNESS = 3.0


@pytest.fixture
def body() -> Backbone:
    return tiny_body()


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def masked(body: Backbone, others: int) -> SoftMasks:
    """With every tensor drawn."""
    shape = (body.sites, body.channels)
    trunk = SoftMasks(body, [normal(*shape, seed=seed) for seed in range(others)], SHARPNESS)
    for at, parameter in enumerate(trunk.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(90 + at))
    return trunk


@pytest.mark.parametrize("others", [0, 2])
def test_a_fresh_one_is_the_body_bit_for_bit(body: Backbone, others: int) -> None:
    read = [normal(body.sites, body.channels, seed=seed) for seed in range(others)]
    trunk = SoftMasks(body, read, SHARPNESS)
    assert torch.equal(trunk.masks(), torch.ones(body.sites, body.channels))
    assert all(
        torch.equal(level, plain)
        for level, plain in zip(trunk.view(body)(windows()), body(windows()), strict=True)
    )


def test_a_mask_letter_for_letter(body: Backbone) -> None:
    trunk = masked(body, 2)
    graft = MaskGraft(trunk.masks())
    site, x, y = 1, normal(4, 2, body.channels, seed=7), normal(4, 2, body.channels, seed=8)
    z = trunk.embedding[site].clone()
    for other in range(2):
        z = z + trunk.relation[site, other] * normal(body.sites, body.channels, seed=other)[site].tanh()
    torch.testing.assert_close(graft.outside(site, x, y), y * 2 / (1 + torch.exp(-SHARPNESS * z)))
    assert torch.equal(graft.inside(site, x, y), y)
    assert bool(((trunk.masks() > 0) & (trunk.masks() < 2)).all())


def test_it_turns_channels_off_and_no_other(body: Backbone) -> None:
    trunk = SoftMasks(body, [], SHARPNESS)
    with torch.no_grad():
        trunk.embedding[0, 3] = -50
    y = normal(4, 2, body.channels, seed=8)
    kept = [channel for channel in range(body.channels) if channel != 3]
    graft = MaskGraft(trunk.masks())
    changed = graft.outside(0, y, y)
    assert not changed[..., 3].any()
    assert torch.equal(changed[..., kept], y[..., kept])
    assert torch.equal(graft.outside(1, y, y), y)


def test_gradient_reaches_the_embedding_and_the_relation_at_once(body: Backbone) -> None:
    read = [normal(body.sites, body.channels, seed=seed) for seed in range(2)]
    trunk = SoftMasks(body, read, SHARPNESS)
    (trunk.view(body)(windows())[-1] * normal(9, 3, body.channels, seed=4)).sum().backward()
    for parameter in (trunk.embedding, trunk.relation):
        assert parameter.grad is not None
        assert bool(parameter.grad.any(dim=1).all())
    assert not any(other.requires_grad for other in read)


@pytest.mark.parametrize("others", [0, 3])
def test_it_holds_what_it_trains_and_nothing_of_others(body: Backbone, others: int) -> None:
    trunk = masked(body, others)
    assert (
        set(trunk.state_dict()) == {"embedding", "relation"} == {name for name, _ in trunk.named_parameters()}
    )
    assert sum(tensor.numel() for tensor in trunk.parameters()) == body.sites * (body.channels + others)


def test_padded_rows_stay_zero(body: Backbone) -> None:
    assert not any(level[:4, 0].any() for level in masked(body, 1).view(body)(windows()))
