"""Migrations: up and down, the same shape as the models, safe beside each other, told in sentences."""

import multiprocessing
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import registry_rows as rows
from sqlalchemy import inspect, text

from peter.errors import NotInitialised, PeterError, SchemaMismatch
from peter.registry import (
    aliases,
    audit,
    event_logs,
    live,
    patches,
    profiles,
    record,
    runs,
    schema,
    tasks,
    trials,
)
from peter.registry.database import Registry, connect
from peter.registry.models import Base

# Forked children only use the registry and the store, never the threads of libraries that other tests loaded.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")

RELEASES = sorted((Path(__file__).parent / "assets").glob("*.db"))
REVISIONS = schema.revisions()


def _shape(registry: Registry) -> dict[str, Any]:
    """Everything the database says about its tables, comparable, without Alembic's own."""
    inspector = inspect(registry.engine)
    inspector.clear_cache()
    return {
        table: {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"], column["default"] is None)
                for column in inspector.get_columns(table)
            ],
            "key": inspector.get_pk_constraint(table),
            "unique": _sorted(inspector.get_unique_constraints(table)),
            "foreign": _sorted(inspector.get_foreign_keys(table)),
            "checks": _sorted(inspector.get_check_constraints(table)),
            "indexes": _sorted(inspector.get_indexes(table)),
        }
        for table in sorted(set(inspector.get_table_names()) - {"alembic_version"})
    }


@contextmanager
def _alembic(registry: Registry) -> Iterator[Any]:
    """What Alembic's commands take, for one transaction on a registry."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(schema.scripts()))
    config.set_main_option("path_separator", "os")
    engine = connect(registry.url, registry.deadline, foreign_keys=False)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        yield config
    engine.dispose()


def _downgrade(registry: Registry, revision: str) -> None:
    from alembic import command

    with _alembic(registry) as config:
        command.downgrade(config, revision)


def _sorted(found: Any) -> list[str]:
    return sorted(str(sorted(entry.items(), key=str)) for entry in found)


def test_revisions_are_one_line_called_by_their_files() -> None:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(schema.scripts()))
    assert scripts.get_heads() == [REVISIONS[-1]]
    walked = [revision.revision for revision in scripts.walk_revisions()]
    assert tuple(reversed(walked)) == REVISIONS
    assert all("Reason: " in (revision.module.__doc__ or "") for revision in scripts.walk_revisions())


def test_migrations_make_what_the_models_describe(empty: Registry) -> None:
    schema.upgrade(empty)
    migrated = _shape(empty)
    _downgrade(empty, "base")
    assert _shape(empty) == {}
    Base.metadata.create_all(empty.engine)
    assert _shape(empty) == migrated


def test_alembic_finds_nothing_to_add(registry: Registry) -> None:
    from alembic import command

    with _alembic(registry) as config:
        command.check(config)


def test_every_revision_goes_up_down_and_up_again(empty: Registry) -> None:
    shapes: list[dict[str, Any]] = [{}]
    for revision in REVISIONS:
        assert schema.upgrade(empty, revision).current == revision
        shapes.append(_shape(empty))
    for position in range(len(REVISIONS) - 1, -1, -1):
        _downgrade(empty, REVISIONS[position - 1] if position else "base")
        assert _shape(empty) == shapes[position]
    assert schema.upgrade(empty).pending == ()
    assert _shape(empty) == shapes[-1]
    empty.write(rows.world)


def test_four_processes_may_upgrade_at_once(empty: Registry) -> None:
    fork = multiprocessing.get_context("fork")
    started = [fork.Process(target=schema.upgrade, args=(empty,)) for _ in range(4)]
    for process in started:
        process.start()
    for process in started:
        process.join(60)
    assert [process.exitcode for process in started] == [0] * 4
    schema.require_current(empty)


def test_a_registry_without_tables_sends_to_init(empty: Registry) -> None:
    assert schema.status(empty) == schema.Status(None, REVISIONS)
    with pytest.raises(NotInitialised, match="run `peter init`"):
        schema.require_current(empty)
    if empty.path:
        assert not empty.path.exists()


def _pretend(registry: Registry, revision: str) -> None:
    registry.write(
        lambda session: session.execute(text(f"UPDATE alembic_version SET version_num = '{revision}'"))
    )


def test_an_older_schema_sends_to_upgrade(registry: Registry) -> None:
    _pretend(registry, "0000")  # as revision 0001 looks to a program that knows 0002 too
    found = schema.Status("0000", ("0000", *REVISIONS))
    assert found.pending == REVISIONS
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "revisions", lambda: found.known)
        with pytest.raises(
            SchemaMismatch, match=f"has schema 0000 .* needs {REVISIONS[-1]}; run `peter db upgrade`"
        ):
            schema.require_current(registry)


def test_a_newer_schema_is_refused_by_name(registry: Registry) -> None:
    _pretend(registry, "9999")
    with pytest.raises(SchemaMismatch, match=f"9999 .* knows up to {REVISIONS[-1]}; upgrade peter"):
        schema.require_current(registry)
    with pytest.raises(SchemaMismatch, match="9999"):
        schema.upgrade(registry)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the migrations, to which a test may add."""
    return Path(shutil.copytree(schema.scripts(), tmp_path / "checkout"))


