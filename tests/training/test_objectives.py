"""Which events are given and which are asked for."""

import pytest
import torch
from torch import Tensor

from peter.config import PretrainConfig
from peter.data.histories import MASK, PAD, RESERVED, UNK, Histories
from peter.errors import InputError, UnknownName
from peter.training.objectives import Objective, objective

LENGTHS = [0, 1, 2, 5, 6, 11, 12]


def histories(lengths: list[int] | None = None) -> Histories:
    """Item ids count up, so that every event has its own."""
    offsets = torch.tensor([0, *(LENGTHS if lengths is None else lengths)]).cumsum(0)
    return Histories(torch.arange(int(offsets[-1])) + RESERVED, offsets)


def of(name: str, rate: float = 0.3) -> Objective:
    return objective(PretrainConfig(objective=name, mask_rate=rate), causal=name == "next-item")


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaps(windows: Tensor, seed: int = 0) -> Tensor:
    return of("gap-fill").batch(windows, 200, draws(seed)).targets != PAD


def test_next_item_asks_for_every_event_but_the_first_once() -> None:
    events, asking = histories(), of("next-item")
    batch = asking.batch(asking.windows(events, 5), 100, draws())
    asked = batch.targets[batch.targets != PAD]
    firsts = events.items[events.offsets[:-1][events.lengths > 0]]
    expected = events.items[~torch.isin(events.items, firsts)]
    assert asked.sort()[0].tolist() == expected.tolist()


def test_next_item_gives_the_event_before() -> None:
    asking = of("next-item")
    batch = asking.batch(asking.windows(histories(), 5), 100, draws())
    asked = batch.targets != PAD
    assert torch.equal(batch.inputs[asked] + 1, batch.targets[asked])
    assert batch.inputs.shape[1] == 5


def test_unknown_items_are_given_but_never_asked() -> None:
    asking = of("next-item")
    events = Histories(torch.tensor([9, UNK, 8]), torch.tensor([0, 3]))
    batch = asking.batch(asking.windows(events, 2), 100, draws())
    assert batch.inputs.tolist() == [[9, UNK]]
    assert batch.targets.tolist() == [[PAD, 8]]


@pytest.mark.parametrize("name", ["next-item", "gap-fill"])
def test_last_asks_for_the_newest_event_of_users_with_two(name: str) -> None:
    events = histories()
    inputs, answers = of(name).last(events, 5)
    assert answers.tolist() == (events.items[events.offsets[1:] - 1][events.lengths > 1]).tolist()
    assert not torch.isin(answers, inputs).any()
    before = inputs[:, -1] if name == "next-item" else inputs[:, -2]
    assert torch.equal(before, answers - 1)


@pytest.mark.parametrize(("length", "count"), [(1, 1), (2, 1), (5, 2), (10, 3), (50, 15), (120, 30)])
def test_gap_count(length: int, count: int) -> None:
    windows = torch.nn.functional.pad(histories([length]).items[None].repeat(20, 1), (3, 0))
    assert gaps(windows).sum(1).tolist() == [count] * 20


def test_gaps_are_never_padding_nor_reserved_and_follow_the_seed() -> None:
    windows = of("gap-fill").windows(histories(), 12).clone()
    windows[-1, 3:6] = UNK
    chosen = torch.stack([gaps(windows, seed) for seed in range(50)])
    assert not chosen[:, windows < RESERVED].any()
    assert chosen.any(0)[windows >= RESERVED].float().mean() > 0.9
    assert torch.equal(gaps(windows, 7), gaps(windows, 7))
    assert not torch.equal(gaps(windows, 7), gaps(windows, 8))


def test_gaps_are_hidden_swapped_or_kept_as_in_bert() -> None:
    windows = torch.arange(RESERVED, 104).repeat(500, 1)
    batch = of("gap-fill").batch(windows, 10_000, draws())
    asked = batch.targets != PAD
    assert torch.equal(batch.targets[asked], windows[asked])
    assert torch.equal(batch.inputs[~asked], windows[~asked])
    given, true = batch.inputs[asked], batch.targets[asked]
    assert abs((given == MASK).float().mean() - 0.8) < 0.02
    assert abs((given == true).float().mean() - 0.1) < 0.02
    assert given.min() == MASK


@pytest.mark.parametrize(
    ("name", "causal", "flag"), [("next-item", False, "--causal"), ("gap-fill", True, "--no-causal")]
)
def test_wrong_body_is_told_the_flag(name: str, causal: bool, flag: str) -> None:
    with pytest.raises(InputError, match=f"add {flag}"):
        objective(PretrainConfig(objective=name), causal)


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UnknownName):
        of("next-itm")
    with pytest.raises(InputError, match="mask_rate"):
        of("gap-fill", rate=1.0)
