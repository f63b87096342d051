"""Run by Alembic: binds the revisions to the connection, and the lock, that `peter.registry.schema` holds."""

from alembic import context

from peter.registry.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    transactional_ddl=True,  # true of SQLite too: schema.py begins the transaction itself
)
with context.begin_transaction():
    context.run_migrations()
