"""Occlusion beside captum at its best batch: what one map costs, and how far the drops are from full runs.

Whole maps of large networks take hours, so both sides are timed on a part of the windows and scaled to a map:
captum's runs cost the same whatever the window, so it is timed on 8 or 16 large ones, at its best batch (seconds =
windows x seconds of a sample); ours on batches of windows drawn at random, as they run in a map (seconds = what is
done once for an image, with graph, unchanged maps and the check + windows x seconds of a window). Networks of these
rows have random weights. The shipped, trained network at the end runs whole maps of real images on both sides.

The images are those below SALISCOPE_DATA, or ../shared/data. Run: python benchmarks/occlusion.py [FOLDER OF IMAGES]
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measure import QUICK, Row, calibrated, correlation, interleaved, relative, row
from peers import captum, monai, torchvision, versions
from torch import Tensor, nn

from saliscope import load, read_image
from saliscope.core.target import LogitTarget
from saliscope.core.windows import Windows
from saliscope.methods import METHODS
from saliscope.model.incremental.drops import Run
from saliscope.model.network import Network
from saliscope.model.opened import OpenNetwork
from saliscope.perturb.window import starts

TARGET = LogitTarget((0,), ("0",))
#: what -> axes, size, window, stride, goal.
CASES = {
    "ResNet-50 2D 224, 16 every 8": (2, 224, 16, 8, 2.5),
    "ResNet-50 2D 512, 32 every 16": (2, 512, 32, 16, 6.0),
    "DenseNet-121 2D 224, 16 every 8": (2, 224, 16, 8, 2.0),
    "DenseNet-121 2D 512, 32 every 16": (2, 512, 32, 16, 3.0),
    "ResNet-18 3D 96, 16 every 8": (3, 96, 16, 8, 3.0),
}
#: Rounds, and of larger images and volumes fewer; batches of ours in a round.
ROUNDS, FEW, BATCHES = 5, 3, 2
#: Network that the package ships, its size, window and stride, and the goal of approximate runs against captum.
APPROXIMATE = ("breast-ultrasound", 160, 16, 4, 7.0)
DATA = Path(os.environ.get("SALISCOPE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")


def network(what: str) -> tuple[nn.Module, Tensor]:
    """Return a seeded network of a case and its image."""
    axes, size, *_ = CASES[what]
    torch.manual_seed(0)
    x = torch.randn(1, 3 if axes == 2 else 1, *[size] * axes)
    if axes == 3:
        net = monai.networks.nets.resnet18(spatial_dims=3, n_input_channels=1, num_classes=14, conv1_t_stride=2)
    else:
        net = torchvision.models.resnet50() if "ResNet" in what else torchvision.models.densenet121()
    return calibrated(net, x), x


def windows(x: Tensor, window: int, stride: int, engine: str = "exact") -> Windows:
    """Return all windows of an image."""
    begins = [starts(n, window, stride) for n in x.shape[2:]]
    count = int(np.prod([len(b) for b in begins]))
    return Windows([window] * len(begins), begins, range(count), engine)  # type: ignore[arg-type]


def captum_best(net: nn.Module, x: Tensor) -> tuple[Callable[[], object], int, int]:
    """Return captum's run of a few large windows, how many forward samples it makes, and its best batch."""
    method = captum.attr.Occlusion(net)
    parts = (2, 2, 2) if x.ndim == 5 else (4, 4) if x.shape[2] < 512 else (4, 2)
    sides = (x.shape[1], *[n // p for n, p in zip(x.shape[2:], parts, strict=True)])
    samples = int(np.prod(parts)) + 1

    def run(batch: int) -> Tensor:
        with torch.no_grad():
            return method.attribute(x, sides, sides, target=0, perturbations_per_eval=batch)

    best = min((1, 4, samples - 1)[: 5 - len(parts)], key=lambda batch: seconds(lambda: run(batch)))
    return lambda: run(best), samples, best


def seconds(run: Callable[[], object]) -> float:
    """Return the processor time of a run."""
    gc.collect()
    start = time.process_time()
    run()
    return time.process_time() - start


def prepared(model: OpenNetwork, x: Tensor, asked: Windows) -> tuple[Run, Tensor, float]:
    """Return our run of the image, the baseline, and the processor time of what is done once, with the check."""
    without = x.mean(tuple(range(2, x.ndim)), keepdim=True).expand_as(x)
    start = time.process_time()
    with torch.no_grad():
        from saliscope.model.incremental.drops import Incremental

        run = Incremental(model).run(x, without, TARGET, asked)
        if isinstance(run, str):
            raise RuntimeError(run)
        run.in_full(run.some(4))
    return run, without, time.process_time() - start


def exact(what: str) -> Row:
    """Return the row of a case."""
    *_, window, stride, goal = CASES[what]
    net, x = network(what)
    peer, samples, batch = captum_best(net, x)
    with Network(net).opened() as model, torch.no_grad():
        run, _, once = prepared(model, x, windows(x, window, stride))
        count = len(run.places)
        generator = np.random.default_rng(0)

        def ours() -> Tensor:
            firsts = generator.choice(count // run.size, BATCHES, replace=False) * run.size
            return run.by_regions([run.order[i + j] for i in firsts for j in range(run.size)])

        large = x.ndim == 5 or x.shape[2] > 224
        times = interleaved({"ours": ours, "peer": peer}, FEW if large else ROUNDS)
        checked = run.some(8)
        error = relative(run.by_regions(checked), run.in_full(checked))
    each = [s / (BATCHES * run.size) + once / count for s in times.seconds["ours"]]
    whole = [s / samples for s in times.seconds["peer"]]
    ratios = sorted(w / e for w, e in zip(whole, each, strict=True))
    return row(
        what, float(np.median(each)) * count, float(np.median(whole)) * count, ratio=float(np.median(ratios)),
        low=ratios[0], high=ratios[-1], error=error, goal=goal, peer_version=f"captum {versions()['captum']}",
        note=f"{count} windows; ours = {once:.2f} s + {count} x {np.median(each) - once / count:.4f} s, from "
        f"{BATCHES * run.size} a round; captum {np.median(whole):.4f} s a window, {batch} at a time",
    )  # fmt: skip


def pictures(most: int) -> list[Path]:
    """Return images of lesions, or none."""
    folder = DATA / "breast-ultrasound-busi"
    if __name__ == "__main__" and len(sys.argv) > 1:
        folder = Path(sys.argv[1])
    found = sorted(folder.glob("malignant/images/*")) + sorted(folder.glob("benign/images/*"))
    return found[:: max(1, len(found) // most)][:most]


def approximate() -> list[Row]:
    """Return rows for the shipped network on real images: whole maps against captum's."""
    name, *_, goal = APPROXIMATE
    images = pictures(1 if QUICK else 3)
    if not images:
        return [row(f"{name}, approximate", goal=goal, note="no images: set SALISCOPE_DATA")]
    net = load(name)
    return [r for path in images for r in of_picture(net, path)]


def of_picture(net: Network, path: Path) -> list[Row]:
    """Return the exact and the approximate row of one image."""
    name, size, window, stride, goal = APPROXIMATE
    x = net.viewing(read_image(path)).tensor
    notes: dict[str, str] = {}

    def ours(engine: str) -> Tensor:
        with net.opened() as model:
            method = METHODS.make("occlusion", engine=engine, window=window, stride=stride)
            found = method.attribute(model, x, TARGET)
            notes[engine] = " ".join(model.notes)
        return found

    method = captum.attr.Occlusion(net.module.eval())
    fields = {"baselines": float(x.mean()), "target": 0}

    def peer(batch: int, step: int = stride) -> Tensor:
        with torch.no_grad():
            sides, steps = (x.shape[1], window, window), (x.shape[1], step, step)
            return method.attribute(x, sides, steps, perturbations_per_eval=batch, **fields)

    best = min((1, 8, 32), key=lambda batch: min(seconds(lambda: peer(batch, window)) for _ in range(2)))
    times = interleaved(
        {"exact": lambda: ours("exact"), "approximate": lambda: ours("approximate"), "peer": lambda: peer(best)}, FEW
    )
    right = ours("full")
    rows = []
    for engine in ("exact", "approximate"):
        found = ours(engine)
        gain = times.ratio("exact", engine)["ratio"]
        rows.append(
            row(
                f"{name} {size}, {window} every {stride}, {engine}, {path.stem}", times.median(engine),
                times.median("peer"), **times.ratio("peer", engine), error=relative(found, right),
                goal=goal if engine == "approximate" else None, peer_version=f"captum {versions()['captum']}",
                note=f"Pearson with full runs {correlation(found, right):.4f}; captum {best} at a time"
                + (f"; {gain:.2f} x ours exact" if engine == "approximate" else "") + f". {notes[engine]}",
            )
        )  # fmt: skip
    return rows


def rows() -> list[Row]:
    """Return all rows."""
    return [*map(exact, CASES), *approximate()]


def main() -> None:
    """Print the table, row by row."""
    torch.set_num_threads(1)
    for make in [*[lambda w=w: [exact(w)] for w in CASES], approximate]:  # type: ignore[misc]
        for found in make():
            numbers = {k: f"{v:.3g}" for k, v in found.items() if isinstance(v, float)}
            print(found["what"], numbers, found.get("peer_version"), found.get("note"), flush=True)


if __name__ == "__main__":
    main()
