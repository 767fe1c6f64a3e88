"""What `saliscope.explain` takes, by name, so that its overloads say only in what they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from saliscope.core.image import MedicalImage
from saliscope.core.protocols import Method
from saliscope.core.target import OutputKind, Target
from saliscope.model.frame import Step
from saliscope.model.network import Network
from saliscope.model.view import ToView
from saliscope.study.progress import Progress

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image
    from torch import Tensor, nn

    #: What the network sees, of any number of images.
    Seen = Tensor | npt.NDArray[Any]
    OneImage = str | Path | MedicalImage | Image
    AnyModel = nn.Module | Network | str | Path
    OneMethod = str | Method
    OneTarget = str | int | Target | Callable[[Tensor], Tensor]


class Keywords(TypedDict, total=False):
    """What `explain` takes by keyword only, as its docstring says."""

    labels: Sequence[str]
    kind: OutputKind | None
    view: ToView | Callable[..., Any] | Sequence[Step | Mapping[str, Any]] | None
    output: str | int | None
    spacing_mm: Sequence[float] | None
    reshape_transform: Callable[[Tensor], Tensor] | None
    forward: Callable[[nn.Module, Tensor], object] | None
    progress: Progress
