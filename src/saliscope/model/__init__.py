"""What a station needs of a network."""
