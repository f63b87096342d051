"""The guard of a store beside its registry, on both databases: many writers, or one collector."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from peter.errors import Busy, PeterError
from peter.registry.bucket import BucketStore
from peter.registry.database import Registry
from peter.registry.guards import beside

Hold = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def another(registry: Registry) -> Any:
    """The same registry in another process's eyes."""
    other = Registry(registry.url, deadline=20)
    yield other
    other.dispose()


def _waits(held: AbstractContextManager[None], wanted: Hold) -> None:
    """See that `wanted` is had when `held` is given up, and no sooner."""
    had = Event()

    def take() -> None:
        with wanted():
            had.set()

    with ThreadPoolExecutor(1) as pool:
        with held:
            taking = pool.submit(take)
            assert not had.wait(0.3)
        taking.result()


def test_a_collector_waits_for_a_writer_and_a_writer_for_a_collector(
    registry: Registry, another: Any
) -> None:
    mine, theirs = beside(registry), beside(another)
    _waits(mine.shared(), theirs.exclusive)
    _waits(mine.exclusive(), theirs.shared)
    _waits(mine.exclusive(), theirs.exclusive)


def test_writers_do_not_wait_for_each_other(registry: Registry, another: Any) -> None:
    with beside(registry).shared(), beside(another).shared(), beside(registry).shared():
        pass


def test_a_bucket_s_collector_and_writers_use_it(
    registry: Registry, another: Any, buckets: Any, tmp_path: Path
) -> None:
    url = buckets.create()
    writer = BucketStore(url, tmp_path / "one", beside(registry))
    collector = BucketStore(url, tmp_path / "two", beside(another))
    name = writer.put_bytes(b"new")
    with ThreadPoolExecutor(1) as pool:
        with writer.holding():
            collecting = pool.submit(collector.collect, list)
            with pytest.raises(TimeoutError):
                collecting.result(0.3)
            assert writer.exists(name)
        assert collecting.result() == {name: 3}


def test_nobody_waits_for_ever(registry: Registry) -> None:
    hasty = Registry(registry.url, deadline=0.1)
    with (
        beside(registry).shared(),
        pytest.raises(Busy, match=r"held for 0\.1 s by"),
        beside(hasty).exclusive(),
    ):
        pass
    hasty.dispose()


def test_who_lost_the_lock_with_its_connection_is_told(postgresql_copy: str, postgres: Any) -> None:
    registry = Registry(postgresql_copy)
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
    with pytest.raises(PeterError, match="cannot be reached"), beside(registry).shared():
        postgres.run(f"{kill}'{registry.url.database}'")
    registry.dispose()
