"""A store knows which one it is, for those that reach it by different addresses."""

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    table = op.create_table("stores", sa.Column("identity", sa.String(32), primary_key=True))
    op.bulk_insert(table, [{"identity": uuid.uuid4().hex}])
