"""References as users type them: `gender`, `gender@3`, `gender@champion`, `movies@1`."""

import re
from dataclasses import dataclass

from peter.errors import InputError
from peter.registry import names


@dataclass(frozen=True)
class Reference:
    """A name with a version, an alias, or neither."""

    name: str
    version: int | None = None
    alias: str | None = None

    def __str__(self) -> str:
        tail = self.version or self.alias
        return f"{self.name}@{tail}" if tail else self.name


def parse(text: str) -> Reference:
    """Read one reference.

    Raises:
        InputError: it has another form.
    """
    match = re.fullmatch(f"({names.PATTERN})(?:@(?:([1-9][0-9]{{0,17}})|({names.PATTERN})))?", text)
    if match is None:
        raise InputError(f"{text!r} is not a reference; write it as NAME, NAME@3 or NAME@champion.")
    name, version, alias = match.groups()
    return Reference(name, int(version) if version else None, alias)
