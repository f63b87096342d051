"""Column types that refuse, on every database alike, what one of them would store wrongly or not at all."""

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Integer, String, types
from sqlalchemy.exc import DontWrapMixin
from sqlalchemy.types import TypeDecorator

from peter.errors import InputError

# PostgreSQL needs 64 bits spelled out; SQLite numbers rows by itself only in a column called INTEGER.
Count = BigInteger().with_variant(Integer(), "sqlite")


class NotStorable(InputError, DontWrapMixin):
    """A value that the two databases would not keep alike (reliability: NaN, NUL, time without a zone)."""


def utc_now() -> datetime:
    """The present, aware, in UTC."""
    return datetime.now(UTC)


class Text(TypeDecorator[str]):
    """Text without NUL (PostgreSQL refuses it) and lone surrogates (neither database can encode them)."""

    impl = types.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is not None and re.search("[\x00\ud800-\udfff]", value):
            raise NotStorable(f"{value!r} holds a character that cannot be stored; remove it.")
        return value


class ObjectName(TypeDecorator[str]):
    """The sha256 of an object in the store; columns of this type are what keeps an object alive."""

    impl = String(64)
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is not None and not re.fullmatch("[0-9a-f]{64}", value):
            raise NotStorable(
                f"{value!r} is not a sha256 in 64 lower-case hex digits; give an object's name."
            )
        return value


class UtcDateTime(TypeDecorator[datetime]):
    """Aware times only, kept and given back in UTC; SQLite would drop the zone in silence."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise NotStorable(f"The time {value.isoformat()} has no zone; give it one, for instance UTC.")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """Standard JSON: every number finite, so that any reader in any language can load it again."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        for place, number in _numbers(value, "$"):
            if not math.isfinite(number):
                raise NotStorable(
                    f"{place} is {number}, which JSON cannot hold; give a finite number or null."
                )
        return value


def canonical(value: Any) -> str:
    """The one JSON text of `value`: sorted keys, no blanks, finite numbers; what gets hashed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _numbers(value: Any, place: str) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{place}.{key}")
    elif isinstance(value, list | tuple):
        for at, inner in enumerate(value):
            yield from _numbers(inner, f"{place}[{at}]")
