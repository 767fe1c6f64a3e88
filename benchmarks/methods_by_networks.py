"""Every method on networks that nobody here drew: does it run, where does it look, does its sum hold.

    python benchmarks/methods_by_networks.py [--write] [part of the name of a network ...]

Needs timm, torchvision and MONAI (`make table` installs them). The networks of spot_networks.py are taught here. What
is asked is what each method promises: no map of a first layer by `auto`, no crash, no gap of a sum above the method's
own limit, a network left as it was. The script ends with status 1, and names the run, where one is broken. Where the
maps peak is shown beside controls that know nothing; the images are easy, so a method that misses says more than one
that hits, and a signed map may have its trough there: the network is asked, not the expectation. `--write` keeps the
results of the networks asked for in methods_by_networks.json, and makes METHODS_BY_NETWORKS.md of all that is there.
"""

from __future__ import annotations

import copy
import json
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import saliscope
from saliscope.core.errors import SaliscopeError
from saliscope.core.explanation import Explanation
from saliscope.core.protocols import Method
from saliscope.methods import METHODS

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from methods_by_networks_page import page
from networks_of_others import depth
from spot_networks import LEAST, SUBJECTS, Spots, Subject, drawn, trained

from model.module_state import Snapshot

HERE = Path(__file__).resolve().parent
PAGE, KEPT = HERE / "METHODS_BY_NETWORKS.md", HERE / "methods_by_networks.json"
#: CPU seconds that one method may take for all images of one network.
LIMIT = 30.0
IMAGES = 8
#: A layer in this share of the run is a first layer.
FIRST = 0.2
#: Fields of methods whose defaults are for real images; all others run as they come.
OPTIONS: dict[str, dict[str, Any]] = {
    "smoothgrad": {"samples": 8},
    "smoothgrad-squared": {"samples": 8},
    "vargrad": {"samples": 8},
    "expected-gradients": {"references": "mean", "samples": 16},
    "smooth-grad-cam++": {"samples": 8},
    "finer-cam": {"references": 1},
    "rise": {"samples": 512, "tolerance": None},
    "lime": {"samples": 250, "segments": 48},
    "kernel-shap": {"samples": 250, "segments": 48},
    "sobol": {"designs": 16, "tolerance": None},
    "hsic": {"samples": 250},
    "xrai": {"method": "input-x-gradient", "segments": (16, 64)},
    "meaningful-perturbation": {"steps": 40},
    "extremal-perturbation": {"steps": 40, "areas": (0.05, 0.1)},
    "smoothed": {"samples": 8},
}
#: Of the trained ConvNeXt: the layers named beside `auto`, and the images.
STAGES, STAGED = ("auto", "stages.0", "stages.1", "stages.2", "stages.3"), 16
OF_STAGES = ("grad-cam", "hirescam", "layercam", "eigen-cam")


class OverTime(BaseException):
    """The limit of CPU time is reached; no Exception, so that nothing on the way takes it for one."""


