"""Only what comes after a layer: the modules before it give again what they gave, and are not run.

Nothing is traced. One run notes the outputs of the modules that were complete when the layer began. Afterwards those
modules, while the network's own code runs, hand out what was noted, and the layer hands out what the caller gives.
Branches around the layer (residual, concatenation) thereby keep their values. Before it is used, the cut must give
the network's own output again; where it does not, the whole network runs with the layer's output replaced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from saliscope.core.errors import LayerError, ModelError
from saliscope.core.protocols import INPUT
from saliscope.model.failure import told_of_failure
from saliscope.model.forwards import each, forwards
from saliscope.model.probe import Probed, found, watched

if TYPE_CHECKING:
    from saliscope.model.opened import OpenNetwork

#: Bytes held at once for each byte of the largest tensor, rounded up from the peaks in `perturb.stream`: MONAI's
#: DenseNet121 6.8 at 224 pixels in 2D and 3.1 at 64 in 3D, its ResNet18 2.0 there.
HELD = 8
#: Largest difference from the network's own output, as a share of its largest value, by bytes of the type; and on a
#: GPU, where convolutions in float32 round their inputs to ten bits unless told otherwise, and by the batch's size.
CLOSE, CLOSE_ON_GPU = {8: 1e-9, 4: 1e-4, 2: 3e-2}, {8: 1e-9, 4: 1e-2, 2: 3e-2}
#: How torch speaks of a write into a tensor that stands for several rows at once, and of sizes that do not meet.
SHARED = "single memory location"
SIZES = ("size", "shape", "dimension", "expand", "broadcast")

Key = tuple[int, int]


class Suffix:
    """What comes after a layer of a network, for one image; made by `OpenNetwork.suffix`.

    `activation` (1, C', *S') is what the layer gave, `output` the network's logits, and `growth` how many bytes one
    replaced activation holds at once for each byte of itself. Of a layer that is several runs as one, each run gives
    its part; what comes between them runs each time.
    """

    def __init__(self, model: OpenNetwork, x: Tensor, layer: str) -> None:
        if len(x) != 1:
            raise ModelError(f"{len(x)} images", expected="one image (1, C, *S)", do="Cut the network for each image")
        name, _, call = layer.partition("#")
        self._model, self._x, self._name = model, x.detach().clone(), layer
        self._layer = None if layer == INPUT else found(model.module, name)
        self._call = int(call) if call.isdecimal() else 0
        self._before: dict[int, list[Any]] = {}
        #: Runs whose noted output is written in place later on, so that each call needs a copy.
        self._copied: set[Key] = set()
        self._copies_all = self._whole = False
        self._apart = model.mixes(x, rows=2)
        #: The most rows of which one was compared with what it gives alone.
        self._looked = 1
        self._grid = None if layer == INPUT else model.grid(x, layer)
        recorder = _Recorder(self._layer, self._call)
        probed = Probed(model.counts, {} if layer == INPUT else {layer: self._grid})
        with watched(model.module, x, [layer], probed):
            with forwards(model.module, recorder.wrapped):
                self.output = model(x)
            probed.check([layer])
        self._raw = probed.raw(layer).detach()
        self.activation = probed.activations[layer].detach()
        for key, output in recorder.done:
            self._before.setdefault(key, []).append(output)
        self._settle()
        largest = recorder.largest_of_all if self._whole else recorder.largest_after
        own = self.activation.numel() * self.activation.element_size()
        self.growth = ceil(HELD * max(largest, own) / own)

    def __call__(self, a: Tensor) -> Tensor:
        """Return the logits (M, ...) of activations a (M, C', *S') at the layer, with a graph where a requires one.

        Raises LayerError for activations of another shape.
        """
        if a.shape[1:] != self.activation.shape[1:]:
            raise LayerError(
                f"activations of shape {tuple(a.shape)} for layer {self._name!r}",
                expected=f"(M, {', '.join(map(str, self.activation.shape[1:]))})",
                do="Give as many channels and cells as the layer has",
            )
        with torch.set_grad_enabled(a.requires_grad), told_of_failure(self._model.module, self._x):
            if len(a) == 1:
                return self._given(a)
            if self._apart:
                return self._one_by_one(a)
            output = self._together(a)
            if output is not None:
                return output
            self._apart = True
            self._model.note(
                f"After layer {self._name} every row was run alone, because {len(a)} at once gave another output."
            )
            return self._one_by_one(a)

    def _one_by_one(self, a: Tensor) -> Tensor:
        return torch.cat([self._given(a[i : i + 1]) for i in range(len(a))])

    def _together(self, a: Tensor) -> Tensor | None:
        """Return the logits of all rows of a at once; None where they are not those that its rows have alone.

        One row is looked at, in the first batch and in each larger one: a network may take its batch in parts, or
        look for equal images in it.
        """
        try:
            output = self._given(a)
        except RuntimeError as error:
            if isinstance(error, torch.OutOfMemoryError) or not any(word in str(error).lower() for word in SIZES):
                raise
            return None
        if len(output) != len(a):
            return None
        if len(a) > self._looked:
            at, self._looked = least_like_first(a), len(a)
            with torch.no_grad(), self._model.counts.as_looks():
                alone = self._given(a[at : at + 1].detach())
            if not _close(output[at : at + 1].detach(), alone):
                return None
        return output

    def _given(self, a: Tensor) -> Tensor:
        """Return the logits of activations laid out as (M, C', *S')."""
        raw = [a] if self._grid is None else self._grid.of_each_run(self._grid.put_back(a, self._raw))
        return self._run_whole(raw, len(a)) if self._whole else self._replay(raw, len(a))

    def _settle(self) -> None:
        """Choose the way to run by whether it gives the network's own output, for two rows, again."""
        count = 1 if self._apart else 2
        pair = self.activation.expand(count, *self.activation.shape[1:])
        with torch.no_grad():
            reason = self._differs(pair)
            if reason is None:
                return
            self._whole = True
            self._before.clear()
            if not _close(self._given(pair), self.output):
                raise ModelError(
                    f"a network that does not repeat its output when layer {self._name!r} is given its own again",
                    expected="one output for one input",
                    do="Choose another layer, or a method that needs none",
                )
        self._model.note(f"After layer {self._name} the whole network was run each time, because {reason}.")

    def _differs(self, pair: Tensor) -> str | None:
        """Return why replaying does not do for this network, or None."""
        try:
            try:
                output = self._given(pair)
            except RuntimeError as error:
                if SHARED not in str(error):
                    raise
                self._copies_all = True
                output = self._given(pair)
                self._copies_all = False
        except RuntimeError as error:
            # A network that fails by itself says something else, or fails again in the whole run.
            if not any(word in str(error).lower() for word in SIZES):
                raise
            return "what stands before it does not take several copies at once"
        return (
            None
            if len(output) == len(pair) and _close(output, self.output)
            else "what stands before it could not be kept fixed"
        )

    def _replay(self, raw: Sequence[Tensor], count: int) -> Tensor:
        """Return the logits of what each run of the layer gives, while what came before the first is handed out."""
        given: list[tuple[Key, Tensor]] = []
        x = raw[0].clone() if self._layer is None else self._grown(self._x, count, (0, 0), given)
        with self._replaced(raw), forwards(self._model.module, lambda m: self._stand_in(m, raw, count, given)):
            output = self._model.run_uncounted(x)
        if self._copies_all:
            self._copied = {key for key, tensor in given if tensor._version}  # noqa: SLF001 - no other count of writes
        self._model.counts.suffix_samples += count
        self._model.count(0)
        return output

    def _run_whole(self, raw: Sequence[Tensor], count: int) -> Tensor:
        x = raw[0].clone() if self._layer is None else self._x.repeat(count, *[1] * (self._x.ndim - 1))
        with self._replaced(raw, self._call):
            output = self._model.run_uncounted(x)
        self._model.count(count)
        return output

    @contextmanager
    def _replaced(self, raw: Sequence[Tensor], call: int | None = None) -> Iterator[None]:
        """Let the layer's runs give clones of `raw`, which neither what follows nor a hook of others can rewrite."""
        if self._layer is None:
            yield
            return
        # In a replay, runs of the layer inside of replayed modules do not happen.
        left = len(self._before.get(id(self._layer), ())) if call is None else call

        def replace(_module: nn.Module, _inputs: object, _output: object) -> Tensor | None:
            nonlocal left
            left -= 1
            return raw[-1 - left].clone() if -len(raw) <= left < 0 else None

        handle = self._layer.register_forward_hook(replace)
        try:
            yield
        finally:
            handle.remove()

    def _stand_in(
        self, module: nn.Module, raw: Sequence[Tensor], count: int, given: list[tuple[Key, Tensor]]
    ) -> Callable[..., Any] | None:
        """Return what a module runs in place of its forward; None where it runs its own."""
        noted = self._before.get(id(module), [])
        queue = deque(enumerate(noted))
        forward, pending = module.forward, deque(raw if module is self._layer else ())
        if not noted and not pending:
            return None

        def run(*args: Any, **kwargs: Any) -> Any:
            if queue:
                index, output = queue.popleft()
                return each(output, lambda t: self._grown(t, count, (id(module), index), given))
            return pending.popleft() if pending else forward(*args, **kwargs)

        return run

    def _grown(self, tensor: Tensor, size: int, key: Key, given: list[tuple[Key, Tensor]]) -> Tensor:
        """Return a noted tensor for `size` rows: a view, or a copy where it is written in place."""
        if tensor.ndim == 0 or size == 1:
            return tensor if size != 1 or not (self._copies_all or key in self._copied) else tensor.clone()
        if len(tensor) != 1:
            # The batch may be folded into a longer axis, as windows are.
            return tensor.repeat(size, *[1] * (tensor.ndim - 1)) if tensor.is_floating_point() else tensor
        grown = tensor.expand(size, *tensor.shape[1:])
        if not self._copies_all and key not in self._copied:
            return grown
        copy = grown.clone()
        given.append((key, copy))
        return copy


