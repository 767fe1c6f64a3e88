"""What each axis of each tensor inside a network means, in terms of the input's own axes."""
