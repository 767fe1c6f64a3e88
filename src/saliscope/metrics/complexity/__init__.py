"""How much of the image a map speaks of."""
