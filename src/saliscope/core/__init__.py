"""Nouns and contracts; imports nothing of ours."""
