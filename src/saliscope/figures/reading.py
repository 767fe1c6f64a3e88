"""What a map says about its image: placed, scaled, its regions found and put into words."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import GeometryError
from saliscope.core.explanation import Explanation
from saliscope.core.image import MedicalImage
from saliscope.figures import wording
from saliscope.figures.place import box_within, placed, within
from saliscope.figures.regions import CRUMB, SHARE, Focus, focus_of
from saliscope.figures.scale import Scale, scale_of, scale_of_ranks, state_of
from saliscope.figures.shares import Shares, shares_of
from saliscope.figures.totals import Totals, totals


@dataclass(frozen=True, eq=False)
class Reading:
    """A map read on its image: values (*S) on the image's grid, raw and signed; scale, regions, and sentences.

    `image` is the digest of the image that it was read on, `sums` what the values add up to along each axis.
    """

    explanation: Explanation
    values: npt.NDArray[np.float32]
    scale: Scale
    focus: Focus | None
    shares: Shares | None
    sentences: tuple[str, ...]
    image: str
    sums: Totals

    def record(self) -> dict[str, Any]:
        """Return the reading as plain data, for the explanation's file."""
        low, high = self.scale.ends
        record: dict[str, Any] = {
            "state": self.scale.state,
            "scale": {"palette": self.scale.palette, "mode": self.scale.mode, "low": low, "high": high},
            "shares": None if self.shares is None else asdict(self.shares),
            "sentences": list(self.sentences),
            "regions": [],
            "focus": None,
        }
        if self.focus is not None:
            f = self.focus
            record["regions"] = [{**asdict(r), "sentence": r.sentence()} for r in f.regions]
            record["focus"] = {
                "wanted_share": SHARE, "held_share": f.held, "level": f.level, "coverage_of_seen": f.coverage,
                "smallest_listed_share": CRUMB, "not_listed": f.crumbs, "not_listed_share": f.crumb_share,
            }  # fmt: skip
        return record


def interpret(explanation: Explanation, image: MedicalImage, limit: float | None = None) -> Reading:
    """Return the map placed on its image and read; `limit` fixes the colour scale so that maps can be compared.

    Raises GeometryError when the map was not made from this image.
    """
    if explanation.provenance.image != image.digest:
        raise GeometryError(
            "a map that was made from another image", expected="map and image of one source", do="Pair them again."
        )
    values = placed(explanation.values, explanation.geometry, image.geometry, explanation.seen)
    values.setflags(write=False)
    seen = _seen(image, explanation)
    ranks = explanation.traits.quantity == "rank"
    scale = scale_of_ranks(values, seen) if ranks else _scale(explanation, values, limit)
    # Of ranks, what lies above the level of the scale is what says where: all of them add up to the image.
    counted = np.where(seen & (values > scale.least), values - scale.least, np.float32(0)) if ranks else values
    share = 1.0 if ranks else SHARE
    sums = totals(counted)
    focus = focus_of(counted, image.geometry, seen, share) if scale.state == "shown" else None
    finite = scale.state in ("shown", "no positive evidence")
    shares = shares_of(explanation, image, counted, seen, sums) if finite else None
    sentences = wording.sentences(explanation, image, scale, focus, shares, bool(seen.all()))
    return Reading(
        explanation, values, scale, focus, shares, sentences, image.digest, totals(values) if ranks else sums
    )


def _seen(image: MedicalImage, explanation: Explanation) -> npt.NDArray[np.bool_]:
    """Return what the network saw of the image (*S): where that is all, one element stands for it."""
    box = box_within(image.geometry, explanation.seen)
    if box == tuple(slice(0, n) for n in image.geometry.shape):
        return np.broadcast_to(np.True_, image.geometry.shape)
    return within(image.geometry, explanation.seen)


def _scale(explanation: Explanation, values: npt.NDArray[np.float32], limit: float | None) -> Scale:
    """Return the scale of what is drawn; whether there is anything to draw is the native map's matter."""
    scale = scale_of(values, limit)
    native = state_of(explanation.values)
    if native in ("constant", "not finite"):
        return Scale(scale.palette, 1.0, "nothing to scale", native)
    return scale
