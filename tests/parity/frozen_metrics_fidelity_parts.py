"""The networks, images, maps and subsets of the frozen fidelity outputs, which ours are run with too."""

import frozen_nets
import numpy as np
import torch

from saliscope.testing.networks import SmallNet

SHAPE = {2: (1, 12, 10), 3: (1, 8, 6, 10)}
#: What stands where elements were taken away, the label that is asked (whose score the fill lowers), steps, subsets and
#: their share.
FILL, LABEL, STEPS, SAMPLES, SHARE, SEED = 0.25, 2, 20, 40, 0.2, 3
SEGMENTS = 8


def parts(axes):
    """Return a network with one channel, in evaluation mode, an image (1, 1, *S) and a map (*S) without ties."""
    net = frozen_nets.filled(SmallNet(axes, "residual", channels=1), seed=40 + axes).eval()
    x = frozen_nets.picture(SHAPE[axes], seed=200 + axes)
    return net, x, torch.from_numpy(np.random.RandomState(300 + axes).standard_normal(SHAPE[axes][1:]))


def subsets(count):
    """Return which of `count` features are in each of the subsets, as lists."""
    size = round(SHARE * count)
    return [np.random.default_rng([SEED, sample]).permutation(count)[:size] for sample in range(SAMPLES)]
