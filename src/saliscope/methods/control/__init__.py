"""Maps that know nothing of the network."""
