"""Make the .npz anew: `PYTHONPATH=benchmarks python tests/parity/make_frozen_metrics_randomisation.py`.

Quantus 0.6.0 is given our own draws of weights and of noise, so that only what it computes of them is compared. Then
what it gets wrong is shown: an average with the untouched network in it, the caller's generator seeded anew, one class
drawn of many, and explanations one after the other.
"""

import warnings
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from frozen_metrics_randomisation_parts import BINS, NOISE, X, drawn, network, weights
from peers import quantus
from quantus.helpers.model.pytorch_model import PyTorchModel
from torch import nn

QUIET = {"disable_warnings": True, "display_progressbar": False, "normalise": False, "abs": False}
CALLS = []


class Double(nn.Module):
    """A network in float64 for a library that hands over float32."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.double())


def gradient(model, inputs, targets, **_):
    """Return the gradient of the target's logit, summed over channels (N, 1, *S), in float64, and count the call."""
    CALLS.append(len(inputs))
    x = torch.as_tensor(np.asarray(inputs), dtype=torch.float64).requires_grad_()
    scores = model.eval()(x)[torch.arange(len(x)), torch.as_tensor(np.asarray(targets)).long()]
    return torch.autograd.grad(scores.sum(), x)[0].sum(1, keepdim=True).numpy()


def called(metric, classes=2, softmax=False):
    """Return what a metric of Quantus gives of all images and class 0, and how often it asked for explanations."""
    CALLS.clear()
    x, y = X.numpy(), np.zeros(len(X), int)
    with patch.object(PyTorchModel, "get_random_layer_generator", lambda *_, **__: _wrapped()):
        found = metric(
            Double(network(classes).module).eval(), x, y, channel_first=True, explain_func=gradient, softmax=softmax
        )
    return found, list(CALLS)


def _wrapped():
    for layer, module in drawn():
        yield layer, Double(module).eval()


def main() -> None:
    """Write the file beside this one."""
    frozen = {"weights": weights().numpy()}
    by_layer, _ = called(quantus.MPRT(layer_order="top_down", **QUIET))
    frozen["mprt/layers"] = np.array([v for k, v in by_layer.items() if k != "original"])
    frozen["defect/mprt average"] = np.array(called(quantus.MPRT(return_average_correlation=True, **QUIET))[0])
    bins = {"n_bins": BINS}
    frozen["efficient-mprt"] = np.array(
        called(quantus.EfficientMPRT(complexity_func_kwargs=bins, **QUIET), softmax=True)[0]
    )
    copies = [torch.cat(some).numpy() for some in zip(*(NOISE.noisy(x[None]) for x in X), strict=True)]
    given = iter(copies)
    noisy = quantus.MaxSensitivity(
        nr_samples=NOISE.samples, perturb_func=lambda arr, **_: next(given).reshape(arr.shape), **QUIET
    )
    frozen["max-sensitivity"] = np.array(called(noisy)[0])
    frozen["defect/max-sensitivity calls"] = np.array(len(called(quantus.MaxSensitivity(**QUIET))[1]))
    frozen["random-logit"] = np.array(
        called(quantus.RandomLogit(num_classes=2, similarity_func=quantus.correlation_spearman, **QUIET))[0]
    )
    np.random.seed(1)  # noqa: NPY002
    called(quantus.RandomLogit(num_classes=8, seed=42, **QUIET), 8)
    after = np.random.random_sample()  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    called(quantus.RandomLogit(num_classes=8, seed=42, **QUIET), 8)
    frozen["defect/random-logit generator"] = np.array([after, np.random.random_sample()])  # noqa: NPY002
    np.savez_compressed(Path(__file__).with_name("frozen_metrics_randomisation.npz"), **frozen)


if __name__ == "__main__":
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        main()
