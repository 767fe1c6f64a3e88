"""Make frozen.npz anew with captum 0.9: `pip install saliscope[dev,parity]`, then `python tests/parity/make_frozen.py`.

captum clones what its hooks see, so it is right where an in-place operation follows the layer. Grad-CAM++ and
LayerCAM are not here: no peer that has them is right on these networks.
"""

from pathlib import Path

import captum
import numpy as np
import torch
from captum.attr import (
    InputXGradient,
    IntegratedGradients,
    LayerGradCam,
    LayerGradientXActivation,
    Occlusion,
    Saliency,
)
from frozen_nets import DENSENET_SHAPE, SMALL_SHAPE, STEPS, WINDOW, densenet, picture, small

from saliscope.testing.networks import AFTER


def each(classes, attribute):
    """Return (K, *S) of a captum call for each class."""
    return torch.stack([attribute(k)[0] for k in range(classes)]).detach().numpy()


def cams(net, layer, x, classes):
    """Return captum's Grad-CAM and gradient times activation, raw and signed."""
    weighed, product = LayerGradCam(net, layer), LayerGradientXActivation(net, layer)
    return {
        "grad-cam": each(classes, lambda k: weighed.attribute(x, k, relu_attributions=False)[:, 0]),
        "hirescam": each(classes, lambda k: product.attribute(x, k).sum(1)),
    }


def inputs(net, x, axes):
    """Return captum's maps on the input, summed over channels."""
    window, stride = WINDOW[axes]
    path, hidden = IntegratedGradients(net), Occlusion(net)
    return {
        "gradient": each(3, lambda k: Saliency(net).attribute(x, k, abs=False).sum(1)),
        "input-x-gradient": each(3, lambda k: InputXGradient(net).attribute(x, k).sum(1)),
        "integrated-gradients": each(
            3, lambda k: path.attribute(x, 0.0, k, n_steps=STEPS, method="riemann_middle").sum(1)
        ),
        "occlusion": each(
            3,
            lambda k: hidden.attribute(
                x, (2, *window), strides=(2, *stride), baselines=0.0, target=k, perturbations_per_eval=4
            )[:, 0],
        ),
    }


def main():
    """Write frozen.npz beside this script."""
    torch.set_num_threads(1)
    found = {}
    for axes in (2, 3):
        x = picture(SMALL_SHAPE[axes], seed=100 + axes)
        for after in AFTER:
            net = small(axes, after).eval()
            maps = cams(net, net.watched, x, 3)
            if after == "inplace":
                maps |= inputs(net, x, axes)
            found |= {f"{after}-{axes}d/{name}": values for name, values in maps.items()}
        net = densenet(axes).eval()
        maps = cams(net, net.features.norm5, picture(DENSENET_SHAPE[axes], seed=200 + axes), 14)
        found |= {f"densenet-{axes}d/{name}": values for name, values in maps.items()}
    path = Path(__file__).with_name("frozen.npz")
    np.savez_compressed(path, **found)
    print(f"{path.name}: {len(found)} maps, {path.stat().st_size / 1000:.0f} kB, captum {captum.__version__}")  # noqa: T201


if __name__ == "__main__":
    main()
