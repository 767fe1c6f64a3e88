"""rong2022: filling what was taken away as smoothly as the rest allows, with a little noise, so that no hole is seen.

A hole filled with one value shows the outline of what was taken away, and a network may read it. Here every element
taken away is the weighted mean of its neighbours, which leaves no edge. It is no likely image: what was inside a large
hole is gone without detail, and what stands beside its rim bleeds into it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RoadFill:
    """The smooth fill of rong2022, solved `exact`ly or by a pyramid many times as fast, plus Gaussian noise.

    The system is that of rong2022: neighbours along an axis weigh 1/6, diagonal ones 1/12, those beyond the edge of
    the image nothing, the rest then more. In three axes a neighbour weighs half for each further axis it is moved
    along: 1/14, 1/28, 1/56. `noise` is the standard deviation, in units of the input, of what is added to the filled
    elements, drawn for each channel from `seed` and the mask, so that a copy does not depend on what it is made with.
    Where everything is gone nothing is known, and every channel is its own mean.
    Raises MetricError for a negative noise.
    """

    exact: bool = False
    noise: float = 0.01
    seed: int = 0

    def __post_init__(self) -> None:
        if not (isfinite(self.noise) and self.noise >= 0):
            raise MetricError(f"noise={self.noise}", expected="0 or more, in units of the input", do="Give 0 for none.")

    @property
    def name(self) -> str:
        """Return which imputation it is, with its noise and seed."""
        how = "exact sparse solve" if self.exact else "fast pyramid imputation"
        return f"{how}, noise {self.noise}, seed {self.seed}" if self.noise else f"{how}, no noise"

    def __call__(self, x: Tensor, gone: Tensor) -> Tensor:
        """Return copies (m, C, *S) of x (1, C, *S) with what is `gone` (m, *S) filled from what is left."""
        import torch

        from saliscope.perturb.impute_exact import solved
        from saliscope.perturb.impute_pyramid import pyramid

        gone = gone.to(x.device)
        # At least float32: in bfloat16 the noise would be lost in the rounding.
        image = x.detach().to(torch.promote_types(x.dtype, torch.float32))
        filled = solved(image, gone) if self.exact else pyramid(image, gone)
        filled[gone.flatten(1).all(1)] = image.mean(dim=tuple(range(2, x.ndim)), keepdim=True)[0]
        if self.noise:
            filled += self.noise * self._drawn(filled, gone)
        return torch.where(gone[:, None], filled, image).to(x.dtype)

    def _drawn(self, like: Tensor, gone: Tensor) -> Tensor:
        import numpy as np
        import torch

        found = []
        for one in gone.cpu().numpy():
            # Drawn on the CPU for each mask from a generator of its own: the same on every device, alone or in a batch.
            key = f"{self.seed} {one.shape} ".encode() + np.packbits(one.ravel()).tobytes()
            start = int.from_bytes(hashlib.sha256(key).digest()[:8]) >> 1
            found.append(torch.randn(like.shape[1:], generator=torch.Generator().manual_seed(start)))
        return torch.stack(found).to(like)
