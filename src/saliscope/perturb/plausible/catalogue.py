"""Which changes are plausible for which modality: ten of each, and the control.

All magnitudes are conventions: no source was found for how far two acquisitions of a patient differ. None mirrors an
image, and none is larger than a reader would pass over.
"""

from __future__ import annotations

from saliscope.core.errors import MetricError
from saliscope.perturb.plausible.contract import Plausible
from saliscope.perturb.plausible.intensity import BiasField, Gain, Gamma, Intensity, Window
from saliscope.perturb.plausible.noise import Kernel, Noise
from saliscope.perturb.plausible.spatial import Affine, Resampled

CONTROL = Resampled()
#: The patient lies a little otherwise, in every modality.
MOVES: tuple[Plausible, ...] = (
    Affine(degrees=3),
    Affine(degrees=-3),
    Affine(rows=0.02, columns=-0.02),
    Affine(scale=0.97),
    Affine(scale=1.03),
)
RADIOGRAPH: tuple[Plausible, ...] = (
    Window(centre=0.1, width=0.9),
    Window(centre=-0.1, width=1.1),
    Gamma(0.9),
    Gamma(1.1),
    Noise(0.01),
)
#: By the DICOM modality; what is not named gets OTHER.
BY_MODALITY: dict[str, tuple[Plausible, ...]] = {
    "CR": RADIOGRAPH,
    "DX": RADIOGRAPH,
    "CT": (Window(centre=0.02), Window(centre=-0.02), Noise(0.01), Kernel(0.7), Kernel(0.7, sharpen=0.5)),
    "MR": (Intensity(0.9), Intensity(1.1), BiasField(0.1), Noise(0.02, magnitude=True), Gamma(1.1)),
    "US": (Gain(2), Gain(-2), Gain(2, tilt=True), Gain(-2, tilt=True), Noise(0.01)),
}
OTHER: tuple[Plausible, ...] = (Window(centre=0.05), Window(centre=-0.05), Gamma(1.1), Noise(0.01), Kernel(0.7))


def perturbations_of(modality: str, dims: int) -> tuple[Plausible, ...]:
    """Return the control and then the perturbations for a DICOM modality and an image of 2 or 3 axes.

    Volumes are moved in the plane of their last two axes. A modality that is not named gets what suits them all.
    Raises MetricError for another number of axes.
    """
    if dims not in (2, 3):
        raise MetricError(f"an image of {dims} axes", expected="2 or 3", do="Give an image or a volume.")
    return (CONTROL, *MOVES, *BY_MODALITY.get(modality.upper(), OTHER))
