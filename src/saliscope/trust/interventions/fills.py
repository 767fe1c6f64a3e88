"""Fills that look at what surrounds a region, and at another patient: beside blur and inpainting, a second opinion.

What stands in an erased place is itself evidence to a network; an effect that only one fill shows is an effect of the
fill.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError
from saliscope.core.metric import Fill
from saliscope.perturb.fill import BaselineFill
from saliscope.perturb.impute import RoadFill
from saliscope.perturb.reference import References

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from torch import Tensor

    Floats = npt.NDArray[np.float64]
    Mask = npt.NDArray[np.bool_]

#: The ring around a piece is so wide, a share of the shorter side of the grid, and one element at least.
WIDTH = 0.03


@dataclass(frozen=True)
class RingFill:
    """Every connected piece of what is gone takes the mean of the ring around it; `width` is a share of the grid."""

    width: float = WIDTH

    def __post_init__(self) -> None:
        _check(self.width)

    @property
    def name(self) -> str:
        """Return its name."""
        return f"mean of the ring, {self.width:g}"

    def __call__(self, x: Tensor, gone: Tensor) -> Tensor:
        """Return copies (m, C, *S) of x (1, C, *S) with what is `gone` (m, *S) as bright as what surrounds it."""
        import torch

        values = x[0].detach().double().cpu().numpy()
        rows = [ring_mean(values, one.cpu().numpy(), self.width) for one in gone]
        return torch.stack([torch.from_numpy(row) for row in rows]).to(x).where(gone.to(x.device)[:, None], x)


@dataclass(frozen=True)
class SwapFill:
    """The same place of another patient's view, brought to the brightness of the ring around each piece.

    Raises MetricError for more than one donor image.
    """

    donor: References
    width: float = WIDTH

    def __post_init__(self) -> None:
        _check(self.width)
        if len(self.donor) != 1:
            raise MetricError(f"{len(self.donor)} donor images", expected="one", do="Give the view of one patient.")

    @property
    def name(self) -> str:
        """Return its name, with the digest of the donor."""
        return f"patch of another image sha256:{self.donor.digest[:12]}, {self.width:g}"

    def __call__(self, x: Tensor, gone: Tensor) -> Tensor:
        """Return copies (m, C, *S) of x (1, C, *S) with the donor's patch where it is `gone` (m, *S)."""
        import torch

        donor = self.donor.like(x)
        # The levels of both are means over one ring, so their difference is what the ring says.
        between = (x - donor)[0].detach().double().cpu().numpy()
        rows = [ring_mean(between, one.cpu().numpy(), self.width) for one in gone]
        shift = torch.stack([torch.from_numpy(row) for row in rows]).to(x)
        return (donor + shift).where(gone.to(x.device)[:, None], x)


def usual_fills() -> tuple[Fill, ...]:
    """Return the fills of an intervention: smooth from the rim inwards (other places too), blur, the ring's mean."""
    return (RoadFill(exact=False, noise=0.0), BaselineFill("blur"), RingFill())


def ring_mean(values: Floats, gone: Mask, width: float = WIDTH) -> Floats:
    """Return (C, *S): where it is gone (*S), the mean of values (C, *S) in the ring around that connected piece.

    An element of the ring belongs to the piece that is nearest. A piece without a ring takes the mean of all that is
    left, and of the whole image where nothing is left.
    """
    import numpy as np
    from scipy import ndimage

    found = np.zeros_like(values)
    if not gone.any():
        return found
    pieces, count = ndimage.label(gone, ndimage.generate_binary_structure(gone.ndim, gone.ndim))
    far, nearest = ndimage.distance_transform_edt(~gone, return_indices=True)
    ring = ~gone & (far <= max(1.5, width * min(gone.shape)))
    owner = pieces[tuple(nearest)][ring]
    members = np.bincount(owner, minlength=count + 1)
    for channel, result in zip(values, found, strict=True):
        rest = channel[~gone].mean() if not gone.all() else channel.mean()
        sums = np.bincount(owner, weights=channel[ring], minlength=count + 1)
        means = np.where(members > 0, sums / np.maximum(members, 1), rest)
        result[gone] = means[pieces[gone]]
    return found


def _check(width: float) -> None:
    if not 0 < width <= 1:
        raise MetricError(f"a ring of width {width}", expected="a share of the grid", do="Give 0.01 to 0.1.")
