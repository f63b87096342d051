"""Space files: what a person writes, what a search gets, and what is said of what cannot be used."""

from pathlib import Path

import pytest

from peter.errors import InputError
from peter.space import Choice, LogUniform, Uniform, Whole, ends, from_json, read_space, to_json

TYPES = {"reduction": int, "dropout": float, "epochs": int}


def read(tmp_path: Path, text: str):
    file = tmp_path / "space.toml"
    file.write_text(text)
    return read_space(file, TYPES)


GOOD = {
    "reduction = [4, 8]": Choice((4, 8)),
    'blocks = ["all", "6:8"]': Choice(("all", "6:8")),
    "wide = [true, false]": Choice((True, False)),
    "dropout = {low = 0, high = 0.5}": Uniform(0.0, 0.5),
    "dropout = {low = 0, high = 1}": Uniform(0.0, 1.0),
    "learning_rate = {low = 1e-4, high = 1, log = true}": LogUniform(1e-4, 1.0),
    "reduction = {low = 2, high = 8}": Whole(2, 8),
    "reduction = {low = 2, high = 8, step = 1}": Whole(2, 8),
    "reduction = {low = 2, high = 9, step = 3}": Choice((2, 5, 8)),
}


@pytest.mark.parametrize(("text", "domain"), GOOD.items(), ids=list(GOOD))
def test_a_line_is_a_domain(tmp_path: Path, text: str, domain) -> None:
    assert list(read(tmp_path, text).values()) == [domain]


@pytest.mark.parametrize("domain", GOOD.values(), ids=list(GOOD))
def test_a_run_keeps_a_space_and_gets_it_back(domain) -> None:
    found = from_json(to_json({"x": domain}))
    assert found == {"x": domain}
    assert type(ends(found["x"])[0]) is type(ends(domain)[0])


BAD = {
    "": "names no setting",
    "reduction = 4": "reduction = 4: it is neither a list nor a range",
    "reduction = []": "the list is empty",
    "reduction = [[1]]": "a list holds numbers, words, true and false",
    "dropout = [nan]": "a list holds numbers",
    "dropout = {low = 0.5}": "look at high",
    "dropout = {low = 0, high = 1, lgo = true}": "look at lgo",
    "dropout = {low = 0.5, high = 0.1}": "low must be a number below high",
    'dropout = {low = "a", high = 1}': "low must be a number below high",
    "dropout = {low = 0, high = inf}": "low must be a number below high",
    "dropout = {low = 0, high = 1, log = true}": "low must be above 0",
    "dropout = {low = 0, high = 1, log = 3}": "log is true or false",
    "reduction = {low = 2, high = 8, log = true}": "no log",
    "reduction = {low = 2.5, high = 8}": "a whole low, high and step",
    "reduction = {low = 2, high = 8, step = 0}": "a step is above 0",
    "reduction = {low = 2, high = 8, step = 7}": "no longer than the range",
    "reduction = ": "is not TOML",
}


@pytest.mark.parametrize(("text", "said"), BAD.items(), ids=list(BAD))
def test_what_is_no_space_gets_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as raised:
        read(tmp_path, text)
    sentence = str(raised.value)
    assert said in sentence
    assert "space.toml" in sentence
    assert "{low = 0.001, high = 0.1, log = true}" in sentence
    assert "\n" not in sentence


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nosuch\.toml cannot be read .*; give --space a TOML file"):
        read_space(tmp_path / "nosuch.toml", TYPES)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is not TOML"):
        read_space(tmp_path / "space.toml", TYPES)
