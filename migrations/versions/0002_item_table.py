"""Event logs may have a table of what is known of their items.

Reason: texts, categories and prices tell of items that have few events or none; most logs have no such table,
and those from before have none, so the column may be empty.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("event_log", sa.Column("items_sha256", sa.String(64), nullable=True))


def downgrade() -> None:
    op.drop_column("event_log", "items_sha256")  # not in batch mode, which would lose the CHECK
