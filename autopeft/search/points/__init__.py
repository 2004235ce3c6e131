"""Points of a space, of which no model knows: drawn, moved, as numbers, as tried."""
