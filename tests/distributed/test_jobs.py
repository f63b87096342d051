"""Jobs end each for itself: with a value, with a sentence, or begun again where their process died."""

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from peter.errors import InputError

SECRET = "user-4711"


def work(job: dict[str, Any]) -> Any:
    """What the job says."""
    if "raise" in job:
        raise ValueError(SECRET)
    if "refuse" in job:
        raise InputError("It cannot be; do another thing.")
    if "die" in job and not Path(job["die"]).exists():
        Path(job["die"]).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if "always" in job:
        os.kill(os.getpid(), signal.SIGKILL)
    return job["value"] * 2


@pytest.mark.slow
def test_each_job_ends_for_itself(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from ray import cloudpickle

    from peter.distributed.jobs import each

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # no worker has tests on its path
    jobs = [
        {"value": 1},
        {"raise": True},
        {"refuse": True},
        {"die": str(tmp_path / "died"), "value": 4},
        {"always": True},
        {"value": 6},
    ]
    found = {ended.at: ended for ended in each(work, jobs, 1, None)}
    assert {at: ended.value for at, ended in found.items()} == {0: 2, 1: None, 2: None, 3: 8, 4: None, 5: 12}
    errors = {at: ended.error for at, ended in found.items() if ended.error}
    assert errors[1] == "unexpected ValueError"  # its text may hold a user's id
    assert errors[2] == "It cannot be; do another thing."
    assert errors[4].startswith("its process ended without a word")
    assert set(errors) == {1, 2, 4}
    said = capfd.readouterr()
    assert SECRET not in said.out + said.err
