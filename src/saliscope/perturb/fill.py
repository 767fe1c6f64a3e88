"""What stands in places that were taken away from an image, whatever their shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from saliscope.perturb.baseline import Baseline, absent

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class BaselineFill:
    """The elements of an input without evidence, in place of those taken away."""

    baseline: Baseline = "blur"

    @property
    def name(self) -> str:
        """Return the name of the baseline."""
        return f"baseline {self.baseline}"

    def __call__(self, x: Tensor, gone: Tensor) -> Tensor:
        """Return copies (m, C, *S) of x (1, C, *S) with what is `gone` (m, *S) as in the baseline."""
        return absent(x, self.baseline).where(gone.to(x.device)[:, None], x)
