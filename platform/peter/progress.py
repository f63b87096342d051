"""How long work reports that it is alive; the command line draws it, everybody else stays silent."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Bar(Protocol):
    """One line of progress."""

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Move on by `amount` units; `note` replaces the text behind the bar."""


class Progress(Protocol):
    """Where bars come from."""

    def bar(self, label: str, total: float | None = None, unit: str = "") -> AbstractContextManager[Bar]:
        """Open a bar of `total` units (None: unknown)."""

    def say(self, text: str) -> None:
        """Print one line of news beside the bars."""


class _SilentBar:
    def advance(self, amount: float = 1, note: str = "") -> None:
        pass


class Silent:
    """Progress for pipes, tests and workers: nothing is printed."""

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        yield _SilentBar()

    def say(self, text: str) -> None:
        pass
