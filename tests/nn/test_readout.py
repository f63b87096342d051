"""Every read-out against a loop over single users, whose windows are fed one by one and unpadded."""

import copy

import pytest
import torch
from torch import Tensor, nn

from peter.config import BackboneConfig
from peter.data.histories import TCL, Histories
from peter.errors import InputError
from peter.nn.backbone import Backbone, build_backbone
from peter.nn.patch import PatchGraft
from peter.nn.readout import POOLS, ReadOut, by_length
from peter.nn.view import Grafted

LENGTHS = [0, 3, 10, 11, 25, 1, 0, 40, 7]
CHANNELS, LEVELS = 8, 3


def body(causal: bool = True, length: int = 10) -> Backbone:
    config = BackboneConfig(channels=CHANNELS, blocks=LEVELS - 1, max_length=length, causal=causal)
    return build_backbone(config, 30, seed=0).requires_grad_(False)


@pytest.fixture
def histories() -> Histories:
    offsets = torch.tensor([0, *LENGTHS]).cumsum(0)
    items = torch.randint(4, 30, (int(offsets[-1]),), generator=torch.Generator().manual_seed(0))
    return Histories(items, offsets)


@pytest.fixture
def token() -> Tensor:
    return torch.randn(CHANNELS, generator=torch.Generator().manual_seed(7))


def cut(events: Tensor, length: int) -> list[Tensor]:
    """Windows of a user, oldest first: all but the oldest are full."""
    head = len(events) % length
    return [window for window in (events[:head], *events[head:].split(length)) if len(window)]


def taken(pool: str, levels: list[Tensor], causal: bool) -> Tensor:
    """What is read from one window's levels, each [L, C]."""
    top = levels[-1]
    last = top[-1] if causal else top[0] + top[-1]
    return {
        "all": torch.cat([level.mean(0) for level in levels]),
        "last": last,
        "head+tail": top[0] + top[-1],
        "mean": top.mean(0),
        "concat": torch.cat([last, top.mean(0)]),
    }[pool]


def one_user(body: Backbone, events: Tensor, pool: str, newest: bool, token: Tensor | None) -> Tensor:
    """[F], with [TCL] as a real row of a body of its own."""
    tokens = 0 if token is None else 1 if body.causal else 2
    own = copy.deepcopy(body)
    if token is not None:
        own.item_embedding.weight[TCL] = token
    features, positions = torch.zeros(1), 0
    for window in cut(events, body.max_length - tokens)[-1 if newest else 0 :]:
        ends = torch.tensor([TCL])
        framed = [[window], [window, ends], [ends, window, ends]][tokens]
        row = torch.cat(framed)
        levels = [level[:, 0] for level in own(row[None])]
        features = features + len(row) * taken(pool, levels, body.causal)
        positions += len(row)
    return features / positions


@pytest.mark.parametrize("causal", [True, False], ids=["causal", "both-ways"])
@pytest.mark.parametrize("tcl", [True, False], ids=["tcl", "bare"])
@pytest.mark.parametrize("history", ["all", "window"])
@pytest.mark.parametrize("pool", POOLS)
def test_every_pool_agrees_with_a_loop(
    histories: Histories, token: Tensor, pool: str, history: str, tcl: bool, causal: bool
) -> None:
    """Batches are padded on the left and the loop's windows are not: padding never leaks."""
    frozen = body(causal)
    view = Grafted(frozen, token=token) if tcl else frozen
    read_out = ReadOut(pool, history, tcl)  # type: ignore[arg-type]
    got = read_out(view, histories)
    assert got.shape == (len(LENGTHS), read_out.width(view))
    for user, length in enumerate(LENGTHS):
        events = histories.items[histories.offsets[user] : histories.offsets[user + 1]]
        expected = one_user(frozen, events, pool, history == "window", token if tcl else None)
        torch.testing.assert_close(got[user], expected if length else torch.zeros_like(got[user]))


@pytest.mark.parametrize("pool", POOLS)
def test_auto_reads_the_whole_history_for_all_levels_alone(histories: Histories, pool: str) -> None:
    chosen = "all" if pool == "all" else "window"
    frozen = body()
    assert torch.equal(ReadOut(pool)(frozen, histories), ReadOut(pool, chosen)(frozen, histories))  # type: ignore[arg-type]


