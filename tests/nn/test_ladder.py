"""A ladder reads the body's levels and climbs beside them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from peter.nn.backbone import Backbone
from peter.nn.ladder import Ladder
from peter.testing import ITEMS, tiny_body

CHANNELS, BLOCKS, WIDTH = 8, 3, 2


@pytest.fixture
def body() -> Backbone:
    return tiny_body(channels=CHANNELS, blocks=BLOCKS)


@pytest.fixture
def items() -> torch.Tensor:
    items = torch.randint(4, ITEMS, (3, 9), generator=torch.Generator().manual_seed(0))
    items[0, :4] = 0
    return items


def moved(ladder: Ladder) -> Ladder:
    for parameter in ladder.parameters():
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    return ladder


def test_levels_are_as_many_as_the_bodys_and_narrower(body: Backbone, items: torch.Tensor) -> None:
    view = Ladder(body, WIDTH, 0).view(body)
    levels = view(items)
    assert [level.shape for level in levels] == [(9, 3, WIDTH)] * (BLOCKS + 1)
    assert (view.channels, view.levels) == (WIDTH, BLOCKS + 1)
    assert (view.max_length, view.causal, view.device) == (body.max_length, body.causal, body.device)


def test_it_follows_its_equations(body: Backbone, items: torch.Tensor) -> None:
    ladder = moved(Ladder(body, WIDTH, 0))
    got, frozen = ladder.view(body)(items), body(items)
    s = frozen[0] @ ladder.down[0].weight.T + ladder.down[0].bias  # type: ignore[union-attr, operator]
    real = (items != 0).T[..., None]
    torch.testing.assert_close(got[0], s * real)
    for rung in range(BLOCKS):
        down, norm, step = (
            part[at] for part, at in ((ladder.down, rung + 1), (ladder.norm, rung), (ladder.step, rung))
        )
        g = 1 / (1 + torch.exp(-ladder.gate[rung]))
        m = g * s + (1 - g) * (frozen[rung + 1] @ down.weight.T + down.bias)
        centred = (m - m.mean(-1, keepdim=True)) / (m.var(-1, keepdim=True, correction=0) + norm.eps).sqrt()
        s = s + F.gelu((norm.weight * centred + norm.bias) @ step.weight.T + step.bias)
        torch.testing.assert_close(got[rung + 1], s * real, rtol=1e-4, atol=1e-4)


def test_padding_changes_nothing(body: Backbone, items: torch.Tensor) -> None:
    view = moved(Ladder(body, WIDTH, 0)).view(body)
    levels, alone = view(items), view(items[:1, 4:])
    assert not any(level[:4, 0].any() for level in levels)
    torch.testing.assert_close(levels[-1][4:, 0], alone[-1][:, 0], rtol=1e-4, atol=1e-4)


def test_no_gradient_enters_the_body(body: Backbone, items: torch.Tensor) -> None:
    """Not even into one that could learn, nor through its activations: one pass of it serves all tasks."""
    body.requires_grad_(True)
    ladder = Ladder(body, WIDTH, 0)
    torch.stack(ladder.view(body)(items)).square().sum().backward()
    assert all(parameter.grad is None for parameter in body.parameters())
    assert all(parameter.grad is not None for parameter in ladder.parameters())


def test_no_two_layers_start_alike_and_the_seed_decides(body: Backbone) -> None:
    one, other = (Ladder(body, WIDTH, seed).state_dict() for seed in (0, 1))
    drawn = [name for name in one if name.startswith(("down", "step")) and name.endswith("weight")]
    assert len({one[name].numpy().tobytes() for name in drawn}) == len(drawn) == 2 * BLOCKS + 1
    assert all(not torch.equal(one[name], other[name]) for name in drawn)
