"""Run by Alembic: binds the revisions to the connection, and the lock, that `peter.registry.schema` holds."""

from typing import Any, Literal

from alembic import context
from sqlalchemy.types import TypeDecorator

from peter.registry.models import Base


def _plain(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """A drafted revision names SQLAlchemy's own types: peter's may be gone when it is run in some years."""
    return f"sa.{item.impl!r}" if kind == "type" and isinstance(item, TypeDecorator) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    render_item=_plain,
    transactional_ddl=True,  # true of SQLite too: schema.py begins the transaction itself
)
with context.begin_transaction():
    context.run_migrations()
