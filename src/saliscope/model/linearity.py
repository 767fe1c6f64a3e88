"""Whether what follows a layer is linear in its channels: proved on the operations of a run, with their arguments.

Every tensor that depends on the layer's activation is marked. `APART` says that each channel of it comes from that
channel of the activation alone, and grows in proportion with it (a ReLU, a max pool): without a channel, that channel
is zero and no other changes. `LINEAR` says that it is an affine function of such tensors. An operation that is
not known to keep a mark ends the proof; so do a comparison, a mask or a number read from the activation, which the
graph of gradients does not show.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

APART, LINEAR, USED = 1, 2, 3

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
    "slice", "select", "narrow", "unfold", "mean", "sum", "neg", "flip", "roll",
    "constant_pad_nd", "reflection_pad2d", "reflection_pad3d", "replication_pad2d", "replication_pad3d", "repeat",
    "pixel_shuffle", "pixel_unshuffle", "movedim", "index", "index_select", "as_strided", "cumsum", "diagonal",
})  # fmt: skip
#: Those of them that give a tensor in pieces.
PIECES = frozenset({"split", "split_with_sizes", "unbind", "unsafe_split", "unsafe_chunk"})
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
NORMS = {"_native_batch_norm_legit_no_training": None, "native_batch_norm": 5, "cudnn_batch_norm": 5}


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
        self._marks[_key(tensor)] = max(mark, self.marked(tensor))
        self._alive.append(tensor)

    def marked(self, tensor: Tensor) -> int:
        """Return the mark of a tensor; 0 for one that does not depend on the activation."""
        return self._marks.get(_key(tensor), 0)

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
        name = func.overloadpacket.__name__
        mark = self._mark(name, args, given, marks)
        if mark is None:
            self.reason = self.reason or name
            mark = LINEAR
        for place, made in enumerate(_tensors([out])):
            # Beside a result stand indices of maxima and the like: whoever uses those ends the proof.
            self.mark(made, mark if place == 0 or name in PIECES else USED)
        return out

    def _mark(self, name: str, args: Sequence[Any], given: list[Tensor], marks: list[int]) -> int | None:
        """Return the mark of a result; None where none is known."""
        if USED in marks or (name.endswith("_") and not marks[0]):
            return None
        once = sum(m > 0 for m in marks) == 1
        first = once and given[0] is args[0] and marks[0] > 0
        if name in SAME:
            return marks[0]
        if name in IN_PROPORTION:
            return APART if first and marks[0] == APART else None
        if name in POOLING:
            return marks[0] if first else None
        if name in ("add", "add_") and marks == [APART, APART] and given[0].shape == given[1].shape:
            return APART
        linear = (
            name in OF_SEVERAL
            or (name in OF_ONE | PIECES and first)
            or (name in PRODUCTS and once)
            or (name in QUOTIENTS and first and len(args) == 2)
            or (name in NORMS and first and _at_rest(name, args))
        )
        return LINEAR if linear else None


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)  # noqa: SLF001 - torch has no public name for a storage


def _at_rest(name: str, args: Sequence[Any]) -> bool:
    place = NORMS[name]
    return place is None or args[place] is False


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
