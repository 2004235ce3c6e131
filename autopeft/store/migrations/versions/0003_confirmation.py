"""Trials say which one they confirm, and rungs what was measured on the test split then."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("trials", sa.Column("confirms", sa.Integer))
    op.add_column("rungs", sa.Column("test", sa.JSON))
    op.add_column("rungs", sa.Column("test_stderr", sa.JSON))
