"""The studies on disk: SQLAlchemy tables and their migrations."""

from autopeft.store.sql import SqlStore

__all__ = ["SqlStore"]
