"""Does the map change with the network and with the question."""
