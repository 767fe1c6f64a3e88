"""What must hold of a map of any network, each checked against plain torch on a copy that saliscope never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import saliscope
from model.module_state import Snapshot, shared_generators
from model.random_kinds import Facts
from model.random_nets import random_net
from model.random_outputs import logits_of
from saliscope.core.errors import SaliscopeError
from saliscope.core.explanation import Explanation
from saliscope.methods import METHODS
from saliscope.model.network import Network

#: Largest difference from plain torch, as a share of the map's largest value; maps are handed out in float32.
CLOSE = 1e-5
TARGET = 1
#: Windows side by side: a literal replica needs no rule for overlaps.
WINDOW = {2: 8, 3: 4}
#: What a method of a sum may miss, where it does not say.
GAP = 0.1


@dataclass(frozen=True)
class Outcome:
    """How a check ended: equal, mismatch, crash, refused (in a sentence), noted (which explains it), or nothing."""

    word: str
    why: str = ""


EQUAL, NOTHING = Outcome("equal"), Outcome("not applicable")


class Subject:
    """One random network: what saliscope is asked about, and copies for plain torch."""

    def __init__(self, seed: int, make: Callable[[], tuple[nn.Module, Tensor, Facts]] | None = None) -> None:
        self.seed, self.make = seed, make or partial(random_net, seed)
        self.net, self.x, self.facts = self.make()

    def fresh(self) -> nn.Module:
        return self.make()[0]

    def explain(self, method: str, x: Tensor | None = None, layer: str | None = None, **fields: Any) -> Any:
        """Return explanations by saliscope, of a network that this question is the first to."""
        made = METHODS.make(method, **fields)
        return saliscope.explain(self.x if x is None else x, self.net, made, TARGET, layer)

    def score(self, x: Tensor) -> Tensor:
        """Return the score of every row of x, each run alone on a copy."""
        net = self.fresh()
        with torch.no_grad():
            return torch.cat([logits_of(net(row))[:, TARGET] for row in x.split(1)])

    @cached_property
    def gradient(self) -> Tensor:
        image = self.x.clone().requires_grad_()
        logits_of(self.fresh()(image))[0, TARGET].backward()
        assert image.grad is not None
        return image.grad

    def at(self, layer: str, x: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return activation and gradient of a layer on a copy, as the layer has them."""
        net, seen = self.fresh(), []

        def watch(_m: nn.Module, _i: object, out: Tensor) -> Tensor:
            out = out if out.requires_grad else out.requires_grad_()
            seen.append(out)
            out.retain_grad()
            return out.clone()

        dict(net.named_modules())[layer].register_forward_hook(watch)
        logits_of(net(self.x.clone().requires_grad_() if x is None else x))[0, TARGET].backward()
        (a,) = seen
        return a.detach().clone(), a.grad


Check = Callable[[Subject], Outcome]


