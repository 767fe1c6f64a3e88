"""shrikumar2017, section 3.5.2 and eq. 3: which way back every operation of a network gets, from two runs of it.

The rules are exact: what an operation sends back, times the rises of what it read, sums to what was sent to it times
the rises of what it made. So the map sums to the difference of the scores wherever every operation is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from saliscope.methods.propagation.averages import average, linear, middle
from saliscope.methods.propagation.pools import selecting
from saliscope.methods.propagation.splits import Back, pointwise, quotient, rise, softmax

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.record import Step

#: Operations that are linear in what is followed, under their names below autograd.
LINEAR = frozenset({
    "add", "sub", "rsub", "neg", "clone", "copy", "_to_copy", "fill", "zero", "lift_fresh", "mean", "sum", "cumsum",
    "cat", "stack", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool1d", "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d", "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d",
    "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "upsample_linear1d", "upsample_bilinear2d",
    "upsample_trilinear3d", "upsample_bicubic2d", "_upsample_bilinear2d_aa", "_upsample_bicubic2d_aa",
    "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d",
    "replication_pad2d", "replication_pad3d", "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "roll", "flip",
    "repeat", "im2col", "col2im", "tril", "triu", "diag_embed", "trace", "real",
    "imag", "_fft_r2c", "_fft_c2r", "_fft_c2c",
    "_conj_physical", "complex", "slice_scatter", "select_scatter", "squeeze_copy", "view_copy",
    "expand_copy",
})  # fmt: skip
#: Linear where no argument that is followed is a place: an index, or a mask by which values are taken.
PLACED = frozenset({
    "index", "index_select", "gather", "index_put", "_index_put_impl", "_unsafe_index", "index_add", "index_copy",
    "scatter", "scatter_add", "take", "take_along_dim", "embedding", "masked_select", "repeat_interleave", "put",
})  # fmt: skip
#: Products, and which of their arguments are factors; linear in the others, and where one factor alone is followed.
FACTORS = {
    "mul": (0, 1), "bmm": (0, 1), "mm": (0, 1), "mv": (0, 1), "dot": (0, 1), "vdot": (0, 1), "addmm": (1, 2),
    "addmv": (1, 2), "addbmm": (1, 2), "baddbmm": (1, 2), "addr": (1, 2), "addcmul": (1, 2), "convolution": (0, 1),
    "linear": (0, 1), "ger": (0, 1), "linalg_cross": (0, 1), "_trilinear": (0, 1, 2), "native_batch_norm": (0, 1),
    "cudnn_batch_norm": (0, 1), "miopen_batch_norm": (0, 1), "_native_batch_norm_legit_no_training": (0, 1),
}  # fmt: skip
#: Pointwise, though torch does not say so of them.
ELEMENTWISE = frozenset({
    "hardswish", "log_sigmoid_forward", "_prelu_kernel", "rrelu_with_noise", "masked_fill", "where", "frac",
    "polygamma", "hardtanh", "threshold", "mish",
})  # fmt: skip
SOFTMAX = {"_softmax": "softmax", "_safe_softmax": "softmax", "_log_softmax": "log", "logsumexp": "logsumexp"}
#: Operations that hand on the largest or the smallest of several values.
SELECTIONS = frozenset({
    "max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool2d", "max_pool3d", "adaptive_max_pool2d",
    "adaptive_max_pool3d", "amax", "amin", "max", "min",
})  # fmt: skip


class Rescale:
    """Gives operations their way back; remembers those whose rise it could only share out."""

    def __init__(self, like: Tensor) -> None:
        self.like = like
        self.left: set[str] = set()

    def keeps(self, step: Step) -> bool:
        """Return whether the rule of an operation needs the values that it reads and makes."""
        return self._kind(step) != "linear"

    def __call__(self, step: Step, other: Step) -> Back:
        """Return the way back through an operation of the image's run, given its partner of the baseline's run."""
        kind = self._kind(step)
        back = linear(step, self.like) if kind == "linear" else self._back(kind, step, other)

        def told(gs: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
            # A second result that is used alone, such as a place, has a way back in an average only.
            blind = gs[0] is None and kind != "average"
            sent: Sequence[Tensor | None] = [None] * len(step.reads) if blind else back(gs)
            if all(s is None for s in sent):
                self.left.add(step.name)
            return sent

        return told

    def _back(self, kind: str, step: Step, other: Step) -> Back:
        values, others = step.values, other.values
        results, results0 = ([k.value for k in s.results] for s in (step, other))
        if kind == "product":
            return middle(step, values, others)
        if kind == "quotient":
            over = [i == 1 for i in _positions(step)]
            return quotient(values, others, over, [results[0], results0[0]])
        if kind == "softmax":
            dim = step.arguments()[0][1]
            return softmax(values[0], others[0], dim, SOFTMAX[step.name])
        if kind == "selection":
            return selecting(step, values[0], others[0])
        if kind == "pointwise":
            return pointwise(step, values, others)
        rises = [rise(r, o, values) for r, o in zip(results, results0, strict=True)]
        return average(step, values, others, rises, self.left.add)

    def _kind(self, step: Step) -> str:
        """Return which rule an operation has."""
        real = all(p.dtype.is_floating_point for p in step.reads)
        smooth = all(p.dtype.is_floating_point or p.dtype.is_complex for p in step.reads)
        if step.name in LINEAR and not (step.name == "_to_copy" and _rounds(step)):
            return "linear"
        if step.name in PLACED:
            return "linear" if smooth else "average"
        if step.name in FACTORS:
            followed = [i for i in _positions(step) if i in FACTORS[step.name]]
            return ("linear", "linear", "product", "average")[len(followed)]
        if step.name == "div" and smooth and not _given(step, "rounding_mode"):
            return "quotient" if 1 in _positions(step) else "linear"
        if step.name in SOFTMAX and real:
            return "softmax"
        if step.name in SELECTIONS and real and len(step.reads) == 1:
            return "selection"
        truths = all(p.dtype.is_floating_point or not p.dtype.is_complex for p in step.reads)
        if (step.pointwise or step.name in ELEMENTWISE or step.name == "_to_copy") and truths and len(step.reads) <= 4:
            return "pointwise"
        return "average"


def _positions(step: Step) -> list[int]:
    """Return at which places the followed arguments stand; all that have rules here stand before any list."""
    return step.at


def _given(step: Step, name: str) -> Any:
    return step.arguments()[1].get(name)


def _rounds(step: Step) -> bool:
    """Return whether a change of type loses the fraction."""
    dtype = _given(step, "dtype")
    return dtype is not None and not (dtype.is_floating_point or dtype.is_complex)
