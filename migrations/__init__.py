"""The registry's schema as Alembic revisions; `peter.registry.schema` runs them."""
