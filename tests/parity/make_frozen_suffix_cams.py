"""Make frozen_suffix_cams.npz anew: `PYTHONPATH=benchmarks python tests/parity/make_frozen_suffix_cams.py`.

Of torchcam 0.5 the Score-CAM and the Finer-CAM, in 2D and 3D; of pytorch-grad-cam 1.5.7 the Shapley-CAM, and the
Ablation-CAM in 2D, which is all it has. The layers are ones after which nothing is written in place, because both keep
what they saw without a copy.
"""

from pathlib import Path

import numpy as np
import torch
from frozen_nets import SMALL_SHAPE
from frozen_suffix_nets import full, picture, rectified, small
from peers import pytorch_grad_cam, torchcam, versions
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

CLASSES = range(3)


def torchcams(cls, net, x, **fields):
    """Return torchcam's maps (K, *S'), after its ReLU and before its normalisation."""
    maps = []
    for k in CLASSES:
        with cls(net, "watched", input_shape=tuple(x.shape[1:]), **fields) as cam:
            scores = net(x)
            (found,) = cam(k, scores, normalized=False)
            maps.append(found[0].detach().double().numpy())
    return np.stack(maps)


def grad_cams(cls, net, x):
    """Return pytorch-grad-cam's weights times activation (K, *S'), before its ReLU and its scaling."""

    class Kept(cls):
        def get_cam_weights(self, *args):
            self.kept = super().get_cam_weights(*args)
            return self.kept

        def get_cam_image(self, *args):
            self.raw = super().get_cam_image(*args)
            return self.raw

    maps = []
    for k in CLASSES:
        with Kept(net, [net.watched]) as cam:
            cam(x, [ClassifierOutputTarget(k)])
            maps.append(np.asarray(cam.raw)[0])
    return np.stack(maps)


def main():
    """Write frozen_suffix_cams.npz beside this script."""
    torch.set_num_threads(1)
    found = {}
    for axes in (2, 3):
        x = picture(SMALL_SHAPE[axes], seed=300 + axes)
        smooth = small(axes, "residual").eval()
        found[f"score-cam-{axes}d"] = torchcams(torchcam.methods.ScoreCAM, full(axes), x)
        found[f"finer-cam-{axes}d"] = torchcams(torchcam.methods.FinerCAM, smooth, x, num_references=1)
        found[f"shapley-cam-{axes}d"] = grad_cams(pytorch_grad_cam.ShapleyCAM, smooth, x)
        if axes == 2:
            net = rectified(axes)
            assert (net(x) > 1).all()
            found["ablation-cam-2d"] = grad_cams(pytorch_grad_cam.AblationCAM, net, x)
    path = Path(__file__).with_name("frozen_suffix_cams.npz")
    np.savez_compressed(path, **found)
    used = {name: versions()[name] for name in ("grad-cam", "torchcam")}
    print(f"{path.name}: {len(found)} maps, {path.stat().st_size / 1000:.0f} kB, {used}")  # noqa: T201


if __name__ == "__main__":
    main()
