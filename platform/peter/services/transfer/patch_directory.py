"""The directory that `peter task export` writes: peft's two files, a card, and what a registry must know.

A reader trusts nothing in it: which files there are is ours to say, and each is hashed as it is copied.
"""

import hashlib
import json
import os
import secrets
import shutil
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, get_origin, get_type_hints

from peter.config import from_dict, to_dict
from peter.errors import InputError, NameTaken
from peter.registry import locks
from peter.registry.columns import canonical
from peter.registry.directory import sync
from peter.registry.objects import hashed

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"  # as peft calls them
CARD, SHEET, LABELS = "README.md", "peter.json", "labels.jsonl"
FORMAT = 1
LARGEST = 64 << 20  # bytes of a file that is read whole: golden outputs are the most of it
HEADER = 8 << 20  # bytes of a safetensors header, which costs ten times as much memory to read
EXPORT_AGAIN = "export it again with `peter task export`"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # no link, and no waiting for a pipe


@dataclass(frozen=True)
class Sheet:
    """peter.json: a version's row, with names and hashes in place of one registry's numbers."""

    format: int
    program: str
    patch: str  # its reference where it was made, as that of the backbone below
    kind: str
    owner: str
    description: str
    sensitive: bool
    method: str
    config: dict[str, Any]
    fit: dict[str, Any]
    request_sha256: str
    metrics: dict[str, Any]
    certificate: dict[str, Any]
    backbone: str
    backbone_sha256: str
    vocab_sha256: str
    labels_sha256: str
    labels: dict[str, Any]  # the label set's report
    files: dict[str, str]  # the directory's others -> sha256

    @property
    def task(self) -> str:
        """What the task was called where the patch was made."""
        return self.patch.partition("@")[0]

    def encode(self) -> bytes:
        """The file, with the hash of all that it says."""
        values = to_dict(self)
        return _pretty({**values, "sha256": _digest(values)})

    @classmethod
    def decode(cls, data: bytes, path: Path) -> "Sheet":
        """The inverse of `encode`. Raises InputError."""
        try:
            values = json.loads(data, parse_constant=_no_number)
            said = values.pop("sha256")
            whole = said == _digest(values)
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
            raise InputError(f"{path} is no sheet of an exported patch; {EXPORT_AGAIN}.") from None
        if not whole:
            raise InputError(f"{path} was changed after it was written; {EXPORT_AGAIN}.")
        if values.get("format") != FORMAT:
            raise InputError(
                f"{path} is of a format that this peter does not read; use the one that wrote it."
            )
        sheet = from_dict(cls, values)
        hints = get_type_hints(cls)
        for field in fields(cls):
            if not isinstance(getattr(sheet, field.name), get_origin(hints[field.name]) or hints[field.name]):
                raise InputError(f"{path} says nothing sensible of {field.name}; {EXPORT_AGAIN}.")
        if not all(isinstance(sheet.config.get(part), dict) for part in ("schema", "adapter")):
            raise InputError(f"{path} says nothing sensible of config; {EXPORT_AGAIN}.")
        if sheet.files.keys() - {LABELS} != {CONFIG, WEIGHTS, CARD}:
            raise InputError(f"{path} names other files than an exported patch has; {EXPORT_AGAIN}.")
        return sheet


def config_bytes(adapter: dict[str, Any]) -> bytes:
    """adapter_config.json."""
    return _pretty(adapter)


def read(directory: Path, own: Path) -> Sheet:
    """Copy the files of an exported patch into a directory of our own and hold them against their hashes.

    Raises:
        InputError: anything is missing, changed, too large or no plain file.
    """
    if not directory.is_dir():
        raise InputError(f"There is no directory {directory}; give one that `peter task export` wrote.")
    _copy(directory / SHEET, own / SHEET, LARGEST)
    sheet = Sheet.decode((own / SHEET).read_bytes(), directory / SHEET)
    for name, sha256 in sheet.files.items():
        _copy(directory / name, own / name, None if name in (WEIGHTS, LABELS) else LARGEST)
        if hashed(own / name) != sha256:
            raise InputError(f"{directory / name} was changed after it was written; {EXPORT_AGAIN}.")
    if (own / CONFIG).read_bytes() != config_bytes(sheet.config["adapter"]):
        raise InputError(f"{directory / CONFIG} does not agree with {SHEET} beside it; {EXPORT_AGAIN}.")
    _require_small_header(own / WEIGHTS, directory / WEIGHTS)
    return sheet


@contextmanager
def new(directory: Path, private: bool) -> Iterator[Path]:
    """A directory to fill, which gets its name once it is whole and durable; else nothing is left.

    Args:
        private: for nobody but its owner.

    Raises:
        NameTaken: there is something of that name.
        PeterError: it cannot be written.
    """
    if os.path.lexists(directory):
        raise NameTaken(f"{directory} exists; name a new directory.")
    with locks.told(directory):
        if not directory.absolute().parent.is_dir():
            raise InputError(f"There is no directory {directory.absolute().parent}; make it first.")
        begun = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
        begun.mkdir(mode=0o700 if private else 0o777)
        try:
            yield begun
            for path in (*begun.iterdir(), begun):
                sync(path)
            begun.rename(directory)
            sync(directory.absolute().parent)
        finally:
            shutil.rmtree(begun, ignore_errors=True)


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        handle = os.open(path, _READ)
    except FileNotFoundError:
        raise InputError(f"{path} is missing; {EXPORT_AGAIN}.") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); {EXPORT_AGAIN}.") from None
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise InputError(f"{path} is no plain file; {EXPORT_AGAIN}.")
        yield file


def _copy(path: Path, target: Path, largest: int | None) -> None:
    with _opened(path) as file, locks.told(target), target.open("xb") as copy:
        if largest is not None and os.fstat(file.fileno()).st_size > largest:
            raise InputError(f"{path} is larger than any that peter writes; {EXPORT_AGAIN}.")
        shutil.copyfileobj(file, copy, 1 << 20)


def _require_small_header(path: Path, told: Path) -> None:
    """A legal header of 89 MB would take a gigabyte to read."""
    with path.open("rb") as file:
        start = file.read(8)
    if len(start) < 8 or struct.unpack("<Q", start)[0] > HEADER:
        raise InputError(f"{told} has no header that peter would write; {EXPORT_AGAIN}.")


def _pretty(value: dict[str, Any]) -> bytes:
    return f"{json.dumps(value, indent=2, sort_keys=True, allow_nan=False)}\n".encode()


def _digest(values: dict[str, Any]) -> str:
    return hashlib.sha256(canonical(values).encode()).hexdigest()


def _no_number(text: str) -> float:
    raise ValueError(text)
