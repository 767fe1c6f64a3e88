"""shrikumar2017, eq. 3: the chain rule for multipliers, over a run of the image and one of its baseline apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import MethodError
from saliscope.core.protocols import Model
from saliscope.core.target import Holding, Target
from saliscope.methods.propagation.pieces import PIECES
from saliscope.methods.propagation.rescale import Rescale
from saliscope.methods.propagation.splits import Back

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.record import Step


#: What its callers call an operation that torch has another name for.
NAMES = {"_local_scalar_dense": "item()"}


@dataclass(frozen=True, eq=False)
class Multipliers:
    """What K scores rise for each unit of an image's elements (K, C, *S), those of both runs (1, K), what is amiss.

    `shared` names operations whose rise could only be shared out, `lost` values that the rules lost sight of.
    """

    values: Tensor
    scores: Tensor
    start: Tensor
    shared: frozenset[str]
    lost: frozenset[str]


class Runs:
    """A run of an image (1, C, *S), recorded, and one of its baseline, whose operations are its partners in order."""

    def __init__(self, model: Model, image: Tensor, target: Target) -> None:
        import torch

        from saliscope.model.record import Recording

        self.model, self.rule = model, Rescale(image)
        self.steps: list[Step] = []
        self.backs: list[Back] = []
        self.lost: set[str] = set()
        self._amiss = ""
        self.image = image.clone()
        self._first = Recording(self.image, PIECES, self.rule.keeps, self.steps.append)
        # What a network draws at random it draws again for the baseline.
        with torch.random.fork_rng(devices=[image.device] if image.is_cuda else []), self._first:
            output = model(self.image)
        self.target = target.held(lambda: output) if isinstance(target, Holding) else target
        with self._first:
            self.scores = self.target.scores(output)

    def against(self, start: Tensor) -> Tensor:
        """Run a baseline (1, C, *S) and return its scores (1, K); raises MethodError where it takes another way."""
        from saliscope.model.record import Recording

        start = start.clone()
        second = Recording(start, PIECES, self.rule.keeps, self._pair)
        with second:
            scores = self.target.scores(self.model(start))
        if not self._amiss and len(self.backs) < len(self.steps):
            self._amiss = f"{len(self.steps)} operations on the image and {len(self.backs)} on its baseline"
        if self._amiss:
            raise MethodError(
                f"a network that takes another way for the baseline: {self._amiss}",
                expected="the same operations, of the same shapes, for both",
                do="Choose another baseline, or use integrated-gradients or occlusion",
            )
        lost = zip(self._first.lost, second.lost, strict=False)
        self.lost |= {
            f"what left torch at {NAMES.get(name, name)}"
            for (name, value), (_, other) in lost
            if not _same(value, other)
        }
        return scores

    def back(self, k: int) -> Tensor:
        """Return the multipliers (C, *S) of score k; raises MethodError where none of what was seen leads to it."""
        import torch

        from saliscope.model.adjoint import Adjoint

        place, root = self._first.place(self.scores), self._first.place(self.image)
        assert root is not None
        counts = getattr(self.model, "counts", None)
        if counts is not None:
            counts.backward_passes += 1
        adjoint = Adjoint(torch.promote_types(self.image.dtype, torch.float32), self.image.device)
        if place is not None:
            adjoint.add(place, torch.eye(self.scores.shape[1], device=self.image.device)[k])
        for step, back in zip(reversed(self.steps), reversed(self.backs), strict=True):
            sent = [adjoint.take(p) for p in step.writes]
            if any(s is not None for s in sent):
                for read, amount in zip(step.reads, back(sent), strict=True):
                    if amount is not None:
                        adjoint.add(read, amount)
        found = adjoint.take(root)
        if found is None:
            raise MethodError(
                "a score that no operation on the image leads to" + _behind(self._first.lost),
                expected="a network whose operations on tensors can be followed from the image to the score",
                do="Use occlusion, or another method that only runs the network",
            )
        return found[0]

    def _pair(self, other: Step) -> None:
        at = len(self.backs)
        # Raised when the run is over: a script would turn an error of ours into one of its own.
        if self._amiss or at >= len(self.steps) or not _alike(self.steps[at], other):
            self._amiss = self._amiss or f"{other.name} is operation {at + 1} there and not on the image"
            return
        step = self.steps[at]
        self.backs.append(self.rule(step, other))
        if not all(_same(a, b) for i, (a, b) in enumerate(zip(step.flat, other.flat, strict=True)) if i not in step.at):
            self.lost.add(f"a number in {step.name} that is another for the baseline")
        step.release()
        other.release()


def multipliers(model: Model, image: Tensor, start: Tensor, target: Target) -> Multipliers:
    """Return the multipliers of one image (1, C, *S) against its baseline; raises MethodError as `Runs` does."""
    import torch

    with torch.no_grad(), _unfused(image):
        runs = Runs(model, image, target)
        before = runs.against(start)
        values = torch.stack([runs.back(k) for k in range(before.shape[1])])
    return Multipliers(values, runs.scores.detach(), before, frozenset(runs.rule.left), frozenset(runs.lost))


def _alike(step: Step, other: Step) -> bool:
    """Return whether two operations are one, on arguments and with results of the same shapes."""
    shapes = [[(p.shape, p.dtype) for p in [*s.reads, *s.writes]] for s in (step, other)]
    return step.function == other.function and step.at == other.at and shapes[0] == shapes[1]


def _same(value: Any, other: Any) -> bool:
    """Return whether an argument that is not followed is the same in both runs."""
    import torch

    from saliscope.model.record import Kept

    one, two = (v.value if isinstance(v, Kept) else v for v in (value, other))
    if one is two:
        return True
    if isinstance(one, torch.Tensor) and isinstance(two, torch.Tensor):
        dense = one.layout == two.layout == torch.strided and one.shape == two.shape
        return dense and (one.data_ptr() == two.data_ptr() or torch.equal(one, two))
    if isinstance(one, int | float | complex) and isinstance(two, int | float | complex):
        # What is no number is not itself.
        return one == two or (one != one and two != two)
    # Types, layouts, packed weights: nothing that is computed from an image.
    return type(one) is type(two)


def _behind(lost: Iterable[tuple[str, Any]]) -> str:
    names = sorted({NAMES.get(name, name) for name, _ in lost})
    return f"; values left the sight of torch at {', '.join(names)}" if names else ""


@contextmanager
def _unfused(image: Tensor) -> Iterator[None]:
    """Let torch take the plain form of what it would fuse into one operation where no gradient is asked for."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from saliscope.model.record import Unfused

    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH), Unfused() if image.is_cuda else nullcontext():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
