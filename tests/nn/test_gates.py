"""Gates: what they mix, whose they are, that they repeat themselves, and what gradient reaches the policy."""

import pytest
import torch
from torch import Tensor, nn

from peter.data.histories import Histories
from peter.nn.backbone import Backbone
from peter.nn.block_copies import BlockCopies
from peter.nn.embedding import ItemEmbedding
from peter.nn.gated import GatedTrunk
from peter.nn.gates import Always, Learnt, PolicyNet, Random, Rule
from peter.nn.patch import PatchGraft
from peter.nn.readout import ReadOut
from peter.nn.view import Gated, Grafted
from peter.testing import ITEMS, tiny_body, toy_users

BLOCKS = 3  # N
POLICIES = ["hard", "soft", "reinforced", "random", "always"]


@pytest.fixture
def body() -> Backbone:
    return tiny_body(blocks=BLOCKS)


@pytest.fixture
def users() -> Histories:
    return toy_users(users=30)[0]


def policy(name: str, seed: int = 0) -> nn.Module:
    if name in ("random", "always"):
        return Random(BLOCKS, 0.5, seed) if name == "random" else Always(BLOCKS)
    rule: dict[str, Rule] = {"hard": "hard", "soft": "soft", "reinforced": "reinforced"}
    return Learnt(PolicyNet(8, 4, BLOCKS, seed), rule[name], 1.0, seed)


def gated(body: Backbone, name: str, drawn: bool = True) -> GatedTrunk:
    """If `drawn`, with every tensor of its own random, and a policy that tells users apart."""
    trunk = GatedTrunk(PatchGraft(body, 2, 0, second_norm=False), policy(name))
    generator = torch.Generator().manual_seed(3)
    for parameter in trunk.parameters() if drawn else ():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    if drawn and isinstance(trunk.policy, Learnt):  # so that a mean user is at even odds
        items, _ = windows(toy_users(users=30)[0])
        with torch.no_grad():
            found = trunk.policy.net(items, body.item_embedding)
            trunk.policy.net.logits.bias -= found.median(0).values
    return trunk.eval()


def windows(users: Histories) -> tuple[Tensor, Tensor]:
    found = users.windows(10)
    return found.items, found.user


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("form", ["patches", "copies"])
def test_a_fresh_one_is_the_body(body: Backbone, users: Histories, name: str, form: str) -> None:
    """Bit for bit, but for rounding where gates are between 0 and 1."""
    items, _ = windows(users)
    trunk = gated(body, name, drawn=False)
    view = GatedTrunk(BlockCopies(body) if form == "copies" else trunk.own, trunk.policy).view(body)
    close = 1e-6 if name == "soft" else 0
    for level, plain in zip(view(items), body(items), strict=True):
        torch.testing.assert_close(level, plain, rtol=close, atol=close)


def test_closed_gates_are_the_body_and_open_ones_the_graft(body: Backbone, users: Histories) -> None:
    trunk, (items, _) = gated(body, "always"), windows(users)
    view = trunk.view(body)
    assert isinstance(trunk.own, PatchGraft)
    for gates, other in ((torch.zeros, body), (torch.ones, Grafted(body, trunk.own))):
        levels = view.under(gates(len(items), BLOCKS))(items)
        assert all(torch.equal(level, plain) for level, plain in zip(levels, other(items), strict=True))


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_a_copy_is_mixed_with_its_block_as_a_whole(share: float) -> None:
    """UAF's g A(h) + (1 - g) F(h), also in part, where halves that were mixed would be something else."""
    body = tiny_body(blocks=1)
    own = BlockCopies(body)
    for at, parameter in enumerate(own.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(at))
    items, _ = windows(toy_users(users=30)[0])
    frozen, copied = body(items)[1], body(items, own)[1]
    found = GatedTrunk(own, Always(1)).view(body).under(torch.full((len(items), 1), share))(items)[1]
    torch.testing.assert_close(found, share * copied + (1 - share) * frozen)
    assert not torch.equal(copied, frozen)


def test_a_gate_opens_its_own_block_alone(body: Backbone, users: Histories) -> None:
    items, _ = windows(users)
    view = gated(body, "always").view(body)
    for block in range(BLOCKS):
        gates = torch.zeros(len(items), BLOCKS)
        gates[:, block] = 1
        changed = [
            not torch.equal(level, plain)
            for level, plain in zip(view.under(gates)(items), body(items), strict=True)
        ]
        assert changed == [at > block for at in range(BLOCKS + 1)]


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize(("tcl", "readout"), [(False, "all"), (True, "last")])
def test_a_batch_of_users_is_each_of_them_alone(
    body: Backbone, users: Histories, name: str, tcl: bool, readout: str
) -> None:
    """Some with several windows, some with none, under gates that differ."""
    view = gated(body, name).view(body, torch.randn(8, generator=torch.Generator().manual_seed(1)))
    users = Histories(users.items, torch.cat([users.offsets[:1], users.offsets]))  # the first has no events
    read = ReadOut(readout, "auto", tcl)
    together, gates = read(view, users, events_per_batch=40), read.gates(view, users)
    assert isinstance(view, Gated)
    assert (len(gates[1:].unique(dim=0)) > 1) == (name != "always")
    for user in range(len(users)):
        alone = users.select(torch.tensor([user]))
        torch.testing.assert_close(read.gates(view, alone)[0], gates[user])
        torch.testing.assert_close(read(view, alone)[0], together[user], rtol=1e-4, atol=1e-5)


