"""Errors reach whoever started the process that met them."""

import pickle

import pytest

from peter.errors import Interrupted, PeterError, UnknownName


@pytest.mark.parametrize(
    "error", [UnknownName("method", "petr", ["peter"]), Interrupted("Run 3 was stopped.")]
)
def test_an_error_from_another_process_is_the_same_error(error: PeterError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.exit_code) == (type(error), str(error), error.exit_code)
