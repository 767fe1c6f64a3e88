"""One network for each kind of block: a convolution, the block, and a convolution that is the last stage."""

from __future__ import annotations

import random

import torch
from torch import Tensor, nn

from model.random_kinds import KINDS, Facts
from model.random_nets import CLASSES, SIZES, Growing, _settle_weights, _sound
from model.random_outputs import HANDED, Net
from model.random_stages import Folded, readout

#: Kinds of network around a block, and the axes of the block.
AROUND = {"2D": 2, "3D": 3, "slices": 2}


def cases() -> list[tuple[str, str]]:
    """Return every pair of a kind and what stands around it."""
    return [(name, around) for name, kind in KINDS.items() for around, axes in AROUND.items() if axes in kind.axes]


def net_of_kind(name: str, around: str) -> tuple[nn.Module, Tensor, Facts]:
    """Return a network at rest in float64, an image for it, and its facts; some draws torch cannot run."""
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        for seed in range(20):
            try:
                net, x, _ = _of_kind(name, around, seed)
                sound = _sound(net, x)
            except (RuntimeError, ValueError):
                continue
            if sound:
                return _of_kind(name, around, seed)
    raise AssertionError(f"torch cannot run {name} in {around}")


def _of_kind(name: str, around: str, seed: int) -> tuple[nn.Module, Tensor, Facts]:
    rng, folded, axes = random.Random(seed), around == "slices", AROUND[around]
    torch.manual_seed(seed)
    size = (6, 12, 8) if folded else SIZES[axes][1]
    x = torch.randn(1, 1, *size, dtype=torch.float64) + 0.3
    start = x.transpose(1, 2).flatten(0, 1) if folded else x
    growing = Growing(rng, axes, start, [], [], [1.0] * axes, [0.0] * axes)
    growing.add("stem", growing.draw().conv(8))
    growing.add_kind(KINDS[name])
    growing.add("last", growing.draw().conv(4))
    body, grid = nn.Sequential(*growing.stages), tuple(growing.h.shape[2:])
    whole = Folded(body, 4, "mean") if folded else body
    net = Net(whole, nn.Identity() if folded else readout("mean"), 4, CLASSES, HANDED["tensor"]).double().eval()
    _settle_weights(net, rng, zero=False)
    facts = growing.facts(seed, around, "tensor", zero=False)
    last = "body.body.2" if folded else "body.2"
    if folded:
        facts |= {"axes": 3, "stride": (1.0, *facts["stride"]), "offset": (0.0, *facts["offset"])}
        grid = (size[0], *grid)

    def arrange(t: Tensor) -> Tensor:
        return t.unflatten(0, (-1, size[0])).transpose(1, 2) if folded else t

    return net, x, Facts(**{**facts, "last": last, "accept": (last,), "arrange": arrange, "grid": grid})
