"""One call from Python, made ready: the network as it is called, the images as it sees them, what is asked of each."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from saliscope.core.errors import ChannelsError, InputError, ModelError, NetworkWarning
from saliscope.core.geometry import Geometry
from saliscope.core.image import MedicalImage
from saliscope.core.protocols import Method
from saliscope.core.target import OutputKind
from saliscope.model.frame import Step
from saliscope.model.network import Network, unwrapped
from saliscope.model.view import ToView, Viewing
from saliscope.study.arguments import AskedMethods, check_words, layer_of, methods_of, target_of
from saliscope.study.arrays import RGB, cases_of, grids_of, images_of, plain, unusable
from saliscope.study.explain import Case
from saliscope.study.own_view import viewing_of
from saliscope.study.present import Showing
from saliscope.study.question import Asked, asks_for_top, shared_out

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")
#: A network to ask, a batch of images of one size, and what to ask of them.
Request = tuple[Network, list[Case], Asked]
REPEATED = "The image has one channel, which was given three times: the network takes 3."


@dataclass(frozen=True, eq=False)
class Call:
    """Images x in the caller's form, the network that sees them, what is asked, and the grids of tensors."""

    x: Any
    network: Network
    asked: Asked
    grids: Sequence[Geometry] = ()

    @classmethod
    def of(
        cls, x: Any, network: Network, asked: Any, spacing_mm: Sequence[float] | None, *, viewed: bool = False
    ) -> Self:
        """Return the call for what a caller handed over; `viewed` says that a view was among it.

        Raises InputError for what is no image, and for a view of a tensor, and TargetError for what is no target.
        """
        check_words(spacing_mm=spacing_mm)
        x = images_of(x, spacing_mm)
        grids, x = grids_of(x, spacing_mm), plain(x)
        if _is_tensor(x):
            if viewed:
                raise InputError(
                    f"view= with a tensor of shape {tuple(x.shape)}, which is taken as the network sees it",
                    expected="an image to make a view of: a path, a MedicalImage, a picture or an array of one image",
                    do="Give the image itself, or leave view out",
                )
            network = replace(network, viewing=Viewing(source="tensor"))
        single = isinstance(x, str | Path | MedicalImage) or not hasattr(x, "__len__")
        return cls(x, network, target_of(asked, 1 if single else len(x)), grids)

    @property
    def of_one_image(self) -> bool:
        """Return whether one image was handed over, and no list of them."""
        return isinstance(self.x, str | Path | MedicalImage) or (hasattr(self.x, "shape") and len(self.x) == 1)

    def on_its_channels(self, ask: Callable[[list[Request]], T], *, alone: bool = False) -> T:
        """Return what is answered, with one channel given three times where the network turns out to take three."""
        try:
            return ask(self.requests(alone=alone))
        except ChannelsError as error:
            if error.wanted != RGB or self._channels() != 1:
                raise
            return ask(self._three_times().requests(alone=alone))

    def requests(self, *, alone: bool = False) -> list[Request]:
        """Return batches of images with the network to ask and what to ask of them; `alone`: one image in each."""
        x, networks = _each_of_bag(self.x, self.network)
        call = replace(self, x=x)
        batches = call.batches(alone=alone or asks_for_top(self.asked) or len(networks) > 1)
        shares = shared_out(self.asked, [len(batch) for batch in batches])
        networks = networks * len(batches) if len(networks) == 1 else networks
        return list(zip(networks, batches, shares, strict=True))

    def batches(self, *, alone: bool) -> list[list[Case]]:
        """Return the images in batches that may run together; raises InputError for what is no image."""
        if _is_tensor(self.x):
            cases = cases_of(self.x, self.grids)
            return [[case] for case in cases] if alone else [cases]
        several = self.x if isinstance(self.x, list | tuple) else [self.x]
        if not several or not all(isinstance(one, str | Path | MedicalImage) for one in several):
            raise InputError(
                f"an image of type {type(self.x).__name__}{' without any content' if not several else ''}",
                expected="a path, a MedicalImage, a picture, an array, a list of these, or a tensor (N, C, *S)",
                do="Of several inputs, give the image, and the rest by forward=lambda net, x: net(x, table)",
            )
        return [[_from_image(one, self.network)] for one in several]

    def _channels(self) -> int:
        one = self.x[0] if isinstance(self.x, list | tuple) else self.x
        return int((one if _is_tensor(one) else _from_image(one, self.network).view.tensor).shape[1])

    def _three_times(self) -> Self:
        network = replace(self.network, notes=(*self.network.notes, REPEATED))
        if _is_tensor(self.x):
            return replace(self, x=self.x.expand(-1, RGB, *self.x.shape[2:]), network=network)
        return replace(self, network=replace(network, viewing=network.viewing.repeated(RGB)))


def network_of(
    model: nn.Module | Network | str | Path,
    labels: Sequence[str],
    kind: OutputKind | None,
    view: ToView | Callable[..., Any] | Sequence[Step | Mapping[str, Any]] | None,
    output: str | int | None,
) -> Network:
    """Return the network of a module, a name or a card, with what its caller says of it; raises ModelError."""
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
    return replace(
        network,
        labels=tuple(labels) or network.labels,
        kind=kind or network.kind,
        viewing=network.viewing if view is None else viewing_of(view),
        output=output if output is not None else network.output,
    )


def network_and_methods(
    model: nn.Module | Network | str | Path,
    method: AskedMethods,
    layer: Any,
    options: Mapping[str, Any],
    *,
    labels: Sequence[str] = (),
    kind: OutputKind | None = None,
    view: ToView | Callable[..., Any] | Sequence[Step | Mapping[str, Any]] | None = None,
    output: str | int | None = None,
    reshape_transform: Callable[[Tensor], Tensor] | None = None,
    forward: Callable[[nn.Module, Tensor], object] | None = None,
) -> tuple[Network, dict[str, Method]]:
    """Return the network and the methods that explain, check and audit were asked about, as their docstrings say.

    Warns the caller of those of what the network's card says. Raises a SaliscopeError for what does not fit.
    """
    check_words(labels, kind, output, reshape_transform=reshape_transform, forward=forward)
    network = network_of(model, labels, kind, view, output)
    if network.warning:
        warnings.warn(f"{network.name}: {network.warning}", NetworkWarning, stacklevel=3)
    if reshape_transform is not None or forward is not None:
        network = replace(network, reshape_transform=reshape_transform, forward=forward)
    return network, methods_of(method, layer_of(layer, unwrapped(network.module)), options)


def _each_of_bag(x: Any, network: Network) -> tuple[Any, list[Network]]:
    """Return the network for each image of a bag that it answers for together, else the one for all."""
    if not _is_tensor(x) or unusable(x):
        return x, [network]
    from saliscope.study.bags import in_bag, is_bag, unstacked

    x, network = unstacked(x, network)
    return x, [in_bag(x, n, network) for n in range(len(x))] if is_bag(x, network) else [network]


def _from_image(one: str | Path | MedicalImage, network: Network) -> Case:
    if not isinstance(one, MedicalImage):
        from saliscope.read import read

        one = read(one)
    return Case(one, network.viewing(one), Showing)


def _is_tensor(x: Any) -> bool:
    from torch import Tensor

    return isinstance(x, Tensor)
