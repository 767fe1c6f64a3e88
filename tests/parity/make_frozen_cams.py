"""Make frozen_cams.npz anew with grad-cam 1.5.7 and torchcam 0.5.0: `python tests/parity/make_frozen_cams.py`.

Both keep an activation that an in-place operation later overwrites, so only networks without one after the layer are
here. Not here are torchcam's Grad-CAM++ and Smooth Grad-CAM++, which are not the papers', and grad-cam's FullGrad,
which stretches every channel by itself.
"""

from pathlib import Path

import numpy as np
import torch
from frozen_nets import DENSENET_SHAPE, SMALL_SHAPE, densenet, picture, small
from pytorch_grad_cam import EigenCAM, EigenGradCAM, HiResCAM, XGradCAM
from pytorch_grad_cam import LayerCAM as GradCamsLayerCAM
from torchcam.methods import CAM, LayerCAM
from torchcam.methods import XGradCAM as TorchcamsXGradCAM

GRAD_CAM = {
    "xgrad-cam": XGradCAM,
    "hirescam": HiResCAM,
    "layercam": GradCamsLayerCAM,
    "eigen-cam": EigenCAM,
    "eigen-grad-cam": EigenGradCAM,
}
TORCHCAM = {"xgrad-cam": TorchcamsXGradCAM, "layercam": LayerCAM}


def grad_cam(kind, net, x, classes):
    """Return grad-cam's maps (K, *S') on the layer's grid, before it cuts, stretches and resizes them."""
    found = []
    for k in range(classes):
        with kind(net, [net.watched]) as cam:
            kept = cam.activations_and_grads
            kept(x)[0, k].backward()
            a, g = kept.activations[0].numpy(), kept.gradients[0].numpy()
            found.append(cam.get_cam_image(x, net.watched, [k], a, g, eigen_smooth=False)[0])
    return np.stack(found)


def torchcam(kind, net, x, classes, **layers):
    """Return torchcam's maps (K, *S'), without its last ReLU and stretching."""
    found = []
    for k in range(classes):
        with kind(net, **layers) as cam:
            cam._relu = False  # there is no other way to the signed map
            scores = net(x)
            found.append(cam(k, scores, normalized=False)[0][0].detach().numpy())
    return np.stack(found)


def main():
    """Write frozen_cams.npz beside this script."""
    torch.set_num_threads(1)
    found = {}
    for axes in (2, 3):
        x = picture(SMALL_SHAPE[axes], seed=100 + axes)
        for after in ("functional", "residual"):
            net = small(axes, after).eval()
            for name, kind in GRAD_CAM.items():
                found[f"{after}-{axes}d/grad-cam/{name}"] = grad_cam(kind, net, x, 3)
            for name, kind in TORCHCAM.items():
                found[f"{after}-{axes}d/torchcam/{name}"] = torchcam(kind, net, x, 3, target_layer="watched")
        net = densenet(axes).eval()
        layers = {"target_layer": "class_layers.relu", "fc_layer": "class_layers.out"}
        x = picture(DENSENET_SHAPE[axes], seed=200 + axes)
        found[f"densenet-{axes}d/torchcam/cam"] = torchcam(CAM, net, x, 14, **layers)
    path = Path(__file__).with_name("frozen_cams.npz")
    np.savez_compressed(path, **found)
    print(f"{path.name}: {len(found)} maps, {path.stat().st_size / 1000:.0f} kB")  # noqa: T201


if __name__ == "__main__":
    main()
