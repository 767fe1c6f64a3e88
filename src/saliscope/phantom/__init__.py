"""Images whose truth is known: scenes, what is planted in them, and what a network really uses of it."""
