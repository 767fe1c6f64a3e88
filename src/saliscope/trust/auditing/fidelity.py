"""rong2022 over a cohort, and maps beside outlines: does a method's map follow the model, and where does it lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from saliscope.core.metric import OfPlace, Planned
from saliscope.core.protocols import Method
from saliscope.core.score import Score
from saliscope.metrics.complexity.effective_size import EffectiveSize
from saliscope.metrics.fidelity.mu_fidelity import MuFidelity
from saliscope.metrics.fidelity.road import ROAD
from saliscope.metrics.localisation.against import against
from saliscope.metrics.localisation.auprc import AUPRC
from saliscope.metrics.localisation.pointing_game import PointingGame
from saliscope.metrics.localisation.relevance_mass import RelevanceMass
from saliscope.metrics.summary import summary
from saliscope.perturb.impute import RoadFill
from saliscope.perturb.plan import PerturbationPlan, run
from saliscope.trust import wording
from saliscope.trust.auditing.material import Floats, Material
from saliscope.trust.check import CheckResult, Outcome
from saliscope.trust.regions.onto import onto

#: Subsets of segments of the correlation. Deletion curves are no part: they measured their fill more than the map.
SUBSETS = 60
SOURCE = "0, what a random order scores; the interval over patients"


def fidelity(m: Material) -> CheckResult:
    """Return whether hiding what maps rank highest changes the score more than hiding places at random."""
    question = "Does hiding what the map ranks highest change the score more than hiding places at random?"
    metrics: tuple[Planned, ...] = (ROAD(seed=m.seed), MuFidelity(RoadFill(noise=0.0), samples=SUBSETS, seed=m.seed))
    most = m.extent.hidden_by_rank
    called = set(m.called)
    numbers = [n for n, i in enumerate(m.mapped) if i in called][:most] or list(range(min(most, len(m.mapped))))
    rows, samples = measured(m, metrics, numbers)
    m.samples += samples
    patients = [m.items[m.mapped[n]].patient for n in numbers]
    scores = tuple(summary(column, patients) for column in rows)
    first = scores[0]
    outcome: Outcome
    if not first.defined:
        said = wording.say("not-run", why="no map puts its places in an order")
        return CheckResult("fidelity", "Fidelity", question, "not-run", said, SOURCE, scores, samples)
    ends = first.interval
    sure = ends is not None and not ends.low <= 0 <= ends.high
    outcome = "unclear" if not sure else "supports" if first.number > 0 else "against"
    said = wording.say(f"fidelity.{outcome}", metric="ROAD", value=first.number, null=0.0, n=first.n)
    return CheckResult("fidelity", "Fidelity", question, outcome, said, SOURCE, scores, samples)


def measured(m: Material, metrics: Sequence[Planned], numbers: Sequence[int]) -> tuple[list[list[Score]], int]:
    """Return for each metric its score of each map, all copies of all images shared and run together."""
    plans, asked, targets = [], [], []
    with m.network.opened() as model:
        for n in numbers:
            x = m.views[m.mapped[n]].tensor
            plan = PerturbationPlan(x)
            map_ = torch.from_numpy(m.maps[n])
            asked.append([metric.ask(plan, map_) for metric in metrics])
            plans.append(plan)
            targets.append(m.held(model, x))
        run(plans, model, targets)
        samples = model.counts.samples
    return [[answers[i]() for answers in asked] for i in range(len(metrics))], samples


def localisation(m: Material, controls: Mapping[str, Method]) -> CheckResult | None:
    """Return whether maps lie on what was outlined more than control maps do; None where nothing was outlined."""
    drawn = [n for n, i in enumerate(m.mapped) if m.items[i].truth is not None]
    if not drawn:
        return None
    question = "Do maps lie on what was outlined more than maps that know nothing of the model?"
    masks = [_mask(m, n) for n in drawn]
    patients = [m.items[m.mapped[n]].patient for n in drawn]
    metrics: tuple[OfPlace, ...] = (AUPRC(), PointingGame(), RelevanceMass())
    own = [_scored(metric, [m.maps[n] for n in drawn], masks) for metric in metrics]
    scores = [summary(row, patients) for row in own]
    made = {name: m.maps_by(method) for name, method in controls.items()}
    made["the mean outline"] = _mean_masks(masks, patients, len(m.maps), drawn)
    beaten = [
        (name, against(own[0], _scored(metrics[0], [maps[n] for n in drawn], masks), patients))
        for name, maps in made.items()
    ]
    worst, gain = min(beaten, key=lambda pair: pair[1].number if pair[1].defined else np.inf)
    first = scores[0]
    ends = gain.interval
    if not (first.defined and gain.defined):
        said = wording.say("not-run", why="no map lies beside an outline that can be scored")
        return CheckResult(
            "localisation", "Plausibility", question, "not-run", said, SOURCE, tuple(scores), 0, decisive=False
        )
    low = ends.low if ends is not None else -np.inf
    outcome: Outcome = "supports" if low > 0 else "against" if gain.number <= 0 else "unclear"
    null = float(first.null) if isinstance(first.null, float | int) else 0.0
    told = {"metric": "AUPRC", "value": first.number, "null": null, "n": first.n, "control": worst}
    said = wording.say(f"localisation.{outcome}", **told)
    source, found = f"the best control: {worst}", (*scores, gain)
    return CheckResult("localisation", "Plausibility", question, outcome, said, source, found, decisive=False)


def sizes(m: Material) -> Score:
    """Return of how much of the image maps speak."""
    return summary([EffectiveSize().of_map(map_) for map_ in m.maps], [m.items[i].patient for i in m.mapped])


def _mask(m: Material, n: int) -> np.ndarray:
    truth = m.items[m.mapped[n]].truth
    view = m.views[m.mapped[n]]
    if truth is None:
        return np.zeros(view.geometry.shape, bool)
    return onto(truth.mask, truth.geometry, view.geometry)


def _scored(metric: OfPlace, maps: Sequence[Floats], masks: Sequence[np.ndarray]) -> list[Score]:
    return [metric.of_place(map_, mask) for map_, mask in zip(maps, masks, strict=True)]


def _mean_masks(
    masks: Sequence[np.ndarray], patients: Sequence[object], count: int, drawn: Sequence[int]
) -> list[Floats]:
    """Return, for each map, the mean outline of other patients, where there are any of its shape."""
    found: list[Floats] = [np.zeros(1)] * count
    for n, mask, patient in zip(drawn, masks, patients, strict=True):
        others = [o for o, p in zip(masks, patients, strict=True) if p != patient and o.shape == mask.shape]
        found[n] = np.mean(others, axis=0) if others else np.zeros(mask.shape)
    return found
