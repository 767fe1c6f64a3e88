"""The two calls for whoever has a module and an image: saliscope.explain, and saliscope.inspect before it."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from saliscope.core.errors import InputError, ModelError, NetworkWarning
from saliscope.core.explanation import Explanation
from saliscope.core.explanations import Explanations
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.protocols import Method
from saliscope.core.target import OutputKind
from saliscope.model.frame import Step
from saliscope.model.network import Network
from saliscope.model.steps import make_step
from saliscope.model.view import View, Viewing
from saliscope.study.asking import make_methods
from saliscope.study.explain import Case, explained
from saliscope.study.inspection import HEAVY_GFLOP, Inspection, inspected
from saliscope.study.present import Showing
from saliscope.study.progress import Progress, Said, telling, within
from saliscope.study.question import Asked, asks_for_several, asks_for_top, shared_out

if TYPE_CHECKING:
    from typing import Unpack

    from torch import Tensor, nn

    from saliscope.study.keywords import AnyModel, Keywords, OneImage, OneMethod, OneTarget

    #: Words that stand for several targets: a list is the answer.
    SeveralWords = Literal["all", "called"]


# Of overloads that overlap the first counts: words for several, then one of each, then whatever is left.
@overload
def explain(  # type: ignore[overload-overlap]
    x: OneImage | Tensor, model: AnyModel, method: OneMethod, target: SeveralWords, layer: str | None = ...,
    **more: Unpack[Keywords],
) -> Explanations: ...  # fmt: skip
@overload
def explain(  # type: ignore[overload-overlap]
    x: OneImage | Tensor, model: AnyModel, method: OneMethod = ..., *, target: SeveralWords, layer: str | None = ...,
    **more: Unpack[Keywords],
) -> Explanations: ...  # fmt: skip
@overload
def explain(  # type: ignore[overload-overlap]
    x: OneImage, model: AnyModel, method: OneMethod = ..., target: OneTarget = ..., layer: str | None = ...,
    **more: Unpack[Keywords],
) -> Explanation: ...  # fmt: skip
@overload
def explain(  # type: ignore[overload-overlap]
    x: Tensor, model: AnyModel, method: OneMethod = ..., target: OneTarget = ..., layer: str | None = ...,
    **more: Unpack[Keywords],
) -> Explanation | Explanations: ...  # fmt: skip
@overload
def explain(
    x: OneImage | Tensor | Sequence[OneImage], model: AnyModel, method: OneMethod | Sequence[OneMethod] = ...,
    target: Asked = ..., layer: str | None = ..., **more: Unpack[Keywords],
) -> Explanations: ...  # fmt: skip
def explain(
    x: str | Path | MedicalImage | Tensor | Sequence[str | Path | MedicalImage],
    model: nn.Module | Network | str | Path,
    method: str | Method | Sequence[str | Method] = "grad-cam",
    target: Asked = "top",
    layer: str | None = None,
    *,
    labels: Sequence[str] = (),
    kind: OutputKind | None = None,
    view: Viewing | Sequence[Step | Mapping[str, Any]] | None = None,
    output: str | int | None = None,
    spacing_mm: Sequence[float] | None = None,
    reshape_transform: Callable[[Tensor], Tensor] | None = None,
    forward: Callable[[nn.Module, Tensor], object] | None = None,
    progress: Progress = False,
) -> Explanation | Explanations:
    """Return where in an image a network's answer came from: one explanation, or a list of them.

    `x` is a path, a MedicalImage or a list of these, or a tensor (N, C, *S) that is already as the network expects it,
    whose spacing is unknown unless given. `model` is any module, a Network, or the name or path of a model card.
    `target` is a label, an index, "top" (what the model calls, by its operating thresholds where there are any),
    "called" (all that it calls), "all", one of the sorts of `saliscope explain --help` such as
    "contrast:malignant/benign", any object of `saliscope.core.target`, a list of these, or a function from the output
    to scores (N,). `layer` is a dotted name; None takes the card's, or the last spatial one. The rest describes a
    bare module: its labels, the kind of its output, its view, and where its logits are if it returns several things.
    Layers of tokens, with channels last, or folded into the batch are laid out by their followed axes;
    `reshape_transform`, a function from the layer's output to (N, C, *S'), does it in place of that. `forward` calls a
    module that needs more than the image: `lambda net, x: net(x, table)`.
    A tensor of images that a network gives one answer for, as for a bag of patches, gives one map for each image.
    A list comes back when several images, methods or targets were asked for, in that order: images, targets, methods.
    `progress` is called with a sentence at each step; True writes a line on stderr, where it is a terminal.
    Raises a SaliscopeError that says what does not fit; warns (NetworkWarning) where the network's card says so.

        >>> saliscope.explain(x, net, "grad-cam", target=1).geometry.spacing
        (2.0, 2.0)
        >>> [e.provenance.method for e in saliscope.explain(x, net, ["gradient", "occlusion"], target=1)]
        ['gradient', 'occlusion']
    """
    network = _as_called(_network(model, labels, kind, view, output), reshape_transform, forward)
    methods = make_methods(method, layer)
    with telling(progress) as said:
        found = _found(list(pose(x, network, target, spacing_mm)), methods, said)
    several = not isinstance(method, str | Method) or asks_for_several(target)
    one_image = isinstance(x, str | Path | MedicalImage) or (hasattr(x, "shape") and len(x) == 1)
    return found[0] if len(found) == 1 and one_image and not several else found


def inspect(
    model: nn.Module | Network | str | Path,
    x: str | Path | MedicalImage | Tensor,
    *,
    labels: Sequence[str] = (),
    kind: OutputKind | None = None,
    view: Viewing | Sequence[Step | Mapping[str, Any]] | None = None,
    output: str | int | None = None,
    heavy_gflop: float = HEAVY_GFLOP,
) -> Inspection:
    """Return a short report on a network, before anything is explained: what it takes, gives, and lets be explained.

    `x` is one image, as a path or a MedicalImage, or a tensor (N, C, *S) as the network sees it, of which the first is
    taken. At most three forward runs are made; above `heavy_gflop` (10^9 operations a run) one, and what was not
    checked is said. The rest is as in `explain`. Print the report, or look at `facts`, `layers`, `auto`.
    Raises ModelError where the network does not run on the image.

        >>> net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        >>> saliscope.inspect(net, torch.rand(1, 1, 16, 16)).auto
        '0'
    """
    network = _network(model, labels, kind, view, output)
    cases = _batches(x, network, None, alone=True)[0]
    return inspected(network, cases[0].view.tensor, heavy_gflop)


def _network(
    model: nn.Module | Network | str | Path,
    labels: Sequence[str],
    kind: OutputKind | None,
    view: Viewing | Sequence[Step | Mapping[str, Any]] | None,
    output: str | int | None,
) -> Network:
    from torch import nn

    if isinstance(model, str | Path):
        from saliscope.model.load import load

        network = load(model)
    elif isinstance(model, nn.Module):
        network = Network(model, name=type(model).__name__)
    elif isinstance(model, Network):
        network = model
    else:
        raise ModelError(
            f"a model of type {type(model).__name__}",
            expected="a torch module, a Network, or the name or path of a model card",
            do="Pass one of these",
        )
    if view is not None and not isinstance(view, Viewing):
        view = Viewing(tuple(make_step(s) if isinstance(s, Mapping) else s for s in view))
    return replace(
        network,
        labels=tuple(labels) or network.labels,
        kind=kind or network.kind,
        viewing=view or network.viewing,
        output=output if output is not None else network.output,
    )


def _as_called(
    network: Network,
    reshape_transform: Callable[[Tensor], Tensor] | None,
    forward: Callable[[nn.Module, Tensor], object] | None,
) -> Network:
    """Return a network with what the caller of `explain` knows of it; warns of what its card says."""
    if network.warning:
        warnings.warn(f"{network.name}: {network.warning}", NetworkWarning, stacklevel=3)
    if reshape_transform is None and forward is None:
        return network
    return replace(network, reshape_transform=reshape_transform, forward=forward)


def _found(
    posed: Sequence[tuple[Network, list[Case], Asked]], methods: Mapping[str, Method], said: Said | None
) -> Explanations:
    found = Explanations()
    for number, (network, batch, share) in enumerate(posed, start=1):
        part = f"{number} of {len(posed)}" if len(posed) > 1 else ""
        found += explained(batch, network, methods, share, within(said, part))
    return found


def pose(
    x: Any, network: Network, asked: Asked, spacing_mm: Sequence[float] | None, *, alone: bool = False
) -> Iterator[tuple[Network, list[Case], Asked]]:
    """Yield batches of images with the network to ask and what to ask of them; `alone`: one image in each."""
    x, networks = _each_of_bag(x, network)
    batches = _batches(x, network, spacing_mm, alone=alone or asks_for_top(asked) or len(networks) > 1)
    shares = shared_out(asked, [len(batch) for batch in batches])
    networks = networks * len(batches) if len(networks) == 1 else networks
    yield from zip(networks, batches, shares, strict=True)


def _each_of_bag(x: Any, network: Network) -> tuple[Any, list[Network]]:
    """Return the network for each image of a bag that it answers for together, else the one for all."""
    from torch import Tensor

    if not isinstance(x, Tensor) or _unusable(x):
        return x, [network]
    from saliscope.study.bags import in_bag, is_bag, unstacked

    x, network = unstacked(x, network)
    return x, [in_bag(x, n, network) for n in range(len(x))] if is_bag(x, network) else [network]


def _batches(x: Any, network: Network, spacing_mm: Sequence[float] | None, *, alone: bool) -> list[list[Case]]:
    from torch import Tensor

    if isinstance(x, Tensor):
        cases = _from_tensor(x, spacing_mm)
        return [[case] for case in cases] if alone else [cases]
    several = [x] if isinstance(x, str | Path | MedicalImage) else x
    if not isinstance(several, list | tuple) or not all(isinstance(o, str | Path | MedicalImage) for o in several):
        raise InputError(
            f"an image of type {type(x).__name__}",
            expected="a path, a MedicalImage, a list of these, or a tensor (N, C, *S)",
            do="For an array: torch.from_numpy(x)",
        )
    return [[_from_image(one, network)] for one in several]


def _from_image(one: str | Path | MedicalImage, network: Network) -> Case:
    if not isinstance(one, MedicalImage):
        from saliscope.read import read

        one = read(one)
    return Case(one, network.viewing(one), Showing)


def _from_tensor(x: Tensor, spacing_mm: Sequence[float] | None) -> list[Case]:
    if reason := _unusable(x):
        raise InputError(
            f"a tensor of shape {tuple(x.shape)} and type {x.dtype}",
            expected="floating (N, C, row, column) or (N, C, plane, row, column)",
            do=reason,
        )
    geometry = Geometry.of_picture(x.shape[2:], spacing_mm)
    cases = []
    for n, one in enumerate(x.detach().resolve_neg().cpu().float().numpy()):
        digest = hashlib.sha256(np.ascontiguousarray(one).tobytes()).hexdigest()
        note = "A tensor as the network sees it; shown from its lowest to its highest value."
        image = MedicalImage(one.copy(), _shown(one), geometry, "", "", digest, f"tensor-{n}", (note,))
        cases.append(Case(image, View(x[n : n + 1].detach(), geometry), Showing))
    return cases


def _unusable(x: Tensor) -> str:
    """Return what to do with a tensor that is no image as a network sees it; nothing for one that is."""
    import torch

    if x.is_nested or x.layout != torch.strided or x.is_quantized:
        return "Give a plain tensor: x.to_dense(), x.dequantize(), or the images of a nested tensor one by one"
    if x.is_meta:
        return "Give a tensor with content: a meta tensor has none"
    if x.is_complex():
        return "Give real values, such as x.abs()"
    if x.numel() == 0:
        return "Give at least one image with at least one element"
    if x.ndim not in (4, 5):
        return "Add the axis of the batch or of the channels: x[None]"
    return "" if x.is_floating_point() else "Give floating values as the network was taught with: x.float()"


def _shown(values: Any) -> Any:
    grey = values if len(values) == 3 else values[:1]
    low, high = float(grey.min()), float(grey.max())
    return np.round((grey - low) / ((high - low) or 1.0) * 255).astype(np.uint8)
