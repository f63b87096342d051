"""Settings from the command line and from the registry end in the same dataclasses, or in one sentence."""

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from peter.config import (
    BackboneConfig,
    FitConfig,
    PretrainConfig,
    as_option,
    from_dict,
    from_options,
    to_dict,
    types_of,
)
from peter.errors import InputError, SchemaMismatch, UnknownName


@dataclass(frozen=True)
class Options:
    """A method's own."""

    reduction: int = 8
    wide: bool = True
    readout: Literal["all", "last"] = "all"


@pytest.mark.parametrize(
    ("option", "place", "expected"),
    [
        ("reduction=4", (0, "reduction"), 4),
        ("wide=off", (0, "wide"), False),
        ("readout=last", (0, "readout"), "last"),
        ("learning_rate=3e-4", (1, "learning_rate"), 3e-4),
        ("epochs=5", (1, "epochs"), 5),
    ],
)
def test_an_option_is_found_where_it_belongs(option: str, place: tuple[int, str], expected: Any) -> None:
    assert getattr(from_options([option], Options(), FitConfig())[place[0]], place[1]) == expected


def test_lists_are_comma_separated() -> None:
    assert from_options(["dilations=1,2,4"], BackboneConfig())[0].dilations == (1, 2, 4)


@pytest.mark.parametrize("option", ["reduction", "reduction=x", "wide=maybe", "readout=first", "epochs=0"])
def test_what_cannot_be_used_is_said(option: str) -> None:
    with pytest.raises(InputError, match=option.split("=")[0]):
        from_options([option], Options(), FitConfig())


def test_all_faults_are_told_together() -> None:
    with pytest.raises(InputError, match=r"reduction=x.*wide=maybe"):
        from_options(["reduction=x", "wide=maybe"], Options())


def test_an_unknown_key_names_the_near_ones() -> None:
    with pytest.raises(UnknownName, match="reduction"):
        from_options(["reductoin=4"], Options(), FitConfig())


@pytest.mark.parametrize(
    "config", [BackboneConfig(dilations=(1, 2)), BackboneConfig(heads=2), PretrainConfig(), FitConfig(seed=3)]
)
def test_a_config_comes_back_as_it_was_stored(config: Any) -> None:
    assert from_dict(type(config), to_dict(config)) == config


@pytest.mark.parametrize("change", [{"blocks": None}, {"later": 1}])
def test_a_config_of_another_peter_is_refused(change: dict[str, Any]) -> None:
    stored = {**to_dict(BackboneConfig()), **change}
    stored = {key: value for key, value in stored.items() if value is not None}
    with pytest.raises(SchemaMismatch, match=next(iter(change))):
        from_dict(BackboneConfig, stored)


def test_a_later_field_is_kept_only_where_it_is_not_its_default() -> None:
    """So that what older versions stored reads, compares and hashes as it did."""
    before = {
        "architecture": "nextitnet",
        "channels": 64,
        "blocks": 8,
        "kernel": 3,
        "dilations": [1, 4],
        "causal": True,
        "max_length": 50,
    }
    assert to_dict(BackboneConfig()) == before
    assert list(to_dict(BackboneConfig())) == list(before)
    assert from_dict(BackboneConfig, before) == BackboneConfig()
    assert to_dict(BackboneConfig(heads=2))["heads"] == 2


def test_a_value_written_as_an_option_is_read_as_itself() -> None:
    @dataclass(frozen=True)
    class Sorts:
        flag: bool = False
        word: str = "a"
        rate: float = 0.1
        limit: int | None = 3

    wanted = Sorts(True, "6:8", 1.2345678901234567e-05, None)
    written = [as_option(key, value) for key, value in to_dict(wanted).items()]
    assert written[0] == "flag=on"
    assert from_options(written, Sorts()) == [wanted]
    assert types_of(Sorts(), FitConfig())["rate"] is float
    assert types_of(Sorts(), FitConfig())["epochs"] is int
