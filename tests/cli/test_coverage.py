"""What a backbone knows of the events that tasks answer from: told always, warned of when it is little."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from small_workspace import LATER

from peter.services.event_log.coverage import LEAST

NOVEL = 400  # events of items that came after the backbone, of one user
WARNING = "clicks@1 knows {:.1%} of the events of {}, the others are of newer items; for one that knows all:"


@pytest.fixture
def later(peter, place: Path) -> dict[str, Any]:
    """clicks@2, to which a few events of one new item were appended."""
    document: dict[str, Any] = peter("data", "append", "clicks", "later.csv", "--json").json
    return document


@pytest.fixture
def drifted(peter, place: Path, later: dict[str, Any]) -> dict[str, Any]:
    """clicks@3, with many events of new items."""
    events = [f"007,novel{at % 7},{2_000_000_000 + at}" for at in range(NOVEL)]
    (place / "novel.csv").write_text("\n".join(["user_id,item_id,timestamp", *events]) + "\n")
    document: dict[str, Any] = peter("data", "append", "clicks", "novel.csv", "--json").json
    return document


def test_a_log_tells_how_much_of_it_is_known_to_those_who_answer_from_it(peter, later, drifted) -> None:
    first = peter("data", "show", "clicks@1", "--json").json
    novel = sum(item == "novel" for events in LATER.values() for item, _ in events)
    for log, unknown in ((first, 0), (later, novel), (drifted, novel + NOVEL)):
        (told,) = log["coverage"]
        assert (told["backbone"], told["tasks"], told["features"]) == ("clicks@1", ["gender", "tier"], False)
        assert told["known"] == log["events"] - unknown
    assert peter("data", "show", "clicks", "--json").json == drifted
    assert f"{later['events'] - novel:,} of {later['events']:,}" in peter("data", "show", "clicks@2").out


def test_too_little_that_is_known_is_warned_of_in_one_line(peter, later, drifted) -> None:
    few, many = (log["coverage"][0]["known"] / log["events"] for log in (drifted, later))
    assert few < LEAST < many
    assert "newer items" not in peter("data", "show", "clicks@2").out
    made = peter("profile", "materialize", "--json").json["tables"]
    assert {(row["event_log"], row["events"], row["known"]) for row in made} == {
        ("clicks@3", drifted["events"], drifted["coverage"][0]["known"])
    }
    warning = WARNING.format(few, "clicks@3")
    for words in (("data", "append", "clicks", "novel.csv"), ("profile", "materialize", "--incremental")):
        page = " ".join(peter(*words).out.split())
        assert page.count(warning) == 1
        assert "`peter backbone pretrain clicks`, then `peter backbone migrate clicks@1 NEW`" in page


def test_an_answer_tells_of_how_many_events_it_is_and_how_many_are_known(peter, place: Path, drifted) -> None:
    peter("profile", "materialize")
    unknown = {user: sum(item == "novel" for item, _ in events) for user, events in LATER.items()}
    unknown["007"] += NOVEL
    wanted = {**unknown, "NA": 0}
    for live in ((), ("--live",)):
        cards = peter("profile", "get", *wanted, *live, "--json").json["users"]
        for card in cards:
            for answer in card["tasks"].values():
                assert answer["events"] - answer["known"] == wanted[card["user_id"]]
    assert (
        f"{cards[0]['events'] - unknown['007']:,} of {cards[0]['events']:,}"
        in peter("profile", "get", "007").out
    )
    assert "events known" not in peter("profile", "get", "NA").out
    peter("profile", "export", "out.parquet")
    rows = pl.read_parquet(place / "out.parquet").filter(pl.col("events") > pl.col("known"))
    found = dict(rows.select("user_id", pl.col("events") - pl.col("known")).iter_rows())
    assert found == {user: count for user, count in unknown.items() if count}
