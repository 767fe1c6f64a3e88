"""Ten metrics beside Quantus', at equal settings on the same networks and maps: time, and whether the values agree.

Metrics that both have: pixel flipping (our deletion), ROAD, faithfulness correlation, infidelity, pointing game,
relevance mass, relevance rank, AUC, sparseness (our Gini), complexity (our entropy). Quantus runs a metric at a time,
for each map anew; ours put all copies of an image into one plan, where maps and metrics share what is equal. So the
ratio grows with the maps that are compared: both are shown. The networks are the shipped one for breast ultrasound and
a seeded DenseNet-121, both with one channel because Quantus' ROAD has no more; the image is drawn, its lesion known.
Maps are without sign, because Quantus counts what is negative, and without ties. What only one side does is to our
cost: ROAD at both ends, where Quantus removes the most relevant only, and a random curve beside the deletion's. Max
sensitivity, which makes maps of its own and shares nothing, is not among the ten and stands by itself.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from measure import QUICK, Row, Run, Times, calibrated, interleaved, row
from peers import monai, quantus, versions
from torch import Tensor

from saliscope import load
from saliscope.core.metric import Metric, OfMap, OfPlace, Planned
from saliscope.core.score import Score
from saliscope.core.target import LogitTarget
from saliscope.methods import METHODS
from saliscope.metrics import METRICS
from saliscope.model.network import Network
from saliscope.perturb.fill import BaselineFill
from saliscope.perturb.impute import RoadFill
from saliscope.perturb.masks import enlarged
from saliscope.perturb.plan import PerturbationPlan, run
from saliscope.study.drawing import lesion_in_speckle

LEVELS, SAMPLES, SHARE = 16, 10 if QUICK else 100, 0.2
ZERO = BaselineFill("zero")
SUBSETS = {"fill": ZERO, "share": SHARE, "samples": SAMPLES, "partition": "elements"}
MAPS = ("grad-cam", "layercam", "gradient", "input-x-gradient", "smoothgrad")
#: Megabytes for copies: a few at a time stay in the processor's cache, which on one thread is faster than many.
MEMORY = 128
LAYER = {"breast": "stages.2", "dense": "features.norm5"}
VERSION = f"quantus {versions()['quantus']}"


@dataclass(frozen=True, eq=False)
class Case:
    """A network, its image (1, 1, *S) with the mask (*S) of a lesion, the class asked for, and maps (*S)."""

    name: str
    network: Network
    x: Tensor
    mask: np.ndarray
    label: int
    maps: list[np.ndarray]


@dataclass(frozen=True)
class Pair:
    """One metric of both: how each is made for a case, and how far two answers are apart, or why that means nothing."""

    name: str
    ours: Metric
    peer: Callable[[Case], Any]
    apart: Callable[[Score, Any], float] | None
    note: str = ""


def same(score: Score, answer: Any) -> float:
    return abs(score.number - float(np.ravel(answer)[0]))


def same_curve(score: Score, answer: Any) -> float:
    """Return the largest difference of our deletion curve, as raw scores, from Quantus', which lacks the start."""
    first, last = score.parts["unchanged"], score.parts["filled"]
    ours = [last + y * (first - last) for _, y in score.curve[1:]]
    return float(np.abs(np.array(ours) - np.array(answer[0])).max())


def quiet(cls: type, **fields: Any) -> Any:
    """Return a metric of Quantus that leaves the map as it is, unless its own formula changes it."""
    return cls(normalise=False, disable_warnings=True, display_progressbar=False, **fields)


def elements(case: Case) -> int:
    return case.mask.size


