"""One question of one network about some images: the function that every face calls."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from saliscope.core.errors import MethodError
from saliscope.core.explanation import Explanation, Presenter
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.nesting import has, inside
from saliscope.core.prediction import Prediction
from saliscope.core.protocols import Beside, Diagnosing, Kernel, Method, Sizes
from saliscope.core.provenance import Provenance
from saliscope.methods.kernel import kernel_maps
from saliscope.methods.resolution import resolution_of
from saliscope.model.layers import LayerRun, cells_of
from saliscope.model.network import Network
from saliscope.model.opened import DRAWS, OpenNetwork
from saliscope.model.probe import Counts
from saliscope.model.view import View
from saliscope.study.asking import Asking, asking, dependence, described
from saliscope.study.inspection import ending
from saliscope.study.memory import check_room, needs_graph_of_all
from saliscope.study.promise import check_promise
from saliscope.study.question import Asked, Question
from saliscope.study.settle import settled
from saliscope.study.soundness import check_maps, check_output, refused_in_words

if TYPE_CHECKING:
    from torch import Tensor

#: What a note says where a network's output seems to have passed a softmax or a sigmoid already.
ACTIVATED = "The output looks like {}, not logits: maps of saturated values fade."
CONVERTED = "The image was converted from {} to {}, the type of the weights."
CHANGED = "Forward runs changed {} of the network; that was put back."
STRETCHED = "The cells of this layer could not be followed: the map is laid edge to edge over the view."

#: The name under which a method gives its own map among those beside it.
MAP = "map"

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class Case:
    """An image, the view of it that the network sees, and who can show the result."""

    image: MedicalImage
    view: View
    presenter: Callable[[MedicalImage, View], Presenter]


def explained(
    cases: Sequence[Case], network: Network, methods: Mapping[str, Method], asked: Asked, said: Progress | None = None
) -> list[Explanation]:
    """Return explanations in the order of cases, targets, methods, for cases whose views have one shape.

    All cases go through the network as one batch, and all methods that weigh a layer share one forward run.
    Raises ModelError, MethodError or TargetError for what does not fit together.
    """
    import torch

    question = Question(asked, network)
    # What is made under the caller's inference_mode cannot have a graph.
    with torch.inference_mode(mode=False), refused_in_words(", ".join(methods), network.name):
        x = torch.cat([case.view.tensor for case in cases]).to(network.device, network.dtype, copy=True)
        with network.opened() as model:
            # What a method may know of the image beside its tensor is the same for all: they came in one batch.
            placed = {name: settled(m, cases[0].image, cases[0].view, network) for name, m in methods.items()}
            surveyed = any(has(m, "layer") or needs_graph_of_all(m) for one in placed.values() for m in inside(one))
            runs = model.runs(x) if surveyed else []
            check_room(placed, runs, x)
            depends = dependence(model, x, question)
            all_asked = [asking(name, m, network, runs, depends) for name, m in placed.items()]
            found = dict(_found(model, x, question, all_asked, said))
            if question.output is None:
                question.scores(model(x))
            if question.output is not None and model.surveyed(x) is not None:
                model.compare(x, question.output)
        remarks = _remarks(model, cases[0], x)
    assert question.output is not None
    check_output(question.output)
    predictions = network.predictions(question.output) if _speaks(network, question) else None
    notes = _notes(network, question.output, (*question.notes, *remarks))
    # A caller's own reshape says what the cells are, not where they lie.
    placing = runs if network.reshape_transform is None else ()
    explanations: list[Explanation] = []
    common = _common(network, all_asked)
    for n, case in enumerate(cases):
        view, shown = case.view.geometry, case.presenter(case.image, case.view)
        prediction = predictions[n] if predictions else Prediction((), (), None, network.kind, ())
        for k, label in enumerate(question.labels_of(n)):
            for a in all_asked:
                one = found[a.name]
                values = {name: np.ascontiguousarray(v[n, k]) for name, v in one.maps.items()}
                grid, stretched = _grid(view, a, placing, values[MAP].shape)
                told = replace(common[a.name], image=case.image.digest, target=label, **_of_view(case, network))
                told = replace(told, diagnostics=one.at(n, k), notes=(*notes, *_reservation(a), *stretched, *one.notes))
                own, sizes = values.pop(MAP), _sizes(one.resolution[n], view, grid)
                made = Explanation(own, grid, view, label, prediction, a.method.traits, told, values, shown, sizes)
                explanations.append(made)
    return explanations


def _remarks(model: OpenNetwork, case: Case, x: Tensor) -> tuple[str, ...]:
    """Return what the runs showed, that an image was converted to another type, and what was put back."""
    types = [str(t.dtype).removeprefix("torch.") for t in (case.view.tensor, x)]
    converted = () if types[0] == types[1] else (CONVERTED.format(*types),)
    changed = (CHANGED.format(", ".join(model.changed[:4])),) if model.changed else ()
    return (*converted, *model.remarks, *changed)


def _notes(network: Network, output: Tensor, remarks: tuple[str, ...]) -> tuple[str, ...]:
    """Return what holds for every map of a network: what its card says, what its runs showed, how its output ends."""
    ends = ending(output, network.kind)
    return (*network.notes, *remarks, *((ACTIVATED.format(ends),) if ends else ()))


def _reservation(a: Asking) -> tuple[str, ...]:
    """Return the reason of a layer that has a reservation, which must be seen beside the map."""
    return (f"{a.layer}: {a.reason}.",) if "; " in (a.reason or "") else ()


@dataclass(frozen=True, eq=False)
class _Found:
    """What one method gave for all cases and targets: maps (N, K, *S') by name, measurements (N, K), sentences.

    And for each case the least sizes that its map can show, in elements of the view.
    """

    maps: Mapping[str, npt.NDArray[np.float32]]
    measured: Mapping[str, Tensor]
    notes: tuple[str, ...]
    resolution: Sequence[Sizes]

    def at(self, n: int, k: int) -> dict[str, float]:
        return {name: float(v[n, k]) for name, v in self.measured.items()}


def _found(
    model: OpenNetwork, x: Tensor, question: Question, all_asked: Sequence[Asking], said: Progress | None
) -> Iterator[tuple[str, _Found]]:
    """Give what each method found; the notes that it left are its own."""
    if len(x) > 1:
        # A caller's own images differ in more than those of the trial: also of a few of them one is looked at.
        model.tried = model.looked = 1
    plain = [a for a in all_asked if not isinstance(a.method, Beside)]
    kernels = [(a.name, a.method) for a in plain if isinstance(a.method, Kernel)]
    if kernels:
        _say(said, ", ".join(name for name, _ in kernels))
        shared = kernel_maps(model, x, question, [method for _, method in kernels])
        for (name, method), values in zip(kernels, shared, strict=True):
            yield name, _kept(model, x, question, method, {MAP: values})
    for a in all_asked:
        if a.name in dict(kernels):
            continue
        if question.output is None:
            question.scores(model(x))
        model.watch = _counting(said, a.name)
        maps = (
            a.method.attribute_with(model, x, question)
            if isinstance(a.method, Beside)
            else {MAP: a.method.attribute(model, x, question)}
        )
        model.watch = None
        yield a.name, _kept(model, x, question, a.method, maps)


def _kept(model: OpenNetwork, x: Tensor, question: Question, method: Method, given: Mapping[str, Tensor]) -> _Found:
    """Part what a method gave into maps and measurements by name, add what it can measure of its map, and check all."""
    name = type(method).__name__
    # Whoever names the one without the other is not asked for either, which must not pass unseen.
    beside, measures = getattr(method, "beside", ()), getattr(method, "measures", ())
    if set(given) != {MAP, *beside, *measures}:
        raise MethodError(
            f"{name}, which gave {', '.join(sorted(given))}",
            expected=f"what it names: {', '.join((MAP, *beside, *measures))}",
            do="Give the class both `beside` and `measures`: they name all that attribute_with returns but the map",
        )
    maps = {which: given[which] for which in (MAP, *beside)}
    if question.output is not None:
        # Maps of such an output are not finite either, and the output says why.
        check_output(question.output)
    check_maps(name, method, maps, model.surveyed(x))
    measured = {which: given[which] for which in measures}
    if isinstance(method, Diagnosing):
        measured |= method.diagnose(model, x, question, maps[MAP])
    check_promise(name, method, measured, [r for r in model.remarks if r == DRAWS])
    arrays = {name: values.float().cpu().numpy() for name, values in maps.items()}
    resolution = [resolution_of(method, model, image) for image in x.split(1)]
    return _Found(arrays, measured, tuple(note[:1].upper() + note[1:] for note in model.take_notes()), resolution)


def _say(said: Progress | None, what: str) -> None:
    if said is not None:
        said(what)


def _counting(said: Progress | None, name: str) -> Callable[[Counts], None]:
    """Return who says, after every forward run, how many a method has had, whole or in part."""
    return lambda counts: _say(said, f"{name}, {counts.samples:,} samples run")


def _grid(
    view: Geometry, a: Asking, runs: Sequence[LayerRun], shape: tuple[int, ...]
) -> tuple[Geometry, tuple[str, ...]]:
    """Return the grid of a map by the measured cells of its layer, or edge to edge, which is said."""
    if shape == view.shape and (a.method.traits.grid == "input" or a.layer is None):
        return view, ()
    cells = cells_of(runs, a.layer or "", view.ndim)
    if cells is None:
        return view.on_grid(shape), (STRETCHED,)
    return view.cells(cells.stride, cells.offset, shape), ()


def _sizes(stated: Sizes, view: Geometry, grid: Geometry) -> Sizes:
    """Return the least sizes that a map on `grid` can show, from what is stated in elements of the view."""
    found = [tuple(max(n * s, c) for n, s, c in zip(one, view.spacing, grid.spacing, strict=True)) for one in stated]
    return tuple(dict.fromkeys(found))


def _of_view(case: Case, network: Network) -> dict[str, Any]:
    """Return what the record says of a view: its own words and digest where it was learnt from the image."""
    viewing = network.viewing
    return {"view": case.view.digest or viewing.digest, "view_steps": case.view.words or viewing.described()}


def _common(network: Network, all_asked: Sequence[Asking]) -> dict[str, Provenance]:
    """Return what all maps of a method have in common; a digest of weights costs as much as a small network's run."""
    weights = network.weights_digest()
    return {a.name: _of_method(network, a, weights) for a in all_asked}


def _of_method(network: Network, a: Asking, weights: str) -> Provenance:
    return Provenance(
        image="",
        weights=weights,
        view=network.viewing.digest,
        model=network.name,
        method=a.name,
        fields=described(a.method),
        target="",
        layer=a.layer,
        layer_reason=a.reason,
        versions=versions(),
        device=str(network.device),
        warning=network.warning,
        view_steps=network.viewing.described(),
        viewing=network.viewing.record(),
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
