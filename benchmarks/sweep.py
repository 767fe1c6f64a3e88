"""Which layer `auto` takes in networks that nobody here drew: one line for each architecture of timm and torchvision.

    python benchmarks/sweep.py [--write] [part of a name ...]

Needs both libraries (`make sweep` installs them). Of each of timm's model files the smallest network is taken, of
torchvision one of each family; weights are random. What is right is not ours: timm says how much smaller than the
image the grid of a network's last stage is (`feature_info`), and the cells of the chosen layer must step as far.
`--write` puts the table into benchmarks/SWEEP.md.
"""

from __future__ import annotations

import importlib.util
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
import torchvision_operators  # noqa: F401 - before torchvision

import saliscope
from saliscope.core.errors import SaliscopeError
from saliscope.study.inspection import Candidate, Inspection

PAGE = Path(__file__).parent / "SWEEP.md"
#: Words in the names of small networks, smallest first.
SMALL = (
    "test_", "atto", "femto", "pico", "nano", "xxs", "xx_small", "xtiny", "_xs", "tiny", "_x_small", "xsmall", "_s0",
    "b0", "_t0", "_t_", "_ti", "mini", "zero", "s12", "small", "_s1", "_a0", "_m0", "18", "10", "26", "14", "_s",
    "base",
)  # fmt: skip
OF_TORCHVISION = (
    "alexnet", "vgg11_bn", "resnet18", "resnext50_32x4d", "wide_resnet50_2", "densenet121", "googlenet", "inception_v3",
    "mobilenet_v2", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "efficientnet_b0",
    "efficientnet_v2_s", "regnet_y_400mf", "regnet_x_400mf", "convnext_tiny", "vit_b_16", "swin_t", "swin_v2_t",
    "maxvit_t",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What came of one architecture: the chosen layer or the refusal, and the step that timm states."""

    name: str
    report: Inspection | None
    refusal: str
    stated: int | None
    seconds: float

    @property
    def chosen(self) -> Candidate | None:
        """Return the chosen layer."""
        layers = self.report.layers if self.report else ()
        return next((c for c in layers if self.report and c.name == self.report.auto), None)

    @property
    def verdict(self) -> str:
        """Return "right", "wrong", "refused", or "not stated" where the library names no step."""
        if self.chosen is None:
            return "refused"
        if self.stated is None:
            return "not stated" if self.chosen.depth >= 0.5 else "shallow"
        return "right" if all(abs(s - self.stated) < 0.26 * self.stated for s in self.chosen.step) else "wrong"

    def line(self) -> str:
        """Return the row of the table."""
        layer = self.chosen
        if layer is None:
            return f"| {self.name} | refused: {self.refusal} | | | | | {self.stated or ''} | {self.verdict} |"
        grid, step = (" x ".join(f"{v:g}" for v in values) for values in (layer.grid, layer.step))
        axes = "as they are" if not layer.laid_out else f"from {layer.shape}"
        return (
            f"| {self.name} | `{layer.name}` | {100 * layer.depth:.0f} % | {grid} | {step} | {axes} "
            f"| {self.stated or ''} | {self.verdict} |"
        )


def networks() -> Iterator[tuple[str, Callable[[], tuple[nn.Module, tuple[int, ...], int | None]]]]:
    """Give the name of each architecture, and what makes it, its input's size and the step that its library states."""
    import timm

    for module in timm.list_modules():
        models = timm.list_models(module=module)
        if models:
            smallest = min(models, key=lambda n: (next((i for i, w in enumerate(SMALL) if w in n), len(SMALL)), len(n)))
            yield f"timm {smallest}", lambda n=smallest: of_timm(n)
            if smallest.startswith("test_") and (others := [n for n in models if not n.startswith("test_")]):
                second = min(others, key=lambda n: (next((i for i, w in enumerate(SMALL) if w in n), 99), len(n)))
                yield f"timm {second}", lambda n=second: of_timm(n)
    for name in OF_TORCHVISION:
        yield f"torchvision {name}", lambda n=name: of_torchvision(n)


def of_timm(name: str) -> tuple[nn.Module, tuple[int, ...], int | None]:
    """Return a network of timm, its input (C, row, column), and the reduction of its last stage."""
    import timm

    net = timm.create_model(name, num_classes=3)
    info = getattr(net, "feature_info", None)
    last = (info.info if hasattr(info, "info") else info or [{}])[-1]
    return net, tuple(net.pretrained_cfg.get("input_size", (3, 224, 224))), last.get("reduction")


def of_torchvision(name: str) -> tuple[nn.Module, tuple[int, ...], int | None]:
    """Return a network of torchvision and its input (C, row, column); it states no step."""
    import torchvision

    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    net = torchvision.models.get_model(name, weights=None, **extra)
    return net, (3, *[299 if name == "inception_v3" else 224] * 2), None


def swept(name: str, make: Callable[[], tuple[nn.Module, tuple[int, ...], int | None]]) -> Row:
    """Return what one look at an architecture shows; nothing is run twice."""
    net, size, stated = make()
    x = torch.randn(1, *size, generator=torch.Generator().manual_seed(0))
    began = time.perf_counter()
    try:
        report = saliscope.inspect(net.eval(), x, heavy_gflop=0)
    except SaliscopeError as error:
        return Row(name, None, str(error), stated, time.perf_counter() - began)
    return Row(name, report, "" if report.auto else report.reason, stated, time.perf_counter() - began)


def page(rows: list[Row]) -> str:
    """Return the table with its sums."""
    counts = {v: sum(r.verdict == v for r in rows) for v in ("right", "wrong", "shallow", "refused", "not stated")}
    sums = ", ".join(f"{n} {v}" for v, n in counts.items() if n)
    versions = ", ".join(f"{n} {__import__(n).__version__}" for n in ("torch", "timm", "torchvision"))
    about = (
        f"Made by `make sweep` ({versions}): {len(rows)} architectures with random weights, each seen in one forward "
        f"run. {sums}. *Depth* is the share of the run's operations before the layer, *step* that between its cells in "
        "elements of the input, *stated* what timm says of the last stage (`feature_info`); it is right where the "
        "steps are the stated ones, up to a quarter."
    )
    head = ["| network | layer | depth | grid | step | axes | stated | |", "|---|---|--:|---|---|---|--:|---|"]
    return "\n".join(["# The layer that `auto` takes", "", about, "", *head, *(r.line() for r in rows), ""])


def main(words: list[str]) -> None:
    """Sweep over the architectures whose names hold one of the words, or over all."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    asked = [w for w in words if w != "--write"]
    for library in ("timm", "torchvision"):
        if importlib.util.find_spec(library) is None:
            sys.exit(f"{library} is not installed: run `make sweep`, which installs it apart")
    rows = []
    for name, make in networks():
        if asked and not any(w in name for w in asked):
            continue
        try:
            rows.append(swept(name, make))
        except Exception as error:  # noqa: BLE001 - a library's own network that cannot be made ends no sweep
            print(f"{name}: not made ({type(error).__name__}: {error})", flush=True)
            continue
        print(f"{rows[-1].line()} {rows[-1].seconds:.1f} s", flush=True)
    text = page(rows)
    print(text.splitlines()[2])
    if "--write" in words:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
