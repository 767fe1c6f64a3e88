"""Grad-CAM of 14 labels beside captum: floating-point operations, processor time, and the difference of the maps.

One process, one thread, interleaved, alternating order; times are ratios of medians of processor time. Run: make bench
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from captum.attr import LayerGradCam
from monai.networks.nets import DenseNet121
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network

LABELS = 14
ROUNDS = 5
CASES = {"DenseNet-121 2D, 224": (2, 224), "DenseNet-121 3D, 96": (3, 96)}
LAYER = "features.norm5"


def ours(module: nn.Module, x: Tensor) -> Tensor:
    target = LogitTarget(tuple(range(LABELS)), tuple(map(str, range(LABELS))))
    with Network(module).opened() as model:
        return METHODS.make("grad-cam", layer=LAYER).attribute(model, x, target)[0]


def captums(module: nn.Module, x: Tensor) -> Tensor:
    cam = LayerGradCam(module, module.get_submodule(LAYER))
    maps = [cam.attribute(x, target=k, relu_attributions=False).detach() for k in range(LABELS)]
    return torch.cat(maps, dim=1)[0]


def counted(run: Callable[[], Tensor]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


def timed(run: Callable[[], Tensor]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def main() -> None:
    """Print one table."""
    torch.set_num_threads(1)
    columns = ("FLOPs ours/forward", "captum/ours FLOPs", "captum/ours time")
    print(f"{'network':<22}{columns[0]:>20}{columns[1]:>19}{columns[2]:>18}{'rel. error':>12}")
    for name, (axes, size) in CASES.items():
        torch.manual_seed(0)
        module = DenseNet121(axes, 1, LABELS).eval()
        x = torch.randn(1, 1, *[size] * axes)
        both = {"ours": lambda m=module, x=x: ours(m, x), "captum": lambda m=module, x=x: captums(m, x)}
        flops = {who: counted(run) for who, run in both.items()}
        with torch.no_grad():
            forward = counted(lambda m=module, x=x: m(x))
        times: dict[str, list[float]] = {who: [] for who in both}
        for i in range(ROUNDS):
            for who in list(both)[:: 1 if i % 2 else -1]:
                times[who].append(timed(both[who]))
        a, b = both["ours"](), both["captum"]()
        error = float((a - b).abs().max() / b.abs().max())
        ratio = statistics.median(times["captum"]) / statistics.median(times["ours"])
        extra, saved = flops["ours"] / forward, flops["captum"] / flops["ours"]
        print(f"{name:<22}{extra:>20.3f}{saved:>19.1f}{ratio:>18.1f}{error:>12.1e}")


if __name__ == "__main__":
    main()
