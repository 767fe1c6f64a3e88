"""The image as the network sees it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from saliscope.core.errors import GeometryError
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.model.frame import Frame, Step
from saliscope.model.steps import step_name

if TYPE_CHECKING:
    from torch import Tensor

Source = Literal["values", "display"]


@dataclass(frozen=True)
class View:
    """A tensor (1, C, *S) and the grid on which it lies."""

    tensor: Tensor
    geometry: Geometry


@dataclass(frozen=True)
class Viewing:
    """The steps from an image to what a network expects, beginning at its values or at what a clinician sees.

    The source "tensor" stands where there was no image: a tensor was given that is already as the network sees it.
    """

    steps: tuple[Step, ...] = ()
    source: Source | Literal["tensor"] = "values"

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the steps."""
        words = [self.source, *({"step": step_name(s), **asdict(s)} for s in self.steps)]
        return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()

    def described(self) -> tuple[str, ...]:
        """Return the source and the steps in words, for the page and the record."""
        if self.source == "tensor":
            return ("a tensor as the network sees it",)
        return (f"from the image's {self.source}", *described(self.steps))

    def __call__(self, image: MedicalImage) -> View:
        """Return the view of an image; raises GeometryError when a step does not fit it."""
        import torch

        array = image.values if self.source == "values" else image.display
        frame = Frame(np.asarray(array, dtype=np.float32), image.geometry, image.padding)
        for step in self.steps:
            frame = step(frame)
        if not np.isfinite(frame.values).all():
            raise GeometryError("a view with NaN or infinite values", expected="finite", do="Correct the view's steps.")
        return View(torch.from_numpy(np.array(frame.values, order="C"))[None], frame.geometry)


def described(steps: Sequence[Step]) -> list[str]:
    """Return one line for each step, for the page and the record."""
    return [f"{step_name(s)} " + " ".join(f"{k}={v}" for k, v in asdict(s).items()) for s in steps]
