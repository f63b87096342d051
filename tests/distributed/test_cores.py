"""Workers get as many cores as every one of them can have."""

from typing import Any

import pytest

from peter.errors import InputError


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Of 4 and 3 cores, one that only stores, and one that is gone."""
    import ray

    cores = [{"CPU": 4.0}, {"CPU": 3.0}, {}]
    found = [{"Alive": True, "Resources": each} for each in cores] + [
        {"Alive": False, "Resources": {"CPU": 64}}
    ]
    monkeypatch.setattr(ray, "nodes", lambda: found)
    return found


@pytest.mark.parametrize(
    ("workers", "most", "each"), [(1, 2, 2), (1, 8, 4), (2, 8, 3), (3, 8, 2), (4, 8, 1), (7, 1, 1), (3, 1, 1)]
)
def test_all_workers_find_a_place(machines, workers: int, most: int, each: int) -> None:
    from peter.distributed.cluster import cores_each

    assert cores_each(workers, most) == each


def test_more_workers_than_cores_are_refused(machines) -> None:
    from peter.distributed.cluster import cores_each

    with pytest.raises(InputError, match="8 workers need as many cores; give --workers 7 or less"):
        cores_each(8, 2)
