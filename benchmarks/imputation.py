"""ROAD's imputation beside pytorch-grad-cam's and Quantus', and the whole metric beside pytorch-grad-cam's.

Nine shares of a Grad-CAM's size and grain, 7 x 7 cells enlarged, are taken from a smooth image between 0 and 1 with
three channels, without noise. The exact fill solves the peers' system; the fast one is judged by the root mean square
of its difference from it over what was gone, beside that of every channel's mean.
"""

from __future__ import annotations

import json

import numpy as np
import torch
from measure import Row, Run, calibrated, interleaved, row
from peers import quantus, torchvision, versions
from pytorch_grad_cam.metrics.road import NoisyLinearImputer, ROADCombined
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn import functional

from saliscope.core.target import LogitTarget
from saliscope.metrics.fidelity.road import ROAD
from saliscope.model.network import Network
from saliscope.perturb.impute import RoadFill
from saliscope.perturb.plan import PerturbationPlan, run

SIZE = 224
EXACT, FAST = RoadFill(exact=True, noise=0), RoadFill(noise=0)
GRAD_CAM = f"pytorch-grad-cam {versions()['grad-cam']}"
ALL = "error is the largest difference"
QUANTUS = f"quantus {versions()['quantus']}"


def picture() -> Tensor:
    """Return an image (1, 3, 224, 224), smooth, from 0 to 1."""
    values = np.stack([gaussian_filter(np.random.RandomState(c).rand(SIZE, SIZE), 6) for c in range(3)])
    return torch.from_numpy((values - values.min()) / np.ptp(values)).float()[None]


def coarse_map() -> Tensor:
    """Return a map (224, 224) of 7 x 7 cells without ties."""
    generator = torch.Generator().manual_seed(0)
    cells = torch.randn(1, 1, 7, 7, generator=generator)
    smooth = functional.interpolate(cells, (SIZE, SIZE), mode="bilinear")[0, 0]
    return smooth + 1e-6 * torch.rand(SIZE, SIZE, generator=generator)


def removals() -> Tensor:
    """Return what is gone (9, 224, 224), the most relevant first."""
    ranks = coarse_map().flatten().argsort(descending=True).argsort().reshape(SIZE, SIZE)
    return torch.stack([ranks < round(q / 10 * SIZE * SIZE) for q in range(1, 10)])


def of_grad_cam(x: Tensor, gone: Tensor) -> Tensor:
    return torch.stack([NoisyLinearImputer(noise=0.0)(x[0], (~one).float()) for one in gone])


def of_quantus(x: Tensor, gone: Tensor) -> Tensor:
    impute = quantus.functions.perturb_func.noisy_linear_imputation
    found = [impute(x[0].numpy(), np.flatnonzero(one.numpy()), noise=0.0) for one in gone]
    return torch.from_numpy(np.stack(found))


def fills() -> list[Row]:
    """Compare the fills alone."""
    x, gone = picture(), removals()
    runs: dict[str, Run] = {
        "exact": lambda: EXACT(x, gone),
        "fast": lambda: FAST(x, gone),
        "grad-cam": lambda: of_grad_cam(x, gone),
        "quantus": lambda: of_quantus(x, gone),
    }
    times = interleaved(runs, 3)
    right = of_grad_cam(x, gone)
    hole = gone[:, None].expand_as(right)

    def rms(found: Tensor) -> float:
        return float((found - right)[hole].square().mean().sqrt())

    fast, mean = rms(FAST(x, gone)), rms(x.mean(dim=(2, 3), keepdim=True).expand_as(right))
    exact = float((EXACT(x, gone) - right).abs().max())
    said = f"error is the root mean square; that of the channels' means is {mean:.3f}"
    return [
        row(
            f"{what} imputation of 9 copies, 224 x 224 x 3",
            times.median(who),
            times.median(peer),
            **times.ratio(peer, who),
            error=error,
            goal=goal,
            peer_version=version,
            note=note,
        )
        for peer, version in (("grad-cam", GRAD_CAM), ("quantus", QUANTUS))
        for what, who, error, goal, note in (("exact", "exact", exact, 2.0, ALL), ("fast", "fast", fast, 6.0, said))
    ]


def whole() -> list[Row]:
    """Compare the metric with the network's runs, most and least relevant first, on ResNet-18."""
    torch.manual_seed(0)
    x, cam = picture(), coarse_map()
    net = calibrated(torchvision.models.resnet18(), x)
    percentiles = [10 * q for q in range(1, 10)]

    def ours(fill: RoadFill) -> float:
        with Network(net).opened() as model:
            plan = PerturbationPlan(x)
            asked = ROAD(fill=fill).ask(plan, cam)
            run([plan], model, [LogitTarget((0,), ("first",))])
            return asked().number

    def peer() -> float:
        return float(ROADCombined(percentiles)(x, cam[None].numpy(), [ClassifierOutputTarget(0)], net)[0])

    times = interleaved(
        {"exact": lambda: ours(RoadFill(exact=True)), "fast": lambda: ours(RoadFill()), "peer": peer}, 3
    )
    right = peer()
    return [
        row(
            f"ROAD, both ends at 9 shares, ResNet-18 2D 224, {who}",
            times.median(who),
            times.median("peer"),
            **times.ratio("peer", who),
            peer_version=GRAD_CAM,
            note=f"score {ours(RoadFill(exact=who == 'exact')):.3f}, the peer's {right:.3f}, whose noise has no seed",
        )
        for who in ("exact", "fast")
    ]


def rows() -> list[Row]:
    """Return all rows."""
    return [*fills(), *whole()]


if __name__ == "__main__":
    print(json.dumps(rows(), indent=1))
