"""Make frozen_metrics_fidelity.npz anew: `PYTHONPATH=benchmarks python tests/parity/make_frozen_metrics_fidelity.py`.

Quantus 0.6.0 is given the order of a map without ties, a fixed baseline and our own subsets; captum 0.9 our own
removals. Then what Quantus gets wrong is shown: equality of floats, perturbations that add up, sweeps that repeat, and
forwards per step.
"""

import warnings
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from captum.metrics import infidelity
from frozen_metrics_fidelity_parts import FILL, LABEL, SAMPLES, SEGMENTS, SHAPE, SHARE, STEPS, parts, subsets
from frozen_nets import picture, small
from frozen_perturbation_parts import parts as boxes
from peers import quantus
from torch import nn

QUIET = {"disable_warnings": True, "display_progressbar": False, "normalise": False, "abs": False}


class Seen(nn.Module):
    """A network that keeps its inputs."""

    def __init__(self, net):
        super().__init__()
        self.net, self.given = net, []

    def forward(self, x):
        self.given += list(x.detach().numpy().copy())
        return self.net(x)


class Linear(nn.Module):
    """Three scores, the last the sum of the image times weights."""

    def __init__(self, weights):
        super().__init__()
        self.weights = nn.Parameter(weights.float())

    def forward(self, x):
        score = (x * self.weights).flatten(1).sum(1)
        return torch.stack([0 * score, -score, score], dim=1)


def called(metric, net, x, a):
    """Return what a metric of Quantus says of one image; its softmax is turned off."""
    return metric(
        model=net.float().eval(),
        x_batch=x.numpy().astype(np.float32),
        y_batch=np.array([LABEL]),
        a_batch=a.numpy()[None],
        softmax=False,
        channel_first=True,
        device="cpu",
    )


def captum_infidelity(net, x, a, units):
    """Return captum's scaled infidelity for the removals of our subsets of boxes."""
    labels = boxes(x[0], SEGMENTS)
    gone = torch.stack([torch.isin(labels, torch.from_numpy(s)) for s in subsets(int(labels.max()) + 1)])[:, None]

    def removed(inputs):
        copies = torch.where(gone, torch.full_like(inputs, FILL), inputs)
        return (inputs - copies if units == "gradient" else gone.to(inputs)), copies

    found = infidelity(net, removed, x, a[None, None], target=LABEL, n_perturb_samples=SAMPLES, normalize=True)
    return found.detach().numpy()


def defects():
    """Return what Quantus gets wrong."""
    a = torch.from_numpy(np.random.RandomState(9).standard_normal((12, 10)))
    x = picture((1, 12, 10), seed=8)
    linear = Linear(a)
    exact = (x[0].float() * a.float()).sum(0, keepdim=True)
    complete = quantus.Completeness(perturb_baseline=0.0, **QUIET)
    found = {"defect/completeness": np.array(called(complete, linear, x, exact))}
    forwards, values = [], []
    for samples in (1, 10):
        seen = Seen(linear)
        metric = quantus.Infidelity(perturb_baseline=0.0, n_perturb_samples=samples, perturb_patch_sizes=[2], **QUIET)
        values.append(called(metric, seen, x, a[None]))
        forwards.append(len(seen.given))
        if samples == 1:
            changed = [(given != x[0].numpy().astype(np.float32)).mean() for given in seen.given[1:]]
    found |= {"defect/infidelity changed": np.array(changed), "defect/infidelity forwards": np.array(forwards)}
    found["defect/infidelity values"] = np.array(values).ravel()
    two = picture((2, 12, 10), seed=7)
    seen = Seen(small(2, "residual").eval())
    called(quantus.PixelFlipping(perturb_baseline=FILL, **QUIET), seen, two, a[None])
    found["defect/pixel-flipping forwards"] = np.array(len(seen.given))
    try:
        called(quantus.PixelFlipping(perturb_baseline=FILL, return_auc_per_sample=True, **QUIET), linear, x, a[None])
        error = "none"
    except AttributeError as failed:
        error = type(failed).__name__
    found["defect/pixel-flipping auc"] = np.array(error)
    return found


def main() -> None:
    """Write the file beside this one."""
    frozen = {}
    for axes in (2, 3):
        net, x, a = parts(axes)
        for units in ("contribution", "gradient"):
            frozen[f"infidelity/{units}/{axes}"] = captum_infidelity(net, x, a, units)
        size = a.numel()
        flip = quantus.PixelFlipping(perturb_baseline=FILL, features_in_step=size // STEPS, **QUIET)
        frozen[f"pixel-flipping/{axes}"] = np.array(called(flip, net, x, a[None])).ravel()
        faith = quantus.FaithfulnessCorrelation(
            perturb_baseline=FILL, nr_runs=SAMPLES, subset_size=round(SHARE * size), **QUIET
        )
        given = iter(subsets(size))
        with patch("numpy.random.choice", lambda *_, **__: next(given)):  # noqa: B023
            frozen[f"faithfulness-correlation/{axes}"] = np.array(called(faith, net, x, a[None])).ravel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frozen |= defects()
    assert set(SHAPE) == {2, 3}
    np.savez_compressed(Path(__file__).with_name("frozen_metrics_fidelity.npz"), **frozen)


if __name__ == "__main__":
    main()
