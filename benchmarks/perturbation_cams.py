"""Ablation-CAM and Score-CAM beside pytorch-grad-cam: processor time, and the difference of what they give.

One process, one thread, interleaved, the order turned every round; ratios of processor time, peer over ours. Run with
the peers installed: python benchmarks/perturbation_cams.py
"""

from __future__ import annotations

import contextlib
import gc
import io
import statistics
import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from peers import pytorch_grad_cam, torchvision, versions
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch import Tensor, nn

from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.model.network import Network

ROUNDS = 3

Run = Callable[[], Tensor]


def network(name: str) -> nn.Module:
    """Return a network with seeded weights in evaluation mode, its logits raised above zero."""
    torch.manual_seed(0)
    net: nn.Module = getattr(torchvision.models, name.lower().replace("-", ""))(num_classes=14)
    with torch.no_grad():
        net.fc.bias += 10  # the peer divides by the logit, and turns every sign where it is negative
    return net.eval()


def picture(size: int) -> Tensor:
    torch.manual_seed(1)
    return torch.randn(1, 3, size, size)


class Peer:
    """A method of pytorch-grad-cam, which gives its weights (C,) for class 0."""

    def __init__(self, net: nn.Module, layer: str, x: Tensor, cls: Any, **fields: Any) -> None:
        # A copy of its own, because its hooks stay on the network and keep what they see of other runs.
        net = deepcopy(net)
        self.x, self.cam = x, cls(net, [net.get_submodule(layer)], **fields)
        own = self.cam.get_cam_weights

        def kept(*args: Any) -> Any:
            self.weights = own(*args)
            return self.weights

        self.cam.get_cam_weights = kept

    def __call__(self) -> Tensor:
        with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
            self.cam(self.x, [ClassifierOutputTarget(0)])
        return torch.as_tensor(self.weights)[0].float()


def ours(net: nn.Module, layer: str, x: Tensor, name: str, notes: list[str] | None = None, **fields: Any) -> Tensor:
    """Return our map (*S') for class 0, and what was noted of it."""
    with Network(net).opened() as model:
        found = METHODS.make(name, layer=layer, **fields).attribute(model, x, LogitTarget((0,), ("0",)))[0, 0]
        if notes is not None:
            notes[:] = model.notes
        return found


def seen(net: nn.Module, layer: str, x: Tensor) -> tuple[Tensor, float]:
    """Return the activation (C, *S') of the layer and the logit of class 0."""
    with Network(net).opened() as model:
        probe = model.probe(x, [layer])
        return probe.activations[layer].detach()[0], float(probe.output[0, 0].detach())


def timed(run: Run) -> tuple[float, Tensor]:
    gc.collect()
    start = time.process_time()
    found = run()
    return time.process_time() - start, found


def side_by_side(runs: dict[str, Run], rounds: int) -> tuple[dict[str, list[float]], dict[str, Tensor]]:
    """Return the times of each in every round, and what they gave."""
    times: dict[str, list[float]] = {who: [] for who in runs}
    found: dict[str, Tensor] = {}
    for i in range(rounds):
        for who in list(runs)[:: 1 if i % 2 else -1]:
            seconds, found[who] = timed(runs[who])
            times[who].append(seconds)
    return times, found


def row(what: str, mine: list[float], peers: list[float], error: float, goal: float, note: str) -> dict[str, Any]:
    ratios = [p / m for m, p in zip(mine, peers, strict=True)]
    return {
        "what": what,
        "ours": statistics.median(mine),
        "peer": statistics.median(peers),
        "peer_version": f"grad-cam {versions()['grad-cam']}",
        "ratio": statistics.median(ratios),
        "low": min(ratios),
        "high": max(ratios),
        "error": error,
        "goal": goal,
        "note": note,
    }


def off(found: Tensor, right: Tensor) -> float:
    """Return the largest difference as a share of the largest value."""
    return float((found - right).abs().max() / right.abs().max())


def ablation_of_all_channels(name: str, layer: str, size: int) -> list[dict[str, Any]]:
    """Compare maps of all channels: the closed form, the suffix run once a channel, and the peer's whole runs."""
    net, x = network(name), picture(size)
    activation, logit = seen(net, layer, x)
    runs: dict[str, Run] = {
        "closed form": lambda: ours(net, layer, x, "ablation-cam"),
        "suffix only": lambda: ours(net, layer, x, "ablation-cam", closed_form=False),
        "peer": Peer(net, layer, x, pytorch_grad_cam.AblationCAM),
    }
    runs["closed form"]()  # what torch does once, before anything is timed
    times, found = side_by_side(runs, ROUNDS)
    right = torch.einsum("c,c...->...", found["peer"] * logit, activation)
    note = f"all {len(activation)} channels by both"
    what = f"Ablation-CAM, {name} 2D {size}, {layer}"
    return [
        row(f"{what}, {way}", times[way], times["peer"], off(found[way], right), 100, note)
        for way in ("closed form", "suffix only")
    ]


