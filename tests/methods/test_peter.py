"""PeterRec: what is trained, what is saved, and that it starts as the probe."""

from typing import Any

import pytest
import torch

from peter.data.histories import Histories
from peter.errors import InputError
from peter.methods import Gradient, Setting, method
from peter.methods.peter import Options, PeterPatch, last_state
from peter.nn.readout import level_means
from peter.testing import ITEMS, MethodContract, tiny_body, toy_users
from peter.training.fit import predict

PETER = method("peter")


class TestFaithful(MethodContract):
    """As in the paper: the last position of the last level, no warm start."""

    method = PETER
    learns = False  # a random body's last position is noise; `TestLearning` gives it a trained one
    settings = {"wide": False, "readout": "last", "warm_start": False, "activation": "relu", "reduction": 2}  # noqa: RUF012


class TestWithoutCounting(MethodContract):
    method = PETER
    settings = {"wide": False}  # noqa: RUF012


class TestTopBlock(MethodContract):
    method = PETER
    settings = {"blocks": "1:2", "second_norm": False}  # noqa: RUF012


def build(setting: Setting | None = None, **options: Any) -> PeterPatch:
    patch = PETER.build(setting or MethodContract().setting(), Options(**options))
    assert isinstance(patch, PeterPatch)
    return patch


@pytest.mark.parametrize(("second_norm", "norms"), [(True, 4_096), (False, 0)])
@pytest.mark.parametrize(("wide", "counted"), [(True, 2 * ITEMS + 2), (False, 0)])
def test_as_many_are_trained_as_the_paper_counts(
    second_norm: bool, norms: int, wide: bool, counted: int
) -> None:
    """n(2kd + d + k) + 2Bk + head, at k=256, d=32, n=16, B=8; the wide term has VK + K of its own."""
    base = MethodContract().setting()
    body = tiny_body(channels=256, blocks=8)
    setting = Setting(body, ITEMS, base.kind, base.schema, 0)
    patch = build(setting, second_norm=second_norm, wide=wide)
    head = 2 * 9 * 256 + 2
    assert sum(tensor.numel() for tensor in patch.parameters()) == 266_752 + norms + head + counted
    moved = [phase for phase in PETER.phases(patch, setting, Options()) if isinstance(phase, Gradient)]
    assert {id(tensor) for phase in moved for tensor in phase.parameters} == {
        id(tensor) for name, tensor in patch.named_parameters() if not name.startswith("wide.")
    }


@pytest.mark.parametrize("wide", [True, False])
def test_what_is_saved(wide: bool) -> None:
    patches = {
        f"graft.patches.{site}.{part}.{tensor}"
        for site in (2, 3)
        for part in ("down", "up")
        for tensor in ("weight", "bias")
    }
    others = {"graft.norms.3.weight", "graft.norms.3.bias", "head.weight", "head.bias", "mean", "scale"}
    counted = {"wide.idf", "wide.weight", "wide.bias"} if wide else set()
    assert set(build(blocks="1:2", wide=wide).state_dict()) == patches | others | counted


@pytest.mark.parametrize("readout", ["all", "last"])
def test_a_fresh_patch_changes_no_bit_of_the_body(readout: str) -> None:
    setting, (histories, _) = MethodContract().setting(), toy_users()
    patch = build(setting, readout=readout)
    with torch.no_grad():
        assert torch.equal(
            patch.read(setting.body, histories, patch.graft), patch.read(setting.body, histories, None)
        )


def test_it_starts_as_the_probe() -> None:
    """Before the first epoch, on users nobody was fitted on."""
    histories, _ = toy_users(seed=1)
    outputs = []
    for name, settings in (("probe", {}), ("peter", {"wide": False})):
        contract = MethodContract()
        contract.method, contract.settings = method(name), settings
        setting = contract.setting()
        patch = contract.build(setting)
        train, valid = contract.examples()
        start = contract.method.phases(patch, setting, contract.method.options(**settings))[0]
        start.fit(train, valid)  # type: ignore[union-attr]
        outputs.append(predict(patch, setting.body, histories))
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-3, atol=1e-4)


class TestLastState:
    histories = Histories(torch.tensor([5, 6, 7, *range(4, 16)]), torch.tensor([0, 3, 3, 15]))

    @pytest.mark.parametrize("causal", [True, False])
    def test_it_is_the_last_position_of_the_newest_window(self, causal: bool) -> None:
        body = tiny_body(causal=causal)
        got = last_state(body, self.histories)
        for user, newest in ((0, [5, 6, 7]), (2, list(range(6, 16)))):  # a window holds ten
            top = body(torch.tensor([newest]))[-1][:, 0]  # [L, C]
            torch.testing.assert_close(got[user], top[-1] if causal else top[-1] + top[0])
        assert not got[1].any()

    def test_nobody_at_all(self) -> None:
        none = Histories(torch.empty(0, dtype=torch.long), torch.zeros(1, dtype=torch.long))
        assert last_state(tiny_body(), none).shape == (0, 8)


def test_the_readout_has_all_levels() -> None:
    setting, (histories, _) = MethodContract().setting(), toy_users()
    assert torch.equal(
        build(setting).read(setting.body, histories, None), level_means(setting.body, histories)
    )


@pytest.mark.parametrize(
    "options", [{"blocks": "0-2"}, {"blocks": "1:9"}, {"blocks": "1:1"}, {"reduction": 0}, {"reduction": 99}]
)
def test_what_cannot_be_built_is_said(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        build(**options)
