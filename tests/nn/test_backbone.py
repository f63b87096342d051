"""What every body must hold to: causality, padding, size, initial values."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from peter.config import BackboneConfig
from peter.errors import InputError, UnknownName
from peter.nn.backbone import Backbone, build_backbone

ITEMS = 40


def body(causal: bool = True, blocks: int = 8, channels: int = 16, length: int = 50) -> Backbone:
    config = BackboneConfig(channels=channels, blocks=blocks, causal=causal, max_length=length)
    return build_backbone(config, ITEMS, seed=0)


def events(windows: int, length: int) -> Tensor:
    return torch.randint(4, ITEMS, (windows, length), generator=torch.Generator().manual_seed(1))


def test_levels_are_time_major_embedding_first() -> None:
    backbone, items = body(), events(3, 20)
    levels = backbone(items)
    assert len(levels) == backbone.levels == 9
    assert backbone.sites == 16
    assert all(level.shape == (20, 3, 16) for level in levels)
    assert torch.equal(levels[0], backbone.item_embedding(items).transpose(0, 1))


@pytest.mark.parametrize("causal", [True, False])
def test_only_a_causal_body_ignores_the_future(causal: bool) -> None:
    backbone, items = body(causal), events(2, 30)
    changed = items.clone()
    changed[:, 20:] = items[:, 20:].flip(1)
    before, after = backbone(items)[-1], backbone(changed)[-1]
    assert torch.equal(before[:20], after[:20]) == causal


def test_receptive_field_is_121_events() -> None:
    backbone = body(length=200)
    embedded: list[Tensor] = []
    handle = backbone.item_embedding.register_forward_hook(lambda *call: embedded.append(call[2]))
    last = backbone(events(1, 150))[-1][-1]
    handle.remove()
    (gradient,) = torch.autograd.grad(last.sum(), embedded)
    seen = gradient.abs().sum(dim=(1, 2)).nonzero()  # [L, 1]
    assert int(seen.min()) == 150 - 121


@pytest.mark.parametrize("causal", [True, False])
def test_left_padding_changes_nothing(causal: bool) -> None:
    backbone, items = body(causal), events(3, 12)
    padded = torch.cat([torch.zeros(3, 9, dtype=torch.int64), items], dim=1)
    for short, long in zip(backbone(items), backbone(padded), strict=True):
        torch.testing.assert_close(long[9:], short)
        assert not long[:9].any()


def test_padding_row_gets_no_gradient() -> None:
    backbone = body()
    items = torch.cat([torch.zeros(3, 9, dtype=torch.int64), events(3, 12)], dim=1)
    sum(level.square().sum() for level in backbone(items)).backward()  # type: ignore[union-attr]
    gradient = backbone.item_embedding.weight.grad
    assert gradient is not None
    assert not gradient[0].any()
    assert gradient[4:].any()


@pytest.mark.parametrize(("channels", "blocks"), [(16, 8), (8, 3)])
def test_parameter_count(channels: int, blocks: int) -> None:
    count = sum(parameter.numel() for parameter in body(blocks=blocks, channels=channels).parameters())
    assert count == ITEMS * channels + blocks * (6 * channels**2 + 6 * channels)


def test_no_two_layers_start_alike() -> None:
    weights = [value for name, value in body().state_dict().items() if value.dim() == 3]
    assert len(weights) == 16
    for one, other in itertools.combinations(weights, 2):
        correlation = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
        assert abs(correlation) < 0.15


def test_initial_values_follow_the_seed_alone() -> None:
    config = BackboneConfig(channels=8, blocks=2)
    torch.manual_seed(3)
    one = build_backbone(config, ITEMS, seed=5).state_dict()
    torch.manual_seed(4)
    same, other = (build_backbone(config, ITEMS, seed=seed).state_dict() for seed in (5, 6))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["item_embedding.weight"], other["item_embedding.weight"])
    assert not one["item_embedding.weight"][0].any()
    assert abs(float(one["blocks.0.conv1.weight"].std()) - 0.0176) < 0.002  # N(0, .02) cut at 2 deviations


@pytest.mark.parametrize(
    "shape",
    [{"channels": 0}, {"blocks": 0}, {"dilations": ()}, {"kernel": 2, "causal": False}],
)
def test_impossible_shapes_are_refused(shape: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="give"):
        build_backbone(BackboneConfig(**shape), ITEMS, seed=0)


def test_unknown_architecture_names_the_near_one() -> None:
    with pytest.raises(UnknownName, match="nextitnet"):
        build_backbone(BackboneConfig(architecture="nextitnt"), ITEMS, seed=0)


def test_bfloat16_activations_are_close_and_the_weights_stay() -> None:
    backbone, items = body(), events(4, 30)
    items[:2, :9] = 0
    exact, rough = backbone(items)[-1], backbone(items, dtype=torch.bfloat16)[-1]
    assert rough.dtype == torch.bfloat16
    assert not rough[:9, :2].any()
    correlation = torch.corrcoef(torch.stack([exact[9:].flatten(), rough[9:].float().flatten()]))[0, 1]
    assert correlation > 0.999
    rough.float().square().sum().backward()
    assert {value.grad.dtype for value in backbone.parameters() if value.grad is not None} == {torch.float32}
