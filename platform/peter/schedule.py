"""Schedules: settings that change while a patch is fitted, written `5:learning_rate=0.0003,9:dropout=0.2`."""

import math
import re
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, NamedTuple

from peter.errors import InputError

CHANGING = ("dropout", "learning_rate", "weight_decay")  # what a schedule may change
SCHEDULE = "schedule"  # the setting that holds one


class Change(NamedTuple):
    """A setting's value from an epoch on; the first epoch of a phase is 1."""

    epoch: int
    setting: str
    value: float


def read(text: str) -> list[Change]:
    """The changes of a schedule in order. Raises InputError."""
    changes = sorted(_change(part) for part in text.split(",") if part)
    for one, other in pairwise(changes):
        if one[:2] == other[:2]:
            raise _unreadable(f"{one.epoch}:{one.setting}", "it is given twice")
    return changes


def written(changes: Iterable[Change]) -> str:
    """The inverse of `read`; exactly so, as the shortest digits that give a float back are used."""
    return ",".join(f"{change.epoch}:{change.setting}={float(change.value)}" for change in sorted(changes))


def in_force(changes: Iterable[Change], epoch: int) -> dict[str, float]:
    """What was changed by `epoch`, by setting."""
    return {change.setting: change.value for change in sorted(changes) if change.epoch <= epoch}


def followed(before: Mapping[str, Any], now: Mapping[str, Any], epoch: int) -> dict[str, Any]:
    """The settings of one fit that begins by `before` and from `epoch` on goes by `now`."""
    past = [change for change in read(before.get(SCHEDULE, "")) if change.epoch < epoch]
    force = {**before, **in_force(past, epoch)}
    new = [Change(epoch, key, now[key]) for key in CHANGING if key in now and now[key] != force[key]]
    return {**before, SCHEDULE: written([*past, *new])}


def _change(text: str) -> Change:
    found = re.fullmatch(r"(\d+):(\w+)=(.+)", text)
    if not found:
        raise _unreadable(text, "it is no change")
    epoch, setting, value = int(found[1]), found[2], _number(found[3])
    if epoch < 1:
        raise _unreadable(text, "the first epoch is 1")
    if setting not in CHANGING:
        raise _unreadable(text, f"what may change is {', '.join(CHANGING)}")
    if not 0 <= value < (1 if setting == "dropout" else math.inf):
        least = "from 0 to below 1" if setting == "dropout" else "from 0 up"
        raise _unreadable(text, f"{setting} is a number {least}")
    return Change(epoch, setting, value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _unreadable(text: str, why: str) -> InputError:
    return InputError(
        f"schedule={text} cannot be used: {why}; give EPOCH:SETTING=VALUE, such as "
        "schedule=5:learning_rate=0.0003,9:weight_decay=0.1."
    )
