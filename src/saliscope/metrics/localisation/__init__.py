"""Does the map lie where somebody says that something is."""
