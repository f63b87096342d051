"""A schedule is read as it is written, and says what a fit that changed hands has followed."""

import pytest

from peter.config import FitConfig, as_option, from_dict, from_options, to_dict
from peter.errors import InputError
from peter.schedule import Change, followed, in_force, read, written

TEXT = "2:dropout=0.2,2:learning_rate=0.001,9:learning_rate=1e-05"


def test_a_schedule_is_ordered_and_written_in_one_way() -> None:
    changes = [
        Change(2, "dropout", 0.2),
        Change(2, "learning_rate", 0.001),
        Change(9, "learning_rate", 1e-5),
    ]
    assert read("9:learning_rate=0.00001,2:learning_rate=1e-3,2:dropout=.2") == changes
    assert written(changes) == TEXT
    assert written([]) == ""
    assert read("") == []


def test_no_digit_of_a_value_is_lost() -> None:
    change = Change(3, "weight_decay", 0.1 + 0.2)
    assert read(written([change])) == [change]


@pytest.mark.parametrize(
    ("epoch", "values"),
    [
        (1, {}),
        (2, {"dropout": 0.2, "learning_rate": 0.001}),
        (8, {"dropout": 0.2, "learning_rate": 0.001}),
        (9, {"dropout": 0.2, "learning_rate": 1e-5}),
    ],
)
def test_the_last_value_holds(epoch: int, values: dict[str, float]) -> None:
    assert in_force(read(TEXT), epoch) == values


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("learning_rate=0.1", "it is no change"),
        ("0:dropout=0.1", "the first epoch is 1"),
        ("3:epochs=9", "what may change is dropout, learning_rate, weight_decay"),
        ("3:dropout=1", "from 0 to below 1"),
        ("3:learning_rate=-1", "from 0 up"),
        ("3:learning_rate=inf", "from 0 up"),
        ("3:learning_rate=fast", "from 0 up"),
        ("3:dropout=0.1,3:dropout=0.2", "schedule=3:dropout cannot be used: it is given twice"),
    ],
)
def test_what_is_no_schedule_is_said(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why) as raised:
        from_options([f"schedule={text}"], FitConfig())
    assert "such as schedule=5:" in str(raised.value)


def test_a_fit_config_has_a_schedule_only_where_there_is_one() -> None:
    """Requests of old registries keep their hashes."""
    assert "schedule" not in to_dict(FitConfig())
    assert from_dict(FitConfig, to_dict(FitConfig())) == FitConfig()
    (config,) = from_options([as_option("schedule", TEXT)], FitConfig())
    assert to_dict(config)["schedule"] == config.schedule == TEXT
    assert from_dict(FitConfig, to_dict(config)) == config


def test_a_lineage_is_the_donor_s_up_to_the_change_of_hands() -> None:
    donor = {"reduction": 4, "learning_rate": 0.1, "dropout": 0.2}
    first = followed(donor, {"reduction": 4, "learning_rate": 0.08, "dropout": 0.2}, 6)
    assert first == {**donor, "schedule": "6:learning_rate=0.08"}
    second = followed(first, {"reduction": 4, "learning_rate": 0.08, "dropout": 0.4}, 10)
    assert second == {**donor, "schedule": "6:learning_rate=0.08,10:dropout=0.4"}
    assert followed(second, second | {"learning_rate": 0.08, "dropout": 0.4}, 14) == second
    assert followed(second, {"learning_rate": 0.1, "dropout": 0.2}, 6) == {**donor, "schedule": ""}
