"""The first schema: studies, trials, rungs, outbox, facts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "studies",
        sa.Column("name", sa.String(200), primary_key=True),
        sa.Column("document", sa.JSON, nullable=False),
        sa.Column("folder", sa.Text, nullable=False),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
    )
    op.create_table(
        "trials",
        sa.Column("study", sa.String(200), sa.ForeignKey("studies.name"), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("configuration", sa.JSON, nullable=False),
        sa.Column("configuration_key", sa.String(16), nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("point", sa.JSON, nullable=False),
        sa.Column("known", sa.JSON, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("baseline", sa.Boolean, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("next_rung", sa.Integer, nullable=False),
        sa.Column("failure", sa.JSON),
        sa.Column("created", sa.Float, nullable=False),
        sa.Column("provenance", sa.JSON, nullable=False),
    )
    op.create_table(
        "rungs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study", sa.String(200), sa.ForeignKey("studies.name"), nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("rung", sa.Integer, nullable=False),
        sa.Column("step", sa.Integer, nullable=False),
        sa.Column("metrics", sa.JSON, nullable=False),
        sa.Column("stderr", sa.JSON, nullable=False),
        sa.Column("seconds", sa.Float, nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("ended", sa.Float, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.UniqueConstraint("study", "trial", "rung", name="one_result_a_rung"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("study", sa.String(200), sa.ForeignKey("studies.name"), nullable=False),
        sa.Column("kind", sa.String(40), nullable=False),
        sa.Column("trial", sa.Integer),
        sa.Column("time", sa.Float, nullable=False),
        sa.Column("payload", sa.JSON, nullable=False),
        sa.Column("delivered", sa.Boolean, nullable=False),
    )
    op.create_index("ix_outbox_study", "outbox", ["study"])
    op.create_table(
        "facts",
        sa.Column("study", sa.String(200), sa.ForeignKey("studies.name"), primary_key=True),
        sa.Column("key", sa.String(200), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
