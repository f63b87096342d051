"""Whether users have become one to a backbone whose objective compares them."""

from collections.abc import Mapping

LEAST = {"deviation": 0.1, "rank": 2.0}  # where less of it is left, next to nothing tells users apart


def collapsed(metrics: Mapping[str, float]) -> bool:
    """By the metrics of its validation users; never of an objective that does not watch them."""
    return any(metrics.get(name, least) < least for name, least in LEAST.items())
