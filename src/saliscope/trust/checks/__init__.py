"""One question each about a map, answered with a score, what chance gives, and a sentence."""
