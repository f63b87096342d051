"""Splits: which users train, choose and test, the same for every task and version."""

from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

TRAIN, VALID, TEST = range(3)
_TENTHS = (TRAIN,) * 8 + (VALID, TEST)


def assign(user_ids: Iterable[str], salt: str) -> npt.NDArray[np.uint8]:
    """[U] TRAIN, VALID or TEST, 80/10/10, by salt and id alone: who else is there does not matter."""
    start = blake2b(f"{salt}\0".encode(), digest_size=8)
    parts = [_TENTHS[_tenth(start, user)] for user in user_ids]
    return np.array(parts, dtype=np.uint8)


def _tenth(start: blake2b, user: str) -> int:
    state = start.copy()
    state.update(user.encode())
    return int.from_bytes(state.digest(), "big") % 10
