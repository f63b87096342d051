"""Appending: tasks answer from what was added, and for everybody else as before, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from small_workspace import LATER, train_task

from peter.data import events
from peter.data.histories import UNK, Histories
from peter.progress import Silent
from peter.registry import aliases, event_logs
from peter.registry import profiles as tables
from peter.services.event_log.events import append_events, list_events
from peter.services.logs import open_log
from peter.services.profile.cohorts import query
from peter.services.profile.materialize import materialize
from peter.services.profile.openings import Openings
from peter.services.profile.profiles import get
from peter.services.workspace import Workspace


def append(workspace: Workspace, path: Path) -> dict[str, Any]:
    return append_events(workspace, "clicks", [path], None, None, None, Silent())


def answers(workspace: Workspace, users: list[str], live: bool = True) -> dict[str, dict[str, Any]]:
    """user -> task -> answer, without the time at which it was given."""
    cards = get(workspace, users, live)["users"]
    return {
        card["user_id"]: {
            task: {key: value for key, value in answer.items() if key != "as_of"}
            for task, answer in card["tasks"].items()
        }
        for card in cards
    }


def known(place: Path) -> list[str]:
    return pl.read_csv(place / "gender.csv", infer_schema=False)["user_id"].to_list()


class Whole:
    """The log that would be there if everything had come at once, read by the rows of the first import."""

    def __init__(self, workspace: Workspace, place: Path, users: list[str]) -> None:
        with workspace.registry.read() as session:
            self.vocabulary = open_log(workspace, event_logs.get(session, "clicks@1")).vocabulary
        frames = [pl.read_csv(place / name, infer_schema=False) for name in ("events.csv", "later.csv")]
        ordered = pl.concat(frames).cast({"timestamp": pl.Int64}).sort("timestamp", maintain_order=True)
        self.items = [ordered.filter(user_id=user)["item_id"] for user in users]

    def histories(self, rows: np.ndarray) -> Histories:
        found = [torch.tensor(self.vocabulary.rows(self.items[row])) for row in rows]
        return Histories(torch.cat(found), torch.tensor([0, *np.cumsum(list(map(len, found)))]))


def test_who_has_no_new_events_is_answered_bit_for_bit_as_before(workspace: Workspace, place: Path) -> None:
    others = [user for user in known(place) if user not in LATER]
    before, logs = answers(workspace, others), list_events(workspace)["event_logs"]
    assert append(workspace, place / "later.csv")["parent"] == "clicks@1"
    assert answers(workspace, others) == before
    assert list_events(workspace)["event_logs"][: len(logs)] == logs


def test_new_events_count_as_if_they_had_always_been_there(workspace: Workspace, place: Path) -> None:
    changed = list(LATER)
    before = answers(workspace, ["007", "7"])
    append(workspace, place / "later.csv")
    after = answers(workspace, changed)
    whole = Whole(workspace, place, changed)
    assert UNK in whole.histories(np.arange(len(changed))).items
    with workspace.registry.read() as session:
        champions = aliases.champions(session)
    openings = Openings(workspace)
    for patch in champions:
        for expected in openings.answerer(patch).table(whole, np.arange(len(changed)), changed).to_pylist():
            found = after[expected.pop("user_id")][patch.task.name]
            assert {key: found[key] for key in expected} == expected
    for user, answer in before.items():
        for task in answer:
            assert after[user][task]["events"] == answer[task]["events"] + len(LATER[user])
        chances = {told["tier"]["predicted_probability"] for told in (answer, after[user])}
        assert len(chances) == 2
    assert after["zoe"]["gender"]["source"] == "predicted"


def test_stored_answers_are_of_their_time_until_they_are_made_again(
    workspace: Workspace, place: Path
) -> None:
    stored = answers(workspace, ["007", "7"], live=False)
    append(workspace, place / "later.csv")
    assert answers(workspace, ["007", "7"], live=False) == stored
    assert answers(workspace, ["007", "zoe"], live=False) == {
        "007": stored["007"],
        "zoe": answers(workspace, ["zoe"])["zoe"],
    }
    assert query(workspace, "user_id = 'zoe'", 9)["users"] == []
    materialize(workspace, None, Silent())
    with workspace.registry.read() as session:
        newest = tables.newest(session).values()
        assert {(table.event_log.reference, table.rows) for table in newest} == {("clicks@2", 301)}
    (zoe,) = query(workspace, "user_id = 'zoe'", 9)["users"]
    assert zoe["events"] == len(LATER["zoe"])
    again, live = (answers(workspace, ["007", "zoe"], live)["007"]["tier"] for live in (False, True))
    assert again["events"] == live["events"] == stored["007"]["tier"]["events"] + len(LATER["007"])


def test_a_request_from_before_is_answered_by_the_version_from_before(
    workspace: Workspace, place: Path
) -> None:
    append(workspace, place / "later.csv")
    report = train_task(workspace, "gender")["report"]
    assert (report["version"], report["reason"]) == (1, "this very request made it before")


@pytest.mark.parametrize("other", ["other.csv", "later.csv"])
def test_what_another_program_appends_meanwhile_is_kept(
    workspace: Workspace, place: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    (place / "other.csv").write_text("user_id,item_id,timestamp\n7,i0000001,6\n")
    read = events.import_events

    def slowly(*paths: Any, **options: Any) -> events.ImportedEvents:
        made = read(*paths, **options)
        monkeypatch.setattr(events, "import_events", read)
        append(workspace, place / other)
        return made

    monkeypatch.setattr(events, "import_events", slowly)
    log = append(workspace, place / "later.csv")
    first = list_events(workspace)["event_logs"][0]
    parents = {"other.csv": "clicks@2", "later.csv": "clicks@1"}
    assert log["parent"] == parents[other]
    later = sum(map(len, LATER.values()))
    assert log["events"] == first["events"] + later + (other == "other.csv")
