"""What decides the label, in its place and of its size."""
