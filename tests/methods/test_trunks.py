"""What the other methods of PeterRec's tables train, from which values, and what of it is saved."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from peter import methods, plugins
from peter.errors import InputError
from peter.methods import Setting, method
from peter.methods._deep import Deep, DeepPatch
from peter.nn.graft import TCL
from peter.nn.owned import KEPT
from peter.testing import MethodContract, fingerprint, tiny_body, toy_users
from peter.training.fit import predict

BLOCKS = 3
DEEP = [name for name in plugins.modules(methods.GROUP) if isinstance(method(name), Deep)]
ALONE = {"wide": False, "summary": False}
BARE = {"head.weight", "head.bias", "mean", "scale"}  # beside the trunk, without a wide term


@pytest.fixture
def setting() -> Setting:
    return replace(MethodContract().setting(), body=tiny_body(blocks=BLOCKS))


def build(name: str, setting: Setting, **options: Any) -> DeepPatch:
    patch = method(name).build(setting, method(name).options(**{**ALONE, **options}))
    assert isinstance(patch, DeepPatch)
    return patch


def own(patch: DeepPatch) -> dict[str, torch.Tensor]:
    """The trunk's copies by their names in the body."""
    state = patch.trunk.state_dict()  # type: ignore[attr-defined]
    return {name.removeprefix("own.").replace("/", "."): tensor for name, tensor in state.items()}


def fitted(name: str, setting: Setting, **settings: Any) -> DeepPatch:
    made = MethodContract()
    made.method, made.settings = method(name), {**ALONE, **settings}
    made.config = replace(made.config, learning_rate=0.01, caution=0.0)
    patch = made.fitted(setting)
    assert isinstance(patch, DeepPatch)
    return patch


@pytest.mark.parametrize("name", ["peter", "last", "full", "scratch", "zero"])
def test_the_token_may_start_from_the_row_of_the_body_it_stands_in(name: str, setting: Setting) -> None:
    """Which contrastive pre-training has taught; a twin from random values has none of it."""
    patch = build(name, replace(setting, seed=5), tcl=True, tcl_from="backbone")
    assert patch.tcl is not None
    taught = setting.body.item_table[TCL]
    assert torch.equal(patch.tcl, taught) != (name in ("scratch", "zero"))
    assert patch.tcl.data_ptr() != taught.data_ptr()
    assert torch.equal(patch.tcl, patch.trunk.view(setting.body).item_table[TCL])


class TestLast:
    @pytest.mark.parametrize(("blocks", "trained"), [(1, [2]), (2, [1, 2]), (3, [0, 1, 2])])
    def test_the_top_blocks_alone(self, setting: Setting, blocks: int, trained: list[int]) -> None:
        patch = build("last", setting, blocks=blocks)
        prefixes = tuple(f"blocks.{block}." for block in trained)
        body = setting.body.state_dict()
        assert set(own(patch)) == {name for name in body if name.startswith(prefixes)}
        assert all(torch.equal(tensor, body[name]) for name, tensor in own(patch).items())
        assert len(patch.descended()) == 8 * blocks + 2  # two convolutions, two norms; the head

    @pytest.mark.parametrize("blocks", [0, -1, BLOCKS + 1])
    def test_as_many_as_there_are(self, setting: Setting, blocks: int) -> None:
        with pytest.raises(InputError, match="from 1 to the backbone's 3 blocks"):
            build("last", setting, blocks=blocks)


class TestFull:
    def test_everything_starts_as_the_body_and_is_trained(self, setting: Setting) -> None:
        patch, body = build("full", setting), setting.body.state_dict()
        assert set(own(patch)) == set(body)
        assert all(torch.equal(tensor, body[name]) for name, tensor in own(patch).items())
        assert len(patch.descended()) == len(body) + 2


