"""Where the next trial is looked for."""
