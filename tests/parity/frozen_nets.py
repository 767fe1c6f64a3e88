"""The networks and images of the frozen outputs, filled from NumPy's legacy stream, which never changes."""

import numpy as np
import torch
from torch import nn

from saliscope.testing.networks import SmallNet


def filled(module: nn.Module, seed: int) -> nn.Module:
    """Return the module in float64 with weights of the right size for a deep network, and not those of its library."""
    stream = np.random.RandomState(seed)  # its stream is guaranteed for ever, default_rng's is not
    module = module.double()
    with torch.no_grad():
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            if value.is_floating_point():
                drawn = torch.from_numpy(stream.standard_normal(tuple(value.shape)))
                if value.ndim > 1:
                    value.copy_(drawn * (2 / value[0].numel()) ** 0.5)
                else:
                    value.copy_(0.2 * drawn if name.endswith(("bias", "mean")) else 1 + 0.3 * drawn.tanh())
    return module


def small(axes: int, after: str) -> nn.Module:
    """Return a small network whose layer "watched" is followed by `after`."""
    return filled(SmallNet(axes, after), seed=axes)  # type: ignore[arg-type]


def densenet(axes: int) -> nn.Module:
    """Return MONAI's DenseNet121 with 14 classes; an in-place ReLU follows its last norm layer."""
    from monai.networks.nets import DenseNet121

    return filled(DenseNet121(spatial_dims=axes, in_channels=1, out_channels=14), seed=10 + axes)


def picture(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    """Return an image (1, C, *S)."""
    return torch.from_numpy(np.random.RandomState(seed).standard_normal((1, *shape)))


SMALL_SHAPE = {2: (2, 12, 10), 3: (2, 8, 6, 10)}
DENSENET_SHAPE = {2: (1, 96, 64), 3: (1, 64, 32, 64)}
#: Window and stride of the occlusion; the stride divides what is left of each axis, because captum cuts windows at
#: the edge where we move them back.
WINDOW = {2: ((4, 4), (4, 2)), 3: ((4, 2, 4), (2, 2, 3))}
#: A power of two: captum holds its steps in float32, where they are then exact.
STEPS = 8
