"""Make frozen_metrics_road.npz anew: `PYTHONPATH=benchmarks python tests/parity/make_frozen_metrics_road.py`.

Of pytorch-grad-cam 1.5.7 the linear imputation and ROAD without noise, which are right on maps without ties; how much
it removes where a map has zeros, and with `percentile="auto"`. Of Quantus 0.6.0 the linear imputation of one channel,
and ROAD's own answers to the same images in one batch and in several, and to images of three channels.
"""

from pathlib import Path

import numpy as np
import torch
from frozen_metrics_road_parts import SHARES, Quadratic, image, rectified_map, smooth_map
from peers import pytorch_grad_cam, quantus, versions
from pytorch_grad_cam.metrics.perturbation_confidence import RemoveLeastRelevantFirst, RemoveMostRelevantFirst
from pytorch_grad_cam.metrics.road import NoisyLinearImputer
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from quantus.functions.perturb_func import noisy_linear_imputation

PERCENTILES = [round(100 * s) for s in SHARES]


class Counting:
    """An imputer that only says where it was to fill."""

    def __call__(self, x, keep):
        """Return what is gone as the copy (C, *S)."""
        return (keep <= 0.5).float().expand_as(x)


def grad_cam_road():
    """Return MoRF and LeRF (9,), by the percentile that grad-cam was given, for the first logit, without noise."""
    x, net, cam = torch.from_numpy(image()), Quadratic(), smooth_map()
    found = {}
    for name, remove in (("morf", RemoveMostRelevantFirst), ("lerf", RemoveLeastRelevantFirst)):
        copies = torch.stack([remove(p, NoisyLinearImputer(noise=0.0))(x, torch.from_numpy(cam)) for p in PERCENTILES])
        found[f"grad-cam-{name}"] = net(copies)[:, 0].numpy()
        zero_heavy = [remove(p, Counting())(x, torch.from_numpy(rectified_map()))[0].sum() for p in PERCENTILES]
        found[f"grad-cam-{name}-removed"] = np.array(zero_heavy)
    auto = RemoveMostRelevantFirst("auto", Counting())(x, torch.from_numpy(rectified_map()))[0]
    found["grad-cam-auto-removed"] = auto.numpy() > 0.5
    # Its own class, with its noise, agrees with the copies above.
    road = pytorch_grad_cam.metrics.road.ROADCombined(PERCENTILES)
    found["grad-cam-combined"] = road(x[None], cam[None], [ClassifierOutputTarget(0)], net)
    return found


def quantus_road():
    """Return Quantus' mean scores of twelve images in one batch and in three, and its error for three channels."""
    net = Quadratic(1).eval()
    x = np.stack([image(1) * s for s in np.linspace(-3, 3, 12)])
    a = np.repeat(smooth_map()[None, None], len(x), 0)
    y = np.zeros(12, int)
    ask = {"percentages": [10, 50], "noise": 0.0, "disable_warnings": True, "display_progressbar": False}
    found = {}
    for size in (12, 4):
        scores = quantus.ROAD(**ask)(model=net, x_batch=x, y_batch=y, a_batch=a, batch_size=size, device="cpu")
        found[f"quantus-batches-of-{size}"] = np.array(list(scores.values()))
    try:
        three = np.stack([image(3)] * 2)
        quantus.ROAD(**ask)(model=Quadratic(3).eval(), x_batch=three, y_batch=y[:2], a_batch=a[:2], device="cpu")
        found["quantus-three-channels"] = np.array("no error")
    except IndexError as error:
        found["quantus-three-channels"] = np.array(type(error).__name__)
    return found


def main():
    """Write frozen_metrics_road.npz beside this script."""
    torch.set_num_threads(1)
    x, cam = image(), smooth_map()
    found = {}
    for share in (0.1, 0.5, 0.9):
        keep = (cam < np.quantile(cam, 1 - share)).astype(np.float32)
        found[f"grad-cam-imputed-{share}"] = NoisyLinearImputer(noise=0.0)(
            torch.from_numpy(x), torch.from_numpy(keep)
        ).numpy()
        found[f"quantus-imputed-{share}"] = noisy_linear_imputation(x[:1], np.flatnonzero(keep == 0), noise=0.0)
    found |= grad_cam_road() | quantus_road()
    path = Path(__file__).with_name("frozen_metrics_road.npz")
    np.savez_compressed(path, **found)
    used = {name: versions()[name] for name in ("grad-cam", "quantus")}
    print(f"{path.name}: {len(found)} arrays, {path.stat().st_size / 1000:.0f} kB, {used}")  # noqa: T201
    for name in found:
        if "imputed" not in name:
            print(name, found[name] if found[name].size < 20 else found[name].sum())  # noqa: T201


if __name__ == "__main__":
    main()
