"""Kinds of pictures: anatomy drawn from a seed, and the way it becomes a picture."""
