"""Conure: what a stage may change, and that no task is forgotten, beside a control that forgets."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from peter import task
from peter.config import FitConfig
from peter.methods import Examples, Older, Setting, method
from peter.methods.prune import NAME, claim
from peter.nn.owned import KEPT, OwnedWeights, Root, owners
from peter.progress import Silent
from peter.services.patch.packing import packed, unindexed
from peter.testing import ITEMS, fingerprint, tiny_body, toy_users
from peter.training.fit import fit, predict

CONFIG = FitConfig(epochs=3, batch_users=16, learning_rate=0.01, weight_decay=0.1, threads=1, caution=0)
OPTIONS = {"wide": False, "pruned": 0.5, "norms": True}
KIND = task.kind("classification")


def setting(types: int, older: list[Older]) -> Setting:
    body = tiny_body()
    labels = [(str(number),) for number in range(types)]
    root = Root.cut(body, pruned=0.5)
    return Setting(body, ITEMS, KIND, KIND.schema(labels), 0, older=lambda: older, root=root)


def examples(made_for: Setting, types: int) -> tuple[Examples, Examples]:
    histories, kinds = toy_users(types=types, seed=types)
    targets = made_for.kind.encode([(str(number),) for number in kinds.tolist()], made_for.schema)
    parts = torch.arange(90).split([60, 30])
    train, valid = (Examples(histories.select(part), targets[part]) for part in parts)
    return train, valid


def fitted(made_for: Setting, types: int) -> nn.Module:
    plugin = method(NAME)
    options = plugin.options(**OPTIONS)
    patch = plugin.build(made_for, options)
    for _ in fit(
        patch, plugin.phases(patch, made_for, options), *examples(made_for, types), made_for, CONFIG, Silent()
    ):
        pass
    return patch


def registered(number: int, patch: nn.Module) -> Older:
    """As services give a stored patch to those who come later."""
    stored = unindexed(packed(patch.state_dict(), ITEMS))
    return Older(number, f"task{number}@1", "champion", NAME, OPTIONS, str(number), lambda: stored)


def test_later_tasks_change_no_bit_of_earlier_answers() -> None:
    line: list[Older] = []
    fits: list[tuple[Setting, nn.Module, Tensor]] = []
    probe, _ = toy_users(seed=9)
    for types in (2, 3, 4):
        made_for = setting(types, list(line))
        patch = fitted(made_for, types)
        assert [older.id for older in patch.reads] == [older.id for older in line]
        fits.append((made_for, patch, predict(patch, made_for.body, probe)))
        line.append(registered(types, patch))
    for made_for, patch, before in fits:
        assert torch.equal(predict(patch, made_for.body, probe), before)
        again = method(NAME).build(made_for, method(NAME).options(**OPTIONS))
        again.load_state_dict(patch.state_dict())
        assert torch.equal(predict(again.eval(), made_for.body, probe), before)


def test_a_stage_changes_what_is_its_own_alone() -> None:
    first = registered(2, fitted(setting(2, []), 2))
    made_for = setting(3, [first])
    plugin, options = method(NAME), method(NAME).options(**OPTIONS)
    patch = plugin.build(made_for, options)
    trunk = patch.trunk
    assert isinstance(trunk, OwnedWeights)
    maps = owners(made_for.root, [claim(first, trunk.weights, used=True)])
    moved: dict[str, dict[str, Tensor]] = {}
    for phase in plugin.phases(patch, made_for, options):
        before = {name: weight.detach().clone() for name, weight in trunk.effective()}
        for _ in fit(patch, [phase], *examples(made_for, 3), made_for, CONFIG, Silent()):
            pass
        moved[phase.name] = {name: weight != before[name] for name, weight in trunk.effective()}
    for name, owner in maps.items():
        assert not moved["head"][name].any()
        assert not moved["train"][name][owner > 0].any()
        assert moved["train"][name][owner == 0].any()
        assert not moved["retrain"][name][owner > 0].any()
        kept = torch.zeros_like(owner, dtype=torch.bool).flatten()
        kept[trunk.weights[name].free[trunk.mask(name)]] = True
        assert torch.equal(moved["retrain"][name] & ~kept.view_as(owner), torch.zeros_like(owner).bool())
        assert moved["retrain"][name].any()


def test_the_stored_patch_is_its_bits_and_its_values() -> None:
    patch = fitted(setting(2, []), 2)
    stored = packed(patch.state_dict(), ITEMS)
    for name, weight in patch.trunk.weights.items():
        place = f"trunk.values.{name.replace('.', '/')}"
        assert stored[place].shape == (weight.kept,)
        assert stored[place + KEPT].dtype == torch.uint8


def test_fine_tuning_everything_in_turn_forgets() -> None:
    """SinMoAll, the control: one model, task after task, nothing protected."""
    plugin, first, second = method("full"), setting(2, []), setting(3, [])
    options = plugin.options(wide=False)
    patch = plugin.build(first, options)
    train, valid = examples(first, 2)
    for _ in fit(patch, plugin.phases(patch, first, options), train, valid, first, CONFIG, Silent()):
        pass
    body, before = fingerprint(first.body.state_dict()), loss(first, patch, valid)
    other = plugin.build(second, options)
    other.trunk = patch.trunk  # the same weights go on
    config = replace(CONFIG, learning_rate=0.03, epochs=6)
    for _ in fit(
        other, plugin.phases(other, second, options), *examples(second, 3), second, config, Silent()
    ):
        pass
    assert loss(first, patch, valid) > 2 * before
    assert fingerprint(first.body.state_dict()) == body


def loss(made_for: Setting, patch: nn.Module, users: Examples) -> float:
    outputs = predict(patch, made_for.body, users.histories)
    return float(made_for.kind.metrics(outputs, users.targets, torch.ones(1, len(outputs)))["log_loss"])


def test_new_items_change_no_answer() -> None:
    made_for = setting(2, [])
    patch, (probe, _) = fitted(made_for, 2), toy_users(seed=9)
    before = predict(patch, made_for.body, probe)
    grown = tiny_body(ITEMS + 5)
    state = made_for.body.state_dict()
    rows = torch.cat([state["item_embedding.weight"], torch.randn(5, 8)])
    grown.load_state_dict({**state, "item_embedding.weight": rows})
    assert torch.equal(predict(patch, grown, probe), before)
