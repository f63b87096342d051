"""Numbers and tags go the whole way: added, evaluated, told, stored, asked for by SQL and exported."""

import csv
import json
from pathlib import Path

import polars as pl
import pytest

from peter.services.profile import scoring

QUICK = ["--set", "epochs=2", "--set", "threads=1"]
ITEMS = {"i0000001": "folk", "i0000002": "jazz", "i0000003": "rock"}


@pytest.fixture
def likes(place: Path) -> dict[str, set[str]]:
    """Whom ITEMS made what, by the events: something that can be learnt."""
    events = pl.read_csv(place / "events.csv", infer_schema=False)
    found: dict[str, set[str]] = {user: set() for user in sorted(events["user_id"].unique())}
    for user, item in events.select("user_id", "item_id").iter_rows():
        if item in ITEMS:
            found[user].add(ITEMS[item])
    return found


@pytest.fixture
def spend(place: Path, likes: dict[str, set[str]]) -> dict[str, float]:
    """spend.csv of the first 250 users, far apart by what they like; user -> number."""
    numbers = {
        user: 1000.0 + 500 * ("jazz" in own) + 3.25 * (at % 29)
        for at, (user, own) in enumerate(list(likes.items())[:250])
    }
    rows = "".join(f"{user},{number}\n" for user, number in numbers.items())
    (place / "spend.csv").write_text(f"user_id,spend\n{rows}")
    return numbers


@pytest.fixture
def genres(place: Path, likes: dict[str, set[str]]) -> dict[str, set[str]]:
    """genres.csv of the first 250 users, a list in one row or a tag a row with one twice; user -> tags."""
    tags = {user: own | {"music"} if own else own for user, own in list(likes.items())[:250]}
    lines = [
        (user, value)
        for at, (user, own) in enumerate(tags.items())
        for value in ([*sorted(own), *sorted(own)[:1]] if own and at % 2 else [";".join(sorted(own)) or ";"])
    ]
    with (place / "genres.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("user_id", "genre"), *lines])
    return tags


def exported(place: Path, task: str) -> list[dict[str, str]]:
    with (place / "out.csv").open(newline="") as file:
        return [row for row in csv.DictReader(file) if row["task"] == task]


def tags_of(value: str) -> set[str]:
    return set(value.split(";")) if value else set()


@pytest.mark.slow
def test_a_number_goes_the_whole_way(
    peter, place: Path, likes, spend: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = peter("task", "add", "spend", "--labels", "spend.csv", *QUICK, "--json").json
    assert made["kind"] == "regression"
    report = made["report"]["metrics"]
    assert set(report["test"]) == {"mae", "rmse", "relative_mae", "r2", "spearman", "coverage"}
    assert report["test"]["relative_mae"]["value"] < 0.9
    assert report["baselines"]["majority"]["relative_mae"]["value"] == pytest.approx(1, abs=0.1)
    assert 50 < report["test"]["mae"]["value"] < 250  # in the unit of the labels
    everybody = list(likes)
    users = {user["user_id"]: user for user in peter("profile", "get", *everybody, "--json").json["users"]}
    for user, card in users.items():
        answer = card["tasks"]["spend"]
        assert answer["details"]["low"] < answer["predicted"] < answer["details"]["high"]
        assert answer["predicted_probability"] is None
        assert answer["value"] == (spend[user] if user in spend else answer["predicted"])
        assert answer["source"] == ("observed" if user in spend else "predicted")
    low = users[everybody[-1]]["tasks"]["spend"]["details"]["low"]
    assert f"low {low:.4g}, high " in peter("profile", "get", everybody[-1]).out
    monkeypatch.setattr(scoring, "USERS", 7)  # chunks, of which some hold no prediction at all
    assert peter("profile", "materialize").code == 0
    rich = peter(
        "profile", "query", "spend > 1300 AND spend_details.high < 1e6", "--limit", "999", "--json"
    ).json
    wanted = [user for user, card in users.items() if card["tasks"]["spend"]["value"] > 1300]
    assert [user["user_id"] for user in rich["users"]] == sorted(wanted)
    stored = peter("profile", "get", everybody[-1], "--json").json["users"][0]["tasks"]["spend"]
    live = users[everybody[-1]]["tasks"]["spend"]
    assert stored["details"] == pytest.approx(live["details"], rel=1e-5)
    peter("profile", "export", "out.csv")
    rows = exported(place, "spend")
    assert {row["user_id"]: float(row["value"]) for row in rows if row["source"] == "observed"} == spend
    assert json.loads(rows[0]["details"]).keys() == {"low", "high"}


@pytest.mark.slow
def test_new_numbers_are_compared_with_the_champion(peter, place: Path, spend: dict[str, float]) -> None:
    peter("task", "add", "spend", "--labels", "spend.csv", *QUICK)
    text = (place / "spend.csv").read_text().splitlines()
    (place / "newer.csv").write_text("\n".join(text[:-20]))
    made = peter("task", "train", "spend", "--labels", "newer.csv", "--json").json["report"]
    assert {"spend@1", "majority"} < made["metrics"]["gate"]["gains"].keys()
    wider = peter("task", "train", "spend", "--set", "confidence=0.99", "--json").json["report"]
    assert "coverage" in wider["metrics"]["test"]


@pytest.mark.slow
def test_tags_go_the_whole_way(
    peter, place: Path, likes, genres: dict[str, set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = peter("task", "check", "--labels", "genres.csv", "--json").json
    assert (checked["kind"], checked["users"]) == ("tags", 250)
    made = peter("task", "add", "genres", "--labels", "genres.csv", *QUICK, "--json").json
    assert made["kind"] == "tags"
    report = made["report"]["metrics"]
    assert set(report["test"]) == {"map", "log_loss", "relative_log_loss", "micro_f1", "macro_f1"}
    ours, majority = report["test"], report["baselines"]["majority"]
    assert ours["relative_log_loss"]["value"] < 0.9 < majority["relative_log_loss"]["value"] < 1.2
    assert ours["map"]["value"] > majority["map"]["value"]
    everybody = list(likes)
    users = {user["user_id"]: user for user in peter("profile", "get", *everybody, "--json").json["users"]}
    for user, card in users.items():
        answer = card["tasks"]["genres"]
        assert len(answer["details"]["chances"]) == len(tags_of(answer["predicted"]))
        if user in genres:
            assert tags_of(answer["value"]) == genres[user]
    monkeypatch.setattr(scoring, "USERS", 7)  # chunks, of which some hold no prediction at all
    assert peter("profile", "materialize").code == 0
    found = peter("profile", "query", "'jazz' IN string_split(genres, ';')", "--limit", "999", "--json").json[
        "users"
    ]
    wanted = [user for user, card in users.items() if "jazz" in tags_of(card["tasks"]["genres"]["value"])]
    assert [user["user_id"] for user in found] == sorted(wanted)
    peter("profile", "export", "out.csv")
    rows = exported(place, "genres")
    told = {row["user_id"]: tags_of(row["value"]) for row in rows if row["source"] == "observed"}
    assert told == genres
    assert json.loads(rows[-1]["details"])["chances"]


def test_a_user_of_two_genders_stays_an_error(peter, place: Path) -> None:
    with (place / "gender.csv").open("a") as file:
        file.write("007,other\n")
    outcome = peter("task", "add", "sex", "--labels", "gender.csv", *QUICK)
    assert outcome.code == 2
    assert "keep one gender a user, or give --kind" in outcome.err
    assert "tags" in outcome.err
