"""wang2004: structural similarity of two maps, in windows, each map from its least to its largest value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MetricError
from saliscope.core.metric import MetricTraits
from saliscope.core.score import Score, Undefined
from saliscope.metrics.agreement.pair import Part, paired, words

if TYPE_CHECKING:
    from saliscope.core.metric import Map


@dataclass(frozen=True)
class SSIM:
    """The mean structural similarity in windows of `window` elements along every axis.

    Each map is first put onto 0 to 1 from its least to its largest value, and the range of the data is 1: maps of two
    methods have no unit in common. `part`: "signed" or "magnitude". Raises MetricError for a window that is even or
    below 3.
    """

    window: int = 7
    part: Part = "signed"

    traits: ClassVar[MetricTraits] = MetricTraits(
        category="agreement",
        direction="higher",
        range=(-1.0, 1.0),
        null="none: it depends on how smooth the maps are; compare with maps of other patients",
        citation="wang2004",
        cost="none",
        blind="Two maps that are flat in most windows agree there, so that the background decides. One outlier "
        "squeezes the rest of a map, and makes it look alike.",
    )

    def __post_init__(self) -> None:
        if self.window < 3 or self.window % 2 == 0:
            raise MetricError(f"a window of {self.window}", expected="odd, 3 or more", do="Choose such a number.")

    def of_pair(self, first: Map, second: Map) -> Score:
        """Return the similarity of two maps (*S); undefined for maps smaller than the window."""
        from skimage.metrics import structural_similarity

        how = (words(self.part), "each from its least to its largest value, range 1", f"windows of {self.window}")
        maps = paired(first, second, self.part)
        if isinstance(maps, Undefined):
            return Score("ssim", maps, "higher", n=0, how=how)
        if min(maps[0].shape) < self.window:
            why = Undefined(f"a map of {maps[0].shape} is smaller than the window of {self.window}")
            return Score("ssim", why, "higher", n=0, how=how)
        a, b = ((m - m.min()) / (m.max() - m.min()) for m in maps)
        value = float(structural_similarity(a, b, win_size=self.window, data_range=1.0))
        return Score("ssim", min(1.0, max(-1.0, value)), "higher", how=how)
