"""Progress across processes: a worker tells what its bars do, and its driver draws them."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from peter.progress import Bar, Progress

PAUSE = 0.2  # seconds between two words on one bar


@dataclass(frozen=True)
class Opened:
    """A bar was opened."""

    label: str
    total: float | None
    unit: str


@dataclass(frozen=True)
class Advanced:
    """The open bar moved on."""

    amount: float
    note: str


@dataclass(frozen=True)
class Closed:
    """The open bar came to its end."""


@dataclass(frozen=True)
class Said:
    """A line of news."""

    text: str


Word = Opened | Advanced | Closed | Said


class Teller:
    """Progress of a worker, one bar at a time; each of its words is picklable."""

    def __init__(self, tell: Callable[[Word], None]) -> None:
        self._tell = tell

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        self._tell(Opened(label, total, unit))
        line = _Line(self._tell)
        try:
            yield line
        finally:
            line.flush()
            self._tell(Closed())

    def say(self, text: str) -> None:
        self._tell(Said(text))


class _Line:
    """Gathers what happens between two words."""

    def __init__(self, tell: Callable[[Word], None]) -> None:
        self._tell, self._amount, self._note, self._told = tell, 0.0, "", time.monotonic()

    def advance(self, amount: float = 1, note: str = "") -> None:
        self._amount, self._note = self._amount + amount, note or self._note
        if time.monotonic() - self._told >= PAUSE:
            self.flush()

    def flush(self) -> None:
        """Tell what was gathered."""
        self._tell(Advanced(self._amount, self._note))
        self._amount, self._told = 0.0, time.monotonic()


class Listener:
    """Draws what a `Teller` tells. A worker that begins again opens a bar while its last one is open."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._open = progress, ExitStack()
        self._bar: Bar | None = None

    def hear(self, word: Word) -> None:
        """Draw one word."""
        match word:
            case Opened(label, total, unit):
                self.close()
                self._bar = self._open.enter_context(self._progress.bar(label, total, unit))
            case Advanced(amount, note) if self._bar:
                self._bar.advance(amount, note)
            case Closed():
                self.close()
            case Said(text):
                self._progress.say(text)

    def close(self) -> None:
        """End the bar that is open, if one is."""
        self._open.close()
        self._bar = None
