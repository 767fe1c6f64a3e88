"""Known shortcuts planted into any picture, to see whether a network takes them up."""
