"""The session of a study, and what drives it."""