#: Quantus cuts the image into patches of this length for its infidelity: 100 copies at 160 pixels, 49 at 224.
PATCH = {160: 16, 224: 32}
PAIRS = (
    Pair(
        "pixel flipping",
        METRICS.make("deletion", fill=ZERO, levels=LEVELS, random_rankings=1),
        lambda c: quiet(quantus.PixelFlipping, features_in_step=elements(c) // LEVELS, perturb_baseline=0.0),
        same_curve,
        "the curve of scores at 16 steps; ours adds a random ranking's",
    ),
    Pair(
        "ROAD",
        METRICS.make("road", fill=RoadFill()),
        lambda _: quiet(quantus.ROAD, percentages=list(range(10, 100, 10))),
        None,
        "ours: both ends, the score, fast imputation; Quantus: one end, whether the class holds, exact imputation",
    ),
    Pair(
        "faithfulness correlation",
        METRICS.make("faithfulness-correlation", **SUBSETS),
        lambda c: quiet(
            quantus.FaithfulnessCorrelation,
            nr_runs=SAMPLES,
            subset_size=int(SHARE * elements(c) + 0.5),
            perturb_baseline=0.0,
            return_aggregate=False,
        ),
        same,
        f"{SAMPLES} random subsets, other ones: by chance each map differs by about {(2 / SAMPLES) ** 0.5:.2f}",
    ),
    Pair(
        "infidelity",
        METRICS.make("infidelity", **SUBSETS),
        lambda c: quiet(
            quantus.Infidelity,
            perturb_patch_sizes=[PATCH[c.mask.shape[-1]]],
            n_perturb_samples=1,
            perturb_baseline=0.0,
        ),
        None,
        "ours is the paper's, scaled; Quantus' adds patch to patch and does not scale",
    ),
    Pair("pointing game", METRICS.make("pointing-game"), lambda _: quiet(quantus.PointingGame), same),
    Pair("relevance mass", METRICS.make("relevance-mass"), lambda _: quiet(quantus.RelevanceMassAccuracy), same),
    Pair("relevance rank", METRICS.make("relevance-rank"), lambda _: quiet(quantus.RelevanceRankAccuracy), same),
    Pair("AUC", METRICS.make("auroc"), lambda _: quiet(quantus.AUC), same),
    Pair(
        "sparseness",
        METRICS.make("gini"),
        lambda _: quiet(quantus.Sparseness),
        same,
        "Quantus adds 1e-7 to all",
    ),
    Pair("complexity", METRICS.make("entropy"), lambda _: quiet(quantus.Complexity), same),
)
RADIUS = 0.02
ALONE = Pair(
    "max sensitivity of the gradient, 10 copies",
    METRICS.make("max-sensitivity", radius=RADIUS, samples=10),
    lambda c: quiet(quantus.MaxSensitivity, nr_samples=10, lower_bound=RADIUS * float(c.x.max() - c.x.min())),
    same,
    "other noise of one size",
)


def drawn(size: int) -> tuple[Tensor, np.ndarray]:
    """Return the drawn picture (1, 1, *S) as the breast network's view makes it, and the ellipse of its lesion."""
    row_, column = np.mgrid[:size, :size] / size
    picture = torch.from_numpy(lesion_in_speckle(size)).float()[None, None]
    return (picture / 255 - 0.26) / 0.23, np.hypot((row_ - 0.48) / 0.15, (column - 0.60) / 0.20) < 1


def case(name: str) -> Case:
    """Return a network with its image and five maps of the class that the image speaks for most."""
    x, mask = drawn(160 if name == "breast" else 224)
    if name == "breast":
        network = load("breast-ultrasound")
    else:
        torch.manual_seed(0)
        net = monai.networks.nets.DenseNet121(2, 1, 3)
        network = Network(calibrated(net, torch.cat([x, x.flip(-1), x.flip(-2), 0.5 * x])))
    generator = torch.Generator().manual_seed(0)
    maps = []
    with network.opened() as model:
        with torch.no_grad():
            label = int((model(x) - model(torch.zeros_like(x)))[0].argmax())
        for method in MAPS:
            fields = {"layer": LAYER[name]} if "cam" in method else {}
            made = METHODS.make(method, **fields).attribute(model, x, LogitTarget((label,), ("asked",)))[0].abs()
            one = enlarged(made, mask.shape)[0]
            one = one / one.max() + 1e-4 * torch.rand(one.shape, generator=generator)
            maps.append(one.double().numpy())
    return Case(name, network, x, mask, label, maps)


def ours(given: Case, pairs: Sequence[Pair], maps: Sequence[np.ndarray]) -> list[list[Score]]:
    """Return for each map the score of each metric."""
    target = LogitTarget((given.label,), ("asked",))
    with given.network.opened() as model:
        plan = PerturbationPlan(given.x)
        asked = [[put(plan, given, pair.ours, one) for pair in pairs if pair is not ALONE] for one in maps]
        if ALONE in pairs:
            return ALONE.ours.of_method(model, METHODS.make("gradient"), given.x, target)
        run([plan], model, [target], MEMORY)
        return [[give() for give in some] for some in asked]


def put(plan: PerturbationPlan, given: Case, metric: Metric, one: np.ndarray) -> Callable[[], Score]:
    """Return what gives the score of a map once the plan was run."""
    if isinstance(metric, Planned):
        return metric.ask(plan, torch.from_numpy(one))
    if isinstance(metric, OfPlace):
        return lambda: metric.of_place(one, given.mask)
    assert isinstance(metric, OfMap)
    return lambda: metric.of_map(one)


def gradient(given: Case, inputs: np.ndarray, targets: np.ndarray, **_: object) -> np.ndarray:
    """Return our gradient maps (N, 1, *S) of images (N, 1, *S), for Quantus to ask for."""
    with given.network.opened() as model:
        target = LogitTarget((int(targets[0]),), ("asked",))
        return METHODS.make("gradient").attribute(model, torch.from_numpy(inputs).float(), target).numpy()


def peers(given: Case, pairs: Sequence[Pair], maps: Sequence[np.ndarray]) -> list[list[Any]]:
    """Return for each map the answer of each metric of Quantus."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            [
                pair.peer(given)(
                    model=given.network.module,
                    x_batch=given.x.numpy(),
                    y_batch=np.array([given.label]),
                    a_batch=None if pair is ALONE else one[None, None].copy(),
                    explain_func=partial(gradient, given),
                    s_batch=given.mask[None, None],
                    softmax=False,
                    device="cpu",
                )
                for pair in pairs
            ]
            for one in maps
        ]


def once(runs: Mapping[str, Run]) -> Times:
    """Run each one time, for what takes minutes; the smaller cases before it have loaded everything."""
    seconds = {}
    for who, one in runs.items():
        start = time.process_time()
        one()
        seconds[who] = [time.process_time() - start]
    return Times(seconds)


def compared(given: Case, pairs: Sequence[Pair], count: int, rounds: int) -> Row:
    """Return times and their ratio for some metrics of the first maps of a case."""
    maps = given.maps[:count]
    runs = {"ours": lambda: ours(given, pairs, maps), "peer": lambda: peers(given, pairs, maps)}
    times = interleaved(runs, rounds) if rounds > 1 else once(runs)
    return {"ours": times.median("ours"), "peer": times.median("peer"), **times.ratio("peer", "ours")}


def forwards(given: Case, count: int) -> Row:
    """Return how many images both run through the network for the ten metrics of some maps."""
    seen: list[int] = []
    handle = given.network.module.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    numbers = []
    for who in (ours, peers):
        who(given, PAIRS, given.maps[:count])
        numbers.append(sum(seen))
        seen.clear()
    handle.remove()
    what = f"images through the {given.name} network for ten metrics of {count} map{'s' * (count > 1)}"
    more = {"ratio": numbers[1] / numbers[0], "unit": "images", "peer_version": VERSION}
    return row(what, numbers[0], numbers[1], **more)


def rows() -> list[Row]:
    """Return the batteries, then each metric by itself with how far its values are from Quantus'."""
    found: list[Row] = []
    for name, said, rounds in (("breast", "breast network 2D 160", 3), ("dense", "DenseNet-121 2D 224", 1)):
        given = case(name)
        for count in (1, len(MAPS)):
            what = f"ten metrics, {count} map{'s' * (count > 1)} of an image, {said}"
            more = {"goal": 3.0, "peer_version": VERSION, "note": "one round" if rounds == 1 else ""}
            found.append({**row(what), **compared(given, PAIRS, count, rounds), **more})
        found += [forwards(given, count) for count in (1, len(MAPS)) if name == "breast"]
        if name == "breast":
            both = zip(ours(given, PAIRS, given.maps), peers(given, PAIRS, given.maps), strict=True)
            answers = [list(zip(mine, theirs, strict=True)) for mine, theirs in both]
            alone = (ours(given, [ALONE], [])[0][0], peers(given, [ALONE], given.maps[:1])[0][0])
            for i, pair in enumerate((*PAIRS, ALONE)):
                values = [alone] if pair is ALONE else [of_map[i] for of_map in answers]
                error = None if pair.apart is None else max(pair.apart(*both) for both in values)
                one = compared(given, [pair], 1, rounds)
                more = {"error": error, "note": pair.note, "peer_version": VERSION}
                found.append({**row(f"{pair.name}, 1 map, {said}"), **one, **more})
    return found


if __name__ == "__main__":
    print(json.dumps(rows(), indent=1, default=float), file=sys.stdout)
