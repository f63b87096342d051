"""The event log as it is read: lookups, histories cut at a time, and damage."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from peter.data.event_log import EventLog
from peter.data.events import ImportedEvents
from peter.data.histories import UNK
from peter.data.vocabulary import Vocabulary
from peter.errors import CorruptObject

TEXT = "user_id,item_id,timestamp\nAnna,x,10\nAnna,y,20\nAnna,x,20\nAnna,z,30\nanna,y,5\n007,z,7\n"


@pytest.fixture
def made(write: Callable[..., Path], make: Callable[..., ImportedEvents]) -> ImportedEvents:
    return make(write(TEXT))


@pytest.fixture
def log(made: ImportedEvents) -> EventLog:
    return EventLog.open(made.sequences, made.users, made.items)


def test_ids_are_found_as_written(log: EventLog) -> None:
    assert len(log) == 3
    assert log.user_ids == ["007", "Anna", "anna"]
    assert log.rows_of(["anna", "7", "Anna", "ANNA", "Anna", "007"]).tolist() == [2, -1, 1, -1, 1, 0]
    assert log.rows_of([]).tolist() == []
    assert log.lengths.tolist() == [1, 4, 1]
    assert log.time_unit == "number"


def test_histories_come_in_the_order_asked_for(log: EventLog) -> None:
    histories = log.histories(np.array([2, -1, 1, 2]))
    ids = [log.vocabulary.item_ids[row] for row in histories.items]
    assert ids == ["y", "x", "y", "x", "z", "y"]
    assert histories.offsets.tolist() == [0, 1, 1, 5, 6]
    assert len(log.histories(np.array([], dtype=np.int64))) == 0


def test_only_strictly_earlier_events_are_given(log: EventLog) -> None:
    rows = np.array([1, 1, 1, 1, -1, 2, 2])
    before = np.array([10, 20, 21, 99, 99, 5, 6])
    assert log.histories(rows, before).lengths.tolist() == [0, 1, 3, 4, 0, 0, 1]


@given(st.lists(st.lists(st.integers(-3, 3), max_size=6), min_size=1, max_size=6), st.data())
def test_the_cut_is_a_binary_search_in_every_user(times: list[list[int]], data: st.DataObject) -> None:
    log = object.__new__(EventLog)
    log.offsets = np.cumsum([0, *map(len, times)])
    log.timestamps = np.array([time for user in times for time in sorted(user)], dtype=np.int64)
    log.items = np.arange(len(log.timestamps), dtype=np.int32)
    before = np.array([data.draw(st.integers(-4, 4)) for _ in times], dtype=np.int64)
    expected = [sum(time < cut for time in user) for user, cut in zip(times, before, strict=True)]
    assert log.histories(np.arange(len(times)), before).lengths.tolist() == expected


def test_writing_to_the_mapped_arrays_never_reaches_the_file(made: ImportedEvents, log: EventLog) -> None:
    content = made.sequences.read_bytes()
    log.items[0] = 99
    assert made.sequences.read_bytes() == content


def test_items_that_a_model_does_not_know_are_unknown_to_it_alone(log: EventLog) -> None:
    everybody = np.arange(len(log))
    before = log.histories(everybody).items
    size = log.vocabulary.size
    view = log.known_to(size - 1)
    assert view.items is log.items
    assert view.user_ids == log.user_ids
    expected = before.where(before < size - 1, UNK)
    assert UNK in expected
    assert view.histories(everybody).items.tolist() == expected.tolist()
    assert view.histories(everybody, np.full(len(log), 99)).items.tolist() == expected.tolist()
    for whole in (log, log.known_to(size)):
        assert whole.histories(everybody).items.tolist() == before.tolist()


def test_files_need_no_ending(made: ImportedEvents, tmp_path: Path) -> None:
    bare = [shutil.copy(path, tmp_path / path.name[:3]) for path in (made.sequences, made.users, made.items)]
    assert len(EventLog.open(*map(Path, bare))) == 3


def test_the_metadata_is_one_key_of_canonical_json(made: ImportedEvents) -> None:
    with safetensors.safe_open(made.sequences, "np") as file:
        assert {key: json.loads(text) for key, text in file.metadata().items()} == {
            "peter": {"time_unit": "number"}
        }


def damage(name: str, value: object) -> Callable[[ImportedEvents], None]:
    """Replace an array of the sequences."""

    def apply(made: ImportedEvents) -> None:
        tensors = safetensors.numpy.load_file(made.sequences)
        tensors[name] = np.array(value, dtype=tensors[name].dtype)
        metadata = {"peter": '{"time_unit": "number"}'}
        safetensors.numpy.save_file(tensors, made.sequences, metadata=metadata)

    return apply


def truncate(name: str) -> Callable[[ImportedEvents], None]:
    def apply(made: ImportedEvents) -> None:
        path: Path = getattr(made, name)
        path.write_bytes(path.read_bytes()[:-9])

    return apply


def fewer(name: str) -> Callable[[ImportedEvents], None]:
    def apply(made: ImportedEvents) -> None:
        path: Path = getattr(made, name)
        pl.read_parquet(path)[1:].write_parquet(path)

    return apply


@pytest.mark.parametrize(
    "hurt",
    [
        damage("offsets", [0, 5, 1, 6]),
        damage("offsets", [1, 1, 5, 6]),
        damage("offsets", [0, 1, 5, 7]),
        damage("offsets", [0, 1, 6]),
        damage("items", [4, 4, 4, 4, 4, 7]),
        damage("items", [4, 4, 4, 4, 4, -1]),
        damage("timestamps", [1, 2]),
        damage("items", [4, 4, 4]),
        truncate("sequences"),
        truncate("users"),
        truncate("items"),
        fewer("users"),
        fewer("items"),
        lambda made: made.sequences.unlink(),
        lambda made: made.items.write_bytes(made.users.read_bytes()),
        lambda made: made.users.write_bytes(made.items.read_bytes()),
        lambda made: safetensors.numpy.save_file({"a": np.zeros(3)}, made.sequences),
    ],
)
def test_damage_is_noticed(made: ImportedEvents, hurt: Callable[[ImportedEvents], None]) -> None:
    hurt(made)
    with pytest.raises(CorruptObject, match="peter verify"):
        EventLog.open(made.sequences, made.users, made.items)


def test_a_vocabulary_does_not_depend_on_the_order_of_events(
    write: Callable[..., Path], log_of: Callable[..., EventLog]
) -> None:
    head, *rows = TEXT.splitlines()
    turned = log_of(write("\n".join([head, *reversed(rows)]), "turned.csv")).vocabulary
    assert turned.item_ids == log_of(write(TEXT)).vocabulary.item_ids


def test_items_are_found_by_id_and_unknown_ones_share_a_row(tmp_path: Path) -> None:
    vocabulary = Vocabulary.of(["Film", "film", "[PAD]"], np.array([3, 2, 1]))
    vocabulary.save(tmp_path / "items")
    loaded = Vocabulary.load(tmp_path / "items")
    assert loaded.rows(["film", "none", "Film", "FILM", "[PAD]", "[MASK]"]).tolist() == [
        5,
        UNK,
        4,
        UNK,
        6,
        UNK,
    ]
    assert loaded.size == 7
    assert loaded.counts.tolist() == [0, 0, 0, 0, 3, 2, 1]