@dataclass(frozen=True)
class Result:
    """What came of one method on the images of one network; the letters are explained in the page.

    `maps` of `images` were handed out, `flat` of them hold one value, `hits` peak on the spot, `troughs` have their
    least value there. `gap` is the largest that a map was handed out with, `limit` the method's own; `over` says that
    the limit of time was reached, so that only the first image was asked for; `changes` are what the run left in the
    network.
    """

    method: str
    letter: str
    images: int = IMAGES
    maps: int = 0
    flat: int = 0
    hits: int = 0
    troughs: int = 0
    gap: float | None = None
    limit: float | None = None
    layer: str | None = None
    depth: float | None = None
    words: str = ""
    over: bool = False
    seconds: float = 0.0
    changes: tuple[str, ...] = ()

    @property
    def broken(self) -> str:
        """Return which promise the run breaks, or ""."""
        above = self.gap is not None and self.limit is not None and not self.gap <= self.limit
        return "; ".join(
            [
                *([f"crash: {self.words}"] if self.letter == "C" else []),
                *([f"auto took {self.layer}, at {self.depth:.0%} of the run"] if self.letter == "L" else []),
                *([f"a gap of {self.gap:.1%} above {self.limit:.1%}"] if above else []),
                *([f"the network was changed: {self.changes[0]}"] if self.changes else []),
            ]
        )


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise OverTime where the block takes more CPU time."""

    def over(_number: int, _frame: FrameType | None) -> None:
        raise OverTime

    former = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)


def tried(net: nn.Module, subject: Subject, spots: Spots, method: Method) -> list[tuple[int, Explanation]] | str:
    """Return the maps with the numbers of their images, or the sentence of the refusal.

    A sum that one image does not keep is refused for the batch; the other images are then asked for alone.
    """

    def asked(x: Tensor) -> list[Explanation]:
        return saliscope.explain(x, net, [method], 1, kind=subject.kind)  # type: ignore[return-value]

    try:
        return list(enumerate(asked(spots.images)))
    except SaliscopeError as refusal:
        words = str(refusal)
        if "gap_limit" not in words:
            return words
    kept = []
    for n, x in enumerate(spots.images.split(1)):
        try:
            kept.append((n, asked(x)[0]))
        except SaliscopeError as refusal:
            words = str(refusal)
    return kept or words


def run(net: nn.Module, subject: Subject, spots: Spots, name: str) -> Result:
    """Return the result of one method; where the images take too long, that of the first one."""
    before, began = Snapshot(net), time.process_time()
    result = asked_for(net, subject, spots, name)
    if result.letter == "T" and len(spots.images) > 1:
        result = replace(asked_for(net, subject, spots.with_spot(1), name), over=True)
    seconds = time.process_time() - began
    return replace(result, seconds=seconds, changes=tuple(before.differences(Snapshot(net))))


def asked_for(net: nn.Module, subject: Subject, spots: Spots, name: str) -> Result:
    """Return what came of a method within the limit of time."""
    result = Result(name, "W", len(spots.images))
    try:
        method = METHODS.make(name, **OPTIONS.get(name, {}))
        with limited(LIMIT):
            maps = tried(net, subject, spots, method)
    except OverTime:
        return replace(result, letter="T")
    except Exception as error:  # noqa: BLE001 - that is what is looked for
        return replace(result, letter="C", words=f"{type(error).__name__}: {(str(error) or '-').splitlines()[0]}")
    return replace(result, letter="R", words=maps) if isinstance(maps, str) else told(result, net, spots, maps)


def told(result: Result, net: nn.Module, spots: Spots, maps: list[tuple[int, Explanation]]) -> Result:
    """Return the result of a method that handed out maps."""
    record = maps[0][1].provenance
    gaps = [gap for _, e in maps for key, gap in e.provenance.diagnostics.items() if key.endswith("_relative_gap")]
    deep = None if record.layer is None else depth(copy.deepcopy(net), spots.images[:1], maps[0][1])
    flat = sum(bool(np.ptp(e.values) == 0) for _, e in maps)
    first = deep is not None and deep < FIRST
    return replace(
        result,
        letter="L" if first else "F" if flat == len(maps) and result.method != "constant" else "W",
        maps=len(maps),
        flat=flat,
        hits=sum(on_spot(e.values, e, spots.centres[n]) for n, e in maps),
        troughs=sum(on_spot(-e.values, e, spots.centres[n]) for n, e in maps if e.values.min() < 0),
        gap=max(gaps) if gaps else None,
        limit=record.fields.get("gap_limit"),
        layer=record.layer,
        depth=deep,
    )


def on_spot(values: np.ndarray, e: Explanation, centre: Tensor) -> bool:
    """Return whether values on a map's grid peak within one cell of the spot, or within S / 8 if that is more."""
    if np.ptp(values) == 0:
        return False
    # A method of regions has one value all over a region: of the highest cells, the one in their middle.
    highest = np.argwhere(values == values.max())
    middle = highest[np.abs(highest - highest.mean(0)).sum(1).argmin()]
    return bool(near(e, middle, centre.numpy()))


