"""The image as the network sees it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from saliscope.core.errors import GeometryError
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.model.frame import Frame, Step
from saliscope.model.steps import make_step, step_name

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
    """The steps from an image to what a network expects, beginning at its values or at what a clinician sees."""

    steps: tuple[Step, ...] = ()
    source: Source = "values"

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the steps."""
        words = [self.source, *self.described()["steps"]]
        return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()

    def described(self) -> dict[str, Any]:
        """Return the source and the steps as plain data, each step as a model card has it."""
        steps = [{"step": step_name(s), **asdict(s)} for s in self.steps]
        return {"source": self.source, "steps": json.loads(json.dumps(steps))}

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Self:
        """Return the viewing that plain data describe; raises CardError for a step that is not known."""
        return cls(tuple(make_step(words) for words in told["steps"]), told["source"])

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
