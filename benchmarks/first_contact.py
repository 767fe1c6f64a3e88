"""What a newcomer pays: saliscope's own calls beside the plain loop that would be written in their place.

The plain loop reads a picture, runs the network forward and back to its last convolution, and weighs it as Grad-CAM.
Ratios are saliscope's processor time over the loop's, interleaved in one process on one thread; a CT goes through a
fresh process for each competitor, where the peak of resident memory is told too.
Run: python benchmarks/first_contact.py [--write], which writes FIRST_CONTACT.md beside this file.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from first_contact_ct import CHILDREN, CT, LABELS, Silent, ct, densenet, frozen, last_convolution, small, weighed
from measure import QUICK, Row, fresh, interleaved, relative, row
from PIL import Image
from torch import Tensor, nn

import saliscope
from saliscope.model.intensity import Scale
from saliscope.model.network import Network
from saliscope.model.view import Viewing
from saliscope.study.explain import versions

#: A CT goes so many times through a fresh process of each competitor.
RUNS = 1


def picture(path: Path, size: int = 256) -> Path:
    """Write a picture with texture, and return its path."""
    rng = np.random.default_rng(len(str(path)) + ord(path.stem[-1]))
    y, x = np.mgrid[:size, :size] / size
    grey = 90 + 60 * np.sin(9 * x) * np.cos(7 * y) + 60 * np.exp(-((x - 0.4) ** 2 + (y - 0.5) ** 2) * 40)
    Image.fromarray(np.clip(grey + 12 * rng.standard_normal(grey.shape), 0, 255).astype(np.uint8)).save(path)
    return path


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
    child = str(Path(__file__).with_name("first_contact_ct.py"))
    told = {who: [fresh(child, who, str(path)) for _ in range(1 if QUICK else RUNS)] for who in CHILDREN}
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
