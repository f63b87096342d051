"""Choices that several methods offer, read from text."""

import re

from peter.errors import InputError


def bottleneck(channels: int, reduction: int) -> int:
    """C / reduction. Raises InputError where that is no width."""
    if not 1 <= reduction <= channels:
        raise InputError(
            f"reduction={reduction} cannot be used; give a number from 1 to the {channels} channels."
        )
    return channels // reduction


def span(text: str) -> range | None:
    """`all` (None), `none`, or blocks such as 6:8, the seventh and the eighth."""
    if text in ("all", "none"):
        return None if text == "all" else range(0)
    found = re.fullmatch(r"(\d+):(\d+)", text)
    if not found or int(found[1]) >= int(found[2]):
        raise InputError(f"blocks={text!r} cannot be read; give blocks=all, or a span such as blocks=6:8.")
    return range(int(found[1]), int(found[2]))
