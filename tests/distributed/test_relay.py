"""What a worker's bars do is drawn by its driver."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from peter.distributed import relay
from peter.distributed.relay import Advanced, Closed, Listener, Opened, Said, Teller


class Drawn:
    """Progress that notes what is drawn."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    @contextmanager
    def bar(self, label: str, total: float | None = None, unit: str = "") -> Iterator["Drawn"]:
        self.lines.append(f"{label} of {total} {unit}")
        yield self
        self.lines.append("end")

    def advance(self, amount: float = 1, note: str = "") -> None:
        self.lines.append(f"+{amount:g} {note}")

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_bars_cross_over(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = Drawn()
    listener = Listener(drawn)
    teller = Teller(lambda word: listener.hear(pickle.loads(pickle.dumps(word))))
    monkeypatch.setattr(relay, "PAUSE", 0)
    with teller.bar("epoch 1", 4, "steps") as bar:
        bar.advance(3, "loss 2")
        bar.advance(1)
        teller.say("news")
    assert drawn.lines == ["epoch 1 of 4 steps", "+3 loss 2", "+1 loss 2", "news", "+0 loss 2", "end"]


def test_words_are_few_and_nothing_is_lost() -> None:
    words = []
    with Teller(words.append).bar("epoch 1") as bar:
        for _ in range(1000):
            bar.advance(1)
    assert words == [Opened("epoch 1", None, ""), Advanced(1000, ""), Closed()]


def test_a_worker_that_begins_again_opens_its_bar_anew() -> None:
    drawn = Drawn()
    listener = Listener(drawn)
    for word in (Opened("one", 2, ""), Advanced(1, ""), Opened("one", 2, ""), Said("x")):
        listener.hear(word)
    listener.close()
    listener.hear(Advanced(1, ""))  # a word that came late
    assert drawn.lines == ["one of 2 ", "+1 ", "end", "one of 2 ", "x", "end"]