class TestScratch:
    def test_values_of_its_own_which_the_seed_decides(self, setting: Setting) -> None:
        body = setting.body.state_dict()
        one, same, other = (own(build("scratch", replace(setting, seed=seed))) for seed in (5, 5, 6))
        drawn = [name for name, tensor in body.items() if tensor.dim() > 1]
        assert set(one) == set(body)
        assert fingerprint(one) == fingerprint(same)
        for name in drawn:
            assert not torch.equal(one[name], body[name])
            assert not torch.equal(one[name], other[name])

    def test_nothing_of_the_body_reaches_it(self, setting: Setting) -> None:
        """Whatever was pre-trained, the same comes out."""
        answers = [
            predict(fitted("scratch", replace(setting, body=body)), body, toy_users(seed=1)[0])
            for body in (setting.body, tiny_body(seed=9, blocks=BLOCKS))
        ]
        assert torch.equal(*answers)


class TestZero:
    def test_patches_alone_are_saved(self, setting: Setting) -> None:
        zero, peter = (set(build(name, setting).state_dict()) for name in ("zero", "peter"))
        assert zero == {name.replace("trunk.", "trunk.patches.", 1) for name in peter}

    def test_its_body_is_random_frozen_and_made_again(self, setting: Setting) -> None:
        """Whatever was pre-trained, the same comes out; and so after loading."""
        histories, bodies = toy_users(seed=1)[0], (setting.body, tiny_body(seed=9, blocks=BLOCKS))
        answers = [predict(fitted("zero", replace(setting, body=body)), body, histories) for body in bodies]
        assert torch.equal(*answers)
        patch = fitted("zero", setting)
        random = patch.trunk.random[0]  # type: ignore[attr-defined]
        fresh = setting.body.fresh(setting.seed).state_dict()
        assert fingerprint(random.state_dict()) == fingerprint(fresh)
        assert fingerprint(fresh) != fingerprint(replace(setting, seed=1).body.fresh(1).state_dict())
        assert not any(tensor.requires_grad for tensor in random.parameters())
        again = build("zero", setting)
        again.load_state_dict(patch.state_dict())
        assert torch.equal(predict(again, setting.body, histories), predict(patch, setting.body, histories))


class TestLadder:
    def test_tcl_is_refused(self, setting: Setting) -> None:
        with pytest.raises(InputError, match="tcl=off"):
            build("ladder", setting, tcl=True)

    def test_its_features_are_narrow(self, setting: Setting) -> None:
        assert build("ladder", setting, reduction=4).head.weight.shape == (2, 2 * (BLOCKS + 1))


@pytest.mark.parametrize("name", DEEP)
class TestEvery:
    def test_all_of_the_trunk_is_trained_and_saved(self, setting: Setting, name: str) -> None:
        patch = build(name, setting)
        parameters = {key for key, _ in patch.named_parameters()}
        bits = {key for key, _ in patch.named_buffers() if key.endswith(KEPT)}  # of `prune`
        assert set(patch.state_dict()) == parameters | bits | {"mean", "scale"}
        assert {id(tensor) for tensor in patch.descended()} == {id(tensor) for tensor in patch.parameters()}
        assert set(patch.state_dict()) > BARE

    def test_the_body_stays_bit_for_bit_while_the_trunk_moves(self, setting: Setting, name: str) -> None:
        before = fingerprint(setting.body.state_dict())
        fresh = build(name, setting).trunk.state_dict()  # type: ignore[attr-defined]
        moved = fitted(name, setting, warm_start=False).trunk.state_dict()  # type: ignore[attr-defined]
        assert fingerprint(setting.body.state_dict()) == before
        assert any(not torch.equal(moved[key], fresh[key]) for key in fresh)

    def test_modules_said_to_be_saved_are(self, setting: Setting, name: str) -> None:
        """As peft reads them: a name, or what stands before its tensors."""
        options = method(name).options()
        state = method(name).build(setting, options).state_dict()
        said = method(name).adapter_config(options)["modules_to_save"]
        missing = [part for part in said if not any(f"{key}.".startswith(f"{part}.") for key in state)]
        assert missing == []
        assert {"head", "wide"} <= set(said)
