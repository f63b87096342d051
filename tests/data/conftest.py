"""A way to import events from text in one line."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from peter.data.event_log import EventLog
from peter.data.events import ImportedEvents, import_events
from peter.progress import Silent


def open_log(made: ImportedEvents) -> EventLog:
    return EventLog.open(made.sequences, made.users, made.items)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """write(content, name="events.csv") -> path."""

    def write(content: str | bytes, name: str = "events.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., ImportedEvents]:
    """make(path, .., **options) -> imported events, each in a folder of its own."""
    folders: Iterator[Path] = (tmp_path / f"work-{number}" for number in range(100))

    def make(*paths: Path, **options: Any) -> ImportedEvents:
        folder = next(folders)
        folder.mkdir()
        return import_events(paths, work_dir=folder, progress=Silent(), **options)

    return make


@pytest.fixture
def log_of(make: Callable[..., ImportedEvents]) -> Callable[..., EventLog]:
    """log_of(path, .., **options) -> event log."""
    return lambda *paths, **options: open_log(make(*paths, **options))
