"""The studies on disk: SQLAlchemy tables and their migrations."""
