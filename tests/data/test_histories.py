"""Histories: choosing users, batches by events, and windows over everything a user did."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from peter.data.histories import PAD, Histories

USERS = st.lists(st.lists(st.integers(4, 99), max_size=7), max_size=7)


def flat(users: list[list[int]]) -> Histories:
    items = [item for user in users for item in user]
    lengths = torch.tensor([0, *map(len, users)])
    return Histories(torch.tensor(items, dtype=torch.int64), lengths.cumsum(0))


def lists(histories: Histories) -> list[list[int]]:
    return [part.tolist() for part in histories.items.split(histories.lengths.tolist())]


@given(USERS, st.data())
def test_select_gives_users_in_any_order(users: list[list[int]], data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, len(users) - 1))) if users else []
    selected = flat(users).select(torch.tensor(chosen, dtype=torch.int64))
    assert lists(selected) == [users[at] for at in chosen]
    assert len(selected) == len(chosen)


@given(USERS, st.integers(1, 5))
def test_windows_hold_every_event_once_and_the_newest_is_full(users: list[list[int]], length: int) -> None:
    windows = flat(users).windows(length)
    for user, events in enumerate(users):
        own = windows.items[windows.user == user].tolist()
        assert [item for window in own for item in window if item != PAD] == events
        assert len(own) == -(-len(events) // length)
        assert all(PAD not in window for window in own[1:])
        assert all(
            window == sorted(window, key=lambda item: item != PAD) for window in own
        )  # padded on the left
    assert windows.items.shape == (len(windows.user), length)


@given(USERS, st.integers(1, 9))
def test_batches_are_all_users_in_order(users: list[list[int]], events: int) -> None:
    histories = flat(users)
    batches = list(histories.batches(events))
    assert [user for batch in batches for user in batch.tolist()] == list(range(len(users)))
    for batch in batches:
        assert len(batch) > 0
        assert sum(len(users[user]) for user in batch.tolist()[:-1]) < events


def test_user_says_whose_each_event_is() -> None:
    assert flat([[5], [], [6, 7]]).user.tolist() == [0, 2, 2]


@pytest.mark.parametrize("users", [[], [[]], [[], []]])
def test_nobody_and_nothing_are_fine(users: list[list[int]]) -> None:
    histories = flat(users)
    assert histories.windows(3).items.shape == (0, 3)
    assert lists(histories.select(torch.arange(len(users)))) == users or users == []
