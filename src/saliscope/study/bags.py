"""Networks that give one answer for several images: a bag of patches, a stack of slices. Each image gets its map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from saliscope.core.errors import ModelError, OutputError
from saliscope.model.axes.meaning import CHANNEL, atoms_of
from saliscope.model.network import Network
from saliscope.model.output import selected
from saliscope.study.soundness import refused_in_words

if TYPE_CHECKING:
    from torch import Tensor, nn

    from saliscope.model.layers import LayerRun
    from saliscope.model.opened import OpenNetwork


def unstacked(x: Tensor, network: Network) -> tuple[Tensor, Network]:
    """Return the images (n, C, row, column) of a stack (1, n, C, row, column), and the network that takes them so.

    Whether a network reads its input so is seen from where its second axis goes: into the batch of a layer. Other
    inputs and networks come back as they are.
    """
    import torch

    if x.ndim != 5 or len(x) != 1 or x.shape[1] < 2:
        return x, network
    with torch.inference_mode(mode=False), refused_in_words("stack", network.name), network.opened() as model:
        runs = model.runs(x.detach().to(network.device, network.dtype, copy=True))
    if not any(_folds_second_axis(run) for run in runs):
        return x, network
    own = network.forward or _called
    return x[0], replace(network, forward=lambda module, images: own(module, images[None]))


def is_bag(x: Tensor, network: Network) -> bool:
    """Return whether a network gives one answer for all images of x (N, C, *S), or runs on all of them only."""
    import torch

    if len(x) < 2:
        return False
    with (
        torch.inference_mode(mode=False),
        refused_in_words("tensor of images", network.name),
        network.opened() as model,
    ):
        x = x.detach().to(network.device, network.dtype, copy=True)
        try:
            return model.independence(x).bag
        except OutputError:
            raise
        except ModelError:
            # Such as one that pools the two likeliest patches: one image alone is no bag that it takes.
            if not _run_together(model, x):
                raise
            return True


def _run_together(model: OpenNetwork, x: Tensor) -> bool:
    """Return whether all images of x (N, C, *S) run together, whatever one of them does; a look at the network."""
    import torch

    model.counts.look_samples += len(x)
    try:
        with torch.no_grad():
            return len(model.run_uncounted(x)) in (1, len(x))
    except Exception:  # noqa: BLE001 - what one image raised says more
        return False


def in_bag(x: Tensor, n: int, network: Network) -> Network:
    """Return the network as a function of image n of x (N, C, *S), the others of the bag staying as they are."""
    own: Callable[[nn.Module, Tensor], object] = network.forward or _called
    before, after = x[:n].detach(), x[n + 1 :].detach()

    def forward(module: nn.Module, image: Tensor) -> object:
        import torch

        output = own(module, torch.cat([before.to(image), image, after.to(image)]))
        logits = selected(output, network.output)
        return logits[n : n + 1] if len(logits) == len(x) else logits

    note = f"Image {n + 1} of {len(x)} that the network answers for together: the others stayed as they are."
    return replace(network, forward=forward, output=None, notes=(*network.notes, note))


def _called(module: nn.Module, x: Tensor) -> object:
    return module(x)


def _folds_second_axis(run: LayerRun) -> bool:
    if run.grid is None or not run.used or not run.grid.axes.axes:
        return False
    return any(atom.dim == CHANNEL and atom.size > 1 for atom in atoms_of(run.grid.axes.axes[0]))
