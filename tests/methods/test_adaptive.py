"""Gated patches: their controls, what moves, what is rewarded, and that a policy learns who needs a block."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from peter import task
from peter.errors import InputError
from peter.methods import Gradient, Setting, method
from peter.methods._deep import DeepPatch
from peter.methods.adaptive import SelfCritical
from peter.nn.dropout import Draws
from peter.nn.gates import Learnt, PolicyNet, Rule
from peter.testing import MethodContract, fingerprint, tiny_body, toy_users
from peter.training.fit import gates, predict

ADAPTIVE = method("adaptive")
ALONE: dict[str, Any] = {"wide": False, "summary": False}


def fitted(name: str, **settings: Any) -> tuple[Setting, DeepPatch]:
    made = MethodContract()
    made.method, made.settings = method(name), {**ALONE, **settings}
    made.config = replace(made.config, learning_rate=0.02, caution=0.0)
    setting = made.setting()
    patch = made.fitted(setting)
    assert isinstance(patch, DeepPatch)
    return setting, patch


def critic(thrift: float = 0.0) -> tuple[SelfCritical, Learnt]:
    """Of one block; and the policy whose choices it judges."""
    policy = Learnt(PolicyNet(8, 4, 1, seed=0), "reinforced", 1.0, seed=0)
    return SelfCritical(policy, Draws(0, "dropout"), task.kind("regression"), thrift), policy


class TestControls:
    def test_always_open_is_the_default_with_frozen_norms_bit_for_bit(self) -> None:
        (setting, ours), (_, plain) = fitted("adaptive", policy="always"), fitted("peter", second_norm=False)
        named = {name.replace("trunk.", "trunk.own."): tensor for name, tensor in plain.state_dict().items()}
        assert fingerprint(ours.state_dict()) == fingerprint(named)
        users = toy_users(seed=1)[0]
        assert torch.equal(*(predict(patch, setting.body, users) for patch in (ours, plain)))

    def test_copies_that_are_always_open_are_all_blocks_fine_tuned_bit_for_bit(self) -> None:
        setting, ours = fitted("adaptive", form="copies", policy="always", warm_start=False)
        _, tuned = fitted("last", blocks=2, warm_start=False)
        users = toy_users(seed=1)[0]
        assert torch.equal(*(predict(patch, setting.body, users) for patch in (ours, tuned)))
        assert sum(each.numel() for each in ours.parameters()) == sum(
            each.numel() for each in tuned.parameters()
        )

    @pytest.mark.parametrize("architecture", ["sasrec", "nextitnet_pre"])
    def test_copies_need_blocks_that_can_be_copied(self, architecture: str) -> None:
        made = MethodContract()
        made.architecture = architecture
        with pytest.raises(InputError, match="give form=patches"):
            ADAPTIVE.build(made.setting(), ADAPTIVE.options(**ALONE, form="copies"))

    def test_never_open_is_the_body_whatever_was_trained(self) -> None:
        setting, shut = fitted("adaptive", policy="random", share=0.0)
        _, always = fitted("adaptive", policy="always", warm_start=False)
        tensors = always.state_dict()
        assert any(tensors[name].any() for name in tensors if name.endswith("up.weight"))
        shut.load_state_dict(tensors)
        users = toy_users(seed=1)[0]
        found, bare = shut.read(setting.body, users), shut.read_out(setting.body, users)
        assert torch.equal(found, bare)

    def test_other_methods_have_no_gates(self) -> None:
        setting = MethodContract().setting()
        users = toy_users(seed=1)[0]
        for name in ("peter", "bag"):
            patch = method(name).build(setting, method(name).options())
            assert gates(patch, setting.body, users) is None


class TestPolicies:
    @pytest.mark.parametrize("policy", ["hard", "soft", "reinforced"])
    def test_policy_and_patches_move_and_the_body_does_not(self, policy: str) -> None:
        setting, patch = fitted("adaptive", policy=policy, warm_start=False)
        fresh = ADAPTIVE.build(setting, ADAPTIVE.options(**ALONE, policy=policy)).state_dict()
        moved = patch.state_dict()
        for part in ("trunk.policy.net.logits.weight", "trunk.policy.net.down.weight", "trunk.own.patches.0"):
            names = [name for name in moved if name.startswith(part) and name.endswith("weight")]
            assert names
            assert all(not torch.equal(moved[name], fresh[name]) for name in names)
        assert fingerprint(setting.body.state_dict()) == fingerprint(
            MethodContract().setting().body.state_dict()
        )
        assert not any("embedding" in name for name in moved)

    @pytest.mark.parametrize(
        ("settings", "match"),
        [({"share": 1.5}, "from 0 to 1"), ({"width": 1}, "width=1"), ({"temperature": 0.0}, "temperature")],
    )
    def test_numbers_that_are_none_are_refused(self, settings: dict[str, Any], match: str) -> None:
        with pytest.raises(InputError, match=match):
            ADAPTIVE.options(**settings)


class TestSelfCritical:
    def test_no_advantage_no_gradient(self) -> None:
        """Whoever draws what he would have had anyway teaches nothing."""
        logits = torch.tensor([[1.0], [-1.0]], requires_grad=True)
        loss, policy = critic()
        policy.kept = [(torch.tensor([[1.0], [0.0]]), logits)]
        outputs = torch.tensor([[0.3], [0.9]])
        loss(lambda: outputs, outputs, torch.zeros(2, 1)).backward()
        assert logits.grad is not None
        assert not logits.grad.any()

    def test_dropout_is_no_advantage(self) -> None:
        """A policy that is sure draws what is greedy, whatever is dropped of the features."""
        setting, (users, types) = MethodContract().setting(), toy_users(seed=1)
        options = ADAPTIVE.options(**ALONE, policy="reinforced", dropout=0.7, warm_start=False)
        patch = ADAPTIVE.build(setting, options)
        assert isinstance(patch, DeepPatch)
        patch.trunk.policy.net.logits.bias.data.fill_(99.0)  # type: ignore[attr-defined]
        patch.train()
        beside = ADAPTIVE.phases(patch, setting, options)[-1].beside  # type: ignore[union-attr]
        assert beside is not None
        for _ in range(2):
            outputs = patch(setting.body, users)
            assert beside(lambda: patch(setting.body, users), outputs, types) == 0
        assert not torch.equal(patch(setting.body, users), outputs)  # each pass has a dropout of its own

    @pytest.mark.parametrize("drawn", [0.0, 1.0])
    @pytest.mark.parametrize("gains", [True, False])
    def test_what_pays_becomes_likelier(self, drawn: float, gains: bool) -> None:
        """One block, one user, who draws the other choice than the greedy one."""
        logits = torch.tensor([[1.0 if drawn == 0 else -1.0]], requires_grad=True)
        loss, policy = critic()
        policy.kept = [(torch.tensor([[drawn]]), logits)]
        good, bad = torch.tensor([[0.1]]), torch.tensor([[0.9]])
        outputs, greedy = (good, bad) if gains else (bad, good)
        loss(lambda: greedy, outputs, torch.zeros(1, 1)).backward()
        assert logits.grad is not None
        towards = -logits.grad.item() * (1 if drawn else -1)  # of a step downhill, to what was drawn
        assert (towards > 0) == gains

    @pytest.mark.parametrize("thrift", [0.5, -0.5])
    def test_thrift_closes_blocks_and_its_opposite_opens_them(self, thrift: float) -> None:
        logits = torch.tensor([[-1.0]], requires_grad=True)
        loss, policy = critic(thrift)
        policy.kept = [(torch.tensor([[1.0]]), logits)]
        same = torch.tensor([[0.3]])
        loss(lambda: same, same, torch.zeros(1, 1)).backward()
        assert logits.grad is not None
        assert (logits.grad.item() > 0) == (thrift > 0)

    def test_each_user_is_rewarded_for_his_own(self) -> None:
        logits = torch.tensor([[-1.0], [-1.0]], requires_grad=True)
        loss, policy = critic()
        policy.kept = [(torch.ones(1, 1), logits[:1]), (torch.ones(1, 1), logits[1:])]
        drawn, greedy = torch.tensor([[0.1], [0.9]]), torch.tensor([[0.9], [0.1]])
        loss(lambda: greedy, drawn, torch.zeros(2, 1)).backward()
        assert logits.grad is not None
        assert logits.grad[0] < 0 < logits.grad[1]
        assert policy.kept == []

    @pytest.mark.parametrize("kind_name", ["classification", "regression", "tags", "recommendation"])
    def test_every_kind_has_a_loss_a_user(self, kind_name: str) -> None:
        kind, labels = task.kind(kind_name), [(str(at % 2),) for at in range(20)]
        schema = kind.schema(labels)
        targets = kind.encode(labels, schema)
        outputs = torch.randn(20, kind.width(schema), generator=torch.Generator().manual_seed(0))
        critical = SelfCritical(critic()[1], Draws(0, "dropout"), kind, thrift=0.0)
        rewards = critical.rewards(outputs, targets, torch.zeros(20, 2))
        assert rewards.shape == (20,)
        torch.testing.assert_close(-rewards.mean(), kind.loss(outputs, targets))

    def test_it_is_learnt_beside_the_loss_of_the_task(self) -> None:
        setting = MethodContract().setting()
        for policy, learnt in (("reinforced", True), ("hard", False)):
            options = ADAPTIVE.options(**ALONE, policy=policy)
            descent = ADAPTIVE.phases(ADAPTIVE.build(setting, options), setting, options)[-1]
            assert isinstance(descent, Gradient)
            assert isinstance(descent.beside, SelfCritical) == learnt


@pytest.mark.parametrize("rule", ["hard", "soft", "reinforced"])
def test_a_policy_finds_out_who_needs_a_block(rule: Rule) -> None:
    """One block, which is right for users of one type and wrong for those of the other."""
    (users, types), kind, table = toy_users(users=200), task.kind("tags"), tiny_body().item_embedding
    items, targets = users.windows(25).items, types.unsqueeze(1)
    policy = Learnt(PolicyNet(8, 8, 1, seed=0), rule, 1.0, seed=0)
    critical = SelfCritical(policy, Draws(0, "dropout"), kind, thrift=0.0)
    optimizer = torch.optim.Adam(policy.parameters(), 0.01)

    def answers() -> torch.Tensor:
        return 4 * (policy(items, table) - 0.5)

    for _ in range(150):
        outputs = answers()
        loss = critical(answers, outputs, targets) if rule == "reinforced" else kind.loss(outputs, targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    opened = policy.eval()(items, table)[:, 0] > 0.5
    assert (opened == types.bool()).float().mean() > 0.85
