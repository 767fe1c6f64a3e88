"""yang2023, IDGI on the straight path: each step's change of the score, shared out by squared gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.gradient.completeness import GAP_LIMIT, check_limit, completeness
from saliscope.methods.gradient.slopes import line, slopes
from saliscope.methods.kernel import held
from saliscope.methods.resolution import one_element
from saliscope.perturb.baseline import Baseline, absent, check_baseline
from saliscope.perturb.stream import GRAPH, batch_size

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class IDGI:
    """The rise of the score over each of `steps` equal steps from a baseline x', shared out by squared gradients.

    The gradient is that at the begin of the step, its squares are divided by their sum over the image, and the shares
    are summed over channels. The map sums to score(x) - score(x') whatever the steps; a step that begins without any
    gradient is left out, which `diagnose` shows. If that takes more than `gap_limit` from the sum, the map is refused
    where it is explained. `baseline` is a name or a number in units of the view. `memory_mb` bounds how many steps run
    at once and changes no value.
    """

    steps: int = 32
    baseline: Baseline = "min"
    memory_mb: float = 1024
    gap_limit: float = GAP_LIMIT

    traits: ClassVar[Traits] = Traits(
        family="path",
        signed=True,
        grid="input",
        class_discriminative=True,
        citation="yang2023",
        cost="`steps` + 1 forward, K x (`steps` + 1) backward",
        blind="In one step all elements get one sign. An element that never changes on the way still gets a share.",
    )
    resolution = one_element

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise MethodError(f"steps={self.steps}", expected="at least one", do="Correct the field")
        check_baseline(self.baseline)
        check_limit(self.gap_limit)

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:
        """Return (N, K, *S), in units of the score."""
        import torch

        x = x.detach()
        pairs = enumerate(zip(x, absent(x, self.baseline), strict=True))
        return torch.stack([self._of_one(model, *pair, held(model, pair[0][None], target, n)) for n, pair in pairs])

    def diagnose(self, model: Model, x: Tensor, target: Target, attribution: Tensor) -> Mapping[str, Tensor]:
        """Return (N, K): sum of the map minus score(x) - score(x'), and that as a share; see `sum_gap`."""
        return completeness(model, x, target, attribution, absent(x.detach(), self.baseline))

    def _of_one(self, model: Model, image: Tensor, start: Tensor, target: Target) -> Tensor:
        import torch

        shares = [i / self.steps for i in range(self.steps + 1)]
        size = batch_size(image[None], self.memory_mb, GRAPH)
        total = before = last = None

        def copies(some: range) -> Tensor:
            return line(image, start, shares[some.start : some.stop])

        for found in slopes(model, target, copies, len(shares), size):
            parts = torch.stack([_shared(g) for g in found.gradients], dim=1)
            for score, part in zip(found.scores, parts, strict=True):
                if last is None or before is None or total is None:
                    total = torch.zeros_like(part)
                else:
                    total = total + last * (score - before).reshape(-1, *[1] * (part.ndim - 1))
                before, last = score, part
        assert total is not None
        return total


def _shared(gradient: Tensor) -> Tensor:
    """Return (m, *S): squared gradients (m, C, *S) over their sum, scaled first so that they do not underflow."""
    axes = tuple(range(1, gradient.ndim))
    largest = gradient.abs().amax(dim=axes, keepdim=True)
    square = (gradient / largest.masked_fill(largest == 0, 1)) ** 2
    total = square.sum(dim=axes, keepdim=True)
    return (square / total.masked_fill(total == 0, 1)).sum(dim=1)
