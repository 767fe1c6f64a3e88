"""The same patient at another dose or through another filter: noise, soft and sharp kernels.

All magnitudes are conventions, no source was found; scales are those of `scale`. Channels that repeat one grey image
get the same noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MetricError
from saliscope.perturb.noise import gaussian
from saliscope.perturb.plausible.scale import on_own_scale, one_grey_image

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Noise:
    """Normal noise with a standard deviation of `sigma` of the range.

    As `magnitude` it is that of a complex signal, as MR images are: a value a becomes |a + noise + i noise|.
    """

    sigma: float = 0.01
    magnitude: bool = False

    control: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _not_negative(self.sigma, self)

    @property
    def name(self) -> str:
        """Return the kind and size of the noise."""
        return f"{'Rician' if self.magnitude else 'normal'} noise of {100 * self.sigma:g} %"

    def apply(self, x: Tensor, seed: int) -> Tensor:
        """Return the image (1, C, *S) with noise drawn from the seed."""

        def noisy(unit: Tensor, bulk: Tensor) -> Tensor:
            like = unit[:, :1] if one_grey_image(unit) else unit
            real, imaginary = gaussian(like, 2, 1, seed)
            found = unit + self.sigma * bulk * real
            return (found**2 + (self.sigma * bulk * imaginary) ** 2).sqrt() if self.magnitude else found

        return on_own_scale(x, noisy)


@dataclass(frozen=True)
class Kernel:
    """A Gaussian of `sigma` elements in the plane; with `sharpen`, that share of what it takes away is added instead.

    Raises MetricError for a width that is not positive.
    """

    sigma: float = 0.7
    sharpen: float = 0.0

    control: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _not_negative(self.sharpen, self)
        if not self.sigma > 0:
            raise MetricError(f"{self}", expected="a positive width", do="Correct the field.")

    @property
    def name(self) -> str:
        """Return what the kernel does."""
        if self.sharpen:
            return f"sharp kernel, {100 * self.sharpen:g} % of the detail below {self.sigma:g} elements"
        return f"soft kernel of {self.sigma:g} elements"

    def apply(self, x: Tensor, seed: int) -> Tensor:  # noqa: ARG002 - the contract of a perturbation
        """Return the filtered image (1, C, *S)."""

        def filtered(unit: Tensor, _bulk: Tensor) -> Tensor:
            from scipy.ndimage import gaussian_filter

            widths = [0.0] * (unit.ndim - 2) + [self.sigma] * 2
            soft = unit.new_tensor(gaussian_filter(unit.detach().cpu().double().numpy(), widths, mode="nearest"))
            return unit + self.sharpen * (unit - soft) if self.sharpen else soft

        return on_own_scale(x, filtered)


def _not_negative(value: float, whole: object) -> None:
    if not 0 <= value < float("inf"):
        raise MetricError(f"{whole}", expected="a finite magnitude that is not negative", do="Correct the fields.")
