"""The registry's first tables.

Reason: the first release; see the classes in `registry/models.py` of that time for what each column means.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

COUNT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
SHA256 = sa.String(64)
RUN_STATES = "state IN ('pending', 'running', 'done', 'failed', 'interrupted')"
APPEND_ONLY = ("alias_history", "audit")


def upgrade() -> None:
    _create_event_log()
    _create_run()
    _create_trial()
    _create_backbone()
    _create_task()
    _create_label_set()
    _create_patch()
    _create_aliases()
    _create_profile_table()
    _create_audit()
    for table in APPEND_ONLY:
        _refuse_changes(table)


def downgrade() -> None:
    for table in (
        "erasure",
        "audit",
        "profile_table",
        "alias_history",
        "alias",
        "patch",
        "label_set",
        "task",
        "backbone",
        "trial",
        "run",
        "event_log",
    ):
        op.drop_table(table)
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP FUNCTION refuse_change()")


def _id(table: str) -> tuple[sa.Column[int], sa.PrimaryKeyConstraint]:
    return sa.Column("id", COUNT, nullable=False), sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}"))


def _column(name: str, kind: sa.types.TypeEngine[Any], nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=nullable)


def _refers(table: str, column: str, to: str, ondelete: str | None = None) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        [column], [f"{to}.id"], name=op.f(f"fk_{table}_{column}_{to}"), ondelete=ondelete
    )


def _unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f("_".join(("uq", table, *columns))))


def _check(table: str, name: str, condition: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(condition, name=op.f(f"ck_{table}_{name}"))


def _create_event_log() -> None:
    op.create_table(
        "event_log",
        *_id("event_log"),
        _column("name", sa.Text()),
        _column("version", COUNT),
        _column("sha256", SHA256),
        _column("users_sha256", SHA256),
        _column("vocab_sha256", SHA256),
        _column("users", COUNT),
        _column("items", COUNT),
        _column("events", COUNT),
        _column("first_at", COUNT, nullable=True),
        _column("last_at", COUNT, nullable=True),
        _column("time_unit", sa.Text(), nullable=True),
        _column("report", sa.JSON()),
        _column("parent_id", COUNT, nullable=True),
        _column("created_at", TIME),
        _unique("event_log", "name", "version"),
        _check("event_log", "version", "version >= 1"),
        _refers("event_log", "parent_id", "event_log"),
    )


def _create_run() -> None:
    op.create_table(
        "run",
        *_id("run"),
        _column("kind", sa.Text()),
        _column("subject", sa.Text()),
        _column("state", sa.Text()),
        _column("actor", sa.Text()),
        _column("host", sa.Text()),
        _column("pid", COUNT),
        _column("params", sa.JSON()),
        _column("metrics", sa.JSON(), nullable=True),
        _column("error", sa.Text(), nullable=True),
        _column("storage", sa.Text(), nullable=True),
        _column("started_at", TIME),
        _column("heartbeat_at", TIME),
        _column("ended_at", TIME, nullable=True),
        _check("run", "state", RUN_STATES),
    )


def _create_trial() -> None:
    op.create_table(
        "trial",
        *_id("trial"),
        _column("run_id", COUNT),
        _column("name", sa.Text()),
        _column("state", sa.Text()),
        _column("config", sa.JSON()),
        _column("metrics", sa.JSON(), nullable=True),
        _column("error", sa.Text(), nullable=True),
        _column("started_at", TIME),
        _column("heartbeat_at", TIME),
        _column("ended_at", TIME, nullable=True),
        _unique("trial", "run_id", "name"),
        _check("trial", "state", RUN_STATES),
        _refers("trial", "run_id", "run", ondelete="CASCADE"),
    )


def _create_backbone() -> None:
    op.create_table(
        "backbone",
        *_id("backbone"),
        _column("name", sa.Text()),
        _column("version", COUNT),
        _column("event_log_id", COUNT),
        _column("architecture", sa.JSON()),
        _column("config", sa.JSON()),
        _column("objective", sa.Text()),
        _column("salt", sa.Text()),
        _column("params", COUNT),
        _column("weights_sha256", SHA256),
        _column("vocab_sha256", SHA256),
        _column("metrics", sa.JSON()),
        _column("run_id", COUNT, nullable=True),
        _column("parent_id", COUNT, nullable=True),
        _column("frozen_at", TIME),
        _unique("backbone", "name", "version"),
        _check("backbone", "version", "version >= 1"),
        _refers("backbone", "event_log_id", "event_log"),
        _refers("backbone", "run_id", "run"),
        _refers("backbone", "parent_id", "backbone"),
    )


def _create_task() -> None:
    op.create_table(
        "task",
        *_id("task"),
        _column("name", sa.Text()),
        _column("kind", sa.Text()),
        _column("owner", sa.Text()),
        _column("description", sa.Text()),
        _column("sensitive", sa.Boolean()),
        _column("outputs", sa.JSON()),
        _column("created_at", TIME),
        _column("retired_at", TIME, nullable=True),
        _unique("task", "name"),
    )


def _create_label_set() -> None:
    op.create_table(
        "label_set",
        *_id("label_set"),
        _column("task_id", COUNT),
        _column("sha256", SHA256),
        _column("rows", COUNT),
        _column("users", COUNT),
        _column("report", sa.JSON()),
        _column("created_at", TIME),
        _unique("label_set", "task_id", "sha256"),
        _refers("label_set", "task_id", "task"),
    )


def _create_patch() -> None:
    op.create_table(
        "patch",
        *_id("patch"),
        _column("task_id", COUNT),
        _column("version", COUNT),
        _column("backbone_id", COUNT),
        _column("label_set_id", COUNT),
        _column("method", sa.Text()),
        _column("config", sa.JSON()),
        _column("fit", sa.JSON()),
        _column("request_sha256", SHA256),
        _column("weights_sha256", SHA256),
        _column("params", COUNT),
        _column("metrics", sa.JSON()),
        _column("certificate", sa.JSON(), nullable=True),
        _column("reads", sa.JSON()),
        _column("state", sa.Text()),
        _column("run_id", COUNT, nullable=True),
        _column("created_at", TIME),
        _unique("patch", "task_id", "version"),
        _unique("patch", "task_id", "request_sha256"),
        _check("patch", "version", "version >= 1"),
        _check("patch", "state", "state IN ('ready', 'needs-retrain')"),
        _refers("patch", "task_id", "task"),
        _refers("patch", "backbone_id", "backbone"),
        _refers("patch", "label_set_id", "label_set"),
        _refers("patch", "run_id", "run"),
    )
    op.create_index(op.f("ix_patch_backbone_id"), "patch", ["backbone_id"])


def _create_aliases() -> None:
    op.create_table(
        "alias",
        *_id("alias"),
        _column("task_id", COUNT),
        _column("alias", sa.Text()),
        _column("version", COUNT),
        _unique("alias", "task_id", "alias"),
        _refers("alias", "task_id", "task"),
        sa.ForeignKeyConstraint(
            ["task_id", "version"],
            ["patch.task_id", "patch.version"],
            name=op.f("fk_alias_task_id_version_patch"),
        ),
    )
    op.create_table(
        "alias_history",
        *_id("alias_history"),
        _column("task_id", COUNT),
        _column("alias", sa.Text()),
        _column("from_version", COUNT, nullable=True),
        _column("to_version", COUNT),
        _column("actor", sa.Text()),
        _column("why", sa.Text()),
        _column("at", TIME),
        _refers("alias_history", "task_id", "task"),
    )
    op.create_index(op.f("ix_alias_history_task_id"), "alias_history", ["task_id"])


def _create_profile_table() -> None:
    op.create_table(
        "profile_table",
        *_id("profile_table"),
        _column("task_id", COUNT),
        _column("patch_id", COUNT),
        _column("event_log_id", COUNT),
        _column("sha256", SHA256),
        _column("rows", COUNT),
        _column("as_of", TIME),
        _unique("profile_table", "task_id", "patch_id", "event_log_id"),
        _refers("profile_table", "task_id", "task"),
        _refers("profile_table", "patch_id", "patch"),
        _refers("profile_table", "event_log_id", "event_log"),
    )


def _create_audit() -> None:
    op.create_table(
        "audit",
        *_id("audit"),
        _column("at", TIME),
        _column("actor", sa.Text()),
        _column("action", sa.Text()),
        _column("subject", sa.Text()),
        _column("before", sa.JSON(), nullable=True),
        _column("after", sa.JSON(), nullable=True),
        _column("prev_hash", SHA256),
        _column("hash", SHA256),
    )
    op.create_table(
        "erasure",
        *_id("erasure"),
        _column("pseudonym", sa.Text()),
        _column("requested_at", TIME),
        _column("steps", sa.JSON()),
        _unique("erasure", "pseudonym"),
    )


def _refuse_changes(table: str) -> None:
    """Rows of `table` are only ever added: the databases' own triggers see to it."""
    if op.get_context().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER tr_{table}_{verb} BEFORE {verb.upper()} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} only grows'); END"
            )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% only grows', TG_TABLE_NAME; END $$"
    )
    op.execute(
        f"CREATE TRIGGER tr_{table}_change BEFORE UPDATE OR DELETE ON {table} "
        "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        f"CREATE TRIGGER tr_{table}_truncate BEFORE TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
