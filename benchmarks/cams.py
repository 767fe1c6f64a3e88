"""Grad-CAM beside captum, pytorch-grad-cam, torchcam and MONAI, 2D and 3D: time, memory, and whether the map is right.

Each map is compared with one made by plain autograd from a copy of the activation: of DenseNets the peers' differ,
since an activation in place follows the layer. Peers that scale or rectify their maps are judged by correlation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import torch
from measure import Row, Run, allocated, calibrated, correlation, interleaved, reason, relative, row
from peers import captum, monai, pytorch_grad_cam, torchcam, torchvision, versions
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn
from torch.nn import functional

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.methods.kernel import kernel_maps
from saliscope.model.network import Network

LABELS = 14
FAMILY = ("grad-cam", "hirescam", "layercam", "grad-cam++")
#: name -> axes, size, layer.
CASES = {
    "ResNet-50 2D 224": (2, 224, "layer4"),
    "DenseNet-121 2D 224": (2, 224, "features.norm5"),
    "ResNet-18 3D 96": (3, 96, "layer4"),
    "DenseNet-121 3D 64": (3, 64, "features.norm5"),
}
PEERS = {"captum": "captum", "pytorch-grad-cam": "grad-cam", "torchcam": "torchcam", "MONAI": "monai"}
#: Peers that drive parameter gradients through the whole network, against which the goal stands.
SLOW = {"pytorch-grad-cam": 2.5, "MONAI": 2.5}


def network(name: str, size: int = 0) -> tuple[nn.Module, Tensor]:
    """Return a seeded network of a case and its image."""
    axes, full, _ = CASES[name]
    torch.manual_seed(0)
    x = torch.randn(1, 3 if axes == 2 else 1, *[size or full] * axes)
    if axes == 2:
        net = torchvision.models.resnet50() if "ResNet" in name else torchvision.models.densenet121()
    elif "ResNet" in name:
        net = monai.networks.nets.resnet18(spatial_dims=3, n_input_channels=1, num_classes=LABELS, conv1_t_stride=2)
    else:
        net = monai.networks.nets.DenseNet121(3, 1, LABELS)
    return calibrated(net, x), x


def truth(net: nn.Module, x: Tensor, layer: str, label: int) -> Tensor:
    """Return the Grad-CAM map (1, 1, *S') by plain autograd."""
    kept = []

    def cut(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        kept.append(output.detach().clone().requires_grad_())
        return kept[0].clone()

    handle = net.get_submodule(layer).register_forward_hook(cut)
    score = net(x)[0, label]
    handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    weights = gradient.flatten(2).mean(2)[(..., *[None] * (x.ndim - 2))]
    return (weights * kept[0].detach()).sum(1, keepdim=True)


def ours(net: nn.Module, x: Tensor, layer: str, label: int) -> Tensor:
    with Network(net).opened() as model:
        method = METHODS.make("grad-cam", layer=layer)
        return method.attribute(model, x, LogitTarget((label,), ("label",)))


def captums(net: nn.Module, x: Tensor, layer: str, label: int) -> Tensor:
    return captum.attr.LayerGradCam(net, net.get_submodule(layer)).attribute(x, target=label).detach()


def grad_cams(net: nn.Module, x: Tensor, layer: str, label: int) -> Tensor:
    with pytorch_grad_cam.GradCAM(net, [net.get_submodule(layer)]) as cam:
        return torch.as_tensor(cam(x, [ClassifierOutputTarget(label)]))[None]


def torchcams(net: nn.Module, x: Tensor, layer: str, label: int) -> Tensor:
    with torchcam.methods.GradCAM(net, layer, input_shape=tuple(x.shape[1:])) as cam:
        return cam(label, net(x))[0][None]


def monais(net: nn.Module, x: Tensor, layer: str, label: int) -> Tensor:
    return monai.visualize.GradCAM(net, layer)(x, class_idx=label).detach()


def forward(net: nn.Module, x: Tensor, _layer: str = "", _label: int = 0) -> Tensor:
    with torch.no_grad():
        return net(x)


RUNS: dict[str, Callable[..., Tensor]] = {
    "forward": forward,
    "ours": ours,
    "captum": captums,
    "pytorch-grad-cam": grad_cams,
    "torchcam": torchcams,
    "MONAI": monais,
}


def on_input(found: Tensor, x: Tensor) -> Tensor:
    mode = "bilinear" if x.ndim == 4 else "trilinear"
    return functional.interpolate(found.float(), x.shape[2:], mode=mode, align_corners=False)


def judged(who: str, found: Tensor, right: Tensor, x: Tensor) -> Row:
    """Return how far a map is from the right one, and in words where it is wrong."""
    if who in ("ours", "captum"):
        error = relative(found, right)
        return {
            "error": error,
            "note": "" if error < 1e-3 else "its map is not the layer's: a ReLU in place came between",
        }
    agreement = correlation(on_input(found, x), on_input(right.relu(), x))
    note = f"correlation of its map with the positive part of the right one {agreement:.3f}"
    if agreement < 0:
        note += "; its map is upside down"
    elif agreement < 0.97:
        note += "; its map is wrong or laid elsewhere"
    return {"note": note}


def case(name: str) -> list[Row]:
    """Return the rows of one network."""
    layer = CASES[name][2]
    net, x = network(name)
    label = max(range(LABELS), key=lambda k: float(on_input(truth(net, x, layer, k), x).relu().mean()))
    right = truth(net, x, layer, label)
    table, runs = [], {}
    notes: dict[str, Row] = {}
    for who, run in RUNS.items():
        try:
            net.zero_grad()
            notes[who] = {} if who == "forward" else judged(who, run(net, x, layer, label), right, x)
            runs[who] = partial(run, net, x, layer, label)
        except Exception as error:  # noqa: BLE001 - that a peer raises is a result
            notes[who] = {"note": f"raises {type(error).__name__}: {reason(str(error).splitlines()[0])}"}
            for hooked in net.modules():  # it left its hooks behind
                hooked._forward_hooks.clear()  # noqa: SLF001
                hooked._backward_hooks.clear()  # noqa: SLF001
    times = interleaved(runs, 5)
    mine = times.median("ours")
    table.append(
        row(
            f"Grad-CAM, {name}, over a bare forward run",
            mine,
            times.median("forward"),
            **times.ratio("ours", "forward"),
            **notes["ours"],
            goal=1.05,
            at_most=True,
            peer_version="bare forward run",
        )
    )
    for who, package in PEERS.items():
        told = {"peer_version": f"{who} {versions()[package]}", "goal": SLOW.get(who), **notes[who]}
        found = times.ratio(who, "ours") if who in runs else {"met": "raises"}
        table.append(row(f"Grad-CAM, {name}", mine, times.median(who) if who in runs else None, **found, **told))
    return [*table, *memory(name)]


def memory(name: str) -> list[Row]:
    """Return how many bytes of tensors live at the peak of each."""
    net, x = network(name)
    added: dict[str, float | str] = {}
    for who, run in RUNS.items():
        try:
            added[who] = allocated(lambda run=run: run(net, x, CASES[name][2], 0))
        except RuntimeError as error:
            added[who] = f"raises {reason(str(error))}"
    table, mine = [], added["ours"]
    for who in ("forward", *PEERS):
        peak, over = added[who], who == "forward"
        told = {
            "unit": "MiB",
            "peer_version": "bare forward run" if over else f"{who} {versions()[PEERS[who]]}",
            "goal": 1.1 if over else None,
            "at_most": over,
        }
        if isinstance(peak, str) or isinstance(mine, str):
            table.append(row(f"Grad-CAM, {name}, tensors at the peak", mine, None, note=peak, met="raises", **told))
            continue
        ratio = mine / peak if over else peak / mine
        table.append(row(f"Grad-CAM, {name}, tensors at the peak", mine, peak, ratio=ratio, **told))
    return table


def family() -> Row:
    """Return the row of four methods and 14 labels from one pass, beside captum's Grad-CAM alone."""
    name = "DenseNet-121 2D 224"
    net, x = network(name)
    layer, labels = CASES[name][2], tuple(range(LABELS))

    def four() -> Tensor:
        with Network(net).opened() as model:
            methods = [METHODS.make(m, layer=layer) for m in FAMILY]
            return kernel_maps(model, x, LogitTarget(labels, tuple(map(str, labels))), methods)[0][0]

    def one() -> Tensor:
        cam = captum.attr.LayerGradCam(net, net.get_submodule(layer))
        return torch.cat([cam.attribute(x, target=k).detach() for k in labels], dim=1)[0]

    runs: dict[str, Run] = {"ours": four, "captum": one, "forward": lambda: forward(net, x)}
    times = interleaved(runs, 3)
    over = times.ratio("ours", "forward")
    return row(
        f"{len(FAMILY)} CAM methods of {LABELS} labels, {name}, beside Grad-CAM alone",
        times.median("ours"),
        times.median("captum"),
        **times.ratio("captum", "ours"),
        error=relative(four(), one()),
        peer_version=f"captum {versions()['captum']}",
        note=f"{over['ratio']:.2f} [{over['low']:.2f}, {over['high']:.2f}] of a bare forward run",
    )


def rows() -> list[Row]:
    """Return all rows."""
    return [r for name in CASES for r in case(name)] + [family()]


if __name__ == "__main__":
    print(json.dumps(rows(), indent=1))
