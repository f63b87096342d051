"""What is held against what: tables against models, rows against rows, the audit against all of them."""

import shutil
from pathlib import Path

import pytest
from make_asset import fill
from sqlalchemy import text
from sqlalchemy.orm import Session

from peter.registry import audit, integrity, record, runs, schema, shape, tasks
from peter.registry.database import Registry

ASSETS = Path(__file__).parent / "assets"
SERVER = "postgresql"


class Undone(Exception):
    """Takes back what a transaction did."""


def wrong(session: Session) -> list[str]:
    """Everything that `peter verify` says of a registry alone."""
    if unreadable := shape.unreadable(session.connection()):
        return unreadable
    rows = [*integrity.problems(session), *record.problems(session)]
    return [*shape.problems(session.connection()), *rows]


def test_what_peter_writes_is_whole(registry: Registry) -> None:
    registry.write(fill)
    registry.write(lambda session: tasks.retire(session, tasks.get(session, "age"), "ann"))
    with registry.read() as session:
        assert wrong(session) == []


@pytest.mark.parametrize("release", sorted(path.name for path in ASSETS.glob("*.db")))
def test_a_registry_of_every_release_is_whole(release: str, tmp_path: Path) -> None:
    shutil.copy(ASSETS / release, tmp_path / "registry.db")
    registry = Registry(f"sqlite:///{tmp_path}/registry.db")
    schema.upgrade(registry)
    with registry.read() as session:
        assert wrong(session) == []
    registry.dispose()


@pytest.mark.parametrize(
    ("registry", "statement", "said"),
    [
        ("sqlite", "DROP INDEX ix_patch_backbone_id", "The registry lacks ix_patch_backbone_id"),
        ("sqlite", "DROP TRIGGER tr_alias_history_delete", "The registry lacks tr_alias_history_delete"),
        ("sqlite", "ALTER TABLE run DROP COLUMN storage", "no column run.storage of type TEXT"),
        ("sqlite", "DROP TABLE erasure", "no column erasure.id of type INTEGER"),
        (SERVER, "ALTER TABLE patch DROP CONSTRAINT ck_patch_state", "lacks ck_patch_state"),
        (
            SERVER,
            "ALTER TABLE alias DROP CONSTRAINT fk_alias_task_id_version_patch",
            "lacks fk_alias_task_id_",
        ),
        (SERVER, "ALTER TABLE audit DISABLE TRIGGER tr_audit_truncate", "lacks tr_audit_truncate"),
        (SERVER, "ALTER TABLE patch ALTER params TYPE integer", "no column patch.params of type BIGINT"),
        (SERVER, "ALTER TABLE task DROP COLUMN description", "no column task.description of type TEXT"),
    ],
    indirect=["registry"],
)
def test_tables_that_are_not_as_migrations_make_them(registry: Registry, statement: str, said: str) -> None:
    registry.write(lambda session: session.execute(text(statement)))
    with registry.read() as session:
        assert said in wrong(session)[0]


@pytest.mark.parametrize("registry", [SERVER], indirect=True)
def test_a_row_that_a_server_was_made_to_lose_is_missed(registry: Registry) -> None:
    registry.write(fill)

    def lose(session: Session) -> None:
        session.execute(text("SET session_replication_role = replica"))  # no constraint holds
        session.execute(text("DELETE FROM label_set"))

    registry.write(lose)
    with registry.read() as session:
        assert "of patch refers to a row of label_set that is not there" in wrong(session)[0]


def test_an_audit_whose_last_rows_are_gone_is_noticed_however_many_they_are(registry: Registry) -> None:
    registry.write(fill)
    registry.write(lambda session: runs.start(session, "train", "gender", {}, "ann"))
    registry.write(lambda session: tasks.retire(session, tasks.get(session, "age"), "ann"))
    with registry.read() as session:
        newest = audit.latest(session, 1)[0].id

    def cut(session: Session, rows: int) -> None:
        server = session.get_bind().dialect.name == SERVER
        session.execute(
            text("DROP TRIGGER tr_audit_change ON audit" if server else "DROP TRIGGER tr_audit_delete")
        )
        session.execute(text(f"DELETE FROM audit WHERE id > {newest - rows}"))
        assert audit.verify(session) is None  # what is left is a whole chain
        assert record.problems(session), rows
        raise Undone

    for rows in range(1, newest + 1):
        with pytest.raises(Undone):
            registry.write(lambda session, rows=rows: cut(session, rows))
