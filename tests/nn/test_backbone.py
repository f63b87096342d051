"""What every body must hold to: causality, padding, size, initial values."""

import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from peter import plugins
from peter.config import BackboneConfig
from peter.errors import InputError, UnknownName
from peter.nn.backbone import GROUP, Backbone, build_backbone
from peter.nn.backbones.sasrec import SASRec

ITEMS = 40
ARCHITECTURES = sorted(plugins.modules(GROUP))
every_architecture = pytest.mark.parametrize("architecture", ARCHITECTURES)


def body(causal: bool = True, architecture: str = "nextitnet", **shape: int) -> Backbone:
    usual = {"channels": 16, "blocks": 8, "max_length": 50}
    config = BackboneConfig(architecture=architecture, causal=causal, **{**usual, **shape})
    return build_backbone(config, ITEMS, seed=0)


def events(windows: int, length: int) -> Tensor:
    return torch.randint(4, ITEMS, (windows, length), generator=torch.Generator().manual_seed(1))


@every_architecture
def test_levels_are_time_major_embedding_first(architecture: str) -> None:
    backbone, items = body(architecture=architecture), events(3, 20)
    levels = backbone(items)
    assert len(levels) == backbone.levels == 9
    assert backbone.sites == 16
    assert all(level.shape == (20, 3, 16) for level in levels)
    embedded = backbone.item_embedding(items).transpose(0, 1)
    if isinstance(backbone, SASRec):
        embedded = embedded + backbone.positions[:20].flip(0).unsqueeze(1)
    assert torch.equal(levels[0], embedded)


@every_architecture
@pytest.mark.parametrize("causal", [True, False])
def test_only_a_causal_body_ignores_the_future(causal: bool, architecture: str) -> None:
    backbone, items = body(causal, architecture), events(2, 30)
    changed = items.clone()
    changed[:, 20:] = items[:, 20:].flip(1)
    before, after = backbone(items)[-1], backbone(changed)[-1]
    assert torch.equal(before[:20], after[:20]) == causal


def test_receptive_field_is_121_events() -> None:
    backbone = body(max_length=200)
    embedded: list[Tensor] = []
    handle = backbone.item_embedding.register_forward_hook(lambda *call: embedded.append(call[2]))
    last = backbone(events(1, 150))[-1][-1]
    handle.remove()
    (gradient,) = torch.autograd.grad(last.sum(), embedded)
    seen = gradient.abs().sum(dim=(1, 2)).nonzero()  # [L, 1]
    assert int(seen.min()) == 150 - 121


@every_architecture
@pytest.mark.parametrize("causal", [True, False])
def test_left_padding_changes_nothing(causal: bool, architecture: str) -> None:
    backbone, items = body(causal, architecture), events(3, 12)
    padded = torch.cat([torch.zeros(3, 9, dtype=torch.int64), items], dim=1)
    for short, long in zip(backbone(items), backbone(padded), strict=True):
        torch.testing.assert_close(long[9:], short)
        assert not long[:9].any()


@every_architecture
def test_padding_row_gets_no_gradient(architecture: str) -> None:
    backbone = body(architecture=architecture)
    items = torch.cat([torch.zeros(3, 9, dtype=torch.int64), events(3, 12)], dim=1)
    sum(level.square().sum() for level in backbone(items)).backward()  # type: ignore[union-attr]
    gradient = backbone.item_embedding.weight.grad
    assert gradient is not None
    assert not gradient[0].any()
    assert gradient[4:].any()


@every_architecture
@pytest.mark.parametrize(("channels", "blocks"), [(16, 8), (8, 3)])
def test_parameter_count(channels: int, blocks: int, architecture: str) -> None:
    backbone = body(architecture=architecture, blocks=blocks, channels=channels)
    vectors, rest = (6, 0) if architecture != "sasrec" else (10, 50 * channels + 2 * channels)
    count = sum(parameter.numel() for parameter in backbone.parameters())
    assert count == ITEMS * channels + blocks * (6 * channels**2 + vectors * channels) + rest


@every_architecture
def test_no_two_layers_start_alike(architecture: str) -> None:
    held = body(architecture=architecture).named_parameters()  # type: ignore[attr-defined]
    weights = [value for name, value in held if name.startswith("blocks.") and value.dim() > 1]
    assert len(weights) == (32 if architecture == "sasrec" else 16)
    for one, other in itertools.combinations(weights, 2):
        if one.shape == other.shape:
            correlation = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
            assert abs(correlation) < 0.25


@every_architecture
def test_initial_values_follow_the_seed_alone(architecture: str) -> None:
    config = BackboneConfig(architecture, channels=8, blocks=2)
    torch.manual_seed(3)
    one = build_backbone(config, ITEMS, seed=5).state_dict()
    torch.manual_seed(4)
    same, other = (build_backbone(config, ITEMS, seed=seed).state_dict() for seed in (5, 6))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["item_embedding.weight"], other["item_embedding.weight"])
    assert not one["item_embedding.weight"][0].any()
    layer = "attention.project" if architecture == "sasrec" else "conv1"
    assert abs(float(one[f"blocks.0.{layer}.weight"].std()) - 0.0176) < 0.002  # N(0, .02) cut at 2 deviations
    biases = [value for name, value in one.items() if name.endswith("bias")]
    assert not any(value.any() for value in biases)


