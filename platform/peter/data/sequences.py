"""The file that holds an event log's arrays: safetensors, written in place, as it may not fit in memory."""

import json
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from peter.data.timestamps import TimeUnit

METADATA_KEY = "peter"  # the only one: safetensors orders several keys at random
_RUN = 1 << 21  # events sorted at a time
_NAMES = {"<i8": "I64", "<i4": "I32"}

Ints = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Sequences:
    """Arrays of U users and N events, mapped onto the file; user u owns events offsets[u]:offsets[u+1]."""

    offsets: npt.NDArray[np.int64]  # [U+1]
    timestamps: npt.NDArray[np.int64]  # [N]
    items: npt.NDArray[np.int32]  # [N]

    @classmethod
    def create(cls, path: Path, counts: npt.NDArray[np.int64], time_unit: TimeUnit) -> "Sequences":
        """A new file for `counts` [U] events a user; the events are yet to be filled in."""
        shapes = {
            "offsets": ("<i8", len(counts) + 1),
            "timestamps": ("<i8", int(counts.sum())),
            "items": ("<i4", int(counts.sum())),
        }
        header: dict[str, Any] = {"__metadata__": {METADATA_KEY: json.dumps({"time_unit": time_unit})}}
        end = 0
        for name, (kind, length) in shapes.items():
            begin, end = end, end + length * np.dtype(kind).itemsize
            header[name] = {"dtype": _NAMES[kind], "shape": [length], "data_offsets": [begin, end]}
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # so that the arrays are aligned
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.flush()
            _reserve(file.fileno(), file.tell() + end)
        arrays = {
            name: np.memmap(path, kind, "r+", 8 + len(text) + header[name]["data_offsets"][0], (length,))
            if length
            else np.empty(0, kind)  # which cannot be mapped
            for name, (kind, length) in shapes.items()
        }
        np.cumsum(counts, out=arrays["offsets"][1:])
        return cls(**arrays)

    def fill(self, runs: Iterator[tuple[Ints, Ints, Ints]]) -> Iterator[int]:
        """Put runs of events (user rows, item rows, timestamps) into place; yields how many each time.

        A user's events keep the order in which they come, wherever those of others stand between.
        """
        free = self.offsets[:-1].copy()  # [U] where a user's next event goes
        for users, items, timestamps in runs:
            order = stable_order(users)
            sorted_users = users[order]
            starts = np.flatnonzero(np.diff(sorted_users, prepend=-1))
            lengths = np.diff(starts, append=len(users))
            rank = np.arange(len(users)) - np.repeat(
                starts, lengths
            )  # among the same user's events of this run
            at = free[sorted_users] + rank
            self.items[at] = items[order]
            self.timestamps[at] = timestamps[order]
            free[sorted_users[starts]] += lengths
            yield len(users)

    def sort(self) -> Iterator[int]:
        """Order every user's events by time, ties as they are; yields how many events each time."""
        with ThreadPoolExecutor() as pool:  # numpy sorts without Python's lock
            yield from pool.map(self._sort_run, self._user_runs())

    def _sort_run(self, run: tuple[int, int]) -> int:
        first, last = run
        begin, end = int(self.offsets[first]), int(self.offsets[last])
        times = self.timestamps[begin:end]
        users = np.repeat(np.arange(last - first), np.diff(self.offsets[first : last + 1]))
        if np.any((np.diff(times) < 0) & (np.diff(users) == 0)):
            order = np.argsort(times, kind="stable")
            order = order[stable_order(users[order])]
            self.timestamps[begin:end] = times[order]
            self.items[begin:end] = self.items[begin:end][order]
        return end - begin

    def _user_runs(self) -> Iterator[tuple[int, int]]:
        first, users = 0, len(self.offsets) - 1
        while first < users:
            last = int(np.searchsorted(self.offsets, self.offsets[first] + _RUN, side="right")) - 1
            last = min(max(last, first + 1), users)
            yield first, last
            first = last


def stable_order(rows: Ints) -> npt.NDArray[np.int64]:
    """A stable argsort of numbers from 0 to 2^31, several times faster than numpy's: it sorts whole keys."""
    keys = rows.astype(np.int64) << 32 | np.arange(len(rows))
    keys.sort()
    return keys & 0xFFFFFFFF


def _reserve(handle: int, size: int) -> None:
    """Give a file its size, and its place on the disk: in a hole of a full disk a mapped write is a crash."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(handle, 0, size)
    else:  # macOS
        os.truncate(handle, size)
