"""What a search may vary: domains of values, apart from any library that searches them.

Written as in a space file and as a run keeps it: `[4, 8]`, `{low = 0.0, high = 0.5}`, with `log = true` for
rates, with `step = 1` for whole numbers.
"""

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peter.errors import InputError

HINT = (
    "write a list such as [4, 8], or {low = 0.001, high = 0.1, log = true}, or {low = 1, high = 8, step = 1}"
)


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Any, ...]


@dataclass(frozen=True)
class Uniform:
    """A number between two bounds."""

    low: float
    high: float


@dataclass(frozen=True)
class LogUniform:
    """A positive number whose logarithm is uniform between two bounds."""

    low: float
    high: float


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`, both included."""

    low: int
    high: int


Domain = Choice | Uniform | LogUniform | Whole
Space = Mapping[str, Domain]


def read_space(path: Path, types: Mapping[str, Any]) -> dict[str, Domain]:
    """The space of a TOML file; a range of a setting that is whole by `types` has whole numbers alone.

    Raises:
        InputError: it cannot be read, or a value is no domain; names the file and the key.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give --space a TOML file.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} is not TOML ({error}); for each setting {HINT}.") from None
    whole = {key: _stepped(value) if types.get(key) is int else value for key, value in found.items()}
    try:
        if not whole:
            raise ValueError(f"It names no setting; for each {HINT}")
        return from_json(whole)
    except ValueError as error:
        raise InputError(f"{path}: {error}.") from None


def to_json(space: Space) -> dict[str, Any]:
    """By setting, as a space file has it."""
    return {key: _to_json(domain) for key, domain in space.items()}


def from_json(values: Mapping[str, Any]) -> dict[str, Domain]:
    """The inverse of `to_json`. Raises ValueError, naming the key."""
    found = {}
    for key, value in values.items():
        try:
            found[key] = _domain(value)
        except ValueError as error:
            raise ValueError(f"{key} = {written(value)}: {error}; {HINT}") from None
    return found


def ends(domain: Domain) -> tuple[Any, ...]:
    """All values of a choice, both ends of a range: if they can be used, so can what is between."""
    return domain.values if isinstance(domain, Choice) else (domain.low, domain.high)


def written(value: Any) -> str:
    """A value as TOML has it, near enough for a message."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key} = {written(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(written, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def _to_json(domain: Domain) -> Any:
    if isinstance(domain, Choice):
        return list(domain.values)
    found: dict[str, Any] = {"low": domain.low, "high": domain.high}
    if isinstance(domain, Whole):
        found["step"] = 1
    if isinstance(domain, LogUniform):
        found["log"] = True
    return found


def _stepped(value: Any) -> Any:
    return {"step": 1, **value} if isinstance(value, Mapping) else value


def _domain(value: Any) -> Domain:
    if isinstance(value, list | tuple):
        return _choice(value)
    if not isinstance(value, Mapping):
        raise ValueError("it is neither a list nor a range")  # noqa: TRY004 - a fault of the file
    if odd := sorted({"low", "high"} - value.keys()) + sorted(value.keys() - {"low", "high", "log", "step"}):
        raise ValueError(f"a range has low and high, and may have log or step; look at {', '.join(odd)}")
    low, high, step = value["low"], value["high"], value.get("step")
    if not (_numbers((low, high)) and low < high):
        raise ValueError("low must be a number below high")
    if step is not None:
        return _whole(low, high, step, value.get("log"))
    if value.get("log", False) not in (True, False):
        raise ValueError("log is true or false")
    if not value.get("log"):
        return Uniform(float(low), float(high))
    if low <= 0:
        raise ValueError("with log, low must be above 0")
    return LogUniform(float(low), float(high))


def _choice(values: Iterable[Any]) -> Choice:
    found = tuple(values)
    if not found:
        raise ValueError("the list is empty")
    if not all(isinstance(value, str) or _numbers((value,)) or isinstance(value, bool) for value in found):
        raise ValueError("a list holds numbers, words, true and false")
    return Choice(found)


def _whole(low: Any, high: Any, step: Any, log: Any) -> Domain:
    if log or not all(type(number) is int for number in (low, high, step)):
        raise ValueError("whole numbers have a whole low, high and step, and no log")
    if not 0 < step <= high - low:
        raise ValueError("a step is above 0 and no longer than the range")
    return Whole(low, high) if step == 1 else Choice(tuple(range(low, high + 1, step)))


def _numbers(values: Iterable[Any]) -> bool:
    return all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        for value in values
    )
