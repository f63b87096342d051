"""A connection to Ray that prints nothing and that only this user's programs can use."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints a table whatever the verbosity
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}
os.environ.update({key: value for key, value in QUIET.items() if key not in os.environ})  # before Ray is imported

import ray  # noqa: E402


@contextmanager
def cluster(address: str | None) -> Iterator[None]:
    """Connect to the cluster at `address`, or start one on this machine for the block."""
    _private_token(address)
    for name in ("ray.tune", "ray.air", "optuna"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a failed trial is told once, by whoever searches
    ray.init(
        address=address,
        include_dashboard=None if address else False,
        log_to_driver=False,
        logging_level="ERROR",
        configure_logging=True,
    )
    try:
        yield
    finally:
        ray.shutdown()


def _private_token(address: str | None) -> None:
    """Ray's own token file would be readable by everybody; and an explicit address does not switch tokens on."""
    if address:
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    file = Path.home() / ".ray" / "auth_token"
    if file.exists():
        file.chmod(0o600)
