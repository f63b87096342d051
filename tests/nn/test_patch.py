"""Model patches and the serial graft."""

import pytest
import torch
from torch import Tensor

from peter.config import BackboneConfig
from peter.errors import InputError
from peter.nn.backbone import Backbone, build_backbone
from peter.nn.patch import ModelPatch, SerialGraft

BLOCKS, CHANNELS, BOTTLENECK = 4, 16, 2


@pytest.fixture
def body() -> Backbone:
    return build_backbone(BackboneConfig(channels=CHANNELS, blocks=BLOCKS), 30, seed=0).requires_grad_(False)


@pytest.fixture
def items() -> Tensor:
    items = torch.randint(4, 30, (3, 12), generator=torch.Generator().manual_seed(0))
    items[0, :7] = 0
    return items


@pytest.mark.parametrize("activation", ["gelu", "relu"])
def test_fresh_graft_is_the_identity_bit_for_bit(body: Backbone, items: Tensor, activation: str) -> None:
    graft = SerialGraft(body, BOTTLENECK, seed=1, activation=activation)
    for plain, grafted in zip(body(items), body(items, graft), strict=True):
        assert torch.equal(plain, grafted)


def test_parameter_count_is_the_papers(body: Backbone) -> None:
    graft = SerialGraft(body, BOTTLENECK, seed=1)
    patches = 2 * BLOCKS * (2 * CHANNELS * BOTTLENECK + BOTTLENECK + CHANNELS)
    assert sum(parameter.numel() for parameter in graft.parameters()) == patches + 2 * BLOCKS * CHANNELS


def test_training_moves_the_graft_and_leaves_the_body(body: Backbone, items: Tensor) -> None:
    frozen = {name: value.clone() for name, value in body.state_dict().items()}
    graft = SerialGraft(body, BOTTLENECK, seed=1)
    before = {name: value.clone() for name, value in graft.state_dict().items()}
    optimizer = torch.optim.AdamW(graft.parameters(), lr=0.01, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        body(items, graft)[-1].square().mean().backward()
        optimizer.step()
    assert all(torch.equal(value, frozen[name]) for name, value in body.state_dict().items())
    assert all(not torch.equal(value, before[name]) for name, value in graft.state_dict().items())


def test_padded_rows_stay_zero_under_a_trained_graft(body: Backbone, items: Tensor) -> None:
    graft = SerialGraft(body, BOTTLENECK, seed=1)
    for parameter in graft.parameters():
        torch.nn.init.normal_(parameter)
    levels = body(items, graft)
    assert not any(level[:7, 0].any() for level in levels)
    alone = body(items[:1, 7:], graft)
    torch.testing.assert_close(levels[-1][7:, 0], alone[-1][:, 0], rtol=1e-4, atol=1e-4)


def test_only_the_chosen_blocks_are_patched(body: Backbone, items: Tensor) -> None:
    graft = SerialGraft(body, BOTTLENECK, seed=1, blocks=range(2, 4))
    for parameter in graft.parameters():
        torch.nn.init.normal_(parameter)
    plain, grafted = body(items), body(items, graft)
    same = [torch.equal(one, other) for one, other in zip(plain, grafted, strict=True)]
    assert same == [True, True, True, False, False]


def test_patches_start_apart(body: Backbone) -> None:
    graft = SerialGraft(body, BOTTLENECK, seed=1)
    downs = [value for name, value in graft.state_dict().items() if name.endswith("down.weight")]
    assert len({value.numpy().tobytes() for value in downs}) == 2 * BLOCKS


def test_patch_follows_its_equation() -> None:
    patch = ModelPatch(6, 3, seed=0, name="patch", activation="relu")
    for parameter in patch.parameters():
        torch.nn.init.normal_(parameter)
    h = torch.randn(5, 6)
    expected = h + torch.relu(h @ patch.down.weight.T + patch.down.bias) @ patch.up.weight.T + patch.up.bias
    torch.testing.assert_close(patch(h), expected)


@pytest.mark.parametrize("blocks", [range(0), range(3, 5), range(-1, 2)])
def test_blocks_outside_the_body_are_refused(body: Backbone, blocks: range) -> None:
    with pytest.raises(InputError, match="blocks 0 to 3"):
        SerialGraft(body, BOTTLENECK, seed=1, blocks=blocks)


def test_unknown_activation_is_refused() -> None:
    with pytest.raises(InputError, match="gelu, relu"):
        ModelPatch(4, 2, seed=0, name="patch", activation="swish")
