"""Integrated gradients beside captum's Gauss-Legendre rule: gradients at equal L2 error to a fine midpoint sum.

Real images of both shipped networks, each explained for its predicted class from the image's own black. The data folder
is that of the tests: SALISCOPE_DATA, or ../shared/data.
"""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from captum.attr import IntegratedGradients
from measure import QUICK, Row, interleaved, row
from torch import Tensor

from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.load import load
from saliscope.model.network import Network
from saliscope.read import read

DATA = Path(os.environ.get("SALISCOPE_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
EACH = 1 if QUICK else 6
FINE = 300 if QUICK else 1200
PEER = f"captum {version('captum')}"
STEPS = (50, 65, 80, 100, 130, 160)


def ultrasound() -> Iterator[tuple[Network, Tensor]]:
    net = load("breast-ultrasound")
    assert net.card is not None
    for kind in ("normal", "benign", "malignant")[-EACH:]:
        paths = sorted((DATA / "breast-ultrasound-busi" / kind / "images").glob("*.jpg"))
        for path in paths[:: len(paths) // 2][: max(1, EACH // 3)]:
            yield net, net.card.view(read(path)).tensor


def chest() -> Iterator[tuple[Network, Tensor]]:
    net = load("chest-pneumonia-28")
    assert net.card is not None
    with np.load(DATA / "pneumoniamnist" / "pneumoniamnist.npz") as arrays:
        pictures = arrays["test_images"]
    for picture in pictures[:: len(pictures) // EACH][:EACH]:
        grid = Geometry.of_picture(picture.shape)
        grey = picture[None].astype(np.float32)
        yield net, net.card.view(MedicalImage(grey, picture[None].copy(), grid, "CR", "grey", "", "picture")).tensor


def ours(net: Network, x: Tensor, **fields: object) -> tuple[Tensor, int, int, float]:
    """Return the map, forward samples, gradients, and the bound in the note, where there is one."""
    with net.opened() as model:
        top = int(model(x)[0].argmax()) if net.kind == "multi-class" else 1
        target = LogitTarget((top,), (net.labels[top],), net.kind)
        before = model.counts.forward_samples
        found = METHODS.make("integrated-gradients", **fields).attribute(model, x, target)[0, 0]
        said = " ".join(model.notes)
    if "at most" not in said:
        return found, 0, 0, math.nan
    took = int(said.partition("took ")[2].split()[0])
    bound = float(said.partition("at most ")[2].partition("%")[0]) / 100
    return found, model.counts.forward_samples - before, took, bound


def captums(net: Network, x: Tensor, steps: int) -> Tensor:
    module = net.module.requires_grad_(requires_grad=False)
    with torch.no_grad():
        output = module(x)
    top = int(output[0].argmax()) if output.shape[1] > 1 else 0
    found = IntegratedGradients(module).attribute(
        x, float(x.min()), top, n_steps=steps, internal_batch_size=min(steps, 25)
    )
    return found.detach().sum(1)[0]


def needed(errors: list[float], error: float) -> float:
    """Return after how many steps the errors at STEPS fall to one, between them and beyond on a line of logarithms."""
    x, y = np.log(STEPS), np.log(errors)
    slope, at = np.polyfit(x, y, 1)
    return float(np.exp((math.log(error) - at) / slope))


def compared(name: str, cases: list[tuple[Network, Tensor]]) -> list[Row]:
    found = []
    for net, x in cases:
        fine = ours(net, x, steps=FINE)[0]
        off = [float((captums(net, x, n) - fine).norm() / fine.norm()) for n in STEPS]
        mine, forward, took, bound = ours(net, x)
        found.append((took, float((mine - fine).norm() / fine.norm()), bound, forward, off[0], off))
    table = []
    took = statistics.median(f[0] for f in found)
    errors, theirs = [f[1] for f in found], [f[4] for f in found]
    fewer = [50 / f[0] for f in found]
    table.append(
        row(
            f"gradients for an error no larger than Gauss-Legendre-50's, {name}, {len(found)} images",
            took,
            50,
            ratio=statistics.median(fewer),
            low=min(fewer),
            high=max(fewer),
            error=max(errors),
            goal=1.5,
            unit="gradients",
            peer_version=PEER,
            met=all(e <= t for e, t in zip(errors, theirs, strict=True)) and min(fewer) >= 1.5,
            note=f"captum's error {min(theirs):.4f} to {max(theirs):.4f}, ours {min(errors):.4f} to {max(errors):.4f}, "
            f"bound on it {min(f[2] for f in found):.3f} to {max(f[2] for f in found):.3f} and never passed: "
            f"{all(f[1] <= f[2] for f in found)}; {found[0][3]} forward samples",
        )
    )
    equal = [needed(f[5], f[1]) for f in found]
    ratios = [n / f[0] for n, f in zip(equal, found, strict=True)]
    table.append(
        row(
            f"gradients at our error, {name}, {len(found)} images",
            took,
            statistics.median(equal),
            ratio=statistics.median(ratios),
            low=min(ratios),
            high=max(ratios),
            error=max(errors),
            goal=1.5,
            unit="gradients",
            peer_version=PEER,
            note=f"captum's from a line of logarithms through its errors at {STEPS[0]} to {STEPS[-1]} steps",
        )
    )
    return table


def timed(name: str, net: Network, x: Tensor) -> Row:
    times = interleaved({"ours": lambda: ours(net, x, memory_mb=512), "captum": lambda: captums(net, x, 50)}, 5)
    return row(
        f"seconds, default beside Gauss-Legendre-50, {name}",
        times.median("ours"),
        times.median("captum"),
        **times.ratio("captum", "ours"),
        peer_version=PEER,
        note="ours with one forward run more, for the predicted class",
    )


def rows() -> list[Row]:
    """Return all rows."""
    torch.set_num_threads(1)
    table = []
    for name, cases in (("breast-ultrasound", list(ultrasound())), ("chest-pneumonia-28", list(chest()))):
        table += [*compared(name, cases), timed(name, *cases[0])]
    return table


if __name__ == "__main__":
    print(json.dumps(rows(), indent=1))
