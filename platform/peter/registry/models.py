"""The registry's tables; Alembic alone creates them (`migrations/`), these classes read and write rows."""

from datetime import datetime
from typing import Any, ClassVar, dataclass_transform

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    ForeignKey,
    ForeignKeyConstraint,
    MetaData,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedAsDataclass, mapped_column, relationship

from peter.registry.columns import Count, Json, ObjectName, Text, UtcDateTime, utc_now

RUN_STATES = ("pending", "running", "done", "failed", "interrupted")  # all but the first are entered
READY, NEEDS_RETRAIN = PATCH_STATES = ("ready", "needs-retrain")


def _one_of(column: str, allowed: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{state}'" for state in allowed)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


@dataclass_transform(kw_only_default=True, eq_default=False, field_specifiers=(mapped_column, relationship))
class Base(MappedAsDataclass, DeclarativeBase, kw_only=True, repr=False, eq=False):
    """Parent of all tables: how constraints are called, and which column type a Python type gets."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: Count,
        bool: Boolean(),
        str: Text(),
        datetime: UtcDateTime(),
        dict[str, Any]: Json(),
        list[int]: Json(),
    }


class EventLog(Base):
    """A version of one imported log of what users did; appending makes the next version."""

    __tablename__ = "event_log"
    __table_args__ = (UniqueConstraint("name", "version"), CheckConstraint("version >= 1", name="version"))

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str]
    version: Mapped[int] = mapped_column(init=False)
    sha256: Mapped[str] = mapped_column(ObjectName)  # the sequences
    users_sha256: Mapped[str] = mapped_column(ObjectName)
    vocab_sha256: Mapped[str] = mapped_column(ObjectName)
    users: Mapped[int]
    items: Mapped[int]
    events: Mapped[int]
    first_at: Mapped[int | None]  # timestamps as the file gives them, counted in `time_unit`
    last_at: Mapped[int | None]
    time_unit: Mapped[str | None]
    report: Mapped[dict[str, Any]]
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("event_log.id"), default=None)
    created_at: Mapped[datetime] = mapped_column(init=False, default_factory=utc_now)
    items_sha256: Mapped[str | None] = mapped_column(ObjectName, default=None)  # what is known of items

    @property
    def reference(self) -> str:
        """name@version."""
        return f"{self.name}@{self.version}"


class Run(Base):
    """One execution of anything long: pretrain, train, tune, score."""

    __tablename__ = "run"
    __table_args__ = (_one_of("state", RUN_STATES),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    kind: Mapped[str]
    subject: Mapped[str]  # the task, backbone or event log that it is for
    state: Mapped[str]
    actor: Mapped[str]
    host: Mapped[str]
    pid: Mapped[int]
    params: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any] | None] = mapped_column(default=None)
    error: Mapped[str | None] = mapped_column(default=None)
    storage: Mapped[str | None] = mapped_column(default=None)  # its directory: checkpoints, Ray's state
    started_at: Mapped[datetime] = mapped_column(default_factory=utc_now)
    heartbeat_at: Mapped[datetime] = mapped_column(default_factory=utc_now)
    ended_at: Mapped[datetime | None] = mapped_column(default=None)


class Trial(Base):
    """One configuration that a tuning run tried."""

    __tablename__ = "trial"
    __table_args__ = (UniqueConstraint("run_id", "name"), _one_of("state", RUN_STATES))

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    run_id: Mapped[int] = mapped_column(ForeignKey("run.id", ondelete="CASCADE"))
    name: Mapped[str]  # its number in the search
    state: Mapped[str]
    config: Mapped[dict[str, Any]]
    metrics: Mapped[dict[str, Any] | None] = mapped_column(default=None)
    error: Mapped[str | None] = mapped_column(default=None)
    started_at: Mapped[datetime] = mapped_column(default_factory=utc_now)
    heartbeat_at: Mapped[datetime] = mapped_column(default_factory=utc_now)
    ended_at: Mapped[datetime | None] = mapped_column(default=None)


class Backbone(Base):
    """A frozen sequence model; a row exists only once it is frozen, and never changes."""

    __tablename__ = "backbone"
    __table_args__ = (UniqueConstraint("name", "version"), CheckConstraint("version >= 1", name="version"))

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str]
    version: Mapped[int] = mapped_column(init=False)
    event_log_id: Mapped[int] = mapped_column(ForeignKey("event_log.id"), init=False)
    architecture: Mapped[dict[str, Any]]
    config: Mapped[dict[str, Any]]  # how it was pre-trained
    objective: Mapped[str]
    salt: Mapped[str]  # of the user split that its pre-training left the test users out by
    params: Mapped[int]
    weights_sha256: Mapped[str] = mapped_column(ObjectName)
    vocab_sha256: Mapped[str] = mapped_column(ObjectName)
    metrics: Mapped[dict[str, Any]]
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"), default=None)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("backbone.id"), default=None)
    frozen_at: Mapped[datetime] = mapped_column(init=False, default_factory=utc_now)

    event_log: Mapped[EventLog] = relationship(lazy="joined", innerjoin=True)

    @property
    def reference(self) -> str:
        """name@version."""
        return f"{self.name}@{self.version}"

    @property
    def pruned(self) -> bool:
        """Whether it is the root of a lineage: most of its weights are free for its patches to own."""
        return "pruned" in self.metrics

    @property
    def features(self) -> dict[str, int]:
        """The modalities by which it knows its items, how many numbers each is; empty for a table."""
        features: dict[str, int] = self.metrics.get("features", {})
        return features


class Task(Base):
    """A team's question about users; unfinished while it has no patch."""

    __tablename__ = "task"
    __table_args__ = (UniqueConstraint("name"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    name: Mapped[str]
    kind: Mapped[str]
    owner: Mapped[str]
    description: Mapped[str] = mapped_column(default="")
    sensitive: Mapped[bool] = mapped_column(default=False)
    outputs: Mapped[dict[str, Any]]  # the kind's schema: classes, units
    created_at: Mapped[datetime] = mapped_column(init=False, default_factory=utc_now)
    retired_at: Mapped[datetime | None] = mapped_column(init=False, default=None)


class LabelSet(Base):
    """The checked contents of one label file of a task."""

    __tablename__ = "label_set"
    __table_args__ = (UniqueConstraint("task_id", "sha256"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    task_id: Mapped[int] = mapped_column(ForeignKey("task.id"), init=False)
    sha256: Mapped[str] = mapped_column(ObjectName)
    rows: Mapped[int]
    users: Mapped[int]
    report: Mapped[dict[str, Any]]  # distribution, rejected rows by reason
    created_at: Mapped[datetime] = mapped_column(init=False, default_factory=utc_now)

    task: Mapped[Task] = relationship(lazy="joined", innerjoin=True)


class Patch(Base):
    """A version of a task: what it adds to one backbone version."""

    __tablename__ = "patch"
    __table_args__ = (
        UniqueConstraint("task_id", "version"),
        UniqueConstraint("task_id", "request_sha256"),
        CheckConstraint("version >= 1", name="version"),
        _one_of("state", PATCH_STATES),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    task_id: Mapped[int] = mapped_column(ForeignKey("task.id"), init=False)
    version: Mapped[int] = mapped_column(init=False)
    backbone_id: Mapped[int] = mapped_column(ForeignKey("backbone.id"), index=True, init=False)
    label_set_id: Mapped[int] = mapped_column(ForeignKey("label_set.id"), init=False)
    method: Mapped[str]
    config: Mapped[dict[str, Any]]  # the method's own options
    fit: Mapped[dict[str, Any]]  # how it was fitted
    request_sha256: Mapped[str] = mapped_column(String(64))  # of all that decides the result
    weights_sha256: Mapped[str] = mapped_column(ObjectName)
    params: Mapped[int]
    metrics: Mapped[dict[str, Any]]
    certificate: Mapped[dict[str, Any] | None] = mapped_column(default=None)
    reads: Mapped[list[int]] = mapped_column(default_factory=list)  # ids of the patches it reads
    state: Mapped[str] = mapped_column(default=READY)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("run.id"), default=None)
    created_at: Mapped[datetime] = mapped_column(init=False, default_factory=utc_now)

    task: Mapped[Task] = relationship(lazy="joined", innerjoin=True)
    backbone: Mapped[Backbone] = relationship(lazy="joined", innerjoin=True)
    label_set: Mapped[LabelSet] = relationship(lazy="joined", innerjoin=True)

    @property
    def reference(self) -> str:
        """task@version."""
        return f"{self.task.name}@{self.version}"


class Alias(Base):
    """A movable name for one version of a task: champion, challenger."""

    __tablename__ = "alias"
    __table_args__ = (
        UniqueConstraint("task_id", "alias"),
        # through (task, version), so that an alias can never point into another task
        ForeignKeyConstraint(["task_id", "version"], ["patch.task_id", "patch.version"]),
    )

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    task_id: Mapped[int] = mapped_column(ForeignKey("task.id"))
    alias: Mapped[str]
    version: Mapped[int]


class AliasHistory(Base):
    """Every move of an alias; rows are never changed (triggers see to it)."""

    __tablename__ = "alias_history"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    task_id: Mapped[int] = mapped_column(ForeignKey("task.id"), index=True)
    alias: Mapped[str]
    from_version: Mapped[int | None]
    to_version: Mapped[int]
    actor: Mapped[str]
    why: Mapped[str]
    at: Mapped[datetime] = mapped_column(init=False, default_factory=utc_now)


class ProfileTable(Base):
    """Where a patch's outputs for all users of one event log are."""

    __tablename__ = "profile_table"
    __table_args__ = (UniqueConstraint("task_id", "patch_id", "event_log_id"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    task_id: Mapped[int] = mapped_column(ForeignKey("task.id"))
    patch_id: Mapped[int] = mapped_column(ForeignKey("patch.id"), init=False)
    event_log_id: Mapped[int] = mapped_column(ForeignKey("event_log.id"), init=False)
    sha256: Mapped[str] = mapped_column(ObjectName)
    rows: Mapped[int]
    as_of: Mapped[datetime]

    patch: Mapped[Patch] = relationship(lazy="joined", innerjoin=True)
    event_log: Mapped[EventLog] = relationship(lazy="joined", innerjoin=True)


class Audit(Base):
    """Who changed what: a chain of hashes, one row a change; rows are never changed (triggers see to it)."""

    __tablename__ = "audit"

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str]
    subject: Mapped[str]
    before: Mapped[dict[str, Any] | None]
    after: Mapped[dict[str, Any] | None]
    prev_hash: Mapped[str] = mapped_column(String(64))
    hash: Mapped[str] = mapped_column(String(64))


class Erasure(Base):
    """A user's request to be forgotten, under a pseudonym, with the steps that are done."""

    __tablename__ = "erasure"
    __table_args__ = (UniqueConstraint("pseudonym"),)

    id: Mapped[int] = mapped_column(primary_key=True, init=False)
    pseudonym: Mapped[str]
    requested_at: Mapped[datetime] = mapped_column(init=False, default_factory=utc_now)
    steps: Mapped[dict[str, Any]]
