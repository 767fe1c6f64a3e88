"""What the network said, shown beside every map."""

from __future__ import annotations

from dataclasses import dataclass

from saliscope.core.target import OutputKind


@dataclass(frozen=True)
class Prediction:
    """Scores as logits, their probabilities where the output kind has any, and the operating thresholds.

    For a segmentation the "probability" of a class is the share of elements where it is predicted. `rescaled` holds
    the probabilities on the network's own scale, on which each operating threshold is 0.5, for networks that have one.
    """

    labels: tuple[str, ...]
    logits: tuple[float, ...]
    probabilities: tuple[float, ...] | None
    kind: OutputKind
    thresholds: tuple[float | None, ...]
    rescaled: tuple[float | None, ...] = ()

    @property
    def strongest(self) -> int:
        """Return the index of the label with the largest probability, or logit where there are none."""
        ranked = self.probabilities or self.logits
        return max(range(len(ranked)), key=ranked.__getitem__)

    @property
    def limits(self) -> tuple[float | None, ...]:
        """Return the operating threshold of each label; of two that exclude each other, one tells the other's."""
        one = self._threshold_of_two()
        if one is None:
            return self.thresholds or (None,) * len(self.labels)
        i, limit = one
        return (limit, 1 - limit) if i == 0 else (1 - limit, limit)

    @property
    def called(self) -> tuple[int, ...]:
        """Return the indices of the labels that the network calls, the one furthest above its threshold first.

        A label with an operating threshold is called at or above it. Where none is reached, and of labels without
        one, it is the strongest of those that exclude each other; every label from 0.5 on of those that do not; every
        class but the background that is predicted anywhere, of a segmentation; the largest value of a regression.
        Empty where no label is called.
        """
        p = self.probabilities
        if p is None:
            return (self.strongest,)
        if self.kind == "segmentation":
            # The background fills most of an image, and is no finding.
            rest = range(1 if len(p) > 1 else 0, len(p))
            return tuple(sorted((i for i in rest if p[i] > 0), key=lambda i: -p[i]))
        if (one := self._threshold_of_two()) is not None:
            # One comparison decides for both labels, so that rounding cannot call both or none.
            i, limit = one
            return (i if p[i] >= limit else 1 - i,)
        limits = self.limits
        if self.kind == "multi-label":
            reached = [i for i, limit in enumerate(limits) if p[i] >= (0.5 if limit is None else limit)]
        else:
            reached = [i for i, limit in enumerate(limits) if limit is not None and p[i] >= limit]
            free = [i for i, limit in enumerate(limits) if limit is None]
            reached = reached or sorted(free, key=lambda i: -p[i])[:1]
        return tuple(sorted(reached, key=lambda i: -self._height(i)))

    @property
    def top(self) -> int:
        """Return the label that the network calls, the one furthest above its threshold; else the nearest to it."""
        if self.called:
            return self.called[0]
        if self.kind == "segmentation" or not self.labels:
            return self.strongest
        return max(range(len(self.labels)), key=self._height)

    def _height(self, i: int) -> float:
        """Return how far the probability of a label reaches, on the scale where every threshold is 0.5."""
        assert self.probabilities is not None
        limit = self.limits[i]
        return around(self.probabilities[i], 0.5 if limit is None else limit)

    def _threshold_of_two(self) -> tuple[int, float] | None:
        """Return which of two labels that exclude each other has an operating threshold, and it, where just one has."""
        known = [(i, limit) for i, limit in enumerate(self.thresholds) if limit is not None]
        two = len(self.labels) == 2 and self.kind in ("binary", "multi-class")
        return known[0] if two and len(known) == 1 else None

    def sentence(self, label: str) -> str:
        """Return what was predicted for one label, in words, with its threshold."""
        if label not in self.labels:
            own = f"{label}: a score made of the network's output"
            answer = self.labels and f"; its strongest answer is {self.sentence(self.labels[self.strongest])}"
            return f"{own}{answer or ''}"
        i = self.labels.index(label)
        if self.probabilities is None:
            return f"{label}: {self.logits[i]:.3g}"
        if self.kind == "segmentation":
            return f"{label}: predicted in {self.probabilities[i]:.1%} of what the network saw"
        said = f"{label}: probability {self.probabilities[i]:.2f}"
        limit = self.limits[i]
        if limit is None:
            return f"{said}, no operating threshold known"
        side = "at or above" if self.probabilities[i] >= limit else "below"
        rescaled = self.rescaled[i] if self.rescaled else None
        if rescaled is None:
            return f"{said}, {side} the operating threshold of {limit:.2f}"
        # Operating thresholds of such networks lie near zero, where two digits would say 0.00.
        said = f"{label}: probability {self.probabilities[i]:.3g}, {side} the operating threshold of {limit:.3g}"
        return f"{said} ({rescaled:.2f} on the network's own scale, where that threshold is 0.50)"


def around(probability: float, threshold: float) -> float:
    """Return a probability on a scale where the operating threshold is 0.5, linear on either side (cohen2022)."""
    if probability < threshold:
        return probability / (2 * threshold)
    return 1 - (1 - probability) / (2 * (1 - threshold)) if threshold < 1 else 0.5
