"""PeterRec: what is trained, what is saved, and that it starts as the probe."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from peter.config import from_options
from peter.data.histories import TCL
from peter.errors import InputError
from peter.methods import Gradient, Setting, method
from peter.methods._deep import DeepPatch
from peter.nn.readout import ReadOut
from peter.progress import Silent
from peter.testing import ITEMS, MethodContract, fingerprint, tiny_body, toy_users
from peter.training.fit import fit, predict

PETER = method("peter")
PAPER: dict[str, Any] = {"wide": False, "summary": False, "readout": "last", "tcl": True, "warm_start": False}
FRESH = ["serial2", "serial1", "serial1-inner", "parallel-delta"]  # that start as the body itself


def build(setting: Setting | None = None, **options: Any) -> DeepPatch:
    """Without the item summary, unless `options` say otherwise."""
    options = {"summary": False, **options}
    patch = PETER.build(setting or MethodContract().setting(), PETER.options(**options))
    assert isinstance(patch, DeepPatch)
    return patch


def contract(**settings: Any) -> MethodContract:
    made = MethodContract()
    made.method, made.settings = PETER, settings
    return made


class TestCount:
    """At the paper's size: k=256, d=32, eight blocks."""

    @pytest.fixture(scope="class")
    @classmethod
    def setting(cls) -> Setting:
        return replace(MethodContract().setting(), body=tiny_body(channels=256, blocks=8))

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, 266_752 + 4_096),  # 16 patches, eight second LayerNorms
            ({"second_norm": False}, 266_752),
            ({"insertion": "serial1"}, 133_376 + 4_096),
            ({"insertion": "serial1-inner"}, 133_376 + 4_096),
            ({"insertion": "parallel"}, 266_752 + 4_096),
            ({"insertion": "parallel-after", "second_norm": False}, 266_752),
            ({"reduction": 16}, 135_424 + 4_096),
            ({"reduction": 4}, 529_408 + 4_096),
            ({"blocks": "6:8"}, 2 * 16_672 * 2 + 4 * 256),
            ({"blocks": "none"}, 0),
        ],
    )
    @pytest.mark.parametrize(("wide", "counted"), [(True, 2 * ITEMS + 2), (False, 0)])
    def test_as_many_are_trained_as_the_formula_says(
        self, setting: Setting, options: dict[str, Any], expected: int, wide: bool, counted: int
    ) -> None:
        """n(2kd + d + k) + 2Bk + head; the wide term has VK + K of its own, which never descend."""
        patch = build(setting, wide=wide, **options)
        head = 2 * 9 * 256 + 2
        assert sum(tensor.numel() for tensor in patch.parameters()) == expected + head + counted
        moved = [p for p in PETER.phases(patch, setting, PETER.options()) if isinstance(p, Gradient)]
        assert {id(tensor) for phase in moved for tensor in phase.parameters} == {
            id(tensor) for name, tensor in patch.named_parameters() if not name.startswith("wide.")
        }

    def test_the_item_summary_is_k_more_features(self, setting: Setting) -> None:
        bare, read = (build(setting, summary=summary) for summary in (False, True))
        counts = [sum(tensor.numel() for tensor in patch.parameters()) for patch in (bare, read)]
        assert counts[1] - counts[0] == 2 * 256
        assert set(read.state_dict()) - set(bare.state_dict()) == {"summary.idf"}

    def test_the_paper_itself(self, setting: Setting) -> None:
        """[TCL] is k more; the head reads one state of k numbers."""
        patch = build(setting, **PAPER)
        head = 2 * 256 + 2
        assert sum(tensor.numel() for tensor in patch.parameters()) == 266_752 + 4_096 + 256 + head


class TestNames:
    @pytest.mark.parametrize("wide", [True, False])
    @pytest.mark.parametrize("tcl", [True, False])
    @pytest.mark.parametrize("second_norm", [True, False])
    def test_what_is_saved_and_trained(self, wide: bool, tcl: bool, second_norm: bool) -> None:
        tensors = ("weight", "bias")
        patches = {
            f"trunk.patches.{site}.{part}.{tensor}"
            for site in (2, 3) for part in ("down", "up") for tensor in tensors
        }  # fmt: skip
        norms = {f"trunk.norms.3.{tensor}" for tensor in tensors} if second_norm else set()
        trained = patches | norms | {"head.weight", "head.bias"} | ({"tcl"} if tcl else set())
        solved = {"mean", "scale"} | ({"wide.idf", "wide.weight", "wide.bias"} if wide else set())
        patch = build(blocks="1:2", wide=wide, tcl=tcl, second_norm=second_norm)
        assert set(patch.state_dict()) == trained | solved
        own = {id(tensor) for tensor in patch.descended()}
        assert {name for name, tensor in patch.named_parameters() if id(tensor) in own} == trained

    @pytest.mark.parametrize("insertion", ["serial1", "serial1-inner"])
    def test_one_patch_a_block_sits_at_the_second_site(self, insertion: str) -> None:
        assert set(build(insertion=insertion).trunk.patches) == {"1", "3"}  # type: ignore[attr-defined]


