"""Where in a medical image a network's answer came from, placed on the source grid. Research use only."""
