"""A CT from file to page, one competitor in this process; and what all rows of first_contact.py are made of."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import QUICK, peak_status
from PIL import Image
from torch import Tensor, nn

from saliscope.core.target import OutputKind
from saliscope.model.network import Network
from saliscope.model.steps import Affine, Resize
from saliscope.model.view import Viewing

CT = (40, 128, 128) if QUICK else (300, 512, 512)
LABELS = tuple(f"finding {i}" for i in range(14))


class Silent:
    """Watches a run and says only what failed."""

    def cases(self, total: int) -> None: ...
    def warned(self, what: str) -> None: ...
    def step(self, case: str, what: str) -> None: ...
    def done(self, case: str, what: str) -> None: ...
    def failed(self, what: str, why: str) -> None:
        raise RuntimeError(f"{what}: {why}")


def small() -> nn.Module:
    """Return a network as newcomers build them: three convolutions and a linear layer."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for i, o in ((1, 16), (16, 32), (32, 64)):
        layers += [nn.Conv2d(i, o, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 2)).eval()


def densenet(dims: int = 2, labels: int = 14) -> nn.Module:
    """Return MONAI's DenseNet-121 with random weights."""
    from monai.networks.nets import DenseNet121

    torch.manual_seed(0)
    return DenseNet121(spatial_dims=dims, in_channels=1, out_channels=labels).eval()


def last_convolution(net: nn.Module) -> nn.Module:
    """Return the last layer of convolutions."""
    return [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)][-1]


def weighed(net: nn.Module, layer: nn.Module, x: Tensor, index: int = 1) -> Tensor:
    """Return Grad-CAM's map (N, *S') by hand: the forward run keeps a graph from the layer on."""
    kept: list[Tensor] = []

    def keep(_module: nn.Module, _given: Any, output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0].clone()

    handle = layer.register_forward_hook(keep)
    try:
        score = net(x)[:, index].sum()
    finally:
        handle.remove()
    (gradient,) = torch.autograd.grad(score, kept[0])
    axes = tuple(range(2, gradient.ndim))
    return (gradient.mean(axes, keepdim=True) * kept[0]).sum(1).relu().detach()


def frozen(net: nn.Module) -> nn.Module:
    """Return the network without gradients of its weights."""
    return net.requires_grad_(requires_grad=False)


def ct(path: Path) -> None:
    """Write a volume of Hounsfield units with a body, organs and noise."""
    import nibabel as nib

    rng = np.random.default_rng(0)
    _, y, x = np.ogrid[: CT[0], : CT[1], : CT[2]]
    volume = np.full(CT, -1000, np.int16)
    inside = ((x / CT[2] - 0.5) / 0.42) ** 2 + ((y / CT[1] - 0.5) / 0.32) ** 2 < 1
    volume[np.broadcast_to(inside, CT)] = 40
    for plane in volume:
        plane += rng.normal(0, 15, plane.shape).astype(np.int16)
    nib.save(nib.Nifti1Image(volume.T, np.diag([-0.8, -0.8, 1.5, 1])), path)


def tiny_ct(path: Path) -> Path:
    """Write a volume of 32 elements a side, for what is loaded and imported at the first one only."""
    import nibabel as nib

    values = np.random.default_rng(0).normal(0, 99, (32, 32, 32)).astype(np.int16)
    nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    return path


def child_ours(path: Path, targets: tuple[str, ...] = ("finding 1",)) -> None:
    """Explain the CT as the command line does."""
    from saliscope.study.plan import Plan
    from saliscope.study.run import run

    kind: OutputKind = "multi-label"
    viewing = Viewing((Affine(-1000.0, 1000.0, 0.0, 1.0), Resize((96, 96, 96))))
    network = Network(frozen(densenet(3)), LABELS, kind, "dense", viewing)
    warm = Network(nn.Sequential(nn.Conv3d(1, 2, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten()).eval(), ("a", "b"))
    tiny = tiny_ct(path.parent / f"tiny-{len(targets)}.nii.gz")
    run([tiny], Plan("warm"), path.parent / "warm", watch=Silent(), network=warm, overwrite=True)
    yield_start()
    run([path], Plan("dense", targets=targets), path.parent / "out", watch=Silent(), network=network, overwrite=True)


def child_peer(path: Path) -> None:
    """Do by hand what must be done at least."""
    import nibabel as nib

    net = frozen(densenet(3))
    nib.save(nib.load(tiny_ct(path.parent / "tiny.nii.gz")), path.parent / "warm.nii.gz")
    Image.new("RGB", (8, 8)).save(path.parent / "warm.png")
    yield_start()
    image = nib.load(path)
    values = np.ascontiguousarray(np.asarray(image.dataobj, np.float32).T)
    x = torch.nn.functional.interpolate(torch.from_numpy((values + 1000) / 2000)[None, None], (96, 96, 96), mode="area")
    coarse = weighed(net, last_convolution(net), x)[None]
    heat = torch.nn.functional.interpolate(coarse, CT, mode="trilinear")[0, 0].numpy()
    nib.save(nib.Nifti1Image(heat.T, image.affine), path.parent / "by_hand.nii.gz")
    top = float(heat.max()) or 1.0
    for axis in range(3):
        grey = np.clip((values.take(CT[axis] // 2, axis) + 160) / 400, 0, 1)
        red = np.clip(heat.take(CT[axis] // 2, axis) / top, 0, 1)
        rgb = np.stack([np.maximum(grey, red), grey, grey], -1)
        Image.fromarray((rgb * 255).astype(np.uint8)).save(path.parent / f"by_hand_{axis}.png")


_start = 0.0


def yield_start() -> None:
    """Begin to count: what came before were imports and weights."""
    global _start
    _start = time.process_time()


CHILDREN: dict[str, Callable[[Path], None]] = {
    "peer": child_peer,
    "ours": child_ours,
    "labels": lambda path: child_ours(path, LABELS),
}


if __name__ == "__main__":
    torch.set_num_threads(1)
    CHILDREN[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps({"seconds": time.process_time() - _start, "mib": peak_status()}))
