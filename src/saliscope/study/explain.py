"""One question of one network about some images: the function that every face calls."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np

from saliscope.core.errors import MethodError
from saliscope.core.explanation import Explanation, Presenter
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.prediction import Prediction
from saliscope.core.protocols import INPUT, Diagnosing, Kernel, Method
from saliscope.core.provenance import Provenance
from saliscope.methods import METHODS
from saliscope.methods.kernel import kernel_maps
from saliscope.model.layers import LayerRun, cells_of, choose_layer, survey
from saliscope.model.network import Network, OpenNetwork
from saliscope.model.probe import Counts
from saliscope.model.view import View, described
from saliscope.study.memory import check_room, needs_graph_of_all
from saliscope.study.question import Asked, Question

if TYPE_CHECKING:
    from torch import Tensor

#: What a note says where a network's output seems to have passed a softmax or a sigmoid already.
ACTIVATED = "The output looks like probabilities, not logits: maps of saturated probabilities fade."
STRETCHED = "The cells of this layer could not be followed: the map is laid edge to edge over the view."

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Case:
    """An image, the view of it that the network sees, and who can show the result."""

    image: MedicalImage
    view: View
    presenter: Callable[[MedicalImage, View], Presenter]


@dataclass(frozen=True)
class Asking:
    """A method with its name, its layer settled, and why that layer."""

    name: str
    method: Method
    reason: str | None


def explained(
    cases: Sequence[Case], network: Network, methods: Mapping[str, Method], asked: Asked, said: Progress | None = None
) -> list[Explanation]:
    """Return explanations in the order of cases, targets, methods, for cases whose views have one shape.

    All cases go through the network as one batch, and all methods that weigh a layer share one forward run.
    Raises ModelError, MethodError or TargetError for what does not fit together.
    """
    import torch

    x = torch.cat([case.view.tensor for case in cases]).to(network.device, network.dtype)
    question = Question(asked, network)
    with network.opened() as model:
        surveyed = any(_on_layer(m) or needs_graph_of_all(m) for m in methods.values())
        runs = survey(model, x) if surveyed else []
        check_room(methods, runs, network.device, x.element_size())
        asking = [_settled(name, m, network, runs, x.ndim - 2) for name, m in methods.items()]
        maps = dict(_maps(model, x, question, asking, said))
        if question.output is None:
            question.scores(model(x))
        measured = {a.name: _diagnosed(model, x, question, a, maps[a.name]) for a in asking}
    assert question.output is not None
    predictions = network.predictions(question.output) if _speaks(network, question) else None
    arrays = {name: values.float().cpu().numpy() for name, values in maps.items()}
    notes = (ACTIVATED,) if _activated(question.output, network.kind) else ()
    found = []
    for n, case in enumerate(cases):
        prediction = predictions[n] if predictions else Prediction((), (), None, network.kind, ())
        for k, label in enumerate(question.labels):
            for a in asking:
                values = np.ascontiguousarray(arrays[a.name][n, k])
                grid, stretched = _grid(case.view.geometry, a, runs, values.shape)
                diagnostics = {name: float(v[n, k]) for name, v in measured[a.name].items()}
                provenance = _provenance(case.image, network, a, label, diagnostics, (*notes, *stretched))
                plain = Explanation(values, grid, case.view.geometry, label, prediction, a.method.traits, provenance)
                found.append(replace(plain, presenter=case.presenter(case.image, case.view)))
    return found


def make_methods(asked: str | Method | Sequence[str | Method], layer: str | None = None) -> dict[str, Method]:
    """Return methods by name, with `layer` set where a method has such a field; raises MethodError for unknown ones."""
    several = [asked] if isinstance(asked, str | Method) else list(asked)
    made: dict[str, Method] = {}
    for one in several:
        method = METHODS.make(one) if isinstance(one, str) else one
        name = one if isinstance(one, str) else name_of(method)
        if layer is not None and getattr(method, "layer", None) == "auto":
            method = replace(method, layer=layer)  # type: ignore[type-var]
        if made.get(name, method) != method:
            name = f"{name}-{len(made) + 1}"
        made[name] = method
    if not made:
        raise MethodError("no method", expected="at least one", do="See `saliscope methods`")
    return made


def name_of(method: Method) -> str:
    """Return the registry's name of a method, or its class name."""
    address = f"{type(method).__module__}:{type(method).__qualname__}"
    return next((n for n, a in METHODS.addresses.items() if a == address), type(method).__name__)


