"""`peter.progress` drawn by Rich on standard error, and only where a person is looking."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Display
from rich.text import Text

from peter.progress import Bar, Progress, Silent


def progress() -> Progress:
    """Bars on a terminal, silence in a pipe."""
    return Bars() if sys.stderr.isatty() else Silent()


class _Done(ProgressColumn):
    """How much is done, of how much, and how fast."""

    def render(self, task: Task) -> Text:
        total = "" if task.total is None else f"/{task.total:,.0f}"
        speed = task.finished_speed or task.speed
        rate = f" {speed:,.{0 if speed >= 10 else 1}f}/s" if speed else ""
        return Text(f"{task.completed:,.0f}{total} {task.fields['unit']}{rate}", style="progress.data.speed")


class _Line:
    """One bar of the display."""

    def __init__(self, display: Display, label: str, total: float | None, unit: str) -> None:
        self._display = display
        self._task = display.add_task(label, total=total, unit=unit, note="")
        self._done = 0.0

    def advance(self, amount: float = 1, note: str = "") -> None:
        self._done += amount
        self._display.update(self._task, completed=self._done)
        if note:
            self._display.update(self._task, note=note)

    def finish(self) -> None:
        """Full at what was done: the total may have been unknown, or the work ended early."""
        self._display.update(self._task, total=self._done, completed=self._done)


class Bars:
    """Bars below one another while any of them is open; finished ones stay where they are."""

    def __init__(self) -> None:
        self._display: Display | None = None

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator[Bar]:
        outer, display = self._display, self._display or _display()
        self._display = display
        if outer is None:
            display.start()
        line = _Line(display, label, total, unit)
        try:
            yield line
            line.finish()
        finally:
            if outer is None:
                display.stop()
            self._display = outer

    def say(self, text: str) -> None:
        if self._display is None:
            print(text, file=sys.stderr)
        else:
            self._display.console.print(text, markup=False, highlight=False)


def _display() -> Display:
    from rich.console import Console

    return Display(
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        _Done(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
    )