class _Recorder:
    """Notes the outermost module runs that were complete when the k-th run of a layer began."""

    def __init__(self, layer: nn.Module | None, call: int) -> None:
        self.done: list[tuple[int, Any]] = []
        self.largest_after = self.largest_of_all = 0
        self._layer, self._left, self._begun = layer, call, layer is None

    def wrapped(self, module: nn.Module) -> Callable[..., Any]:
        forward = module.forward

        def run(*args: Any, **kwargs: Any) -> Any:
            if module is self._layer:
                self._begun = self._begun or self._left == 0
                self._left -= 1
            mark = len(self.done)
            output = forward(*args, **kwargs)
            self._measure(output)
            if not self._begun:
                # A clone, because what follows may write into it in place. It stands for all that ran inside.
                self.done[mark:] = [(id(module), each(output, lambda t: t.detach().clone()))]
            return output

        return run

    def _measure(self, output: Any) -> None:
        sizes = [0]

        def measure(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel() * tensor.element_size())
            return tensor

        each(output, measure)
        self.largest_of_all = max(self.largest_of_all, *sizes)
        if self._begun:
            self.largest_after = max(self.largest_after, *sizes)


def least_like_first(rows: Tensor) -> int:
    """Return which of several rows (M, ...) is the least like the first: two that are alike show no mixing."""
    return int((rows - rows[:1]).detach().flatten(1).norm(dim=1).argmax())


def _close(found: Tensor, right: Tensor) -> bool:
    """Whether every row of an output is the network's own (1, ...)."""
    if found.shape[1:] != right.shape[1:]:
        return False
    shares = CLOSE_ON_GPU if right.is_cuda else CLOSE
    limit = shares[right.element_size()] * right.abs().nan_to_num().max().item()
    return torch.allclose(found, right.expand_as(found), rtol=0, atol=limit, equal_nan=True)