class TestFresh:
    @pytest.mark.parametrize("insertion", [*FRESH, "parallel", "parallel-after"])
    @pytest.mark.parametrize("readout", ["all", "last", "head+tail", "mean", "concat"])
    @pytest.mark.parametrize("causal", [True, False])
    def test_it_changes_no_bit_of_what_is_read(self, insertion: str, readout: str, causal: bool) -> None:
        setting = replace(MethodContract().setting(), body=tiny_body(causal=causal))
        histories, _ = toy_users()
        patch = build(setting, readout=readout, insertion=insertion)
        with torch.no_grad():
            same = torch.equal(patch.read(setting.body, histories), ReadOut(readout)(setting.body, histories))
        assert same == (insertion in FRESH)

    @pytest.mark.parametrize("insertion", FRESH)
    def test_it_starts_as_the_probe(self, insertion: str) -> None:
        """Before the first epoch, on users nobody was fitted on; but for how sure it is."""
        histories, _ = toy_users(seed=1)
        outputs = []
        for name, settings in (
            ("probe", {}),
            ("peter", {"wide": False, "summary": False, "insertion": insertion}),
        ):
            made = contract(**settings)
            made.method = method(name)
            setting = made.setting()
            patch = made.build(setting)
            start = made.method.phases(patch, setting, made.method.options(**settings))[0]
            start.fit(*made.examples())  # type: ignore[union-attr]
            outputs.append(predict(patch, setting.body, histories))
        share = float((outputs[0] * outputs[1]).sum() / outputs[0].square().sum())
        assert share > 0.3
        torch.testing.assert_close(outputs[1], share * outputs[0], rtol=1e-3, atol=1e-4)

    def test_the_seed_alone_decides_and_no_two_tensors_start_alike(self) -> None:
        setting = MethodContract().setting()
        one, other = (build(replace(setting, seed=seed), **PAPER).state_dict() for seed in (0, 1))
        drawn = [name for name in one if name.endswith("down.weight") or name in ("tcl", "head.weight")]
        assert len(drawn) == 4 + 2
        assert all(not torch.equal(one[name], other[name]) for name in drawn)
        firsts = [one[name].flatten()[:8] for name in drawn]
        assert len({tuple(values.tolist()) for values in firsts}) == len(drawn)


class TestFitted:
    @pytest.mark.parametrize("settings", [PAPER, {"tcl": True}, {"insertion": "parallel", "wide": False}])
    def test_everything_that_descends_moves_and_the_body_does_not(self, settings: dict[str, Any]) -> None:
        """Under weight decay, which would pull at anything the optimizer can reach; [TCL] learns too."""
        made = contract(**settings)
        setting = made.setting()
        patch, body = made.build(setting), fingerprint(setting.body.state_dict())
        phases = PETER.phases(patch, setting, PETER.options(**settings))
        reports = fit(patch, phases, *made.examples(), setting, made.config, Silent())
        next(report for report in reports if report.phase == "patches")  # epoch 0: the start
        before = {name: tensor.clone() for name, tensor in patch.state_dict().items()}
        next(reports)
        next(reports)
        own = {id(tensor) for tensor in patch.descended()}  # type: ignore[operator]
        trained = {name for name, tensor in patch.named_parameters() if id(tensor) in own}
        moved = {name for name, tensor in patch.state_dict().items() if not torch.equal(tensor, before[name])}
        assert moved == trained
        assert fingerprint(setting.body.state_dict()) == body

    def test_the_bodys_own_row_for_tcl_is_never_read(self) -> None:
        made = contract(**PAPER)
        answers = []
        for value in (0.0, 7.0):
            setting = made.setting()
            setting.body.item_embedding.weight[TCL] = value
            answers.append(predict(made.fitted(setting), setting.body, toy_users(seed=1)[0]))
        assert torch.equal(*answers)

    def test_dropout_only_disturbs_while_learning(self) -> None:
        made, (histories, _) = contract(wide=False, dropout=0.5, warm_start=False), toy_users()
        setting = made.setting()
        patch = made.fitted(setting)
        assert torch.equal(*(predict(patch, setting.body, histories) for _ in range(2)))
        patch.train()
        with torch.no_grad():
            passes = [patch(setting.body, histories) for _ in range(2)]
        assert not torch.equal(*passes)


@pytest.mark.parametrize(
    "options",
    [
        {"blocks": "0-2"}, {"blocks": "1:9"}, {"blocks": "1:1"}, {"blocks": "2:1"},
        {"reduction": 0}, {"reduction": 99}, {"dropout": 1.0}, {"dropout": -0.1},
        {"deep": False, "wide": False},
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_said(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="give"):
        build(**options)


@pytest.mark.parametrize(("causal", "length"), [(True, 1), (False, 2)])
def test_tcl_needs_room(causal: bool, length: int) -> None:
    setting = replace(MethodContract().setting(), body=tiny_body(causal=causal, max_length=length))
    with pytest.raises(InputError, match="tcl=off"):
        build(setting, tcl=True)


@pytest.mark.parametrize(
    "setting", ["insertion=serial3", "readout=first", "history=none", "activation=swish"]
)
def test_what_is_no_choice_is_said(setting: str) -> None:
    with pytest.raises(InputError, match="one of"):
        from_options([setting], PETER.options())
