"""The gate promotes what is better and nowhere worse, and says when it cannot know."""

import pytest
import torch
from torch import Tensor

from peter.data.histories import Histories
from peter.methods import Examples, Setting
from peter.services.promotion.gate import Verdict, judge
from peter.task import kind
from peter.testing import ITEMS, tiny_body

CLASSES = 2
FLOORS = {"scratch": "its from-scratch twin", "majority": "majority"}
MANY = 100
TWIN = "its from-scratch twin"
NOUGHT = {"value": 0.0, "low": 0.0, "high": 0.0}


def verdict(users: int, signal: float, champion: str | None = "it@1", **rivals: float) -> Verdict:
    """Judge outputs of which the right class stands out by `signal`, against rivals' that do so by theirs."""
    generator = torch.Generator().manual_seed(users)
    targets = torch.randint(CLASSES, (users,), generator=generator)
    right = torch.nn.functional.one_hot(targets, CLASSES)
    shared = torch.randn(users, CLASSES, generator=generator)

    def outputs(strength: float) -> Tensor:
        """Of many users all contenders err alike, so that pairs are told apart; of few each errs alone."""
        alone = torch.randn(users, CLASSES, generator=generator)
        return strength * right + (alone if users < MANY else shared)  # [B, K]

    classes = kind("classification")
    setting = Setting(tiny_body(), ITEMS, classes, classes.schema([("a",), ("b",)]), seed=0)
    nobody = Histories(torch.zeros(0, dtype=torch.int64), torch.zeros(users + 1, dtype=torch.int64))
    named = {name.replace("champion_", "it@"): outputs(strength) for name, strength in rivals.items()}
    return judge(setting, Examples(nobody, targets), outputs(signal), named, champion, FLOORS)


@pytest.mark.parametrize(
    ("users", "signal", "rivals", "promote", "said"),
    [
        (2000, 2.0, {"champion_1": 0.5}, True, "better than it@1"),
        (
            2000, 2.0, {"champion_1": 0.5, "bag": 4.0, "scratch": 2.0, "majority": 0.0}, True,
            f"better than it@1 and not worse than {TWIN} and majority on 2000 validation users",
        ),
        (2000, 0.5, {"champion_1": 2.0, "majority": 0.0}, False, "not better than it@1: log_loss gain -"),
        (2000, 2.0, {"champion_1": 2.0}, False, "not better than it@1: log_loss gain +0.0000 [+0.0000"),
        (
            2000, 2.0, {"champion_1": 0.5, "scratch": 4.0}, False,
            f"worse than {TWIN}: log_loss gain -",
        ),
        (2000, 1.0, {"champion_1": 0.5, "majority": 2.0}, False, "worse than majority: log_loss gain -"),
        (
            40, 1.5, {"champion_1": 1.0, "majority": 0.0}, False,
            "40 validation users are too few to tell it from it@1: log_loss gain +",
        ),
        (
            40, 1.0, {"champion_1": -3.0, "scratch": 1.0}, False,
            f"40 validation users are too few to tell that it is not worse than {TWIN}: log_loss gain ",
        ),
        (40, 9.0, {"champion_1": 0.0}, True, "better than it@1"),
        (
            2000, 2.0, {"champion_1": 0.5, "scratch": 2.02}, False, f"worse than {TWIN}: log_loss gain -0.00",
        ),
    ],
)  # fmt: skip
def test_verdicts(users: int, signal: float, rivals: dict[str, float], promote: bool, said: str) -> None:
    found = verdict(users, signal, **rivals)
    assert found.reason.startswith(said)
    assert found.promote == promote
    assert list(found.gains) == [name.replace("champion_", "it@") for name in rivals]


def test_a_first_version_is_promoted_and_flagged_where_a_baseline_is_better() -> None:
    found = verdict(2000, 1.0, None, bag=2.0, probe=1.0, majority=0.0)
    assert found.promote
    assert found.below == ("bag",)
    assert found.reason.startswith("the first version, though below bag (log_loss gain -")
    assert found.reason.endswith(") on 2000 validation users")
    unsure = verdict(40, 1.5, None, bag=9.0, probe=2.0).reason
    assert unsure.startswith("the first version, though below bag (log_loss gain -")
    assert ") and perhaps by chance below probe (log_loss gain -" in unsure
    good = verdict(2000, 2.0, None, bag=1.0, majority=0.0)
    assert (good.promote, good.reason, good.below) == (True, "the first version", ())


def test_the_very_same_outputs_are_no_gain() -> None:
    found = verdict(200, 1.0, champion_1=1.0, scratch=1.0)
    assert found.gains == {"it@1": NOUGHT, "scratch": NOUGHT}
    assert not found.promote
    assert found.reason == "not better than it@1: log_loss gain +0.0000 [+0.0000, +0.0000]"


def test_bits_that_nobody_is_told_decide_nothing() -> None:
    """A twin that ends as the patch does may differ in the order of a sum."""
    found = verdict(2000, 2.0, champion_1=0.5, scratch=2.0 + 1e-6, majority=0.0)
    assert found.gains["scratch"] == NOUGHT
    assert found.promote
    assert not verdict(2000, 2.0, champion_1=2.0 - 1e-6).promote
    assert verdict(2000, 2.0, None, bag=2.0 + 1e-6).below == ()


def test_a_remark_stands_behind_the_reason() -> None:
    found = verdict(200, 1.0, champion_1=0.0)
    noted = found.noting("its from-scratch twin was not compared")
    assert noted.reason == f"{found.reason}; its from-scratch twin was not compared"
    assert noted.promote == found.promote


def test_a_champion_that_came_meanwhile_voids_a_promotion() -> None:
    found = verdict(2000, 2.0, champion_1=0.5)
    assert found.promote
    assert not found.overtaken("it@2").promote
    assert found.overtaken("it@2").reason == "it@2 became champion meanwhile; compare and promote by hand"
