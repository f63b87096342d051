"""Model patches, and every way of figure 3 to insert them."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from peter.config import BackboneConfig
from peter.errors import InputError
from peter.nn.attention import visible
from peter.nn.backbone import Backbone, build_backbone
from peter.nn.conv import DilatedConv
from peter.nn.patch import ACTIVATIONS, INSERTIONS, ModelPatch, PatchGraft

BLOCKS, CHANNELS, BOTTLENECK = 4, 16, 2
SITES = {  # of a block: 0 its first sub-layer, 1 its second
    "serial2": [0, 1],
    "serial1": [1],
    "serial1-inner": [1],
    "parallel": [0, 1],
    "parallel-delta": [0, 1],
    "parallel-after": [0, 1],
}
INNER_IDENTITY = {"parallel", "parallel-after"}  # a fresh MP(x) is x, which is added to what the body gives
every_insertion = pytest.mark.parametrize("insertion", SITES)

Map = Callable[[Tensor], Tensor]


@pytest.fixture
def body() -> Backbone:
    return build_backbone(BackboneConfig(channels=CHANNELS, blocks=BLOCKS), 30, seed=0).requires_grad_(False)


@pytest.fixture
def items() -> Tensor:
    items = torch.randint(4, 30, (3, 12), generator=torch.Generator().manual_seed(0))
    items[0, :7] = 0
    return items


def moved(graft: PatchGraft) -> PatchGraft:
    """With all its tensors drawn anew, as training would leave them."""
    generator = torch.Generator().manual_seed(3)
    for parameter in graft.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return graft


def equation(insertion: str, x: Tensor, c1: Map, c2: Map, n1: Map, n2: Map, mp1: Map, mp2: Map) -> Tensor:
    """A block, letter for letter as figure 3 (b to e) and the authors' code have it."""
    relu = torch.relu
    if insertion == "serial2":
        return x + relu(n2(mp2(c2(relu(n1(mp1(c1(x))))))))
    if insertion == "serial1":
        return x + mp2(relu(n2(c2(relu(n1(c1(x)))))))
    if insertion == "serial1-inner":
        return x + relu(n2(mp2(c2(relu(n1(c1(x)))))))
    if insertion == "parallel":
        z = relu(n1(c1(x) + mp1(x)))
        return x + relu(n2(c2(z) + mp2(z)))
    if insertion == "parallel-delta":
        z = relu(n1(c1(x) + mp1(x) - x))
        return x + relu(n2(c2(z) + mp2(z) - z))
    z = relu(n1(c1(x))) + mp1(x)
    return x + relu(n2(c2(z))) + mp2(z)


def plain(body: Backbone, graft: PatchGraft, insertion: str, items: Tensor, patch: Callable[[int], Map]):
    """All levels [L, B, C] by torch's own convolution and layer norm; nothing may be padded."""

    def conv(layer: DilatedConv) -> Map:
        weight, step = layer.weight.permute(2, 1, 0), layer.dilation  # [C_out, C_in, taps]

        def apply(x: Tensor) -> Tensor:
            padded = F.pad(x.permute(1, 2, 0), (2 * step, 0))  # [B, C, 2*step+L]
            return F.conv1d(padded, weight, layer.bias, dilation=step).permute(2, 0, 1)

        return apply

    def norm(site: int) -> Map:
        layer = graft.norms[str(site)] if str(site) in graft.norms else body.site_norm(site)
        return lambda x: F.layer_norm(x, (CHANNELS,), layer.weight, layer.bias, 1e-8)

    levels = [body.item_embedding.weight[items.T]]
    for site in range(0, body.sites, 2):
        layers = (conv(body.site_layer(at)) for at in (site, site + 1))
        norms, patches = map(norm, (site, site + 1)), map(patch, (site, site + 1))
        levels.append(equation(insertion, levels[-1], *layers, *norms, *patches))
    return levels