def _on_layer(method: Method) -> bool:
    return isinstance(method, Kernel) and method.layer != INPUT


def _settled(name: str, method: Method, network: Network, runs: Sequence[LayerRun], axes: int) -> Asking:
    if not isinstance(method, Kernel) or method.layer == INPUT:
        return Asking(name, method, None)
    if method.layer != "auto":
        return Asking(name, method, "named by the caller")
    if network.layer != "auto":
        layer, reason = network.layer, "the default of the model card"
    else:
        layer, reason = choose_layer(runs, axes)
    return Asking(name, replace(method, layer=layer), reason)  # type: ignore[type-var]


def _maps(
    model: OpenNetwork, x: Tensor, question: Question, asking: Sequence[Asking], said: Progress | None
) -> Iterator[tuple[str, Tensor]]:
    kernels = [a for a in asking if isinstance(a.method, Kernel)]
    if kernels:
        _say(said, ", ".join(a.name for a in kernels))
        maps = kernel_maps(model, x, question, [a.method for a in kernels if isinstance(a.method, Kernel)])
        yield from zip((a.name for a in kernels), maps, strict=True)
    for a in asking:
        if a not in kernels:
            if question.output is None:
                question.scores(model(x))
            model.watch = _counting(said, a.name)
            yield a.name, a.method.attribute(model, x, question)
            model.watch = None


def _say(said: Progress | None, what: str) -> None:
    if said is not None:
        said(what)


def _counting(said: Progress | None, name: str) -> Callable[[Counts], None]:
    """Return who says, after every forward run, how many a method has had."""
    return lambda counts: _say(said, f"{name}, {counts.forward_samples:,} samples run")


def _diagnosed(model: OpenNetwork, x: Tensor, question: Question, a: Asking, values: Tensor) -> Mapping[str, Tensor]:
    return a.method.diagnose(model, x, question, values) if isinstance(a.method, Diagnosing) else {}


def _grid(
    view: Geometry, a: Asking, runs: Sequence[LayerRun], shape: tuple[int, ...]
) -> tuple[Geometry, tuple[str, ...]]:
    """Return the grid of a map by the measured cells of its layer, or edge to edge, which is said."""
    if shape == view.shape and not _on_layer(a.method):
        return view, ()
    cells = cells_of(runs, getattr(a.method, "layer", ""), view.ndim)
    if cells is None:
        return view.on_grid(shape), (STRETCHED,)
    return view.cells(cells.stride, cells.offset, shape), ()


def _provenance(
    image: MedicalImage,
    network: Network,
    a: Asking,
    label: str,
    diagnostics: Mapping[str, float],
    notes: tuple[str, ...],
) -> Provenance:
    fields: dict[str, Any] = asdict(a.method)  # type: ignore[call-overload]
    layer = a.method.layer if isinstance(a.method, Kernel) else None
    return Provenance(
        image=image.digest,
        weights=network.weights_digest(),
        view=network.viewing.digest,
        model=network.name,
        method=a.name,
        fields=fields,
        target=label,
        layer=None if layer == INPUT else layer,
        layer_reason=a.reason,
        versions=versions(),
        device=str(network.device),
        diagnostics=diagnostics,
        notes=notes,
        view_steps=(f"from the image's {network.viewing.source}", *described(network.viewing.steps)),
    )


@cache
def versions() -> Mapping[str, str]:
    """Return the versions of what a map depends on."""
    names = ("saliscope", "torch", "numpy", "scipy", "scikit-image", "pydicom", "nibabel")
    found = {"python": platform.python_version()}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _speaks(network: Network, question: Question) -> bool:
    """Return whether the output can be read as a prediction; a caller's own function may take any output."""
    if not callable(question.asked):
        return True
    output = question.output
    return output is not None and output.ndim > 1 and (not network.labels or len(network.labels) == output.shape[1])


def _activated(output: Tensor, kind: str) -> bool:
    if kind == "regression" or output.ndim < 2 or output.min() < 0 or output.max() > 1:
        return False
    return kind in ("multi-label", "binary") or bool((output.sum(1) - 1).abs().max() < 1e-3)
