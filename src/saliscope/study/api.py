"""The two calls for whoever has a module and an image: saliscope.explain, and saliscope.inspect before it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import ChannelsError, InputError, ModelError, NetworkWarning
from saliscope.core.explanation import Explanation
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.protocols import Method
from saliscope.core.target import OutputKind
from saliscope.model.frame import Step
from saliscope.model.network import Network, unwrapped
from saliscope.model.steps import STEPS, make_step
from saliscope.model.view import Viewing
from saliscope.study.arguments import AskedMethods, check_words, layer_of, methods_of, target_of
from saliscope.study.arrays import RGB, cases_of, grids_of, images_of, plain, unusable
from saliscope.study.explain import Case, explained
from saliscope.study.inspection import HEAVY_GFLOP, Inspection, inspected
from saliscope.study.present import Showing
from saliscope.study.question import Asked, asks_for_several, asks_for_top, shared_out

if TYPE_CHECKING:
    from torch import Tensor, nn


def explain(
    x: Any,
    model: nn.Module | Network | str | Path,
    method: AskedMethods = "grad-cam",
    target: Asked = "top",
    layer: str | nn.Module | Sequence[str | nn.Module] | None = None,
    *,
    labels: Sequence[str] = (),
    kind: OutputKind | None = None,
    view: Viewing | Sequence[Step | Mapping[str, Any]] | None = None,
    output: str | int | None = None,
    spacing_mm: Sequence[float] | None = None,
    reshape_transform: Callable[[Tensor], Tensor] | None = None,
    forward: Callable[[nn.Module, Tensor], object] | None = None,
    **options: Any,
) -> Explanation | list[Explanation]:
    """Return where in an image a network's answer came from: one explanation, or a list of them.

    `x` is an image: a path, a MedicalImage, a picture of Pillow, an array (row, column), (row, column, 3) of bytes or
    (plane, row, column), or a list of these. Or it is a tensor or floating array (N, C, *S) that is already as the
    network expects it; its spacing is unknown unless given, or unless a MetaTensor of MONAI has an affine. One channel
    is given three times to a network that takes three, which is noted. `model` is any module, a Network, or the name
    or path of a model card. `method` is a name, a method, a list of these, or names with options such as
    `{"smoothgrad": {"samples": 50}}`; further keywords set options too: `samples=50`.
    `target` is a label, an index, "top" (what the model calls, by its operating thresholds where there are any),
    "called" (all that it calls), "all", one of the sorts of `saliscope explain --help` such as
    "contrast:malignant/benign", any object of `saliscope.core.target`, a list of these, or a function from the output
    to scores (N,). A tensor or array of N indices is one target for each of N images, as captum has it; a list is
    asked of every image. `layer` is a dotted name or a module of the network; None takes the card's, or the last
    spatial one. The rest describes a bare module: its labels, the kind of its output, the view that makes its input of
    an image, and where its logits are if it returns several things.
    Layers of tokens, with channels last, or folded into the batch are laid out by their followed axes;
    `reshape_transform`, a function from the layer's output to (N, C, *S'), does it in place of that. `forward` calls a
    module that needs more than the image: `lambda net, x: net(x, table)`.
    A tensor of images that a network gives one answer for, as for a bag of patches, gives one map for each image.
    A list comes back when several images, methods or targets were asked for, in that order: images, targets, methods.
    Raises a SaliscopeError that says what does not fit; warns (NetworkWarning) where the network's card says so, and
    (TargetWarning) where a list of targets could mean two things.

        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
        >>> e = saliscope.explain(np.eye(16, dtype=np.float32), net, "smoothgrad", np.int64(1), samples=8)
        >>> e.values.shape, e.target
        ((16, 16), 'class 1')
    """
    check_words(labels, kind, output, spacing_mm, reshape_transform=reshape_transform, forward=forward)
    network = _network(model, labels, kind, view, output)
    if reshape_transform is not None or forward is not None:
        network = replace(network, reshape_transform=reshape_transform, forward=forward)
    if network.warning:
        warnings.warn(f"{network.name}: {network.warning}", NetworkWarning, stacklevel=2)
    x = images_of(x, spacing_mm)
    methods = methods_of(method, layer_of(layer, unwrapped(network.module)), options)
    asked = target_of(target, _count(x))
    grids = grids_of(x, spacing_mm)
    x = plain(x)
    x, network = _as_seen(x, network, given=view is not None)
    try:
        found = _maps(x, network, methods, asked, grids)
    except ChannelsError as error:
        if error.wanted != RGB or not _grey(x, network):
            raise
        x, network = _three_times(x, network)
        found = _maps(x, network, methods, asked, grids)
    several = not isinstance(method, str | Method | type) or asks_for_several(asked)
    one_image = isinstance(x, str | Path | MedicalImage) or (hasattr(x, "shape") and len(x) == 1)
    return found[0] if len(found) == 1 and one_image and not several else found


def _maps(
    x: Any, network: Network, methods: Mapping[str, Method], asked: Asked, grids: Sequence[Geometry]
) -> list[Explanation]:
    x, networks = _each_of_bag(x, network)
    batches = _batches(x, network, grids, alone=asks_for_top(asked) or len(networks) > 1)
    shares = zip(batches, shared_out(asked, [len(batch) for batch in batches]), strict=True)
    networks = networks * len(batches) if len(networks) == 1 else networks
    return [
        e for own, (batch, share) in zip(networks, shares, strict=True) for e in explained(batch, own, methods, share)
    ]


def inspect(
    model: nn.Module | Network | str | Path,
    x: Any,
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
    check_words(labels, kind, output)
    network = _network(model, labels, kind, view, output)
    x, network = _as_seen(plain(images_of(x)), network, given=view is not None)
    cases = _batches(x, network, (), alone=True)[0]
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
        view = _steps(view)
    return replace(
        network,
        labels=tuple(labels) or network.labels,
        kind=kind or network.kind,
        viewing=view or network.viewing,
        output=output if output is not None else network.output,
    )


def _as_seen(x: Any, network: Network, *, given: bool) -> tuple[Any, Network]:
    """Return the network without a view where x is a tensor that needs none; raises InputError where one was given."""
    from torch import Tensor

    if not isinstance(x, Tensor):
        return x, network
    if given:
        raise InputError(
            f"view= with a tensor of shape {tuple(x.shape)}, which is taken as the network sees it",
            expected="an image to make a view of: a path, a MedicalImage, a picture or an array of one image",
            do="Give the image itself, or leave view out",
        )
    return x, replace(network, viewing=Viewing(source="tensor"))


def _grey(x: Any, network: Network) -> bool:
    """Return whether the network is given one channel."""
    from torch import Tensor

    one = x[0] if isinstance(x, list | tuple) else x
    return (x if isinstance(x, Tensor) else _from_image(one, network).view.tensor).shape[1] == 1


def _three_times(x: Any, network: Network) -> tuple[Any, Network]:
    """Return x, or the view of the network, with its one channel three times."""
    from torch import Tensor

    notes = (*network.notes, "The image has one channel, which was given three times: the network takes 3.")
    if isinstance(x, Tensor):
        return x.expand(-1, RGB, *x.shape[2:]), replace(network, notes=notes)
    steps = (*network.viewing.steps, make_step({"step": "channels", "count": RGB}))
    return x, replace(network, viewing=replace(network.viewing, steps=steps), notes=notes)


def _count(x: Any) -> int:
    """Return how many images are asked about."""
    return 1 if isinstance(x, str | Path | MedicalImage) or not hasattr(x, "__len__") else len(x)


def _steps(view: Any) -> Viewing:
    """Return the view of a list of steps or of their tables; raises ModelError for another."""
    made = [make_step(s) if isinstance(s, Mapping) else s for s in view] if isinstance(view, list | tuple) else None
    if made is None or not all(type(s) in STEPS.values() for s in made):
        raise ModelError(
            f"view={view!r}",
            expected="a list of steps, or of their tables as in a model card",
            do="For example view=[{'step': 'resize', 'shape': [224, 224]}]",
        )
    return Viewing(tuple(made))


def _each_of_bag(x: Any, network: Network) -> tuple[Any, list[Network]]:
    """Return the network for each image of a bag that it answers for together, else the one for all."""
    from torch import Tensor

    if not isinstance(x, Tensor) or unusable(x):
        return x, [network]
    from saliscope.study.bags import in_bag, is_bag, unstacked

    x, network = unstacked(x, network)
    return x, [in_bag(x, n, network) for n in range(len(x))] if is_bag(x, network) else [network]


def _batches(x: Any, network: Network, grids: Sequence[Geometry], *, alone: bool) -> list[list[Case]]:
    from torch import Tensor

    if isinstance(x, Tensor):
        cases = cases_of(x, grids)
        return [[case] for case in cases] if alone else [cases]
    several = x if isinstance(x, list | tuple) else [x]
    if not several or not all(isinstance(one, str | Path | MedicalImage) for one in several):
        raise InputError(
            f"an image of type {type(x).__name__}{' without any content' if several is x and not x else ''}",
            expected="a path, a MedicalImage, a picture, an array, a list of these, or a tensor (N, C, *S)",
            do="Of several inputs, give the image, and the rest by forward=lambda net, x: net(x, table)",
        )
    return [[_from_image(one, network)] for one in several]


def _from_image(one: str | Path | MedicalImage, network: Network) -> Case:
    if not isinstance(one, MedicalImage):
        from saliscope.read import read

        one = read(one)
    return Case(one, network.viewing(one), Showing)
