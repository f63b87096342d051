"""Regression keeps the contract of task kinds and knows its own corners."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from peter import task
from peter.errors import InputError
from peter.testing import TaskKindContract

kind = task.kind("regression")


def one_each(values: list[str]) -> list[tuple[str, ...]]:
    """Labels of users with one answer each."""
    return [(value,) for value in values]


YEARS = one_each([f"{18 + (7 * number) % 60}.5" for number in range(60)])


class TestYears(TaskKindContract):
    kind = kind
    labels = YEARS
    foreign = "old"
    hopeless = one_each(["30", "30.0", "3e1"])


class TestFewWildNumbers(TestYears):
    labels = one_each(["0", "0", "0", "1", "1e9"] * 8)
    foreign = "1e31"
    hopeless: list[tuple[str, ...]] = []  # noqa: RUF012


class TestLabels:
    @pytest.mark.parametrize(
        ("labels", "fits"),
        [
            (YEARS, True),
            (one_each([str(number) for number in range(-30, 30)]), True),
            (one_each([f"{number}e-3" for number in range(60)]), True),
            (YEARS[:50], False),  # perhaps classes
            (one_each([f"{number:03}" for number in range(60)]), False),  # codes
            ([*YEARS, ("12", "13")], False),
            ([*YEARS, ("unknown",)], False),
        ],
    )
    def test_what_is_plainly_a_quantity(self, labels: list[tuple[str, ...]], fits: bool) -> None:
        assert kind.fits("age", labels) is fits

    def test_numbers_of_ids_are_no_quantity(self) -> None:
        assert not kind.fits("item_id", YEARS)

    def test_targets_are_standardised_and_carry_their_unit(self) -> None:
        schema = kind.schema(one_each(["10", "20", "30", "40"]))
        assert schema == {"mean": 25.0, "scale": pytest.approx(np.std([10, 20, 30, 40]))}
        targets = kind.encode(one_each(["25", "40"]), schema)
        torch.testing.assert_close(targets[:, 0], torch.tensor([0.0, 15 / schema["scale"]]))
        assert targets[:, 1].tolist() == pytest.approx([schema["scale"]] * 2)

    def test_words_are_refused_when_the_task_is_added(self) -> None:
        with pytest.raises(InputError, match="'twenty' is not a number"):
            kind.schema(one_each(["20", "twenty"]))


def test_metrics_are_in_the_unit_of_the_labels() -> None:
    labels = one_each(["10", "20", "30", "40"])
    schema = kind.schema(labels)
    outputs = (torch.tensor([[12.0], [20.0], [26.0], [40.0]]) - schema["mean"]) / schema["scale"]
    scores = kind.metrics(outputs, kind.encode(labels, schema), torch.ones(1, 4))
    assert scores["mae"].item() == pytest.approx(1.5, rel=1e-5)
    assert scores["rmse"].item() == pytest.approx(20**0.5 / 2, rel=1e-5)
    assert scores["relative_mae"].item() == pytest.approx(1.5 / 10, rel=1e-5)
    assert scores["spearman"].item() == pytest.approx(1)


@pytest.mark.parametrize("confidence", [0.5, 0.9])
def test_the_interval_holds_new_users_as_often_as_it_says(confidence: float) -> None:
    """On average over calibrations, as split conformal prediction promises."""
    asked = replace(kind, confidence=confidence)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(200, 500, generator=generator).exp()  # skewed
    told = []
    for row in noise:
        targets = torch.stack([row, torch.ones(500)], 1)
        calibration = asked.calibrate(torch.zeros(100, 1), targets[:100])
        outputs = asked.calibrated(torch.zeros(400, 1), calibration)
        told.append(asked.metrics(outputs, targets[100:], torch.ones(1, 400))["coverage"].item())
    assert np.mean(told) == pytest.approx(confidence, abs=0.015)


def test_a_profile_tells_value_and_interval_in_the_unit_of_the_labels() -> None:
    schema = kind.schema(one_each(["10", "20", "30", "40"]))
    calibration = {"half_width": 0.5}
    outputs = kind.calibrated(torch.tensor([[0.0], [1.0]]), calibration)
    told = kind.profile(outputs, schema, calibration, [(), ()])
    scale = schema["scale"]
    assert told.values == pytest.approx([25, 25 + scale])
    assert told.probabilities == [None, None]
    assert told.details["low"] == pytest.approx([25 - scale / 2, 25 + scale / 2])
    assert told.details["high"] == pytest.approx([25 + scale / 2, 25 + 1.5 * scale])
    assert kind.observed(("12",), schema) == 12.0


class TestFit:
    def users(self, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        features = torch.randn(400, 5, generator=generator)
        noise = torch.randn(400, generator=generator)
        values = features @ torch.tensor([1.0, -1.0, 0.5, 0, 0]) + noise
        return features, torch.stack([values, torch.ones(400)], 1)

    def test_known_weights_are_found(self) -> None:
        [found] = kind.fit_linear([(self.users(0), self.users(1))], {})
        torch.testing.assert_close(found.up[0], torch.tensor([1.0, -1.0, 0.5, 0, 0]), atol=0.2, rtol=0)

    def test_no_validation_users_ask_for_caution(self) -> None:
        features, targets = self.users(0)
        [found] = kind.fit_linear([((features, targets), (features[:0], targets[:0]))], {})
        assert found.up.abs().max() < 0.1

    def test_a_skewed_truth_does_not_make_it_worse_than_the_median(self) -> None:
        generator = torch.Generator().manual_seed(0)
        features = torch.randn(400, 5, generator=generator)
        targets = torch.stack([(2 * torch.randn(400, generator=generator)).exp(), torch.ones(400)], 1)
        users = features[:300], targets[:300]
        [found] = kind.fit_linear([(users, (features[300:], targets[300:]))], {})
        ones = torch.ones(1, 100)
        ours = kind.metrics(features[300:] @ found.up.T + found.bias, targets[300:], ones)
        prior = kind.metrics(kind.prior(targets[:300], {}).expand(100, 1), targets[300:], ones)
        assert ours["mae"] < 1.02 * prior["mae"]


def test_the_diagram_lies_on_the_diagonal_where_predictions_are_honest() -> None:
    labels = one_each([str(number) for number in range(100)])
    schema = kind.schema(labels)
    targets = kind.encode(labels, schema)
    (curve,) = kind.diagrams(targets[:, :1], targets, schema)
    assert curve.x == pytest.approx(curve.y, rel=1e-4)
    assert (curve.x[0], sum(curve.users)) == (pytest.approx(4.5), 100)


@pytest.mark.parametrize("setting", [{"delta": 0}, {"delta": float("inf")}, {"confidence": 1}])
def test_settings_that_mean_nothing_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(setting))):
        replace(kind, **setting)
