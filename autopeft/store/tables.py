"""The tables. A change here needs a migration beside it (`store/migrations/versions`)."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

studies = Table(
    "studies",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("document", JSON, nullable=False),
    Column("folder", Text, nullable=False),
    Column("created", Float, nullable=False),
    Column("state", String(20), nullable=False),
    Column("seconds", Float, nullable=False),
    Column("owner", String(200)),
)

trials = Table(
    "trials",
    metadata,
    Column("study", ForeignKey("studies.name"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("configuration", JSON, nullable=False),
    Column("configuration_key", String(16), nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("point", JSON, nullable=False),
    Column("known", JSON, nullable=False),
    Column("why", Text, nullable=False),
    Column("baseline", Boolean, nullable=False),
    Column("state", String(20), nullable=False),
    Column("next_rung", Integer, nullable=False),
    Column("failure", JSON(none_as_null=True)),
    Column("created", Float, nullable=False),
    Column("provenance", JSON, nullable=False),
    Column("expected_gain", Float),
    Column("expected_left", Float),
    Column("confirms", Integer),
)

rungs = Table(
    "rungs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study", ForeignKey("studies.name"), nullable=False),
    Column("trial", Integer, nullable=False),
    Column("rung", Integer, nullable=False),
    Column("step", Integer, nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("stderr", JSON, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("started", Float, nullable=False),
    Column("ended", Float, nullable=False),
    Column("worker", Text, nullable=False),
    Column("test", JSON(none_as_null=True)),
    Column("test_stderr", JSON(none_as_null=True)),
    # A result is told once: the database itself refuses a second one.
    UniqueConstraint("study", "trial", "rung", name="one_result_a_rung"),
)

outbox = Table(
    "outbox",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study", ForeignKey("studies.name"), nullable=False, index=True),
    Column("kind", String(40), nullable=False),
    Column("trial", Integer),
    Column("time", Float, nullable=False),
    Column("payload", JSON, nullable=False),
    Column("delivered", Boolean, nullable=False),
)

facts = Table(
    "facts",
    metadata,
    Column("study", ForeignKey("studies.name"), primary_key=True),
    Column("key", String(200), primary_key=True),
    Column("value", Text, nullable=False),
)

# One row, made with the table: which store this is, whatever its address is called from where.
stores = Table("stores", metadata, Column("identity", String(32), primary_key=True))
