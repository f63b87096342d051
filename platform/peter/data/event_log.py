"""Event log: every user's events in time order, mapped from files into memory."""

import copy
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import polars.exceptions
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from peter.data.histories import UNK, Histories
from peter.data.sequences import METADATA_KEY
from peter.data.timestamps import TimeUnit
from peter.data.vocabulary import Vocabulary
from peter.errors import CorruptObject

_DTYPES = {"offsets": torch.int64, "timestamps": torch.int64, "items": torch.int32}


class EventLog:
    """U users (sorted by id) and their N events; user u owns events offsets[u]:offsets[u+1]."""

    _known: npt.NDArray[np.bool_] | None = None  # which item rows the histories may hold, where not all

    def __init__(
        self, tensors: dict[str, Tensor], time_unit: TimeUnit, users: pl.Series, vocabulary: Vocabulary
    ) -> None:
        self.offsets: npt.NDArray[np.int64] = tensors["offsets"].numpy()  # [U+1]
        self.timestamps: npt.NDArray[np.int64] = tensors["timestamps"].numpy()  # [N]
        self.items: npt.NDArray[np.int32] = tensors["items"].numpy()  # [N] vocabulary rows
        self.time_unit = time_unit
        self.vocabulary = vocabulary
        self._users = users

    @classmethod
    def open(cls, sequences: Path, users: Path, items: Path) -> "EventLog":
        """Map the files that `import_events` wrote; writing to the arrays never reaches the files.

        Raises:
            CorruptObject: a file cannot be decoded, or they do not fit together.
        """
        vocabulary = Vocabulary.load(items)
        try:
            with safe_open(sequences, "pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no iterator)
                time_unit = json.loads(file.metadata()[METADATA_KEY])["time_unit"]
            user_ids = pl.read_parquet(users, glob=False)["user_id"]
        except (
            SafetensorError,
            polars.exceptions.PolarsError,
            OSError,
            ValueError,
            LookupError,
            TypeError,
        ) as error:
            raise CorruptObject(
                f"The event log {sequences} cannot be read ({error}); run `peter verify`."
            ) from error
        fault = _fault(tensors, len(user_ids), vocabulary.size)
        if fault:
            raise CorruptObject(f"The event log {sequences} is damaged ({fault}); run `peter verify`.")
        return cls(tensors, time_unit, user_ids, vocabulary)

    def __len__(self) -> int:
        return len(self._users)

    @cached_property
    def user_ids(self) -> list[str]:
        """[U] ids, sorted; a user's place is its row."""
        return self._users.to_list()

    def known_to(self, items: int, later: npt.NDArray[np.bool_] | None = None) -> "EventLog":
        """The log as a model with V = `items` item rows reads it: in histories, other items are UNK.

        The arrays are those of this log, neither copied nor changed.

        Args:
            later: [N] of which items behind those the model knows something, too.
        """
        view = copy.copy(self)
        view._known = np.arange(self.vocabulary.size) < items
        if later is not None:
            rest = view._known[items:]
            rest[: len(later)] = later[: len(rest)]
        return view

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """[U] events a user."""
        return np.diff(self.offsets)

    def rows_of(self, ids: Sequence[str] | pl.Series) -> npt.NDArray[np.int64]:
        """[n] rows of users; -1 for a user without events."""
        wanted = pl.DataFrame({"user_id": ids}, schema={"user_id": pl.String})
        known = pl.DataFrame({"user_id": self._users}).with_row_index("row")
        found = wanted.join(known, on="user_id", how="left", maintain_order="left")
        return found["row"].cast(pl.Int64).fill_null(-1).to_numpy()

    def histories(
        self, rows: npt.NDArray[np.int64], before: npt.NDArray[np.int64] | None = None
    ) -> Histories:
        """The events of users [B] by row (-1: an empty history), oldest first.

        Args:
            rows: [B] rows of users, in any order, repeats allowed.
            before: [B] a time for each row; only strictly earlier events are given.
        """
        known = rows >= 0
        start = np.where(known, self.offsets[rows], 0)  # [B]
        length = np.where(known, self.offsets[rows + 1] - start, 0)  # [B]
        if before is not None:
            length = self._earlier(start, length, before)
        offsets = np.concatenate([[0], length.cumsum()])  # [B+1]
        at = np.arange(offsets[-1]) + np.repeat(start - offsets[:-1], length)
        items = self.items[at].astype(np.int64)
        if self._known is not None:
            items[~self._known[items]] = UNK
        return Histories(torch.from_numpy(items), torch.from_numpy(offsets))

    def _earlier(
        self, start: npt.NDArray[np.int64], length: npt.NDArray[np.int64], before: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        """[B] how many of each user's events come before its time: a binary search in all users at once."""
        low, high = np.zeros_like(length), length.copy()
        while np.any(low < high):
            middle = (low + high) // 2
            open_ = low < high
            early = self.timestamps[np.where(open_, start + middle, 0)] < before
            low = np.where(open_ & early, middle + 1, low)
            high = np.where(open_ & ~early, middle, high)
        return low


def _fault(tensors: dict[str, Tensor], users: int, size: int) -> str | None:
    """What is wrong with the arrays, if anything."""
    if {name: tensor.dtype for name, tensor in tensors.items()} != _DTYPES:
        return "other arrays than offsets, timestamps and items"
    offsets, items = tensors["offsets"], tensors["items"]
    if len(offsets) != users + 1:
        return f"{len(offsets) - 1} sequences for {users} users"
    if offsets[0] != 0 or bool((offsets.diff() < 0).any()):
        return "offsets that do not rise from 0"
    if not int(offsets[-1]) == len(items) == len(tensors["timestamps"]):
        return "arrays of different lengths"
    if len(items) and (int(items.min()) < 0 or int(items.max()) >= size):
        return f"an item outside the vocabulary of {size}"
    return None
