"""Registries for the tests of their floor, each test on both databases."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from peter.registry import schema
from peter.registry.database import Registry
from peter.registry.objects import ObjectStore


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Registry]:
    """A registry before `peter init`."""
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/registry.db" if sqlite else request.getfixturevalue("postgres_url")
    registry = Registry(url, deadline=20)
    yield registry
    registry.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with today's tables and no rows, migrated once."""
    path = tmp_path_factory.mktemp("template") / "registry.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: Any) -> str:
    """The name of a database with today's tables and no rows, migrated once."""
    return _migrate(postgres.create())


@pytest.fixture
def sqlite_copy(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a registry file with today's tables."""
    shutil.copy(sqlite_template, tmp_path / "registry.db")
    return f"sqlite:///{tmp_path}/registry.db"


@pytest.fixture
def postgresql_copy(postgres: Any, postgres_template: str) -> Iterator[str]:
    """The URL of a database with today's tables."""
    url: str = postgres.create(like=postgres_template)
    yield url
    postgres.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def registry(request: pytest.FixtureRequest) -> Iterator[Registry]:
    """A registry with today's tables and no rows."""
    registry = Registry(request.getfixturevalue(f"{request.param}_copy"), deadline=20)
    yield registry
    registry.dispose()


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    """An empty object store."""
    return ObjectStore(tmp_path / "store", deadline=5)


def _migrate(url: str) -> str:
    registry = Registry(url)
    schema.upgrade(registry)
    registry.dispose()
    return registry.url.database or ""
