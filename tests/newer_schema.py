"""Migrations that know one revision more than the registries of today, for processes that upgrade."""

import shutil
from pathlib import Path

from peter.registry import schema

NEWER = "9000"


def checkout(directory: Path) -> Path:
    """A copy of the migrations and one more."""
    copy = Path(shutil.copytree(schema.scripts(), directory / "checkout"))
    (copy / "versions" / f"{NEWER}_more.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, down_revision = '{NEWER}', '{schema.revisions()[-1]}'\n"
        "def upgrade():\n"
        "    op.add_column('task', sa.Column('n', sa.Integer()))\n"
    )
    return copy


def knowing(scripts: Path) -> None:
    """Let this process have these migrations."""
    schema.scripts = lambda: scripts
