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
        limit = self.thresholds[i]
        if limit is None:
            return f"{said}, no operating threshold known"
        side = "at or above" if self.probabilities[i] >= limit else "below"
        rescaled = self.rescaled[i] if self.rescaled else None
        if rescaled is None:
            return f"{said}, {side} the operating threshold of {limit:.2f}"
        # Operating thresholds of such networks lie near zero, where two digits would say 0.00.
        said = f"{label}: probability {self.probabilities[i]:.3g}, {side} the operating threshold of {limit:.3g}"
        return f"{said} ({rescaled:.2f} on the network's own scale, where that threshold is 0.50)"