@pytest.mark.parametrize(
    "shape",
    [
        {"channels": 0},
        {"blocks": 0},
        {"dilations": ()},
        {"kernel": 2, "causal": False},
        {"architecture": "sasrec", "heads": 0},
        {"architecture": "sasrec", "heads": 3},
    ],
)
def test_impossible_shapes_are_refused(shape: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="give"):
        build_backbone(BackboneConfig(**shape), ITEMS, seed=0)


def test_unknown_architecture_names_the_near_one() -> None:
    with pytest.raises(UnknownName, match="nextitnet"):
        build_backbone(BackboneConfig(architecture="nextitnt"), ITEMS, seed=0)


@every_architecture
def test_bfloat16_activations_are_close_and_the_weights_stay(architecture: str) -> None:
    backbone, items = body(architecture=architecture), events(4, 30)
    items[:2, :9] = 0
    exact, rough = backbone(items)[-1], backbone(items, dtype=torch.bfloat16)[-1]
    assert rough.dtype == torch.bfloat16
    assert not rough[:9, :2].any()
    correlation = torch.corrcoef(torch.stack([exact[9:].flatten(), rough[9:].float().flatten()]))[0, 1]
    assert correlation > 0.999
    rough.float().square().sum().backward()
    assert {value.grad.dtype for value in backbone.parameters() if value.grad is not None} == {torch.float32}


@every_architecture
def test_the_same_batch_gives_the_same_bits(architecture: str) -> None:
    """Nothing is drawn, whatever mode the module is in."""
    backbone, items = body(architecture=architecture), events(4, 30)
    items[1, :7] = 0
    first = backbone(items)
    assert all(map(torch.equal, first, backbone.eval()(items)))


@every_architecture
def test_blocks_share_out_what_they_are_made_of(architecture: str) -> None:
    backbone = body(architecture=architecture, blocks=3)
    each = [backbone.block_tensors(range(block, block + 1)) for block in range(3)]
    below = {"item_embedding.weight", "positions"}
    assert sorted(itertools.chain(*each)) == sorted(set(backbone.state_dict()) - below)
    for site in range(backbone.sites):
        layers = (backbone.site_layer(site), backbone.site_norm(site))
        held = {id(value) for layer in layers for value in layer.parameters()}
        named = dict(backbone.named_parameters())  # type: ignore[attr-defined]
        assert held <= {id(named[name]) for name in each[site // 2]}


class TestSASRec:
    def equation(self, backbone: SASRec, items: Tensor) -> list[Tensor]:
        """All levels [B, L, C] by the paper's letters and torch's own attention; nothing may be padded."""

        def norm(layer: torch.nn.LayerNorm, x: Tensor) -> Tensor:
            return F.layer_norm(x, x.shape[-1:], layer.weight, layer.bias, 1e-8)

        length, heads = items.shape[1], backbone.config.heads
        x = backbone.item_embedding.weight[items] + backbone.positions[:length].flip(0)
        levels = [x]
        for block in backbone.blocks:
            weights, biases = (part.chunk(3) for part in block.attention.project.parameters())
            split = [
                F.linear(norm(block.norm1, x), w, b).unflatten(2, (heads, -1)).transpose(1, 2)
                for w, b in zip(weights, biases, strict=True)
            ]
            found = F.scaled_dot_product_attention(*split, is_causal=True).transpose(1, 2).flatten(2)
            x = x + F.linear(found, *block.attention.mix.parameters())
            up, down = block.feed_forward.up, block.feed_forward.down
            x = x + down(F.relu(up(norm(block.norm2, x))))
            levels.append(x)
        return [*levels[:-1], norm(backbone.norm, x)]

    def moved(self, **shape: int) -> SASRec:
        backbone = body(architecture="sasrec", **shape)
        assert isinstance(backbone, SASRec)
        generator = torch.Generator().manual_seed(3)
        for parameter in backbone.parameters():
            torch.nn.init.normal_(parameter, std=0.3, generator=generator)
        return backbone.requires_grad_(False)

    @pytest.mark.parametrize("heads", [1, 2, 4])
    def test_it_follows_its_equations(self, heads: int) -> None:
        backbone, items = self.moved(heads=heads, blocks=3), events(3, 20)
        for level, wanted in zip(backbone(items), self.equation(backbone, items), strict=True):
            torch.testing.assert_close(level, wanted.transpose(0, 1), rtol=1e-4, atol=1e-4)

    def test_padded_windows_agree_with_whole_ones_whatever_stands_in_the_other_rows(self) -> None:
        """With every tensor drawn anew: a bias must not leak through padding."""
        backbone, items = self.moved(blocks=3), events(4, 12)
        padded = torch.cat([torch.zeros(4, 9, dtype=torch.int64), items], dim=1)
        padded[2:, :9] = events(2, 9)  # two users have a longer past
        for short, long in zip(backbone(items[:2]), backbone(padded), strict=True):
            torch.testing.assert_close(long[9:, :2], short, rtol=1e-4, atol=1e-4)
            assert not long[:9, :2].any()

    def test_order_tells(self) -> None:
        backbone, items = self.moved(blocks=1), events(2, 12)
        assert not torch.allclose(backbone(items)[-1][-1], backbone(items.roll(1, 1))[-1][-1], atol=0.01)
