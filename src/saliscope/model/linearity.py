"""Whether what follows a layer is linear in its channels: proved on the operations of a run, with their arguments.

Every tensor that depends on the layer's activation is marked. `APART` says that each channel of it comes from that
channel of the activation alone, and grows in proportion with it (a ReLU, a max pool): without a channel, that channel
is zero and no other changes. `LINEAR` says that it is an affine function of marked-apart tensors. An operation that is
not known to keep a mark ends the proof; so do a comparison, a mask or a number read from the activation, which the
graph of gradients does not show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

APART, LINEAR = 1, 2

#: Operations of ATen that change no value and no place.
SAME = frozenset({"clone", "detach", "alias", "_to_copy", "lift_fresh", "view_as", "contiguous"})
#: Those that keep channels apart, and grow in proportion; not linear.
IN_PROPORTION = frozenset({
    "relu", "relu_", "leaky_relu", "leaky_relu_", "prelu", "_prelu_kernel", "max_pool2d_with_indices",
    "max_pool3d_with_indices", "mkldnn_max_pool2d", "mkldnn_max_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d",
})  # fmt: skip
#: Linear within each channel.
POOLING = frozenset({
    "avg_pool2d", "avg_pool3d", "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_avg_pool2d",
    "adaptive_avg_pool3d", "mkldnn_adaptive_avg_pool2d", "upsample_nearest2d", "upsample_nearest3d",
    "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "upsample_bilinear2d", "upsample_trilinear3d",
})  # fmt: skip
#: Linear in one tensor, whatever the other arguments, which are constants.
OF_ONE = frozenset({
    "view", "_unsafe_view", "reshape", "_reshape_alias", "expand", "permute", "transpose", "t", "squeeze", "unsqueeze",
    "slice", "select", "split", "split_with_sizes", "unbind", "narrow", "unfold", "mean", "sum", "neg", "flip", "roll",
    "constant_pad_nd", "reflection_pad2d", "reflection_pad3d", "replication_pad2d", "replication_pad3d", "repeat",
    "pixel_shuffle", "pixel_unshuffle", "movedim", "index", "index_select", "as_strided", "cumsum", "diagonal",
})  # fmt: skip
#: Linear in several tensors at once.
OF_SEVERAL = frozenset({"add", "add_", "sub", "sub_", "rsub", "cat", "stack"})
#: Linear in one tensor as long as no other depends on the activation.
PRODUCTS = frozenset({
    "mul", "mul_", "mm", "bmm", "mv", "dot", "addmm", "addmv", "baddbmm", "linear", "convolution", "_convolution",
    "mkldnn_convolution", "convolution_overrideable",
})  # fmt: skip
#: The same where it is the first.
QUOTIENTS = frozenset({"div", "div_"})
#: At rest, with the statistics of training, affine in the first.
NORMS = {
    "_native_batch_norm_legit_no_training": None,
    "native_batch_norm": 5,
    "cudnn_batch_norm": 5,
    "_batch_norm_with_update": -1,
}


class Followed(TorchDispatchMode):
    """While entered, follows what becomes of a marked tensor."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reason: str | None = None
        # By storage, as views share one; kept alive, because an address may be given out again.
        self._marks: dict[int, int] = {}
        self._alive: list[Tensor] = []

    def mark(self, tensor: Tensor, mark: int) -> None:
        """Mark a tensor; what its storage was marked with before holds where it says less."""
        key = tensor.untyped_storage()._cdata
        self._marks[key] = max(mark, self._marks.get(key, 0))
        self._alive.append(tensor)

    def marked(self, tensor: Tensor) -> int:
        """Return the mark of a tensor; 0 for one that does not depend on the activation."""
        return self._marks.get(tensor.untyped_storage()._cdata, 0)

    def proves(self, output: Tensor) -> bool:
        """Return whether an output depends on the activation linearly, by all that was followed."""
        return self.reason is None and self.marked(output) > 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        given = list(_tensors([*args, *(kwargs or {}).values()]))
        marks = [self.marked(t) for t in given]
        if not any(marks):
            return out
        name = func._schema.name.removeprefix("aten::")
        mark = self._mark(name, args, given, marks, out)
        if mark is None:
            self.reason = self.reason or name
            mark = LINEAR
        first, *others = list(_tensors([out])) or [None]
        if first is not None:
            self.mark(first, mark)
        several = isinstance(out, list) or name in ("split", "split_with_sizes", "unbind")
        for other in others:
            if several:
                self.mark(other, mark)
            elif other.numel():
                # Indices of maxima and the like: whoever uses them ends the proof.
                self._marks[other.untyped_storage()._cdata] = USED
                self._alive.append(other)
        return out

    def _mark(self, name: str, args: Sequence[Any], given: list[Tensor], marks: list[int], out: Any) -> int | None:
        """Return the mark of a result; None where none is known."""
        if USED in marks or (name.endswith("_") and not marks[0]):
            return None
        alone = (
            sum(m > 0 for m in marks) == 1 and given[0] is args[0] if args and isinstance(args[0], Tensor) else False
        )
        apart = all(m == APART for m in marks)
        if name in SAME:
            return marks[0]
        if name in IN_PROPORTION:
            return APART if alone and marks[0] == APART else None
        if name in POOLING:
            return marks[0] if alone else None
        if name in ("add", "add_") and apart and len(given) == 2 and given[0].shape == given[1].shape:
            return APART
        linear = (
            name in OF_SEVERAL
            or (name in OF_ONE and alone)
            or (name in PRODUCTS and sum(m > 0 for m in marks) == 1)
            or (name in QUOTIENTS and alone and len(args) == 2)
            or (name in NORMS and alone and _at_rest(name, args))
        )
        return LINEAR if linear else None


USED = 3


def _at_rest(name: str, args: Sequence[Any]) -> bool:
    place = NORMS[name]
    return place is None or (place > 0 and args[place] is False)


@contextmanager
def followed(root: Tensor) -> Iterator[Followed]:
    """Give what follows a root (1, C, *S), whose channels stand apart, through the operations inside."""
    mode = Followed()
    mode.mark(root, APART)
    with mode:
        yield mode


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
