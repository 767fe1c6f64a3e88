"""Exact occlusion at a fraction of the cost: only what a window changes is run again, over a graph of the network.

`trace` reads the graph, `rules` says what each operation does to a region, `regions` where the changes lie, `patches`
moves values between maps and regions, `engine` runs a batch of windows, and `scores` decides, checks and certifies.
"""