@pytest.mark.parametrize("events_per_batch", [1, 16, 8192])
@pytest.mark.parametrize("pool", ["all", "concat"])
def test_batches_of_any_size_agree(histories: Histories, pool: str, events_per_batch: int) -> None:
    read_out, frozen = ReadOut(pool, "all"), body()
    torch.testing.assert_close(
        read_out(frozen, histories, events_per_batch=events_per_batch), read_out(frozen, histories)
    )


def test_the_order_of_users_is_kept(histories: Histories) -> None:
    order = torch.randperm(len(LENGTHS), generator=torch.Generator().manual_seed(1))
    read_out, frozen = ReadOut("last"), body()
    torch.testing.assert_close(read_out(frozen, histories.select(order)), read_out(frozen, histories)[order])


@pytest.mark.parametrize("tcl", [True, False])
@pytest.mark.parametrize(("pool", "times"), [("all", LEVELS), ("last", 1), ("concat", 2)])
def test_users_without_events_are_zero(
    histories: Histories, token: Tensor, pool: str, times: int, tcl: bool
) -> None:
    view, read_out = Grafted(body(), token=token if tcl else None), ReadOut(pool, tcl=tcl)
    width = times * CHANNELS
    assert not read_out(view, histories)[torch.tensor(LENGTHS) == 0].any()
    assert read_out(view, histories.select(torch.tensor([0, 6]))).shape == (2, width)
    assert read_out(view, histories.select(torch.tensor([], dtype=torch.int64))).shape == (0, width)


class TestToken:
    def test_it_stands_in_for_whatever_row_the_body_has(self, histories: Histories, token: Tensor) -> None:
        """No pre-training reaches the body's own row for [TCL], so nothing may depend on it."""
        read_out, frozen = ReadOut("last", tcl=True), body()
        before = read_out(Grafted(frozen, token=token), histories)
        frozen.item_embedding.weight[TCL] = 100
        assert torch.equal(read_out(Grafted(frozen, token=token), histories), before)
        assert not torch.equal(read_out(Grafted(frozen, token=-token), histories), before)

    @pytest.mark.parametrize("causal", [True, False])
    def test_it_learns_and_the_body_does_not(self, histories: Histories, token: Tensor, causal: bool) -> None:
        own, frozen = nn.Parameter(token), body(causal)
        ReadOut("last", tcl=True)(Grafted(frozen, token=own), histories).square().sum().backward()
        assert own.grad is not None
        assert own.grad.any()
        assert all(parameter.grad is None for parameter in frozen.parameters())

    def test_it_goes_through_a_graft(self, histories: Histories, token: Tensor) -> None:
        frozen = body()
        graft = PatchGraft(frozen, 2, seed=0)
        for parameter in graft.parameters():
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
        read_out = ReadOut("last", tcl=True)
        got = read_out(graft.view(frozen, token), histories)
        own = copy.deepcopy(frozen)
        own.item_embedding.weight[TCL] = token
        torch.testing.assert_close(got, read_out(graft.view(own), histories))

    @pytest.mark.parametrize(("causal", "length"), [(True, 1), (False, 1), (False, 2)])
    def test_a_window_without_room_is_refused(self, causal: bool, length: int, token: Tensor) -> None:
        narrow = Grafted(body(causal, length), token=token)
        with pytest.raises(InputError, match="tcl=off"):
            ReadOut("last", tcl=True).width(narrow)
        assert ReadOut("last").width(narrow) == CHANNELS


def test_gradients_reach_the_graft_only(histories: Histories) -> None:
    frozen = body()
    assert not ReadOut()(frozen, histories).requires_grad
    graft = PatchGraft(frozen, 2, seed=0)
    ReadOut()(Grafted(frozen, graft), histories).square().sum().backward()
    assert all(parameter.grad is None for parameter in frozen.parameters())
    assert graft.norms["1"].weight.grad is not None
    assert any(parameter.grad.any() for parameter in graft.patches.parameters() if parameter.grad is not None)


def test_short_windows_do_not_pay_for_long_ones(histories: Histories) -> None:
    windows = histories.windows(10).items
    batches = list(by_length(windows, 10))
    assert sum(items.numel() for _, items in batches) < 0.85 * windows.numel()
    assert torch.cat([rows for rows, _ in batches]).sort()[0].tolist() == list(range(len(windows)))
