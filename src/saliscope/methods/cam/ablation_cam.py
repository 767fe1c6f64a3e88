"""ramaswamy2020, the weights of section 3: each channel weighed by how much the score falls when it is set to zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Model, Suffix, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, check_named, held, on_grid
from saliscope.methods.resolution import one_cell
from saliscope.perturb.stream import batch_size, scored

if TYPE_CHECKING:
    from torch import Tensor

#: Channels are taken away in random halves, this often, and once all together, to try what was proved.
HALVES = 3


@dataclass(frozen=True)
class AblationCAM:
    """The activation of a layer, each channel weighed by the drop y - y_k of the score without that channel.

    The paper divides the drop by y. That is one factor for a whole map where y is positive, and turns every sign where
    it is negative, as logits often are: it is left out. Channels that are zero anyway are not run. Where all that
    follows the layer is linear (pooling and linear layers, also after a ReLU or a max pool right at the layer), one
    gradient gives all drops: that is proved on the operations that run, tried on random halves of the channels, and
    used unless `closed_form` is off. `memory_mb` bounds the ablated copies at once and changes no value.
    """

    layer: str = "auto"
    closed_form: bool = True
    relu: bool = False
    memory_mb: float = 1024

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="ramaswamy2020",
        cost="1 forward, and the rest after the layer once a channel; or K backward there where it is linear",
        blind="One weight a channel, as in Grad-CAM. Evidence in two channels, of which one suffices, has no drop.",
    )
    resolution = one_cell

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid, in units of score times activation."""
        import torch

        check_named(self, self.layer)
        return torch.stack([self._of_one(model, image[None], target, n) for n, image in enumerate(x.detach())])

    def _of_one(self, model: Model, image: Tensor, target: Target, n: int) -> Tensor:
        """Return the map (K, *S') of one image (1, C, *S)."""
        import torch

        target = held(model, image, target, n)
        suffix = model.suffix(image, self.layer)
        activation = on_grid(self.layer, suffix.activation, image)
        size = batch_size(suffix.activation, self.memory_mb, suffix.growth)
        drops = _drops_of_linear_end(suffix, target, size) if self.closed_form else None
        if drops is None:
            drops = _measured_drops(suffix, target, size)
        else:
            model.note("Ablation-CAM in closed form: what follows this layer was proved linear.")
        found = torch.einsum("kc,c...->k...", drops, activation[0])
        return found.relu() if self.relu else found


def _measured_drops(suffix: Suffix, target: Target, size: int) -> Tensor:
    """Return the drops (K, C) by running what comes after the layer without each channel, `size` at once."""
    whole = suffix.activation
    full = at_least_single(target.scores(suffix.output))[0]
    drops = full.new_zeros(len(full), whole.shape[1])
    alive = whole[0].flatten(1).any(dim=1).nonzero()[:, 0].tolist()

    def without(some: range) -> Tensor:
        copies = whole.repeat(len(some), *[1] * (whole.ndim - 1))
        for copy, i in zip(copies, some, strict=True):
            copy[alive[i]] = 0
        return copies

    for some, scores in scored(suffix, target, without, len(alive), size):
        drops[:, alive[some.start : some.stop]] = (full - scores).T
    return drops


def _drops_of_linear_end(suffix: Suffix, target: Target, size: int) -> Tensor | None:
    """Return the drops (K, C) as sums of gradient times activation; None where they are not the true ones."""
    import torch

    from saliscope.model.linearity import followed

    whole = suffix.activation
    with torch.enable_grad():
        root = whole.clone().requires_grad_()
        with followed(root) as end:
            scores = target.scores(suffix(root))[0]
        # A trial of some channels misses a ReLU that only one channel alone turns off: what follows must be linear.
        if not (scores.requires_grad and end.proves(scores)):
            return None
        gradients = torch.cat([torch.autograd.grad(s, root, retain_graph=True)[0] for s in scores])
    terms = at_least_single(gradients * whole).flatten(2)
    drops, full = terms.sum(dim=2), at_least_single(scores.detach())
    # Drawn on the CPU, so that it is the same on every device.
    removed = torch.rand(HALVES + 1, drops.shape[1], generator=torch.Generator().manual_seed(0)) < 0.5
    removed[-1] = True
    removed = removed.to(whole.device)
    kept = (~removed).to(whole.dtype).reshape(*removed.shape, *[1] * (whole.ndim - 2))
    runs = scored(suffix, target, lambda some: whole * kept[some.start : some.stop], len(kept), size)
    off = torch.cat([s for _, s in runs]) - (full - removed.to(drops.dtype) @ drops.T)
    # Only rounding is allowed, and of half precision's, which is coarse, no more than this.
    limit = min(256 * torch.finfo(whole.dtype).eps, 1e-4) * (terms.abs().sum(dim=(1, 2)) + full.abs())
    return drops if bool((off.abs() <= limit).all()) else None
