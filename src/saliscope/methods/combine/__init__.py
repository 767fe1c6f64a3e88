"""Methods made of other methods: smoothed, guided, fused over layers, agreed upon, tile by tile."""
