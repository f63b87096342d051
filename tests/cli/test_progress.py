"""Bars on a terminal, silence in a pipe."""

import io
import sys

import pytest

from peter.cli import _progress
from peter.progress import Silent


@pytest.fixture
def terminal(monkeypatch):
    """Makes standard error a terminal when called: pytest puts its own back between the phases of a test."""

    def screen():
        stream = io.StringIO()
        stream.isatty = lambda: True
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "120")
        return stream

    return screen


def test_a_pipe_gets_nothing():
    assert isinstance(_progress.progress(), Silent)


def test_bars_show_how_far_how_fast_and_what(terminal):
    screen = terminal()
    bars = _progress.progress()
    with bars.bar("reading", 1000, "events") as outer:
        outer.advance(400, "half way")
        with bars.bar("sorting") as inner:
            inner.advance(7)
        bars.say("a word")
    shown = screen.getvalue()
    for word in ("reading", "400/400 events", "sorting", "7/7", "half way", "a word"):
        assert word in shown


def test_news_between_bars_are_lines(terminal):
    screen = terminal()
    _progress.progress().say("all [there]")
    assert screen.getvalue() == "all [there]\n"


def test_a_failure_leaves_no_bar_behind(terminal):
    screen = terminal()
    bars = _progress.progress()
    with pytest.raises(RuntimeError), bars.bar("reading"):
        raise RuntimeError
    bars.say("after")
    assert screen.getvalue().endswith("after\n")
