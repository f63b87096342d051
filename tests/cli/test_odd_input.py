"""Odd but proper input: spelt in another way, it is what it was; ids are texts."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from small_workspace import everything

Change = Callable[[bytes], bytes]


def _quoted(text: bytes) -> bytes:
    lines = io.StringIO()
    csv.writer(lines, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(
        csv.reader(text.decode().splitlines())
    )
    return lines.getvalue().encode()


SPELT = {
    "a byte-order mark": lambda text: b"\xef\xbb\xbf" + text,
    "CRLF": lambda text: text.replace(b"\n", b"\r\n"),
    "quoted fields": _quoted,
    "no final newline": lambda text: text.rstrip(b"\n"),
    "all of it": lambda text: b"\xef\xbb\xbf" + _quoted(text).replace(b"\n", b"\r\n").rstrip(),
}


@pytest.mark.parametrize("change", SPELT.values(), ids=SPELT)
def test_another_spelling_of_the_same_file_is_the_same_request(peter, place: Path, change: Change) -> None:
    """So nothing is made anew: the bytes behind it, and what was learnt from them, would be the same."""
    for file in ("events.csv", "gender.csv"):
        (place / file).write_bytes(change((place / file).read_bytes()))
    before = everything(place)
    assert peter("data", "import", "events.csv", "--name", "clicks", "--json").json["version"] == 1
    trained = peter("task", "train", "gender", "--labels", "gender.csv", "--json").json["report"]
    assert (trained["version"], trained["reason"]) == (1, "this very request made it before")
    assert everything(place) == before


def test_ids_are_texts(peter, place: Path) -> None:
    """`007` is not `7`, and NA is somebody's name."""
    wanted = dict(csv.reader((place / "tier.csv").read_text().splitlines()))
    for flags in ([], ["--live"]):
        users = peter("profile", "get", "007", "7", "NA", *flags, "--json").json["users"]
        told = {user["user_id"]: user["tasks"]["tier"]["value"] for user in users}
        assert told == {user: wanted[user] for user in ("007", "7", "NA")}
    assert len(set(told.values())) == 3
    found = peter("profile", "query", "user_id = '007' or user_id = 'NA'", "--json").json["users"]
    assert [user["user_id"] for user in found] == ["007", "NA"]
    assert json.loads(peter("data", "show", "clicks", "--json").out)["users"] == 300
