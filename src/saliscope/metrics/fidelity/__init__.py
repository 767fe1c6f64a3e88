"""Does the map say what the network does."""
