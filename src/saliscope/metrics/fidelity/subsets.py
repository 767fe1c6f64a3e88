"""bhatt2020 and ancona2018: what a map says of random subsets of an image, beside what the network says.

Subsets are of segments, because single elements of a large image change nothing. They depend on the image, the
partition, the seed and the size alone: every map and every metric of them shares the copies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import atanh, tanh
from typing import TYPE_CHECKING, Literal

from saliscope.core.errors import MetricError
from saliscope.core.metric import Fill, Plan
from saliscope.core.score import Interval, Undefined
from saliscope.metrics.fidelity.ends import on_elements, once, resolution, unchanged
from saliscope.metrics.ranking import no_order
from saliscope.perturb.segments import Spacing, segmented

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    from saliscope.metrics.fidelity.ends import Floats

    Members = npt.NDArray[np.bool_]

Partition = Literal["slic", "grid", "elements"]


@dataclass(frozen=True)
class Subsets:
    """How subsets are drawn: `samples` of each size, the sizes being `shares` of the segments."""

    fill: Fill
    shares: tuple[float, ...]
    samples: int
    segments: int
    partition: Partition
    spacing: Spacing
    seed: int

    def __post_init__(self) -> None:
        if self.samples < 3 or self.segments < 2 or self.partition not in ("slic", "grid", "elements"):
            raise MetricError(
                f"{self.samples} samples of {self.segments} segments by {self.partition!r}",
                expected="three samples or more, two segments or more, by slic, grid or elements",
                do="Correct the fields.",
            )
        if not self.shares or len(set(self.shares)) < len(self.shares) or not all(0 < s < 1 for s in self.shares):
            raise MetricError(
                f"shares {self.shares} of the segments",
                expected="one or more between 0 and 1, each once",
                do="Correct the fields.",
            )

    def drawn(self, plan: Plan, share: float) -> tuple[Tensor, Members]:
        """Return labels (*S), and which segments (m, count) are gone: a share, at least one and not all, for each copy.

        A larger share of one seed contains the smaller one. Raises MetricError for an image that is one segment.
        """
        import numpy as np

        labels = parted(plan, self.segments, self.partition, self.spacing)
        count = int(labels.max()) + 1
        if count < 2:
            raise MetricError(f"an image of {count} segment", expected="two or more", do="Ask for more segments.")
        size = min(max(1, int(share * count + 0.5)), count - 1)
        gone = np.zeros((self.samples, count), bool)
        for sample in range(self.samples):
            gone[sample, np.random.default_rng([self.seed, sample]).permutation(count)[:size]] = True
        return labels, gone

    def asked(self, plan: Plan, share: float, k: int) -> Callable[[], tuple[Floats, float]]:
        """Ask for copies without subsets of a share; return what gives their drops (m,) and the image's score."""
        import torch

        def tickets() -> tuple[int, Sequence[int]]:
            labels, gone = self.drawn(plan, share)
            return unchanged(plan, self.fill), plan.removed(torch.from_numpy(gone)[:, labels], self.fill)

        whole, copies = once(plan, (self, share), tickets)

        def drops() -> tuple[Floats, float]:
            import numpy as np

            score = float(plan.score(whole)[k])
            return score - np.array([float(plan.score(ticket)[k]) for ticket in copies]), score

        return drops

    @property
    def how(self) -> tuple[str, ...]:
        """Return the choices in words."""
        whole = (
            "single elements" if self.partition == "elements" else f"about {self.segments} segments by {self.partition}"
        )
        return (
            f"{self.samples} random subsets of {whole}, all channels together, seed {self.seed}",
            f"filled by {self.fill.name}",
        )


@dataclass(frozen=True)
class Correlation:
    """How what a map says of subsets goes with what the network says; `area` is what a constant map would have got."""

    pearson: float
    spearman: float
    area: float | None
    n: int

    @property
    def parts(self) -> dict[str, float]:
        """Return the numbers by name."""
        found = {"pearson": self.pearson, "spearman": self.spearman}
        return found if self.area is None else {**found, "pearson of the area removed": self.area}

    @property
    def interval(self) -> Interval | None:
        """Return the interval of Pearson's correlation over subsets of this partition, by Fisher's z."""
        if self.n < 4 or abs(self.pearson) >= 1:
            return None
        z, half = atanh(self.pearson), 1.959964 / (self.n - 3) ** 0.5
        return Interval(tanh(z - half), tanh(z + half), f"Fisher's z over {self.n} subsets of one partition")


def parted(plan: Plan, segments: int, partition: Partition, spacing: Spacing = None) -> Tensor:
    """Return labels (*S) of the segments of a plan's image, on the CPU; found once for a plan."""
    import torch

    x = plan.x
    if partition == "elements":
        return torch.arange(x[0, 0].numel()).reshape(x.shape[2:])
    key = ("segments", segments, partition, spacing)
    return once(plan, key, lambda: segmented(x[0], segments, partition, spacing).cpu())


def summed(values: Floats, labels: Tensor, gone: Members) -> Floats:
    """Return the sum of a map (*S) over each subset of segments (m, count) that are gone."""
    import numpy as np

    each = np.bincount(labels.numpy().ravel(), values.ravel(), minlength=gone.shape[1])
    return np.array([each[one].sum() for one in gone])


def correlated(
    plan: Plan, attribution: Tensor, k: int, subsets: Subsets, share: float
) -> Callable[[], Correlation | Undefined]:
    """Ask for subsets of a share of the segments; return what gives their correlation, or why there is none."""
    import numpy as np

    values = on_elements(plan, attribution)
    if reason := no_order(values):
        # Segments differ in size: a map of one value would go with what is lost.
        return lambda: Undefined(reason)
    labels, gone = subsets.drawn(plan, share)
    sums, sizes = summed(values, labels, gone), summed(np.ones_like(values), labels, gone)
    drops = subsets.asked(plan, share, k)

    def found() -> Correlation | Undefined:
        dropped, score = drops()
        if float(dropped.max() - dropped.min()) <= resolution(score):
            return Undefined("every subset changes the score by the same amount")
        if flat(sums):
            return Undefined("the map says the same of every subset")
        area = None if flat(sizes) else pearson(sizes, dropped)
        return Correlation(pearson(sums, dropped), spearman(sums, dropped), area, len(dropped))

    return found


def flat(values: Floats) -> bool:
    """Return whether numbers are equal but for rounding."""
    return float(values.max() - values.min()) <= 1e-12 * float(abs(values).max())


def pearson(first: Floats, second: Floats) -> float:
    """Return Pearson's correlation of numbers that are not all equal."""
    import numpy as np

    a, b = first - first.mean(), second - second.mean()
    return float(np.clip((a @ b) / ((a @ a) * (b @ b)) ** 0.5, -1, 1))


def spearman(first: Floats, second: Floats) -> float:
    """Return Pearson's correlation of the ranks, tied ones having their mean."""
    from scipy.stats import rankdata

    return pearson(rankdata(first), rankdata(second))
