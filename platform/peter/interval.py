"""A measured number and how sure it is, as documents have it."""

from typing import TypedDict


class Interval(TypedDict):
    """A number with its 95 % interval, ready for JSON."""

    value: float
    low: float
    high: float


def negative(interval: Interval) -> Interval:
    """The same of minus the number."""
    return Interval(value=-interval["value"], low=-interval["high"], high=-interval["low"])


def turned(difference: Interval, maximise: bool) -> Interval:
    """A difference in a metric, turned so that more is better."""
    return difference if maximise else negative(difference)