def near(e: Explanation, cell: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return for cells (..., D) of a map whether each lies within one cell, or S / 8, of an index of the image."""
    step = np.array(e.geometry.spacing) / np.array(e.seen.spacing)
    reach = np.maximum(step, np.array(e.seen.shape) / 8)
    return (np.abs(e.seen.to_index(e.geometry.to_world(cell)) - centre) <= reach).all(-1)


def chance(e: Explanation, spots: Spots) -> float:
    """Return on how many of all images the peak of a map on this grid would lie on the spot if it fell anywhere."""
    cells = np.stack(np.meshgrid(*(np.arange(n) for n in e.values.shape), indexing="ij"), -1)
    return float(sum(near(e, cells, centre).mean() for centre in spots.centres.numpy()))


def of_network(subject: Subject, methods: Sequence[str]) -> dict[str, Any]:
    """Return what is known of one network after all methods."""
    learnt = trained(subject)
    if learnt.accuracy < LEAST:
        sys.exit(f"{subject.name} learnt the spot to {learnt.accuracy:.3f} only, in {learnt.seconds:.0f} CPU s")
    print(f"{subject.name}: accuracy {learnt.accuracy:.3f} after {learnt.seconds:.0f} CPU s", flush=True)
    spots = drawn(subject.shape, 2 * STAGED, torch.Generator().manual_seed(3))
    seen = spots.with_spot(IMAGES)
    results = []
    for name in methods:
        results.append(run(learnt.net, subject, seen, name))
        r = results[-1]
        sums = "" if r.gap is None else f" gap {r.gap:.1%}"
        print(f"  {name} {r.letter} {r.hits}/{r.maps}{sums} {r.seconds:.1f} s {r.broken or r.words[:150]}", flush=True)
    made = {"what": subject.what, "shape": list(subject.shape), "accuracy": learnt.accuracy, "results": results}
    ways = {"layer": "grad-cam", "input": "gradient"}
    for grid, name in ways.items():
        try:
            one = saliscope.explain(seen.images[:1], learnt.net, name, 1, kind=subject.kind)
            made[grid] = {"chance": chance(one, seen), "grid": one.values.shape, "name": one.provenance.layer}
        except SaliscopeError:
            made[grid] = None
    if subject.name == "convnext":
        made["stages"] = of_stages(learnt.net, spots.with_spot(STAGED))
    return made


def of_stages(net: nn.Module, spots: Spots) -> dict[str, Any]:
    """Return for each layer how many maps of each method peak on the spot, and the chance of it."""
    table = {}
    for layer in STAGES:
        named = None if layer == "auto" else layer
        maps = saliscope.explain(spots.images, net, OF_STAGES, 1, named)
        hits = dict.fromkeys(OF_STAGES, 0)
        for e, centre in zip(maps, spots.centres.repeat_interleave(len(OF_STAGES), 0), strict=True):
            hits[e.provenance.method] += on_spot(e.values, e, centre)
        table[layer] = {"layer": maps[0].provenance.layer, "hits": hits, "chance": chance(maps[0], spots)}
        table[layer]["grid"] = maps[0].values.shape
    return table


def main(words: list[str]) -> None:
    """Make the table of the networks whose names hold one of the words, or of all."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    parts = [w for w in words if w != "--write"]
    broken, fresh = [], {}
    for subject in SUBJECTS:
        if parts and not any(p in subject.name for p in parts):
            continue
        made = of_network(subject, list(METHODS.addresses))
        broken += [f"{r.method} on {subject.name}: {r.broken}" for r in made["results"] if r.broken]
        if "stages" in made and made["stages"]["auto"]["hits"] != made["stages"]["stages.3"]["hits"]:
            broken.append(f"auto on {subject.name} is not its last stage")
        fresh[subject.name] = made | {"results": [asdict(r) | {"broken": r.broken} for r in made["results"]]}
    kept = (json.loads(KEPT.read_text()) if parts and KEPT.exists() else {}) | fresh
    kept = json.loads(json.dumps({s.name: kept[s.name] for s in SUBJECTS if s.name in kept}))
    text = page(kept, options=OPTIONS, limit=LIMIT)
    if "--write" in words:
        KEPT.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text)
    if broken:
        sys.exit("\n".join(["broken promises:", *broken]))


if __name__ == "__main__":
    main(sys.argv[1:])