def whole(items: Tensor) -> Tensor:
    """Without the padded row."""
    return items[1:]


def padding_stays_out(body: Backbone, items: Tensor, insertion: str) -> None:
    """Padded rows stay 0, and the others are as without them."""
    graft = moved(PatchGraft(body, BOTTLENECK, 1, insertion=insertion))
    levels = body(items, graft)
    assert not any(level[:7, 0].any() for level in levels)
    alone = body(items[:1, 7:], graft)
    torch.testing.assert_close(levels[-1][7:, 0], alone[-1][:, 0], rtol=1e-4, atol=1e-4)


class TestInsertion:
    def test_all_of_figure_3_are_there(self) -> None:
        assert set(INSERTIONS) == set(SITES)

    @every_insertion
    @pytest.mark.parametrize("second_norm", [True, False])
    @pytest.mark.parametrize("activation", ACTIVATIONS)
    def test_it_follows_its_equation(
        self, body: Backbone, items: Tensor, insertion: str, second_norm: bool, activation: str
    ) -> None:
        graft = moved(PatchGraft(body, BOTTLENECK, 1, None, activation, second_norm, insertion))
        phi = {"gelu": F.gelu, "relu": F.relu, "leaky_relu": F.leaky_relu}[activation]

        def patch(site: int) -> Map:
            def apply(h: Tensor) -> Tensor:
                own = graft.patches[str(site)]
                return h + phi(h @ own.down.weight.T + own.down.bias) @ own.up.weight.T + own.up.bias

            return apply

        expected = plain(body, graft, insertion, whole(items), patch)
        for level, wanted in zip(body(whole(items), graft), expected, strict=True):
            torch.testing.assert_close(level, wanted, rtol=1e-4, atol=1e-4)

    @every_insertion
    def test_a_fresh_graft_is_the_body_bit_for_bit_or_has_the_inner_identity(
        self, body: Backbone, items: Tensor, insertion: str
    ) -> None:
        graft = PatchGraft(body, BOTTLENECK, 1, insertion=insertion)
        pairs = list(zip(body(items), body(items, graft), strict=True))
        same = [torch.equal(frozen, grafted) for frozen, grafted in pairs]
        assert same == [True] + [insertion not in INNER_IDENTITY] * BLOCKS

    @pytest.mark.parametrize("insertion", sorted(INNER_IDENTITY))
    def test_a_fresh_inner_identity_adds_what_went_in(
        self, body: Backbone, items: Tensor, insertion: str
    ) -> None:
        """conv(x) + x, pinned: one block is enough to leave the body's own output far behind."""
        graft = PatchGraft(body, BOTTLENECK, 1, insertion=insertion)
        expected = plain(body, graft, insertion, whole(items), lambda site: lambda h: h)
        levels = body(whole(items), graft)
        for level, wanted in zip(levels, expected, strict=True):
            torch.testing.assert_close(level, wanted, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(levels[1], body(whole(items))[1], rtol=0.1, atol=0.01)

    @every_insertion
    @pytest.mark.parametrize("second_norm", [True, False])
    def test_what_it_holds(self, body: Backbone, insertion: str, second_norm: bool) -> None:
        graft = PatchGraft(body, BOTTLENECK, 1, range(2, 4), second_norm=second_norm, insertion=insertion)
        patches = {
            f"patches.{2 * block + at}.{part}.{tensor}"
            for block in (2, 3)
            for at in SITES[insertion]
            for part in ("down", "up")
            for tensor in ("weight", "bias")
        }
        norms = {f"norms.{site}.{tensor}" for site in (5, 7) for tensor in ("weight", "bias")}
        wanted = patches | (norms if second_norm else set())
        assert set(graft.state_dict()) == wanted
        assert {name for name, tensor in graft.named_parameters() if tensor.requires_grad} == wanted

    @every_insertion
    @pytest.mark.parametrize("bottleneck", [1, 4])
    def test_parameter_count_is_the_papers(self, body: Backbone, insertion: str, bottleneck: int) -> None:
        """n(2kd + d + k) + 2Bk."""
        graft = PatchGraft(body, bottleneck, 1, insertion=insertion)
        patches = len(SITES[insertion]) * BLOCKS * (2 * CHANNELS * bottleneck + bottleneck + CHANNELS)
        count = sum(parameter.numel() for parameter in graft.parameters())
        assert count == patches + 2 * BLOCKS * CHANNELS

    @every_insertion
    def test_training_moves_it_and_leaves_the_body(
        self, body: Backbone, items: Tensor, insertion: str
    ) -> None:
        """Under weight decay, which would pull at anything the optimizer can reach."""
        frozen = {name: value.clone() for name, value in body.state_dict().items()}
        graft = PatchGraft(body, BOTTLENECK, 1, insertion=insertion)
        before = {name: value.clone() for name, value in graft.state_dict().items()}
        optimizer = torch.optim.AdamW(graft.parameters(), lr=0.01, weight_decay=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            (body(items, graft)[-1] - 1).square().mean().backward()
            optimizer.step()
        assert all(torch.equal(value, frozen[name]) for name, value in body.state_dict().items())
        assert [name for name, value in graft.state_dict().items() if torch.equal(value, before[name])] == []

    @every_insertion
    def test_padded_rows_stay_zero_and_change_nothing(
        self, body: Backbone, items: Tensor, insertion: str
    ) -> None:
        padding_stays_out(body, items, insertion)

    @every_insertion
    def test_only_the_chosen_blocks_are_patched(self, body: Backbone, items: Tensor, insertion: str) -> None:
        graft = moved(PatchGraft(body, BOTTLENECK, 1, range(2, 4), insertion=insertion))
        same = [torch.equal(one, other) for one, other in zip(body(items), body(items, graft), strict=True)]
        assert same == [True, True, True, False, False]

    def test_it_stays_causal(self, body: Backbone, items: Tensor) -> None:
        graft = moved(PatchGraft(body, BOTTLENECK, 1))
        changed = whole(items).clone()
        changed[:, 8:] = changed[:, 8:].flip(1)
        before, after = body(whole(items), graft)[-1], body(changed, graft)[-1]
        assert torch.equal(before[:8], after[:8])
        assert not torch.equal(before[8:], after[8:])

    def test_no_blocks_is_the_body(self, body: Backbone, items: Tensor) -> None:
        graft = PatchGraft(body, BOTTLENECK, 1, range(0))
        assert not list(graft.parameters())
        assert torch.equal(body(items, graft)[-1], body(items)[-1])

    @pytest.mark.parametrize("blocks", [range(3, 5), range(-1, 2), range(3, 1)])
    def test_blocks_outside_the_body_are_refused(self, body: Backbone, blocks: range) -> None:
        with pytest.raises(InputError, match="blocks 0 to 3"):
            PatchGraft(body, BOTTLENECK, 1, blocks)

    def test_an_unknown_one_is_refused(self, body: Backbone) -> None:
        with pytest.raises(InputError, match="serial2, serial1"):
            PatchGraft(body, BOTTLENECK, 1, insertion="serial3")


class TestOnSasrec:
    """Its LayerNorm stands before a sub-layer: u = LN(x), y = sub-layer(u), and x + y goes on."""

    @pytest.fixture
    def body(self) -> Backbone:
        shape = BackboneConfig("sasrec", channels=CHANNELS, blocks=BLOCKS)
        return build_backbone(shape, 30, seed=0).requires_grad_(False)

    @every_insertion
    def test_it_follows_its_equation(self, body: Backbone, items: Tensor, insertion: str) -> None:
        graft = moved(PatchGraft(body, BOTTLENECK, 1, insertion=insertion))
        joined: dict[str, Callable[[Map, Tensor, Tensor], Tensor]] = {
            "parallel": lambda mp, u, y: y + mp(u),
            "parallel-delta": lambda mp, u, y: y + mp(u) - u,
            "parallel-after": lambda mp, u, y: y + mp(u),
        }
        seen, x = visible(whole(items).T, causal=True), body(whole(items))[0]
        levels = body(whole(items), graft)
        for site in range(body.sites):
            own, layer = graft.norms[str(site)] if site % 2 else body.site_norm(site), body.site_layer(site)
            u = F.layer_norm(x, (CHANNELS,), own.weight, own.bias, 1e-8)
            y = layer(u) if site % 2 else layer(u, seen)
            if str(site) in graft.patches:
                y = joined.get(insertion, lambda mp, u, y: mp(y))(graft.patches[str(site)], u, y)
            x = x + y
            if site % 2 and site < body.sites - 1:
                torch.testing.assert_close(levels[1 + site // 2], x, rtol=1e-4, atol=1e-4)

    @every_insertion
    def test_a_fresh_graft_is_the_body_bit_for_bit(
        self, body: Backbone, items: Tensor, insertion: str
    ) -> None:
        graft = PatchGraft(body, BOTTLENECK, 1, insertion=insertion)
        same = [torch.equal(*pair) for pair in zip(body(items), body(items, graft), strict=True)]
        assert same == [True] + [insertion not in INNER_IDENTITY] * BLOCKS

    @every_insertion
    def test_padded_rows_stay_zero_and_change_nothing(
        self, body: Backbone, items: Tensor, insertion: str
    ) -> None:
        padding_stays_out(body, items, insertion)


class TestSecondNorm:
    def test_the_copy_starts_from_the_frozen_values_and_shares_none(self, body: Backbone) -> None:
        nn.init.normal_(body.site_norm(3).weight)
        graft = PatchGraft(body, BOTTLENECK, 1)
        own, frozen = graft.norm(3, body.site_norm(3)), body.site_norm(3)
        assert torch.equal(own.weight, frozen.weight)
        assert own.weight.data_ptr() != frozen.weight.data_ptr()
        assert graft.norm(2, body.site_norm(2)) is body.site_norm(2)  # the first LayerNorm is left alone


class TestModelPatch:
    def test_no_two_start_alike(self, body: Backbone) -> None:
        graft = PatchGraft(body, BOTTLENECK, 1)
        downs = [value for name, value in graft.state_dict().items() if name.endswith("down.weight")]
        assert len({value.numpy().tobytes() for value in downs}) == 2 * BLOCKS

    def test_the_seed_alone_decides(self, body: Backbone) -> None:
        one, same, other = (PatchGraft(body, BOTTLENECK, seed).state_dict() for seed in (1, 1, 2))
        name = "patches.0.down.weight"
        assert torch.equal(one[name], same[name])
        assert not torch.equal(one[name], other[name])

    @pytest.mark.parametrize("groups", [1, 2, 6])
    def test_the_papers_cardinality_is_this_very_patch(self, groups: int) -> None:
        """h + sum over c patches of D/c channels each: so no option is needed for it."""
        patch = ModelPatch(8, 6, seed=0, name="patch")
        for parameter in patch.parameters():
            nn.init.normal_(parameter)
        h = torch.randn(5, 8, generator=torch.Generator().manual_seed(0))
        parts = zip(
            patch.down.weight.chunk(groups), patch.down.bias.chunk(groups), patch.up.weight.chunk(groups, 1),
            strict=True,
        )  # fmt: skip
        branches = [F.gelu(h @ down.T + bias) @ up.T for down, bias, up in parts]
        expected = h + torch.stack(branches).sum(0) + patch.up.bias
        torch.testing.assert_close(patch(h), expected, rtol=1e-4, atol=1e-5)

    def test_an_unknown_activation_is_refused(self) -> None:
        with pytest.raises(InputError, match="gelu, relu"):
            ModelPatch(4, 2, seed=0, name="patch", activation="swish")
