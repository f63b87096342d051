"""Tasks that are learnt together: each has its head, and all move the one trunk."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from peter import task
from peter.config import FitConfig
from peter.methods import Examples, Gradient, OtherTask, Setting, full, joint
from peter.progress import Silent
from peter.testing import ITEMS, fingerprint, tiny_body, toy_users
from peter.training.fit import fit, predict

CONFIG = FitConfig(epochs=3, batch_users=16, learning_rate=0.01, threads=1, caution=0)
TYPES = 3


def users(types: int, seed: int) -> tuple[Examples, Examples]:
    histories, targets = toy_users(types=types, seed=seed)
    train, valid = torch.arange(len(targets)).split([60, 30])
    return (
        Examples(histories.select(train), targets[train]),
        Examples(histories.select(valid), targets[valid]),
    )


def other(types: int = TYPES, seed: int = 5) -> OtherTask:
    kind = task.kind("classification")
    return OtherTask(kind, kind.schema([(str(at),) for at in range(types)]), *users(types, seed))


def setting(*others: OtherTask) -> Setting:
    kind = task.kind("classification")
    bare = Setting(tiny_body(), ITEMS, kind, kind.schema([("a",), ("b",)]), seed=0)
    return replace(bare, others=lambda: others)


def trained(made: Setting, method: Any = joint.plugin, **changes: Any) -> nn.Module:
    options = full.Options(**{"wide": False, **changes})
    patch = method.build(made, options)
    phases = method.phases(patch, made, options)
    for _ in fit(patch, phases, *users(2, 0), made, CONFIG, Silent()):
        pass
    return patch


def test_alone_it_is_full() -> None:
    made = setting()
    own, whole = trained(made), trained(made, full.plugin)
    histories, _ = toy_users(seed=1)
    assert torch.equal(predict(own, made.body, histories), predict(whole, made.body, histories))


def test_every_task_has_a_head_and_all_of_them_are_trained() -> None:
    made = setting(other(), other(types=4, seed=6))
    patch = joint.plugin.build(made, full.Options())
    alone = joint.plugin.build(setting(), full.Options())
    features = len(patch.own.mean)
    sizes = [sum(each.numel() for each in patch.parameters()) for patch in (patch, alone)]
    assert sizes[0] - sizes[1] == (features + 1) * (3 + 4)
    descent = joint.plugin.phases(patch, made, full.Options())[-1]
    assert isinstance(descent, Gradient)
    wide = {id(each) for each in patch.own.wide.parameters()}
    assert {id(each) for each in descent.parameters} == {id(each) for each in patch.parameters()} - wide


def test_the_other_tasks_move_the_trunk_and_are_learnt() -> None:
    beside = other()
    made = setting(beside)
    patch, alone = trained(made), trained(setting())
    assert fingerprint(patch.own.trunk.state_dict()) != fingerprint(alone.own.trunk.state_dict())
    with torch.no_grad():
        outputs = patch.others[0](patch.features(made.body, beside.valid.histories))
        loss = beside.kind.loss(outputs, beside.valid.targets)
        prior = beside.kind.prior(beside.train.targets, beside.schema).expand_as(outputs)
        assert loss < beside.kind.loss(prior, beside.valid.targets)


def test_it_repeats_itself() -> None:
    first, again = (trained(setting(other())).state_dict() for _ in "12")
    assert fingerprint(first) == fingerprint(again)


def test_a_cold_start_is_a_start_too() -> None:
    beside = other()
    patch = trained(setting(beside), warm_start=False)
    assert patch.others[0].weight.abs().sum() > 0


def test_without_its_deep_part_there_is_nothing_to_share() -> None:
    made = setting(other())
    patch = joint.plugin.build(made, full.Options(deep=False))
    assert not hasattr(patch, "others")
    assert len(joint.plugin.phases(patch, made, full.Options(deep=False))) == 1
