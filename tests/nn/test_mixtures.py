"""Older patches' directions: what is added at each site, what of it is trained, and what never moves."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from windows import windows

from peter.nn.backbone import Backbone
from peter.nn.experts import ExpertGraft, Experts, Mixture, of_deltas, of_patches
from peter.nn.lowrank import LowRankGraft
from peter.nn.patch import INSERTIONS, ModelPatch, PatchGraft
from peter.testing import fingerprint, tiny_body

CHANNELS, BOTTLENECK, RANK = 8, 2, 3
READ = [*INSERTIONS, "lora"]


@pytest.fixture
def body() -> Backbone:
    return tiny_body()


def moved(module: nn.Module, seed: int = 1) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.4, generator=generator)
    return module


def older(body: Backbone, how: str, seed: int = 1) -> tuple[nn.Module, Experts]:
    """A trained patch of another task, and its directions."""
    if how == "lora":
        deltas = LowRankGraft(body, RANK, 6.0, 0)
        return moved(deltas, seed).requires_grad_(False), of_deltas(deltas)
    patches = PatchGraft(body, BOTTLENECK, 0, insertion=how)
    return moved(patches, seed).requires_grad_(False), of_patches(patches)


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(*pair) for pair in zip(one, other, strict=True))


@pytest.mark.parametrize("how", READ)
def test_a_fresh_one_is_the_body_bit_for_bit(body: Backbone, how: str) -> None:
    graft = ExpertGraft(PatchGraft(body, BOTTLENECK, 5), [older(body, how)[1]])
    assert same(body(windows(), graft), body(windows()))


@pytest.mark.parametrize("how", READ)
def test_with_gates_open_an_older_patch_is_what_it_was(body: Backbone, how: str) -> None:
    """But for its b_up, its own LayerNorm, and the identity of the insertions that have one."""
    patch, experts = older(body, how)
    if isinstance(patch, PatchGraft):
        patch.norms.clear()
        for each in patch.patches.values():
            nn.init.zeros_(each.up.bias)
        patch.insertion = replace(patch.insertion, identity=False)
    graft = ExpertGraft(PatchGraft(body, BOTTLENECK, 5), [experts])
    for mixture in graft.mixtures.values():
        nn.init.ones_(mixture.gate)
    for level, wanted in zip(body(windows(), graft), body(windows(), patch), strict=True):
        torch.testing.assert_close(level, wanted, rtol=1e-4, atol=1e-5)
    assert not same(body(windows(), graft), body(windows()))


def test_attention_is_a_softmax_over_all_directions_at_the_site(body: Backbone) -> None:
    (patch, first), (_, second) = older(body, "serial2"), older(body, "parallel-after", 2)
    mixture = moved(Mixture([first[0], second[0]]), 3)
    up = torch.cat([first[0].up, second[0].up], dim=1)  # [C, R]
    wanted = (mixture.query @ (up / up.norm(dim=0))).softmax(0)
    a = mixture.weights()
    torch.testing.assert_close(a, mixture.gate * 2 * BOTTLENECK * wanted)
    x, y = torch.randn(2, 5, 3, CHANNELS, generator=torch.Generator().manual_seed(0))
    own = patch.patches["0"]
    assert isinstance(own, ModelPatch)
    by_hand = sum(
        a[r] * F.gelu(y @ own.down.weight[r] + own.down.bias[r]).unsqueeze(-1) * own.up.weight[:, r]
        for r in range(BOTTLENECK)
    )
    (inside,), (outside,) = (list(mixture.deltas(place, x, y)) for place in ("inside", "outside"))
    torch.testing.assert_close(inside, by_hand)
    assert outside.shape == y.shape


def test_gradient_reaches_the_gate_and_through_it_the_query_and_nothing_older(body: Backbone) -> None:
    patch, experts = older(body, "serial2")
    before = fingerprint(patch.state_dict())
    graft = ExpertGraft(PatchGraft(body, BOTTLENECK, 5), [experts])
    optimizer = torch.optim.AdamW(graft.parameters(), lr=0.1, weight_decay=0.1)
    for step in range(3):
        optimizer.zero_grad()
        body(windows(), graft)[-1].square().sum().backward()
        for mixture in graft.mixtures.values():
            assert mixture.gate.grad is not None
            assert mixture.gate.grad.abs() > 0
            assert bool(mixture.query.grad.any()) == (step > 0)
        optimizer.step()
    assert fingerprint(patch.state_dict()) == before
    assert not any(tensor.requires_grad or tensor.grad is not None for tensor in patch.parameters())


def test_it_holds_what_it_trains_and_nothing_of_others(body: Backbone) -> None:
    sources = [older(body, "serial1", 1)[1], older(body, "lora", 2)[1]]
    graft = ExpertGraft(PatchGraft(body, BOTTLENECK, 5), sources, reads=("a", "b"))
    own = {f"own.{name}" for name in PatchGraft(body, BOTTLENECK, 5).state_dict()}
    mixed = {f"mixtures.{site}.{part}" for site in range(4) for part in ("query", "gate")}
    assert set(graft.state_dict()) == own | mixed == {name for name, _ in graft.named_parameters()}
    assert graft.reads == ("a", "b")


def test_padded_rows_stay_zero(body: Backbone) -> None:
    graft = moved(ExpertGraft(PatchGraft(body, BOTTLENECK, 5), [older(body, how)[1] for how in READ]), 4)
    assert not any(level[:4, 0].any() for level in body(windows(), graft))
