"""zhou2016, eq. 1 and 2: the weights of the linear layer that follows the pooling, times the activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, check_named, held, on_grid, watch
from saliscope.methods.resolution import one_cell
from saliscope.perturb.noise import gaussian

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True)
class CAM:
    """The activation of a layer, each channel weighed by what the linear layer after global average pooling gives it.

    The linear layer is not looked for but measured: where the score is pooled and linear, its gradient at the layer
    is weight / cells in every cell. Elsewhere there is no CAM, and the method refuses. The bias has no place and is
    left out, as in the paper. The map's mean over space is the score without the bias: it is Grad-CAM, or HiResCAM,
    times the number of cells.
    """

    layer: str = "auto"

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="zhou2016",
        cost="2 forward, K backward from the layer",
        blind="Only for networks that end in global average pooling and one linear layer. No finer than the layer.",
    )
    resolution = one_cell

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid; raises MethodError where the score is not pooled and linear."""
        import torch

        check_named(self, self.layer)
        probe, gradients = watch(model, x, target, [self.layer])
        activation = on_grid(self.layer, probe.activations[self.layer], x)
        maps = []
        for gradient in gradients:
            row = at_least_single(gradient[self.layer])
            axes = tuple(range(2, row.ndim))
            if not _same(row, row.mean(dim=axes, keepdim=True).expand_as(row), x.dtype):
                raise self._refused("whose gradient is not the same in every cell")
            maps.append((row.sum(dim=axes, keepdim=True) * activation).sum(dim=1))
        if not self._is_affine(model, x[:1], target):
            raise self._refused("on which the score does not depend linearly")
        return torch.stack(maps, dim=1)

    def _is_affine(self, model: Model, image: Tensor, target: Target) -> bool:
        """Whether s(a + d + e) - s(a + d) = s(a + e) - s(a) at activations far from those of the image."""
        import torch

        target = held(model, image, target)
        suffix = model.suffix(image, self.layer)
        a = suffix.activation
        d, e = (2 * a.abs().max() * noise for noise in next(gaussian(a, 2, 2, seed=0)))
        with torch.no_grad():
            scores = target.scores(suffix(torch.cat([a, a + d, a + e, a + d + e])))
        # Held against the largest score, because the differences of equal scores would be rounding alone.
        return _same(scores[3] - scores[1], scores[2] - scores[0], a.dtype, scores)

    def _refused(self, why: str) -> MethodError:
        return MethodError(
            f"CAM of layer {self.layer!r}, {why}",
            expected="a layer followed by global average pooling and one linear layer, and by nothing else",
            do="Watch the layer right before the pooling, or use hirescam or grad-cam, which need no such end",
        )


def _same(found: Tensor, right: Tensor, dtype: torch.dtype, scale: Tensor | None = None) -> bool:
    """Whether two tensors agree within half of the digits that a type has, as a share of the largest of `scale`."""
    import torch

    most = (right if scale is None else scale).abs().max()
    return bool((found - right).abs().max() <= torch.finfo(dtype).eps ** 0.5 * most)
