"""The wide term beside the patches: out-of-fold while they learn, and what remains where they do not help."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from peter.methods import ClosedForm, Examples, method
from peter.methods._wide import FOLDS, out_of_fold, stacked
from peter.methods.bag import TfIdfLinear
from peter.testing import ITEMS, MethodContract, toy_users
from peter.training.fit import predict

CONTRACT = MethodContract()


@pytest.fixture(scope="module")
def examples() -> tuple[Examples, Examples]:
    return CONTRACT.examples()


def test_a_users_own_label_is_not_in_its_outputs(examples: tuple[Examples, Examples]) -> None:
    train, valid = examples
    before = out_of_fold(train, valid, CONTRACT.setting())
    fold = torch.arange(len(train.targets)) % FOLDS == 0
    flipped = replace(train, targets=torch.where(fold, 1 - train.targets, train.targets))
    after = out_of_fold(flipped, valid, CONTRACT.setting())
    assert torch.equal(before[fold], after[fold])
    assert not torch.equal(before[~fold], after[~fold])


def test_mixing_follows_the_outputs_by_a_matrix(examples: tuple[Examples, Examples]) -> None:
    setting, (histories, _) = CONTRACT.setting(), toy_users(seed=1)
    term, matrix = TfIdfLinear(ITEMS, 2), torch.tensor([[2.0, -1.0], [0.5, 3.0]])
    term.solve(*examples, setting)
    outputs = predict(term, setting.body, histories)
    term.mix(matrix)
    torch.testing.assert_close(predict(term, setting.body, histories), outputs @ matrix.T)


@pytest.mark.parametrize(("useful", "kept"), [(True, True), (False, False)])
def test_features_stay_only_where_validation_users_gain(useful: bool, kept: bool) -> None:
    setting, draw = CONTRACT.setting(), torch.Generator().manual_seed(0)
    targets = torch.randint(2, (400,), generator=draw)
    sure = torch.nn.functional.one_hot(targets, 2) * 2.0  # what counting says
    features = torch.randn(400, 6, generator=draw)
    if useful:
        features[:, 0] += 3 * targets
    else:
        sure *= 20  # counting knows it all: a fit over both can only be less sure
    half = slice(0, 200), slice(200, 400)
    parts = [(features[at], targets[at]) for at in half]
    found = stacked(parts[0], parts[1], sure[half[0]], sure[half[1]], setting)
    assert (found is not None) == kept


def test_a_patch_starts_no_worse_than_counting_on_validation_users(
    examples: tuple[Examples, Examples],
) -> None:
    setting = CONTRACT.setting()
    losses = {}
    for name in ("bag", "peter"):
        chosen: Any = method(name)
        patch = chosen.build(setting, chosen.options())
        for phase in chosen.phases(patch, setting, chosen.options()):
            if isinstance(phase, ClosedForm):
                phase.fit(*examples)
        outputs = predict(patch, setting.body, examples[1].histories)
        losses[name] = float(setting.kind.loss(outputs, examples[1].targets))
    assert losses["peter"] <= losses["bag"] + 1e-6
