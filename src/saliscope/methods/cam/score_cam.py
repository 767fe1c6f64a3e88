"""wang2020, the definition of Score-CAM: each channel weighed by the score of the image seen through it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from saliscope.core.errors import MethodError, did_you_mean
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.kernel import at_least_single, check_named, held, on_grid
from saliscope.methods.resolution import one_cell
from saliscope.perturb.baseline import Baseline, absent, check_baseline
from saliscope.perturb.precision import Precision, at_precision, check_precision
from saliscope.perturb.stream import FORWARD, batch_size, scored

if TYPE_CHECKING:
    from torch import Tensor

Weights = Literal["cic", "score", "softmax"]


@dataclass(frozen=True)
class ScoreCAM:
    """The activation of a layer, each channel weighed by the score of the image seen through that channel.

    The mask of a channel is its activation on the input's grid, from 0 at its smallest to 1 at its largest value.
    What is masked shows `baseline`; "zero" is the paper's product of mask and image. With `weights` "cic" a channel's
    weight is the score of the masked image less that of the baseline, the paper's increase of confidence; "score" is
    the former alone, with a probability as target what the authors' code does; "softmax" is its softmax over the
    channels, the paper's algorithm and what peers do, in which the baseline cancels and one channel may take all.
    A constant channel has no mask and no weight, and equal channels are run once. `precision` "bfloat16" is used
    where it says the same on some of the masks. `memory_mb` bounds the masked copies at once and changes no value.
    """

    layer: str = "auto"
    weights: Weights = "cic"
    baseline: Baseline = "zero"
    relu: bool = False
    precision: Precision = "float32"
    memory_mb: float = 1024

    traits: ClassVar[Traits] = Traits(
        family="cam",
        signed=True,
        grid="layer",
        class_discriminative=True,
        citation="wang2020",
        cost="2 + channels forward, whatever K",
        blind="The masked images are unlike any that the model has seen. One weight a channel, as in Grad-CAM.",
    )
    resolution = one_cell

    def __post_init__(self) -> None:
        if self.weights not in get_args(Weights):
            raise MethodError(
                f"weights {self.weights!r}",
                expected=", ".join(get_args(Weights)),
                do=did_you_mean(str(self.weights), get_args(Weights)),
            )
        check_baseline(self.baseline)
        check_precision(self.precision)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S') on the layer's grid, in units of score times activation."""
        import torch

        check_named(self, self.layer)
        x = x.detach()
        pairs = enumerate(zip(x, absent(x, self.baseline), strict=True))
        return torch.stack([self._of_one(model, image[None], out[None], target, n) for n, (image, out) in pairs])

    def _of_one(self, model: Model, image: Tensor, without: Tensor, target: Target, n: int) -> Tensor:
        """Return the map (K, *S') of one image (1, C, *S)."""
        import torch

        target = held(model, image, target, n)
        activation = on_grid(self.layer, model.probe(image, [self.layer]).activations[self.layer], image)
        flat = activation[0].flatten(1)
        alive = flat.amax(dim=1) > flat.amin(dim=1)
        _, same = flat[alive].unique(dim=0, return_inverse=True)
        # The first channel of each group of equal ones stands for all.
        first = [int((same == group).nonzero()[0]) for group in range(int(same.max()) + 1)] if len(same) else []
        channels = activation[:, alive][:, first]

        def through(some: range) -> Tensor:
            masks = _from_zero_to_one(model.onto_input(channels[:, some.start : some.stop], image, self.layer))
            return (masks[0][:, None] * (image - without) + without).to(image.dtype)

        size = batch_size(image, self.memory_mb, FORWARD)
        run = at_precision(model, target, through, len(first), size, self.precision) if first else model
        bare = at_least_single(target.scores(run(without)))[0] if self.weights == "cic" else 0
        found = [scores - bare for _, scores in scored(run, target, through, len(first), size)]
        if not found:
            return activation.new_zeros(len(target.labels), *activation.shape[2:])
        weights = torch.cat(found)[same]
        weights = weights.softmax(dim=0) if self.weights == "softmax" else weights
        found_map = torch.einsum("ck,c...->k...", weights, activation[0, alive])
        return found_map.relu() if self.relu else found_map


def _from_zero_to_one(maps: Tensor) -> Tensor:
    """Return maps (1, M, *S), each stretched from 0 at its smallest to 1 at its largest value."""
    axes = tuple(range(2, maps.ndim))
    low, high = maps.amin(dim=axes, keepdim=True), maps.amax(dim=axes, keepdim=True)
    return ((maps - low) / (high - low)).where(high > low, maps.new_zeros(()))
