"""Images and explanations made for the tests of figures."""

from dataclasses import replace

import numpy as np

from saliscope.core.explanation import Explanation
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.prediction import Prediction
from saliscope.core.protocols import Traits
from saliscope.core.provenance import Provenance

CAM = Traits("cam", True, "layer", True, "selvaraju2017", "one forward", "anything finer than a cell")
#: A volume as a scanner stores it in DICOM: planes to the head, rows to the back, columns to the patient's left.
AXIAL = np.array([[0, 0, -1, 60.0], [0, -1, 0, 50.0], [3, 0, 0, -20.0], [0, 0, 0, 1]])


def an_image(geometry, values=None, modality="US", channels=1, notes=()):
    rng = np.random.default_rng(0)
    display = rng.integers(40, 200, (channels, *geometry.shape)).astype(np.uint8) if values is None else values
    return MedicalImage(
        display.astype(np.float32), display.astype(np.uint8), geometry, modality, "", "d" * 64, "case-1", tuple(notes)
    )


def an_explanation(image, values, geometry=None, seen=None, target="malignant", traits=CAM, **changes):
    """Return a map over the image: on its own grid, else over the same extent edge to edge."""
    values = np.asarray(values, dtype=np.float32)
    prediction = Prediction(("benign", target), (-1.0, 1.6), (0.17, 0.83), "multi-class", (None, 0.5))
    provenance = Provenance(
        image=image.digest, weights="a" * 64, view="b" * 64, model="net 1", method="grad-cam", fields={"layer": "auto"},
        target=target, layer="features.norm5", layer_reason="the last spatial layer", versions={"torch": "2.10"},
        device="cpu",
    )  # fmt: skip
    grid = geometry or image.geometry.on_grid(values.shape)
    return Explanation(values, grid, seen or image.geometry, target, prediction, traits, replace(provenance, **changes))


def a_volume(shape=(12, 40, 48)):
    return Geometry.of_affine(shape, AXIAL)


def bump(shape, centre, width=1.0):
    grids = np.meshgrid(*[np.arange(n, dtype=float) for n in shape], indexing="ij")
    return np.exp(-sum(((g - c) / width) ** 2 for g, c in zip(grids, centre, strict=True)) / 2).astype(np.float32)