def ablation_extrapolated(name: str, layer: str, size: int, share: float) -> dict[str, Any]:
    """Compare with a peer that is given a share of the channels: its time grows with them, the drops are compared."""
    net, x = network(name), picture(size)
    activation, logit = seen(net, layer, x)
    peer = Peer(net, layer, x, pytorch_grad_cam.AblationCAM, ratio_channels_to_ablate=share)
    times, found = side_by_side({"ours": lambda: ours(net, layer, x, "ablation-cam"), "peer": peer}, ROUNDS)
    # It takes as many channels of the highest as of the lowest rank, and runs the image twice before any.
    tried, channels = 2 * int(len(activation) * share), len(activation)
    whole = statistics.median(timed(lambda: forward(net, x))[0] for _ in range(3))
    peers = [2 * whole + (seconds - 2 * whole) * channels / tried for seconds in times["peer"]]
    ranked = found["peer"].nonzero()[:, 0].tolist()
    error = off(drops(net, layer, x, ranked), found["peer"][ranked] * logit)
    note = f"peer extrapolated from {tried} to {channels} channels; the error is that of those channels' drops"
    return row(f"Ablation-CAM, {name} 2D {size}, {layer}, closed form", times["ours"], peers, error, 100, note)


def forward(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        found: Tensor = net(x)
    return found


def drops(net: nn.Module, layer: str, x: Tensor, channels: list[int]) -> Tensor:
    """Return our drops of some channels, measured by what comes after the layer."""
    with Network(net).opened() as model:
        suffix = model.suffix(x, layer)
        copies = suffix.activation.repeat(len(channels), 1, 1, 1)
        for copy, k in zip(copies, channels, strict=True):
            copy[k] = 0
        return suffix.output[0, 0] - suffix(copies)[:, 0]


def score(name: str, layer: str, size: int) -> list[dict[str, Any]]:
    """Compare Score-CAM per sample; the peer runs every channel, ours leaves out the constant ones."""
    net, x = network(name), picture(size)
    activation, _ = seen(net, layer, x)
    goals = {"float32": 1.2, "bfloat16": 2.5}
    notes: dict[str, list[str]] = {p: [] for p in goals}
    runs: dict[str, Run] = {
        p: lambda p=p: ours(net, layer, x, "score-cam", notes[p], weights="softmax", precision=p) for p in goals
    }
    times, found = side_by_side({**runs, "peer": Peer(net, layer, x, pytorch_grad_cam.ScoreCAM)}, ROUNDS)
    flat = activation.flatten(1)
    alive = int((flat.amax(1) > flat.amin(1)).sum())
    peers = [seconds * alive / len(activation) for seconds in times["peer"]]
    theirs = torch.einsum("c,c...->...", found["peer"], activation)
    note = f"peer scaled to the {alive} of {len(activation)} channels that are not constant; masks lie differently"
    return [
        row(
            f"Score-CAM, {name} 2D {size}, {layer}, {p}",
            times[p],
            peers,
            off(found[p], theirs),
            goal,
            "; ".join([note, *notes[p]]),
        )
        for p, goal in goals.items()
    ]


def rows() -> list[dict[str, Any]]:
    """Return one entry for each comparison: seconds of processor time, ratios, and the error beside them."""
    torch.set_num_threads(1)
    return [
        *ablation_of_all_channels("ResNet-18", "layer4", 96),
        ablation_extrapolated("ResNet-50", "layer4", 224, 16 / 2048),
        *score("ResNet-18", "layer4", 160),
    ]


def main() -> None:
    """Print one table."""
    print(f"{'what':<52}{'ours s':>8}{'peer s':>9}{'ratio':>9}{'low':>9}{'high':>9}{'error':>10}  note")
    for r in rows():
        numbers = f"{r['ours']:>8.2f}{r['peer']:>9.1f}{r['ratio']:>9.1f}{r['low']:>9.1f}{r['high']:>9.1f}"
        print(f"{r['what']:<52}{numbers}{r['error']:>10.1e}  {r['note']}")


if __name__ == "__main__":
    main()
