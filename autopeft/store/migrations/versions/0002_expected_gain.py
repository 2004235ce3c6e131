"""Trials keep the gain that they were proposed for, and what was left to gain."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("trials", sa.Column("expected_gain", sa.Float))
    op.add_column("trials", sa.Column("expected_left", sa.Float))
