"""What a newcomer pays: saliscope's own calls beside the plain loop that would be written in their place.

The plain loop reads a picture, runs the network forward and back to its last convolution, and weighs it as Grad-CAM.
Ratios are saliscope's processor time over the loop's, interleaved in one process on one thread; a CT goes through a
fresh process for each competitor, where the peak of resident memory is told too.
Run: python benchmarks/first_contact.py [--write], which writes FIRST_CONTACT.md beside this file, or make bench.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import QUICK, Row, fresh, interleaved, peak_status, relative, row
from PIL import Image
from torch import Tensor, nn

import saliscope
from saliscope.core.target import OutputKind
from saliscope.model.intensity import Scale
from saliscope.model.network import Network
from saliscope.model.steps import Affine, Resize
from saliscope.model.view import Viewing
from saliscope.study.explain import versions

#: A CT goes so many times through a fresh process of each competitor.
RUNS = 1
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


def picture(path: Path, size: int = 256) -> Path:
    """Write a picture with texture, and return its path."""
    rng = np.random.default_rng(len(str(path)) + ord(path.stem[-1]))
    y, x = np.mgrid[:size, :size] / size
    grey = 90 + 60 * np.sin(9 * x) * np.cos(7 * y) + 60 * np.exp(-((x - 0.4) ** 2 + (y - 0.5) ** 2) * 40)
    Image.fromarray(np.clip(grey + 12 * rng.standard_normal(grey.shape), 0, 255).astype(np.uint8)).save(path)
    return path


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


def compared(what: str, ours: Callable[[], object], peer: Callable[[], object], goal: float | None, **more: Any) -> Row:
    """Return the row of our time over the peer's."""
    times = interleaved({"ours": ours, "peer": peer}, more.pop("rounds", 9))
    return row(
        what, times.median("ours"), times.median("peer"), **times.ratio("ours", "peer"), goal=goal, at_most=True,
        **{"peer_version": "the plain loop", **more},
    )  # fmt: skip


def calls(folder: Path) -> list[Row]:
    """Return the rows of `explain()`."""
    found = []
    path = picture(folder / "one.png")
    viewing = Viewing((Scale(1 / 255),), "display")
    for name, net, rounds in (("a small network", small(), 15), ("DenseNet-121", densenet(), 7)):
        network = Network(frozen(net), viewing=viewing)
        layer = last_convolution(net)
        dotted = next(n for n, m in net.named_modules() if m is layer)

        def loop(net: nn.Module = net, layer: nn.Module = layer) -> Tensor:
            grey = np.asarray(Image.open(path).convert("L"), np.float32) / 255
            return weighed(net, layer, torch.from_numpy(grey)[None, None])

        def ours(network: Network = network, dotted: str = dotted) -> Any:
            return saliscope.explain(path, network, "grad-cam", 1, layer=dotted)

        error = relative(torch.from_numpy(np.maximum(ours().values, 0)), loop()[0])
        found.append(compared(f"explain() of a picture of 256, {name}", ours, loop, 2.0, rounds=rounds, error=error))
        batch = torch.rand(32, 1, 256, 256, generator=torch.Generator().manual_seed(0))

        def by_hand(net: nn.Module = net, layer: nn.Module = layer, batch: Tensor = batch) -> list[Tensor]:
            return [weighed(net, layer, one[None]) for one in batch]

        def together(network: Network = network, dotted: str = dotted, batch: Tensor = batch) -> Any:
            return saliscope.explain(batch, network, "grad-cam", 1, layer=dotted)

        what = f"explain() of a batch of 32, {name}, beside 32 turns of the loop"
        found.append(compared(what, together, by_hand, 1.0, rounds=1 if name == "DenseNet-121" else 7))
    return found


def command_line(folder: Path) -> list[Row]:
    """Return the rows of a case as `saliscope explain` goes through it, from file to files."""
    from saliscope.study.plan import Plan
    from saliscope.study.run import run

    path = picture(folder / "case.png")
    net = frozen(small())
    network = Network(net, labels=("without", "with"), viewing=Viewing((Scale(1 / 255),), "display"), name="small")
    layer = last_convolution(net)
    count = iter(range(10**6))

    def loop() -> Tensor:
        grey = np.asarray(Image.open(path).convert("L"), np.float32) / 255
        return weighed(net, layer, torch.from_numpy(grey)[None, None])

    def ours(write: Any) -> Callable[[], object]:
        def go() -> object:
            return run(
                [path], Plan("small", targets=("with",), layer="4"), folder / str(next(count)), watch=Silent(),
                network=network, write=write,
            )  # fmt: skip

        return go

    goals = {"pages": 12.0, "maps": 2.5, "table": None}
    return [
        compared(f"saliscope explain of a picture of 256, --write {write}", ours(write), loop, goal)
        for write, goal in goals.items()
    ]


