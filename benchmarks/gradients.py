"""The gradient at the input, and its average over noisy copies, beside captum; 3D first convolutions most of all."""

from __future__ import annotations

import json

import torch
from captum.attr import NoiseTunnel, Saliency
from measure import Row, Run, calibrated, interleaved, relative, row
from peers import monai, torchvision, versions
from torch import Tensor, nn

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network

TARGET = LogitTarget((0,), ("label",))
SAMPLES = 4


def volumetric(size: int, **fields: int) -> tuple[nn.Module, Tensor]:
    net = monai.networks.nets.resnet18(spatial_dims=3, n_input_channels=1, num_classes=4, **fields)
    return net, torch.randn(1, 1, *[size] * 3)


#: name -> how network and image are made, and the goal against captum.
CASES = {
    "ResNet-18 3D 96, first convolution 7 with stride 2": (lambda: volumetric(96, conv1_t_stride=2), 1.45),
    "ResNet-18 3D 64, first convolution 7 with stride 1": (lambda: volumetric(64, conv1_t_stride=1), 1.45),
    "DenseNet-121 3D 64": (lambda: (monai.networks.nets.DenseNet121(3, 1, 4), torch.randn(1, 1, 64, 64, 64)), None),
    "ResNet-50 2D 224": (lambda: (torchvision.models.resnet50(), torch.randn(1, 3, 224, 224)), None),
    "DenseNet-121 2D 224": (lambda: (torchvision.models.densenet121(), torch.randn(1, 3, 224, 224)), None),
}


def made(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    net, x = CASES[name][0]()
    return calibrated(net, x), x


def ours(net: nn.Module, x: Tensor, name: str = "gradient", **fields: float) -> Tensor:
    with Network(net).opened() as model:
        return METHODS.make(name, **fields).attribute(model, x, TARGET)[0, 0]


def captums(net: nn.Module, x: Tensor) -> Tensor:
    found: Tensor = Saliency(net).attribute(x.clone().requires_grad_(), target=0, abs=False)
    return found[0].sum(0)


def gradient(name: str) -> list[Row]:
    net, x = made(name)

    def forward() -> None:
        with torch.no_grad():
            net(x)

    runs: dict[str, Run] = {"ours": lambda: ours(net, x), "captum": lambda: captums(net, x), "forward": forward}
    times = interleaved(runs, 5)
    over = times.ratio("ours", "forward")
    return [
        row(
            f"gradient, {name}",
            times.median("ours"),
            times.median("captum"),
            **times.ratio("captum", "ours"),
            error=relative(ours(net, x), captums(net, x)),
            goal=CASES[name][1],
            peer_version=f"captum {versions()['captum']}",
            note=f"{over['ratio']:.2f} [{over['low']:.2f}, {over['high']:.2f}] of a bare forward run",
        )
    ]


def smoothgrad(name: str, goal: float) -> Row:
    net, x = made(name)

    def captum_tunnel() -> None:
        tunnel = NoiseTunnel(Saliency(net))
        tunnel.attribute(
            x.clone().requires_grad_(), nt_samples=SAMPLES, nt_samples_batch_size=1, stdevs=0.6, target=0, abs=False
        )

    runs: dict[str, Run] = {
        "ours": lambda: ours(net, x, "smoothgrad", samples=SAMPLES, memory_mb=1e-3),
        "captum": captum_tunnel,
    }
    times = interleaved(runs, 3)
    return row(
        f"SmoothGrad of {SAMPLES} samples, one at a time, {name}",
        times.median("ours"),
        times.median("captum"),
        **times.ratio("captum", "ours"),
        goal=goal,
        peer_version=f"captum {versions()['captum']}",
        note="the noise differs, so there is no error to state; each is tested against a replica",
    )


def rows() -> list[Row]:
    """Return all rows."""
    table = [r for name in CASES for r in gradient(name)]
    return [*table, smoothgrad(next(iter(CASES)), 1.45), smoothgrad("ResNet-50 2D 224", 1.15)]


if __name__ == "__main__":
    print(json.dumps(rows(), indent=1))
