"""The wide term: solved from all counts, out of fold while the rest learns, then added."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy

from peter.data.histories import Histories
from peter.methods import ClosedForm, Examples, Gradient, Setting, method
from peter.methods._deep import DeepPatch
from peter.methods._wide import counted
from peter.methods.bag import TfIdfLinear
from peter.testing import MethodContract, toy_users
from peter.training.fit import predict

CONTRACT = MethodContract()
CONTRACT.method = PETER = method("peter")


def everybody() -> Histories:
    return toy_users(600, seed=9)[0]


@pytest.fixture(scope="module")
def examples() -> tuple[Examples, Examples]:
    return CONTRACT.examples()


def started(setting: Setting, examples: tuple[Examples, Examples], **settings: object) -> DeepPatch:
    """A patch whose closed forms are done and which has not descended."""
    options = PETER.options(**settings)
    patch = PETER.build(setting, options)
    for phase in PETER.phases(patch, setting, options):
        if isinstance(phase, ClosedForm):
            phase.fit(*examples)
    assert isinstance(patch, DeepPatch)
    return patch


class TestSolved:
    def test_it_says_of_validation_users_what_its_part_says(
        self, examples: tuple[Examples, Examples]
    ) -> None:
        """One map of the counts, though it is pooled from two."""
        setting = replace(CONTRACT.setting(), population=everybody)
        wide = TfIdfLinear(setting)
        with torch.no_grad():
            part = counted(wide, *examples, setting)
        got = predict(wide, setting.body, examples[1].histories)
        torch.testing.assert_close(got, part.valid, rtol=1e-3, atol=1e-4)

    def test_what_it_says_of_training_users_is_out_of_fold(self, examples: tuple[Examples, Examples]) -> None:
        """Answers for users that it was solved on look far too sure."""
        setting = CONTRACT.setting()
        wide = TfIdfLinear(setting)
        with torch.no_grad():
            part = counted(wide, *examples, setting)
        solved_on = predict(wide, setting.body, examples[0].histories)
        targets = examples[0].targets
        assert cross_entropy(part.train, targets) > 10 * cross_entropy(solved_on, targets)

    def test_those_without_a_label_count(self, examples: tuple[Examples, Examples]) -> None:
        alone, crowded = CONTRACT.setting(), replace(CONTRACT.setting(), population=everybody)
        one, other = (started(setting, examples).state_dict()["wide.idf"] for setting in (alone, crowded))
        assert not torch.equal(one, other)

    def test_it_is_no_worse_than_counting_on_new_users(self, examples: tuple[Examples, Examples]) -> None:
        """`bag` is a part of it, and is believed for what it is worth."""
        setting = replace(CONTRACT.setting(), population=everybody)
        histories, targets = toy_users(400, seed=1)
        bag = TfIdfLinear(setting)
        bag.solve(*examples, setting)
        wide = started(setting, examples).wide
        assert wide is not None
        hits = [
            (predict(patch, setting.body, histories).argmax(1) == targets).float().mean()
            for patch in (wide, bag)
        ]
        assert hits[0] >= hits[1] - 0.02


class TestBeside:
    def test_training_leaves_it_out_and_answering_adds_it(self, examples: tuple[Examples, Examples]) -> None:
        setting, (histories, _) = CONTRACT.setting(), toy_users(seed=1)
        patch = started(setting, examples)
        assert patch.wide is not None
        with torch.no_grad():
            learning = patch.train()(setting.body, histories)
            answered = patch.eval()(setting.body, histories)
            counting = patch.wide(setting.body, histories)
        assert counting.abs().max() > 0.1
        torch.testing.assert_close(answered, learning + counting)

    def test_what_learns_is_told_the_out_of_fold_outputs(self, examples: tuple[Examples, Examples]) -> None:
        """Times what the wide term is worth beside the head, as in what is answered."""
        setting, options = CONTRACT.setting(), PETER.options()
        patch = PETER.build(setting, options)
        *closed, descent = PETER.phases(patch, setting, options)
        assert isinstance(descent, Gradient)
        assert descent.offsets is not None
        for phase in closed:
            phase.fit(*examples)  # type: ignore[union-attr]
        offsets, train = descent.offsets(), examples[0]
        wide = TfIdfLinear(setting)
        with torch.no_grad():
            part = counted(wide, *examples, setting)
        said, whole = (predict(term, setting.body, train.histories) for term in (patch.wide, wide))
        share = float((said * whole).sum() / whole.square().sum())
        torch.testing.assert_close(said, share * whole)
        torch.testing.assert_close(offsets, share * part.train)
        assert not torch.allclose(offsets, said, rtol=0.05, atol=0.05)

    def test_it_never_descends(self, examples: tuple[Examples, Examples]) -> None:
        setting = CONTRACT.setting()
        fitted = CONTRACT.fitted(setting).state_dict()
        fresh = started(setting, examples).state_dict()
        wide = {name for name in fresh if name.startswith("wide.")}
        assert wide == {"wide.idf", "wide.weight", "wide.bias"}
        assert all(torch.equal(fresh[name], fitted[name]) for name in wide)

    def test_with_it_a_patch_starts_no_worse_than_without(self, examples: tuple[Examples, Examples]) -> None:
        setting = CONTRACT.setting()
        losses = {
            wide: float(
                setting.kind.loss(
                    predict(started(setting, examples, wide=wide), setting.body, examples[1].histories),
                    examples[1].targets,
                )
            )
            for wide in (True, False)
        }
        assert losses[True] <= losses[False] + 0.02

    def test_without_the_rest_it_is_all_there_is(self, examples: tuple[Examples, Examples]) -> None:
        """What the rest has to beat: as solved, and nothing descends."""
        setting, options = CONTRACT.setting(), PETER.options(deep=False)
        patch = PETER.build(setting, options)
        (phase,) = PETER.phases(patch, setting, options)
        phase.fit(*examples)  # type: ignore[union-attr]
        wide = TfIdfLinear(setting)
        with torch.no_grad():
            counted(wide, *examples, setting)
        assert set(patch.state_dict()) == {"wide.idf", "wide.weight", "wide.bias"}
        got, expected = (predict(term, setting.body, examples[1].histories) for term in (patch, wide))
        assert torch.equal(got, expected)

    def test_off_means_off(self, examples: tuple[Examples, Examples]) -> None:
        setting = CONTRACT.setting()
        patch = started(setting, examples, wide=False)
        assert patch.wide is None
        phases = PETER.phases(patch, setting, PETER.options(wide=False))
        assert [phase.name for phase in phases] == ["head", "patches"]
        assert phases[-1].offsets is None  # type: ignore[union-attr]