def volumes(folder: Path) -> list[Row]:
    """Return the rows of a CT from file to page, each competitor in a process of its own."""
    path = folder / "ct.nii.gz"
    ct(path)
    told = {who: [fresh(__file__, "--child", who, str(path)) for _ in range(1 if QUICK else RUNS)] for who in CHILDREN}
    seconds = {who: min(t["seconds"] for t in runs) for who, runs in told.items()}
    memory = {who: max(t["mib"] for t in runs) for who, runs in told.items()}
    size = " x ".join(map(str, CT[::-1]))
    remark = "loaded, run, weighed, interpolated, written as NIfTI and three PNG by hand; imports are not counted"
    return [
        row(
            f"Grad-CAM of a CT of {size}, DenseNet-121 3D 96, from file to page", seconds["ours"], seconds["peer"],
            ratio=seconds["ours"] / seconds["peer"], goal=2.0, at_most=True, peer_version="by hand", note=remark,
        ),
        row(
            "its peak of resident memory", memory["ours"], memory["peer"], unit="MiB",
            ratio=memory["ours"] / memory["peer"], goal=1.2, at_most=True, peer_version="by hand",
        ),
        row(
            "14 labels of the CT at once: peak of resident memory", memory["labels"], 4096, unit="MiB",
            ratio=memory["labels"] / 4096, goal=1.0, at_most=True, peer_version="4 GiB",
            note=f"{seconds['labels']:.0f} s",
        ),
    ]  # fmt: skip


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


def gradients() -> list[Row]:
    """Return the rows of the gradient at the input."""
    net = frozen(densenet())
    network = Network(net, LABELS, "multi-label")
    found = []
    for n, goal in ((32, 1.05), (1, 1.3)):
        batch = torch.rand(n, 1, 224, 224, generator=torch.Generator().manual_seed(0))

        def plain(batch: Tensor = batch) -> Tensor:
            x = batch.clone().requires_grad_()
            return torch.autograd.grad(net(x)[:, 1].sum(), x)[0]

        def ours(batch: Tensor = batch) -> Any:
            return saliscope.explain(batch, network, "gradient", 1)

        told = ours()
        values = torch.from_numpy(np.stack([e.values for e in (told if isinstance(told, list) else [told])]))
        error = relative(values.abs(), plain()[:, 0].abs())
        what = f"gradient of DenseNet-121 at 224, {'a batch of 32' if n > 1 else 'one image a call'}"
        rounds = 1 if n > 1 else 9
        found.append(compared(what, ours, plain, goal, rounds=rounds, error=error, peer_version="plain autograd"))
    return found


def targets() -> list[Row]:
    """Return the rows of many targets beside one."""
    net = frozen(densenet(labels=50))
    network = Network(net, kind="multi-label")
    x = torch.rand(1, 1, 224, 224, generator=torch.Generator().manual_seed(0))
    found = []
    for method, goal in (("grad-cam", 1.3), ("lrp", None)):

        def ask(count: int, method: str = method) -> Callable[[], object]:
            return lambda: saliscope.explain(x, network, method, list(range(count)))

        rounds = 5 if method == "grad-cam" else 1
        found.append(
            compared(f"50 targets by {method}, DenseNet-121 at 224", ask(50), ask(1), goal, rounds=rounds,
                     peer_version="one target")
        )  # fmt: skip
    return found


def rows() -> list[Row]:
    """Return all rows."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        return [*calls(place), *command_line(place), *volumes(place), *gradients(), *targets()]


def main(words: list[str]) -> None:
    """Print the rows, or be the process of one competitor."""
    torch.set_num_threads(1)
    if words[:1] == ["--child"]:
        CHILDREN[words[1]](Path(words[2]))
        print(json.dumps({"seconds": time.process_time() - _start, "mib": peak_status()}))
        return
    from run import FILES, judged, machine, markdown

    start = time.monotonic()
    only = [word for word in words if word in globals()]
    with tempfile.TemporaryDirectory() as folder:
        parts = [globals()[o](*([Path(folder)] if o in ("calls", "command_line", "volumes") else [])) for o in only]
    found = [judged(r) for r in ([r for part in parts for r in part] if only else rows())]
    FILES["first_contact"] = "First contact"
    of_file = {"rows": found, "fault": "", "seconds": round(time.monotonic() - start)}
    page = markdown({"machine": machine(), "versions": versions(), "quick": QUICK, "files": {"first_contact": of_file}})
    page = page.replace("# Side by side with the peers", "# First contact: saliscope's own calls beside a plain loop")
    page = page.replace("Written by `make bench`.", "Written by `python benchmarks/first_contact.py --write`.")
    page = page.replace(
        'Above 1 saliscope needs less, unless the goal\nsays "at most".',
        "Here above 1 means that saliscope needs more.",
    )
    print(page)
    if "--write" in words:
        (Path(__file__).parent / "FIRST_CONTACT.md").write_text(page)


if __name__ == "__main__":
    main(sys.argv[1:])