def near(found: Any, right: Any, tolerance: float = CLOSE) -> Outcome:
    """Compare a map with what is right."""
    found, right = np.asarray(found, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if found.shape != right.shape:
        return Outcome("mismatch", f"shape {found.shape} where {right.shape} is right")
    far = np.abs(found - right).max() / max(np.abs(right).max(), 1e-30)
    return EQUAL if far <= tolerance else Outcome("mismatch", f"{far:.2g} of the largest value off")


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    return next((o for o in outcomes if o.word != "equal"), EQUAL)


def gradient(s: Subject) -> Outcome:
    plain = s.gradient
    maps = [near(s.explain("gradient").values, plain.sum(1)[0])]
    maps.append(near(s.explain("input-x-gradient").values, (plain * s.x).sum(1)[0]))
    return worst(maps)


def suffix(s: Subject) -> Outcome:
    """What comes after the last stage gives for other activations what a whole run with a hook gives."""
    with Network(s.net).opened() as model:
        part = model.suffix(s.x, s.facts.last)
        if near(part(part.activation), part.output) != EQUAL:
            return Outcome("mismatch", "the layer's own activation gives another output")
        if s.facts.layout != "grid":
            return EQUAL
        generator = torch.Generator().manual_seed(2)
        drawn = torch.randn(2, *part.activation.shape[1:], generator=generator, dtype=torch.float64)
        others = torch.cat([part.activation + 0.5 * drawn, 0 * drawn[:1]])
        found = part(others)
    net = s.fresh()
    right = []
    for one in others.split(1):
        handle = dict(net.named_modules())[s.facts.last].register_forward_hook(lambda m, i, o, one=one: one.clone())
        right.append(logits_of(net(s.x)).detach())
        handle.remove()
    return near(found, torch.cat(right), 1e-8)


def occlusion(s: Subject) -> Outcome:
    """Windows run whole, and by their regions, with room and without, are those of one copy after the other."""
    axes, shape = s.x.ndim - 2, s.x.shape[2:]
    w = WINDOW[axes]
    right = torch.zeros(shape, dtype=torch.float64)
    own = s.score(s.x)[0]
    for corner in np.ndindex(*[n // w for n in shape]):
        box = (..., *[slice(c * w, c * w + w) for c in corner])
        copy = s.x.clone()
        copy[box] = 0
        right[box] = own - s.score(copy)[0]
    asked = [("full", 1024), ("full", 1e-4), ("exact", 1024), ("exact", 1e-4)]
    fields = {"window": w, "stride": w, "baseline": "zero"}
    return worst([near(s.explain("occlusion", engine=e, memory_mb=m, **fields).values, right) for e, m in asked])


#: Methods that are asked about three images at once, and the fields with which they are quick.
TOGETHER: dict[str, dict[str, Any]] = {
    "gradient": {},
    "grad-cam": {},
    "integrated-gradients": {"steps": 3},
    "occlusion": {"window": 8, "stride": 8},
    "deeplift": {},
    "lrp": {},
}


def asked(s: Subject, method: str, x: Tensor, fields: dict[str, Any]) -> Any:
    """Return the maps, or the refusal."""
    try:
        return s.explain(method, x, **fields)
    except SaliscopeError as refusal:
        return refusal


def batch(s: Subject) -> Outcome:
    """An image among three has the map that it has alone, for every method that does not refuse this network.

    Which of the three is looked at goes round with seeds and methods.
    """
    x = torch.cat([s.x, 2 * s.x.flip(-1) + 1, s.x.roll(3, -2)])
    for i, (method, fields) in enumerate(TOGETHER.items()):
        n = (s.seed + i) % 3
        together, alone = asked(s, method, x, fields), asked(s, method, x[n : n + 1], fields)
        if isinstance(alone, SaliscopeError) or isinstance(together, SaliscopeError):
            # A batch is refused as a whole where the map of any of its images would be.
            each = (asked(s, method, x[k : k + 1], fields) for k in range(len(x)))
            if isinstance(together, SaliscopeError) and any(type(e) is type(together) for e in each):
                continue
            if type(alone) is not type(together):
                return Outcome("mismatch", f"{method} of image {n}: {alone}, and of three: {together}")
            continue
        if len(together) != 3:
            return Outcome("mismatch", f"{len(together)} maps of three images by {method}")
        outcome = near(together[n].values, alone.values)
        if outcome != EQUAL:
            return replace(outcome, why=f"{method}, image {n}: {outcome.why}")
    return EQUAL


def cams(s: Subject) -> Outcome:
    """Grad-CAM and HiResCAM at the named last stage, from hooks, on axes put into (N, C, *S)."""
    activation, slope = (s.facts.arrange(t) for t in s.at(s.facts.last))
    weight = slope.mean(tuple(range(2, slope.ndim)), keepdim=True)
    found = [s.explain(m, layer=s.facts.last) for m in ("grad-cam", "hirescam")]
    right = [(weight * activation).sum(1)[0], (slope * activation).sum(1)[0]]
    return worst([near(f.values, r) for f, r in zip(found, right, strict=True)])


def auto(s: Subject) -> Outcome:
    """The layer that is chosen is the last stage, or one with the same tensor."""
    found: Explanation = s.explain("grad-cam")
    name = str(found.provenance.layer)
    if name in s.facts.accept:
        return EQUAL
    outputs: dict[str, list[Any]] = {name.partition("#")[0]: [], s.facts.last: []}
    net = s.fresh()
    for key, kept in outputs.items():
        dict(net.named_modules())[key].register_forward_hook(lambda m, i, o, kept=kept: kept.append(o))
    net(s.x)
    mine, right = outputs[name.partition("#")[0]][-1], outputs[s.facts.last][-1]
    alike = mine.numel() == right.numel() and torch.equal(mine.flatten(), right.flatten())
    return EQUAL if alike else Outcome("mismatch", f"{name} where {s.facts.last} is the last stage")


def cells(s: Subject) -> Outcome:
    """The map's cells lie where the receptive fields do: by arithmetic, and by trying where that is possible."""
    found: Explanation = s.explain("grad-cam", layer=s.facts.last)
    if found.values.shape != s.facts.grid:
        return Outcome("mismatch", f"a map of {found.values.shape} where the grid is {s.facts.grid}")
    if any("could not be followed" in note for note in found.provenance.notes):
        return Outcome("noted", "the cells could not be followed")
    corners = np.array([[0] * len(s.facts.grid), [n - 1 for n in s.facts.grid]])
    placed = found.seen.to_index(found.geometry.to_world(corners))
    right = np.array(s.facts.offset) + np.array(s.facts.stride) * corners
    far = np.abs(placed - right).max()
    if far > s.facts.slack + 1e-9:
        return Outcome("mismatch", f"{far:.2f} elements off: {placed.tolist()} where {right.tolist()} is right")
    tried = _support(s) if s.facts.local else None
    if tried is None:
        return EQUAL
    cell, centre = tried
    far = np.abs(found.seen.to_index(found.geometry.to_world(np.array([cell])))[0] - centre).max()
    off = Outcome("mismatch", f"cell {cell} sees round {centre}: {far:.2f}")
    return EQUAL if far <= s.facts.slack + 1e-9 else off


def _support(s: Subject) -> tuple[tuple[int, ...], Any] | None:
    """Return the middle cell of the last stage and the centre of what it sees, by gradients at several images.

    None where its field reaches an edge, of the image or of what was cropped from a layer before.
    """
    if "cropped" in s.facts.kinds and min(s.facts.grid) < 3:
        return None
    net, kept = s.fresh(), []
    dict(net.named_modules())[s.facts.last].register_forward_hook(lambda m, i, o: kept.append(o))
    cell = tuple(n // 2 for n in s.facts.grid)
    seen = torch.zeros(s.x.shape[2:], dtype=torch.bool)
    generator = torch.Generator().manual_seed(4)
    for _ in range(6):
        image = torch.randn(s.x.shape, generator=generator, dtype=torch.float64).requires_grad_()
        net(image)
        values = s.facts.arrange(kept.pop())[(0, slice(None), *cell)]
        (values * torch.rand(values.shape, generator=generator, dtype=torch.float64)).sum().backward()
        assert image.grad is not None
        seen |= image.grad.abs().sum((0, 1)) > 0
    where = seen.nonzero()
    if not len(where):
        return None
    low, high = where.amin(0).tolist(), where.amax(0).tolist()
    # The planes of a folded network see one plane each: there no edge cuts.
    cut = any(
        a == 0 or b == n - 1
        for a, b, n, stride in zip(low, high, s.x.shape[2:], s.facts.stride, strict=True)
        if a != b or stride > 1
    )
    return None if cut else (cell, (np.array(low) + np.array(high)) / 2)


def unchanged(s: Subject) -> Outcome:
    """The network and everybody's generators are as they were before any of the questions."""
    net, x = s.fresh(), s.x
    before, generators = Snapshot(net), shared_generators()
    for method in ("gradient", "grad-cam", "occlusion", "deeplift"):
        try:
            saliscope.explain(x, net, METHODS.make(method, **TOGETHER[method]), TARGET)
        except SaliscopeError:
            continue
        except Exception as error:  # noqa: BLE001 - other checks say so; here it is what is left that counts
            del error
    wrong = before.differences(Snapshot(net))
    wrong += ["the caller's generators"] * (shared_generators() != generators)
    with torch.no_grad():
        found, right = logits_of(net(x)), logits_of(s.fresh()(x))
    if type(found) is not Tensor or not torch.equal(found, right):
        wrong.insert(0, f"another output, {type(found).__name__}")
    return Outcome("mismatch", f"{len(wrong)} changes, such as {wrong[0]}") if wrong else EQUAL


def applies(facts: Facts, check: str) -> bool:
    """Return whether a promise is one that a method makes for such a network."""
    if check == "sum of lrp":
        return facts.zero_biases
    return True
