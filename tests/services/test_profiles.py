"""Profiles: computed now or read from what was materialised, the same answers, each with where it is from."""

import csv
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from small_workspace import TASKS, add_task, train_task

from peter.data.splits import TEST, assign
from peter.errors import InputError
from peter.progress import Silent
from peter.services.profile.cohorts import export, query
from peter.services.profile.materialize import materialize
from peter.services.profile.profiles import get
from peter.services.promotion.promote import promote
from peter.services.workspace import Workspace


@pytest.fixture
def labels(place: Path) -> dict[str, dict[str, str]]:
    """task -> user -> label."""
    return {task: dict(pl.read_csv(place / f"{task}.csv", infer_schema=False).iter_rows()) for task in TASKS}


def partly(place: Path, name: str, known: int) -> Path:
    """gender.csv of the first `known` users, under another name."""
    path = place / f"{name}.csv"
    pl.read_csv(place / "gender.csv", infer_schema=False).head(known).write_csv(path)
    return path


def flat(users: list[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(user["user_id"], task): answer for user in users for task, answer in user["tasks"].items()}


def test_what_is_stored_is_what_would_be_computed(workspace: Workspace, labels) -> None:
    everybody = list(labels["gender"])
    stored, live = (flat(get(workspace, everybody, live)["users"]) for live in (False, True))
    assert stored.keys() == live.keys() == {(user, task) for user in everybody for task in TASKS}
    for key, answer in stored.items():
        now = live[key]
        assert now.pop("as_of") >= answer.pop("as_of")
        chance = answer.pop("predicted_probability")
        assert now.pop("predicted_probability") == pytest.approx(chance, abs=1e-6)
        assert now == answer


def test_an_answer_is_observed_or_predicted_and_says_so(workspace: Workspace, place: Path, labels) -> None:
    add_task(workspace, "other", partly(place, "other", 200))
    everybody = list(labels["gender"])
    taught = dict(zip(everybody, assign(everybody, "peter") != TEST, strict=True))
    for at, user in enumerate(get(workspace, everybody, live=True)["users"]):
        answer = user["tasks"]["other"]
        if at < 200:
            assert answer["source"] == "observed"
            assert (answer["value"], answer["probability"]) == (labels["gender"][user["user_id"]], 1.0)
            assert answer["in_sample"] == taught[user["user_id"]]
        else:
            assert (answer["source"], answer["in_sample"]) == ("predicted", False)
            assert answer["value"] == answer["predicted"]
            assert answer["probability"] == answer["predicted_probability"] < 1
        assert answer["predicted"] in ("gender0", "gender1")
        assert (answer["version"], answer["backbone"]) == (1, "clicks@1")


def test_the_number_of_events_is_the_user_s_own(workspace: Workspace, place: Path) -> None:
    events = pl.read_csv(place / "events.csv", infer_schema=False)
    counts = dict(events.group_by("user_id").len().iter_rows())
    for user in get(workspace, ["007", "7", "NA", "u0000123"], live=False)["users"]:
        assert user["events"] == counts[user["user_id"]]


def test_a_new_champion_answers_at_once(workspace: Workspace) -> None:
    train_task(workspace, "gender", method="bag", promote=False)
    promote(workspace, "gender@2", False, "")
    (user,) = get(workspace, ["007"], live=False)["users"]
    assert {task: answer["version"] for task, answer in user["tasks"].items()} == {"gender": 2, "tier": 1}
    with pytest.raises(InputError, match="champions of gender were not materialised"):
        query(workspace, "true", 1)
    materialize(workspace, ["gender"], Silent())
    assert query(workspace, "true", 1)["tables"]["gender"]["version"] == 2


def test_a_cohort_is_everybody_for_whom_the_condition_holds(workspace: Workspace, labels) -> None:
    found = query(workspace, "gender = 'gender1' AND tier_p > 0.9 AND events >= 20", 1000)
    cards = get(workspace, list(labels["gender"]), live=False)["users"]
    wanted = [
        card["user_id"]
        for card in cards
        if card["tasks"]["gender"]["value"] == "gender1" and card["events"] >= 20
    ]
    assert [user["user_id"] for user in found["users"]] == sorted(wanted)
    assert set(found["users"][0]) == {"user_id", "events", "gender", "gender_p", "tier", "tier_p"}
    assert len(query(workspace, "true", 7)["users"]) == 7
    assert found["tables"]["tier"]["backbone"] == "clicks@1"


@pytest.mark.parametrize("ending", [".parquet", ".csv"])
def test_an_export_has_a_row_for_each_user_and_task(
    workspace: Workspace, tmp_path: Path, labels, ending
) -> None:
    path = tmp_path / f"profiles{ending}"
    path.write_text("what was there")
    assert export(workspace, path) == {"path": str(path), "rows": 600}
    read = pl.read_parquet(path) if ending == ".parquet" else pl.read_csv(path, infer_schema=False)
    assert len(read) == 600
    for task, known in labels.items():
        rows = read.filter(pl.col("task") == task)
        assert dict(zip(rows["user_id"], rows["value"], strict=True)) == known
    assert set(read["version"].cast(pl.String)) == {"1"}
    assert list(tmp_path.glob(".*.partial")) == []


def test_a_spreadsheet_runs_nothing_of_an_exported_csv(workspace: Workspace, place: Path) -> None:
    formulas = {"gender0": '=HYPERLINK("x")', "gender1": " @SUM(A1)+'"}
    text = pl.read_csv(place / "gender.csv", infer_schema=False)
    text.with_columns(pl.col("gender").replace(formulas).str.strip_chars()).write_csv(place / "risky.csv")
    add_task(workspace, "risky", place / "risky.csv", method="bag")
    materialize(workspace, ["risky"], Silent())
    export(workspace, place / "out.csv")
    export(workspace, place / "out.parquet")
    with (place / "out.csv").open(newline="") as file:
        cells = {row["value"] for row in csv.DictReader(file) if row["task"] == "risky"}
    assert cells == {'\'=HYPERLINK("x")', "'@SUM(A1)+'"}
    kept = pl.read_parquet(place / "out.parquet").filter(pl.col("task") == "risky")["value"]
    assert set(kept) == {'=HYPERLINK("x")', "@SUM(A1)+'"}


def test_profiles_are_json(workspace: Workspace) -> None:
    told = get(workspace, ["007"], live=True)
    assert json.loads(json.dumps(told)) == told
    assert set(told["users"][0]["tasks"]["gender"]) == {
        "value", "probability", "source", "predicted", "predicted_probability", "in_sample", "events",
        "known", "version", "backbone", "as_of", "sensitive",
    }  # fmt: skip