def test_a_failing_migration_changes_nothing(
    registry: Registry, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.write(rows.world)
    before = _shape(registry)
    (checkout / "versions" / "9000_fails.py").write_text(
        "from alembic import op\n"
        f"revision, down_revision = '9000', '{REVISIONS[-1]}'\n"
        "def upgrade():\n"
        "    op.execute('ALTER TABLE task ADD COLUMN n INTEGER')\n"
        "    op.execute('DELETE FROM patch')\n"
    )
    monkeypatch.setattr(schema, "scripts", lambda: checkout)
    with pytest.raises(Exception, match=r"(?i)foreign key|without its"):
        schema.upgrade(registry)
    assert _shape(registry) == before
    with registry.read() as session:
        assert patches.get(session, "gender").version == 1


def test_a_killed_migration_can_be_run_again(
    registry: Registry, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.write(rows.world)
    before = _shape(registry)
    script = checkout / "versions" / "9000_dies.py"
    lines = (
        "import os, signal",
        "from alembic import op",
        f"revision, down_revision = '9000', '{REVISIONS[-1]}'",
        "def upgrade():",
        "    op.execute('ALTER TABLE task ADD COLUMN n INTEGER')",
        "    os.kill(os.getpid(), signal.SIGKILL)",
    )
    script.write_text("\n".join(lines))
    monkeypatch.setattr(schema, "scripts", lambda: checkout)
    process = multiprocessing.get_context("fork").Process(target=schema.upgrade, args=(registry,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert _shape(registry) == before
    script.write_text("\n".join(lines[:-1]))
    assert schema.upgrade(registry).current == "9000"
    assert "n" in [column["name"] for column in inspect(registry.engine).get_columns("task")]


def test_rebuilding_a_parent_table_keeps_its_children(
    registry: Registry, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tune(session: Any) -> int:
        run = runs.start(session, "tune", "gender", {}, "ann")
        trials.begin(session, run.id, "a", {})
        return run.id

    run_id = registry.write(tune)
    (checkout / "versions" / "9000_rebuilds.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, down_revision = '9000', '{REVISIONS[-1]}'\n"
        "def upgrade():\n"
        "    with op.batch_alter_table('run', recreate='auto') as batch:\n"
        "        batch.alter_column('subject', new_column_name='about', existing_type=sa.Text())\n"
    )
    monkeypatch.setattr(schema, "scripts", lambda: checkout)
    assert schema.upgrade(registry).current == "9000"
    with registry.read() as session:
        assert len(trials.of(session, run_id)) == 1  # they would go with a dropped parent: ON DELETE CASCADE


@pytest.mark.parametrize("release", RELEASES, ids=lambda path: path.stem)
def test_a_registry_of_every_release_is_upgraded_and_used(release: Path, released: str) -> None:
    registry = Registry(released)
    schema.upgrade(registry)
    schema.require_current(registry)
    with registry.read() as session:
        listed = [(task.name, patch and patch.version) for task, patch in aliases.with_champions(session)]
        assert listed == [("age", None), ("gender", 2)]
        assert [table.rows for table in profiles.current(session)] == [943]
        assert [run.state for run in runs.every(session)] == ["done"]
        assert len(live.objects(session)) == 8 + (release.stem >= "0002")  # which brought tables of items
        assert audit.verify(session) is None
        assert record.problems(session) == []
        assert event_logs.get(session, "movies").items_sha256 is None
    champion = registry.write(lambda session: patches.get(session, "gender"))
    third = registry.write(
        lambda session: patches.add(
            session, rows.patch(champion.label_set, champion.backbone, "third"), "ann"
        )
    )
    assert third.version == 3
    registry.write(lambda session: aliases.move(session, third, aliases.CHAMPION, "ann", "newer"))
    registry.write(lambda session: tasks.retire(session, tasks.get(session, "age"), "ann"))
    registry.dispose()


@pytest.mark.parametrize("below", ["", "deeper/"])
def test_init_tells_why_it_cannot_make_a_registry(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PeterError, match=r"Cannot write .*registry.db: .* file"):
        schema.upgrade(Registry(f"sqlite:///{tmp_path}/file/{below}registry.db"))
