"""Dropout as a graft: nothing of it is in the body."""

import pytest
import torch
from torch import Tensor

from peter.nn.backbone import Backbone
from peter.nn.graft import DropoutGraft
from peter.testing import ITEMS, tiny_body


@pytest.fixture(params=["nextitnet", "sasrec"])
def body(request: pytest.FixtureRequest) -> Backbone:
    return tiny_body(architecture=request.param, channels=16)


def padded() -> Tensor:
    items = torch.randint(4, ITEMS, (6, 10), generator=torch.Generator().manual_seed(0))
    items[0, :7] = 0
    return items


def test_two_seeds_see_two_users_and_no_dropout_sees_the_same_bits(body: Backbone) -> None:
    one, same, other = (body(padded(), DropoutGraft(0.5, seed))[-1] for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.allclose(one, other, atol=0.01)
    assert torch.equal(body(padded())[-1], body(padded())[-1])
    assert torch.equal(body(padded(), DropoutGraft(0.0, 1))[-1], body(padded())[-1])


def test_one_graft_leaves_out_the_same_in_each_pass(body: Backbone) -> None:
    graft = DropoutGraft(0.3, 1)
    assert torch.equal(body(padded(), graft)[-1], body(padded(), graft)[-1])


def test_padded_rows_stay_zero(body: Backbone) -> None:
    assert not any(level[:7, 0].any() for level in body(padded(), DropoutGraft(0.5, 1)))


def test_a_share_is_left_out_and_the_mean_stays(body: Backbone) -> None:
    graft, x = DropoutGraft(0.3, 1), torch.ones(50, 40, 30)
    thinned = graft.lookup(torch.zeros(50, 40, dtype=torch.int64), x)
    assert abs(float((thinned == 0).float().mean()) - 0.3) < 0.01
    assert abs(float(thinned.mean()) - 1) < 0.01
    assert not torch.equal(thinned, graft.outside(0, x, x))  # each place has draws of its own


def test_members_of_a_team_leave_out_what_one_process_would(body: Backbone) -> None:
    whole = body(padded(), DropoutGraft(0.5, 1))[-1]
    for rank in range(2):
        part = body(padded()[rank::2], DropoutGraft(0.5, 1, 6, lambda draws, rank=rank: draws[rank::2]))[-1]
        torch.testing.assert_close(part, whole[:, rank::2])