def test_all_windows_of_a_user_have_the_gates_of_his_newest(body: Backbone) -> None:
    """A user of three windows: under the gates that the last ten of his events alone are given."""
    user, _ = toy_users(users=1, seed=5)
    items = user.items.repeat(40)[:25]
    whole, newest = (Histories(each, torch.tensor([0, len(each)])) for each in (items, items[-10:]))
    view, read = gated(body, "soft").view(body), ReadOut("mean", "all")
    gates = read.gates(view, newest)
    assert torch.equal(read.gates(view, whole), gates)
    parts = windows(whole)[0]
    top = view.under(gates.expand(len(parts), -1))(parts)[-1]  # [10, 3, C]
    torch.testing.assert_close(read(view, whole)[0], top.sum((0, 1)) / 25)


def test_a_hard_gate_is_0_or_1_and_its_gradient_reaches_the_policy(body: Backbone, users: Histories) -> None:
    trunk, (items, _) = gated(body, "hard").train(), windows(users)
    view = trunk.view(body)
    gates = view.gates(items)
    assert set(gates.flatten().tolist()) == {0.0, 1.0}
    view.under(gates)(items)[-1].square().sum().backward()
    for parameter in trunk.parameters():
        assert parameter.grad is not None
        assert parameter.grad.any()
    assert not body.item_table.requires_grad
    assert all(tensor.grad is None for tensor in body.parameters())


@pytest.mark.parametrize("name", ["hard", "reinforced"])
def test_noise_is_drawn_anew_in_training_and_never_in_serving(
    body: Backbone, users: Histories, name: str
) -> None:
    trunk, (items, _) = gated(body, name).train(), windows(users)
    assert isinstance(trunk.policy, Learnt)
    view = trunk.view(body)
    first, second = view.gates(items), view.gates(items)
    assert not torch.equal(first, second)
    trunk.policy.noise.draws.passes = 0
    assert torch.equal(view.gates(items), first)
    with torch.no_grad():
        greedy = view.gates(items)
    served = trunk.eval().view(body).gates(items)
    assert torch.equal(greedy, served)
    assert torch.equal(served, (trunk.policy.net(items, body.item_embedding) > 0).float())
    assert torch.equal(served, trunk.view(body).gates(items))


def test_a_learnt_policy_opens_as_often_as_its_logits_say(body: Backbone) -> None:
    """The difference of two Gumbels is logistic noise."""
    learnt = policy("reinforced").train()
    assert isinstance(learnt, Learnt)
    logits = torch.tensor([-2.0, 0.0, 1.0]).expand(20_000, 3).requires_grad_()
    opened = learnt.rule(learnt, logits).mean(0)
    torch.testing.assert_close(opened, torch.tensor([-2.0, 0.0, 1.0]).sigmoid(), rtol=0, atol=0.015)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_random_gates_are_as_often_open_as_asked_whoever_comes(share: float) -> None:
    items = torch.randint(4, ITEMS, (4000, 10), generator=torch.Generator().manual_seed(0))
    table = ItemEmbedding(ITEMS, 8)
    gates = Random(6, share, seed=1)(items, table)
    assert abs(gates.mean().item() - share) < 0.06
    assert torch.equal(gates[7:8], Random(6, share, seed=1)(items[7:8], table))
    if 0 < share < 1:
        assert len(gates.unique(dim=0)) > 30
        assert not torch.equal(gates, Random(6, share, seed=2)(items, table))


@pytest.mark.parametrize("name", ["hard", "soft", "reinforced"])
def test_items_that_came_later_decide_as_what_they_are_described_as(body: Backbone, name: str) -> None:
    view = gated(body, name).view(body)
    items = torch.arange(4, ITEMS).unsqueeze(1)
    body.item_embedding.later = body.item_table[items.squeeze(1)].clone()
    later = torch.arange(ITEMS, ITEMS + len(items)).unsqueeze(1)
    assert torch.equal(view.gates(later), view.gates(items))
    assert len(view.gates(later).unique(dim=0)) > 1
