"""What planted marks do to a network's score over many pictures, paired with what the same change without form does.

It finds what a network reacts to, whether or not any picture of the user's holds it. A mark inside the anatomy may
look like a finding to a network that is right; one beside it has no business in the score.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError
from saliscope.core.image import MedicalImage
from saliscope.core.score import Score, Undefined
from saliscope.core.target import Target
from saliscope.metrics.statistics.bootstrap import clustered
from saliscope.metrics.statistics.permutation import permutation_p
from saliscope.perturb.stream import FORWARD, batch_size
from saliscope.trust.insertions.insertion import Family, Insertion, suited

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from saliscope.core.protocols import Model
    from saliscope.model.network import Network
    from saliscope.model.view import ToView

    Floats = npt.NDArray[np.float64]

#: Draws of the signs of the paired differences, group by group.
FLIPS = 999


@dataclass(frozen=True, eq=False)
class Planted:
    """Views (n, C, *S) of n pictures with an insertion and with its control: they serve every network of one view."""

    insertion: Insertion
    inserted: Tensor = field(repr=False)
    control: Tensor = field(repr=False)


@dataclass(frozen=True, eq=False)
class InsertionResult:
    """What one insertion does: `score` is its mean change of the score less that of its control, with interval and p.

    `effect` is the mean change itself, `spread` the standard deviation of the score over the unchanged pictures, and
    `relative` their ratio: how far it moves a picture among its likes, whatever the units of the score. `relative` is
    Undefined where the score is the same for all pictures. `crossed` is the share of pictures whose decision changed.
    """

    name: str
    family: Family
    score: Score
    effect: float
    control: float
    spread: float
    relative: float | Undefined
    p: float | Undefined
    crossed: float


def planted(images: Sequence[MedicalImage], viewing: ToView, insertion: Insertion, seed: int = 0) -> Planted:
    """Return the views of pictures with an insertion and with its control; each picture has chance of its own."""
    import torch

    pairs = [insertion.into(image, seed + i) for i, image in enumerate(images)]
    return Planted(
        insertion,
        torch.cat([viewing(p.image).tensor for p in pairs]),
        torch.cat([viewing(p.control).tensor for p in pairs]),
    )


def scores_of(model: Model, target: Target, views: Tensor, memory_mb: float = 1024) -> Floats:
    """Return the scores (n,) of views (n, C, *S), a few at a time; raises MetricError for more than one column."""
    import numpy as np
    import torch

    with torch.no_grad():
        found = [target.scores(model(some)) for some in views.split(batch_size(views[:1], memory_mb, FORWARD))]
    scores = torch.cat(found).double().cpu().numpy()
    if scores.shape[1] != 1:
        raise MetricError(f"a target with {scores.shape[1]} scores", expected="one", do="Audit each by itself.")
    return np.asarray(scores[:, 0], np.float64)


def compared(
    insertion: Insertion,
    plain: Floats,
    inserted: Floats,
    control: Floats,
    *,
    groups: Sequence[Hashable] | None = None,
    threshold: float = 0.0,
    seed: int = 0,
) -> InsertionResult:
    """Return the result of scores (n,) of the pictures unchanged, with an insertion, and with its control.

    `groups` names the patient of each picture; p flips the sign of whole patients, in both directions.
    """
    change, without = inserted - plain, control - plain
    own = list(range(len(plain))) if groups is None else list(groups)
    spread = float(plain.std())
    effect = float(change.mean())
    relative = effect / spread if spread > 0 else Undefined("all pictures have one score")
    p = _flipped(change - without, own, seed)
    crossed = float(((inserted >= threshold) != (plain >= threshold)).mean())
    parts = {"effect": effect, "control": float(without.mean()), "spread": spread, "crossed": crossed}
    parts |= {} if isinstance(p, Undefined) else {"p": p}
    parts |= {} if isinstance(relative, Undefined) else {"relative": relative}
    value = float((change - without).mean())
    score = Score(
        "insertion-effect",
        value,
        "neither",
        0.0,
        clustered(change - without, own, seed=seed),
        len(plain),
        parts=parts,
        how=(
            f"mean change of the score by {insertion.name}, less that of the same change without its form",
            "relative: the mean change itself in standard deviations of the score over the unchanged pictures",
        ),
    )
    return InsertionResult(
        insertion.name, insertion.family, score, effect, float(without.mean()), spread, relative, p, crossed
    )


def insertion_audit(
    images: Sequence[MedicalImage],
    network: Network,
    target: Target,
    insertions: Sequence[Insertion] | None = None,
    *,
    plain: Floats | None = None,
    ready: Sequence[Planted] | None = None,
    groups: Sequence[Hashable] | None = None,
    threshold: float = 0.0,
    seed: int = 0,
    memory_mb: float = 1024,
    said: Callable[[str], None] = lambda _: None,
) -> list[InsertionResult]:
    """Return what each insertion does to the one score of a target over pictures: n * (1 + 2 * insertions) samples.

    By default all that suit the first picture. `plain` are the scores (n,) of the pictures where they are known,
    `ready` the planted views where another network of one view has them. Raises MetricError for fewer than two
    pictures, and for volumes.
    """
    import torch

    if len(images) < 2:
        raise MetricError(f"an audit over {len(images)} pictures", expected="two or more", do="Give a cohort.")
    chosen = suited(images[0]) if insertions is None else insertions

    def each() -> Iterator[Planted]:
        # One at a time: all of them together would hold the cohort some forty times.
        for number, insertion in enumerate(chosen, start=1):
            said(f"planting {insertion.name} ({number} of {len(chosen)})")
            yield planted(images, network.viewing, insertion, seed)

    with network.opened() as model:
        if plain is None:
            views = torch.cat([network.viewing(image).tensor for image in images])
            plain = scores_of(model, target, views, memory_mb)
        results = []
        for both in each() if ready is None else ready:
            after, control = (scores_of(model, target, v, memory_mb) for v in (both.inserted, both.control))
            told = compared(both.insertion, plain, after, control, groups=groups, threshold=threshold, seed=seed)
            results.append(told)
    return results


def strongest(results: Sequence[InsertionResult], family: Family) -> float | Undefined:
    """Return the largest size of `relative` in a family: how far a mark there moves a picture among its likes.

    A network that minds the haze of a control as much minds brightness there; it counts as much.
    """
    sizes = [abs(r.relative) for r in results if r.family == family and not isinstance(r.relative, Undefined)]
    return max(sizes) if sizes else Undefined(f"no insertion of family {family!r} has a value")


def _flipped(differences: Floats, groups: Sequence[Hashable], seed: int) -> float | Undefined:
    """Return the two-sided p of paired differences (n,): the signs of whole groups flipped by lot."""
    import numpy as np

    numbers = {g: i for i, g in enumerate(dict.fromkeys(groups))}
    sums = np.bincount([numbers[g] for g in groups], weights=differences, minlength=len(numbers))
    if len(sums) < 2:
        return Undefined("fewer than two patients")
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(FLIPS, len(sums)))
    return permutation_p(abs(float(sums.sum())), np.abs(signs @ sums).tolist())
