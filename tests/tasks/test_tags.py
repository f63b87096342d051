"""Tags keep the contract of task kinds and know their own corners."""

import warnings
from dataclasses import replace

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from peter import task
from peter.errors import InputError
from peter.testing import TaskKindContract

kind = task.kind("tags")

LISTENERS = [("rock", "jazz"), ("jazz",), ("folk;rock",), (";",), ("folk", "jazz", "rock")]


class TestRowsAndLists(TaskKindContract):
    kind = kind
    labels = LISTENERS * 9
    foreign = "polka"
    hopeless = LISTENERS[1:2] * 9


class TestRareTags(TestRowsAndLists):
    labels = LISTENERS * 9 + [("opera",), ("opera;jazz",)]
    hopeless = LISTENERS[:2]


class TestLabels:
    def test_a_list_names_several_tags(self) -> None:
        schema = kind.schema([("a; b",), ("b;a;b", "c"), ("c",)] * 5)
        assert schema == {"classes": ["a", "b", "c"], "left_out": {}}
        assert kind.encode([("a; b",), ("c", "b;"), (";",)], schema).tolist() == [
            [1, 1, 0], [0, 1, 1], [0, 0, 0],
        ]  # fmt: skip

    def test_rare_tags_are_named_and_not_learnt(self) -> None:
        schema = kind.schema([("a",), ("b",)] * 5 + [("a", "c")])
        assert schema == {"classes": ["a", "b"], "left_out": {"c": 1}}
        assert kind.encode([("c",), ("b", "c")], schema).tolist() == [[0, 0], [0, 1]]

    def test_only_the_commonest_tags_are_learnt(self) -> None:
        schema = replace(kind, most_tags=2).schema([("a", "b")] * 6 + [("c", "a")] * 7)
        assert schema == {"classes": ["a", "c"], "left_out": {"b": 6}}

    @pytest.mark.parametrize(
        ("labels", "fits"),
        [
            (LISTENERS, True),
            ([("a;b",), ("b;c",), ("a",)], True),
            ([("F",), ("M",)] * 9 + [("F", "M")], False),  # perhaps a mistake
            ([("F",), ("M",)], False),
            ([(f"i{at}", f"i{at + 1}") for at in range(2000)], False),  # perhaps items
        ],
    )
    def test_what_is_plainly_tags(self, labels: list[tuple[str, ...]], fits: bool) -> None:
        assert kind.fits("genre", labels) is fits

    def test_items_are_no_tags(self) -> None:
        assert not kind.fits("item_id", LISTENERS)

    @pytest.mark.parametrize("setting", ["least_users", "most_tags"])
    def test_settings_that_mean_nothing_are_refused(self, setting: str) -> None:
        with pytest.raises(InputError, match=f"give {setting}=1 or more"):
            replace(kind, **{setting: 0})


class TestFit:
    def users(self, seed: int, users: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        features = torch.randn(users, 6, generator=generator)
        logits = features @ torch.tensor([[2.0, 0, 0, 0, 0, 0], [0, 1, -1, 0, 0, 0], [0, 0, 0, 0, 0, 3]]).T
        return features, torch.bernoulli((logits - 1).sigmoid(), generator=generator)

    def test_it_is_a_logistic_regression_for_each_tag(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(f"{type(kind).__module__}.STRENGTHS", (0.3,))
        (features, targets), valid = self.users(0), self.users(1)
        [found] = kind.fit_linear([((features, targets), valid)], {})
        for tag in range(3):
            oracle = LogisticRegression(C=0.3, tol=1e-8).fit(
                features.double().numpy(), targets[:, tag].numpy()
            )
            torch.testing.assert_close(
                found.up[tag].double(), torch.from_numpy(oracle.coef_[0]), atol=5e-3, rtol=0
            )
            assert found.bias[tag].item() == pytest.approx(oracle.intercept_[0], abs=5e-3)

    def test_a_tag_without_training_users_keeps_its_prior(self) -> None:
        (features, targets), valid = self.users(0), self.users(1)
        targets[:, 1] = 0
        [found] = kind.fit_linear([((features, targets), valid)], {})
        assert not found.up[1].any()
        assert found.bias[1].item() == pytest.approx(kind.prior(targets, {})[1].item())
        assert found.up[0].any()

    def test_no_validation_users_ask_for_caution(self) -> None:
        features, targets = self.users(0)
        [found] = kind.fit_linear([((features, targets), (features[:0], targets[:0]))], {})
        assert found.up.abs().max() < 0.05


class TestThreshold:
    def test_it_has_the_highest_micro_f1(self) -> None:
        generator = torch.Generator().manual_seed(0)
        logits = (torch.randn(60, 4, generator=generator) * 4).round() / 4 - 2  # many ties
        targets = torch.bernoulli(logits.sigmoid(), generator=generator)
        calibration = kind.calibrate(logits, targets)
        got = kind.metrics(kind.calibrated(logits, calibration), targets, torch.ones(1, 60))[
            "micro_f1"
        ].item()
        tried = [
            f1_score(targets.numpy(), (logits >= at).int().numpy(), average="micro", zero_division=0)
            for at in logits.unique()
        ]
        assert got == pytest.approx(max(tried))
        assert calibration["threshold"] < 0  # rare tags are told below a chance of one half

    def test_where_no_tag_holds_it_is_one_half(self) -> None:
        assert kind.calibrate(torch.randn(9, 3), torch.zeros(9, 3))["threshold"] == 0
        assert kind.calibrate(torch.zeros(0, 3), torch.zeros(0, 3)) == {"temperature": 1, "threshold": 0}


def test_a_profile_tells_the_likely_tags_with_their_chances() -> None:
    schema = {"classes": ["folk", "jazz", "rock"], "left_out": {"opera": 1}}
    calibration = {"temperature": 1.0, "threshold": -0.5}
    outputs = kind.calibrated(torch.tensor([[2.0, -1.0, -0.4], [-1.0, -1.0, -1.0]]), calibration)
    told = kind.profile(outputs, schema, calibration, [(), ()])
    assert told.values == ["folk;rock", ""]
    assert told.details == {"chances": [pytest.approx([0.881, 0.401], abs=1e-3), []]}
    assert told.probabilities == [pytest.approx(0.401, abs=1e-3), None]
    assert kind.observed(("rock", "opera;folk"), schema) == "folk;opera;rock"
    assert kind.observed((";",), schema) == ""


def test_the_diagram_lies_on_the_diagonal_where_chances_are_honest() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(20_000, 3, generator=generator)
    targets = torch.bernoulli(logits.sigmoid(), generator=generator)
    (curve,) = kind.diagrams(kind.calibrated(logits, {"temperature": 1, "threshold": 0}), targets, {})
    assert curve.x == pytest.approx(curve.y, abs=0.02)


def test_no_warning_leaks_from_features_that_no_solver_likes() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 6, generator=generator) * 10.0 ** torch.arange(0, 6)
    users = features, torch.bernoulli(torch.full((40, 2), 0.5), generator=generator)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        [found] = kind.fit_linear([(users, users)], {})
    assert found.up.isfinite().all()
