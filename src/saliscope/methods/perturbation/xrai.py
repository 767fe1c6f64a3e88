"""kapishnikov2019, algorithm 1: regions in the order in which they add the most attribution for their size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Method, Model, Sizes, Traits
from saliscope.core.target import Target
from saliscope.methods.resolution import pieces
from saliscope.perturb.segments import Spacing, check_segments, segmented

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class XRAI:
    """At each element the mean attribution of what its region added when it was taken.

    Regions are supervoxels at several scales, `segments` of them at each; the paper parts the image by graph cuts
    (Felzenszwalb), which are for pictures, and widens each region by five pixels. At each step the region is taken
    whose elements that are not yet taken have the largest mean attribution. `method` gives the attribution, by name
    or as a method whose map lies on the input, several their mean; without one it is the paper's, integrated gradients
    from black and from white: from one alone, what looks like it has none.
    Lengths are measured by `spacing` of the elements where that is known.
    """

    method: str | Method | tuple[str | Method, ...] = ()
    segments: tuple[int, ...] = (16, 32, 64, 128, 256)
    spacing: Spacing = None

    traits: ClassVar[Traits] = Traits(
        family="perturbation",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="kapishnikov2019",
        cost="that of `method`",
        blind="What its attribution does not see; evidence that crosses the borders of its regions.",
    )

    def __post_init__(self) -> None:
        from saliscope.methods import METHODS

        named = self.method if isinstance(self.method, tuple) else (self.method,)
        made = [METHODS.make(m) if isinstance(m, str) else m for m in named]
        ends = [METHODS.make("integrated-gradients", baseline=end) for end in ("min", "max")]
        object.__setattr__(self, "method", tuple(made or ends))
        if not self.segments:
            raise MethodError("no scale of segments", expected="one or more", do="Give some, such as 16,64,256")
        for count in self.segments:
            check_segments(count, "slic")

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the attribution; raises MethodError where that lies on another grid."""
        import torch

        assert isinstance(self.method, tuple)
        several = [self._given(m, model, x, target) for m in self.method if isinstance(m, Method)]
        inner = torch.stack(several).mean(dim=0)
        found = []
        for image, maps in zip(x.detach(), inner, strict=True):
            labels = self._labels(image)
            found.append(torch.stack([gained(one.double().cpu(), labels) for one in maps]))
        return torch.stack(found).to(inner)

    def resolution(self, model: Model, x: Tensor) -> Sizes:  # noqa: ARG002 - the contract of a method
        """Return the typical piece that the regions of all scales cut out, for one image x (1, C, *S)."""
        import torch

        shared, *others = self._labels(x[0])
        for labels in others:
            shared = torch.unique(shared * (int(labels.max()) + 1) + labels, return_inverse=True)[1]
        return (pieces(shared),)

    def _labels(self, image: Tensor) -> list[Tensor]:
        return [segmented(image, count, "slic", self.spacing).cpu() for count in self.segments]

    def _given(self, method: Method, model: Model, x: Tensor, target: Target) -> Tensor:
        found = method.attribute(model, x, target)
        if found.shape[2:] != x.shape[2:]:
            raise MethodError(
                f"{type(method).__name__}, whose map lies on a layer, as the attribution of XRAI",
                expected="a method whose map lies on the input",
                do="Take integrated-gradients or smoothgrad",
            )
        return found


def gained(attribution: Tensor, labels: Sequence[Tensor]) -> Tensor:
    """Return (*S): what each element's region gained an element when it was taken, of labels (*S) at each scale.

    The sums and sizes of what is left of every region are kept, and lessened by what was taken: a step costs what it
    takes, not all regions.
    """
    import torch

    flat, parts = attribution.flatten(), [one.flatten() for one in labels]
    sums = [torch.zeros(int(p.max()) + 1, dtype=flat.dtype).index_add_(0, p, flat) for p in parts]
    sizes = [torch.bincount(p) for p in parts]
    members = [list(torch.split(p.argsort(stable=True), s.tolist())) for p, s in zip(parts, sizes, strict=True)]
    found, left = torch.zeros_like(flat), torch.ones(flat.shape, dtype=torch.bool)
    while bool(left.any()):
        gains = [(s / n).where(n > 0, s.new_tensor(float("-inf"))) for s, n in zip(sums, sizes, strict=True)]
        best = [float(g.max()) for g in gains]
        scale = best.index(max(best))
        region = int(gains[scale].argmax())
        taken = members[scale][region]
        taken = taken[left[taken]]
        found[taken], left[taken] = flat[taken].mean(), False
        for part, total, size in zip(parts, sums, sizes, strict=True):
            total.index_add_(0, part[taken], -flat[taken])
            size.index_add_(0, part[taken], -torch.ones_like(taken))
    return found.reshape(attribution.shape)
