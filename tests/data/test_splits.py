"""The split: fixed for ever, in the right proportions, independent of who else is there."""

import numpy as np

from peter.data.splits import TEST, TRAIN, VALID, assign

IDS = [f"user {at}" for at in range(20_000)]


def test_the_split_never_changes() -> None:
    assert assign(["1", "4", "21", "007", "é", ""], "peter").tolist() == [0, 2, 1, 0, 0, 1]
    assert assign([], "peter").dtype == np.uint8


def test_parts_are_tenths() -> None:
    shares = np.bincount(assign(IDS, "peter")) / len(IDS)
    assert np.abs(shares[[TRAIN, VALID, TEST]] - [0.8, 0.1, 0.1]).max() < 0.01


def test_a_user_stays_whoever_else_is_there() -> None:
    everybody = assign(IDS, "peter")
    np.testing.assert_array_equal(assign(IDS[::-7], "peter"), everybody[::-7])


def test_another_salt_is_an_independent_split() -> None:
    one, other = assign(IDS, "peter"), assign(IDS, "paul")
    both = np.mean((one == TEST) & (other == TEST))
    assert abs(both - 0.01) < 0.003


def test_salt_and_id_cannot_run_into_each_other() -> None:
    assert not np.array_equal(assign([f"b{user}" for user in IDS], "a"), assign(IDS, "ab"))
