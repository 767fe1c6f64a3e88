"""Watching layers during one forward run, so that nothing that follows can rewrite what was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from saliscope.core.errors import LayerError, did_you_mean
from saliscope.core.protocols import INPUT

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


@dataclass
class Counts:
    """How much was asked of a network."""

    forward_samples: int = 0
    backward_passes: int = 0
    #: Replaced activations run through what comes after a layer.
    suffix_samples: int = 0
    #: Copies with one window changed of which only the changed region of each map was run; they are no full run.
    incremental_windows: int = 0

    @property
    def samples(self) -> int:
        """Return all samples, run whole or in part."""
        return self.forward_samples + self.suffix_samples + self.incremental_windows


class Probed:
    """One forward run: its output, and the activation (N, C, *S') of every watched layer."""

    output: Tensor

    def __init__(self, counts: Counts) -> None:
        self.activations: dict[str, Tensor] = {}
        self.calls: dict[str, int] = {}
        self._counts = counts
        self._versions: dict[str, int] = {}

    def keep(self, key: str, seen: Tensor) -> Tensor:
        """Return what goes downstream in place of a watched tensor.

        Where no graph leads to it yet, it becomes the root of one: nothing is stored before the layer. A clone goes
        on, because an in-place operation after the layer would otherwise rewrite the activation.
        """
        root = seen if seen.requires_grad else seen.detach().requires_grad_()
        self.activations[key] = root
        self._versions[key] = root._version  # noqa: SLF001 - torch offers no other count of in-place writes
        return root.clone()

    def check(self, layers: Sequence[str]) -> None:
        """Raise LayerError for a layer that did not run once, or whose activation was rewritten through an alias."""
        for key in layers:
            name, _, call = key.partition("#")
            ran = self.calls.get(name, 0)
            if key != INPUT and not call and ran > 1:
                raise LayerError(
                    f"layer {name!r}, which ran {ran} times",
                    expected="one run, or the number of the run",
                    do=f"Name one of: {', '.join(f'{name}#{i}' for i in range(ran))}",
                )
            if key not in self.activations:
                runs = "did not run" if not ran else f"ran {ran} times, numbered from #0"
                raise LayerError(f"layer {key!r}: {name!r} {runs}", do="Choose a layer that takes part in the output")
            if self.activations[key]._version != self._versions[key]:  # noqa: SLF001
                raise LayerError(
                    f"layer {key!r}, whose output is overwritten in place by another part of the network",
                    do="Watch the layer before it or after it",
                )

    def gradients(self, scores: Tensor) -> Iterator[Mapping[str, Tensor]]:
        """Yield for each of K score columns (N, K) the gradient at every watched layer; once for each probe.

        Raises LayerError when the scores do not depend on a layer.
        """
        keys = list(self.activations)
        roots = [self.activations[k] for k in keys]
        count = scores.shape[1]
        if not scores.requires_grad:
            raise _independent(keys)
        for k in range(count):
            self._counts.backward_passes += 1
            with torch.enable_grad():  # the caller may iterate under no_grad
                score = scores[:, k].sum()
            grads = torch.autograd.grad(score, roots, retain_graph=k < count - 1, allow_unused=True)
            without = [key for key, g in zip(keys, grads, strict=True) if g is None]
            if without:
                raise _independent(without)
            yield dict(zip(keys, grads, strict=True))


@contextmanager
def watched(module: nn.Module, x: Tensor, layers: Sequence[str], probed: Probed) -> Iterator[Tensor]:
    """Give the input to run, with hooks on the layers while it runs; they are gone after, also on error."""
    handles: list[RemovableHandle] = []
    x = x.detach().clone()
    try:
        if INPUT in layers:
            x = probed.keep(INPUT, x)
        names = dict.fromkeys(key.partition("#")[0] for key in layers if key != INPUT)
        handles += [found(module, n).register_forward_hook(_hook(n, set(layers), probed)) for n in names]
        yield x
    finally:
        for handle in handles:
            handle.remove()


def found(module: nn.Module, name: str) -> nn.Module:
    """Return the layer of a dotted name; raises LayerError with the nearest names."""
    named: dict[str, nn.Module] = dict(module.named_modules())
    for candidate in (name, name.removeprefix("module."), name.removeprefix("_orig_mod.")):
        if candidate in named and candidate:
            return named[candidate]
    raise LayerError(
        f"layer {name!r}", expected="the dotted name of a layer", do=did_you_mean(name, filter(None, named))
    )


def _hook(name: str, keys: set[str], probed: Probed) -> Callable[[nn.Module, object, object], object]:
    def watch(_module: nn.Module, _inputs: object, output: object) -> object:
        call = probed.calls.get(name, 0)
        probed.calls[name] = call + 1
        key = f"{name}#{call}" if f"{name}#{call}" in keys else name if name in keys and call == 0 else None
        if key is None:
            return None
        if not isinstance(output, Tensor) or not output.is_floating_point():
            raise LayerError(
                f"layer {name!r} with an output of type {type(output).__name__}",
                expected="one floating tensor",
                do="Watch a layer inside it",
            )
        return probed.keep(key, output)

    return watch


def _independent(layers: Sequence[str]) -> LayerError:
    return LayerError(
        f"a target that does not depend on {', '.join(repr(k) for k in layers)}",
        expected="a layer between the input and the target",
        do="Choose another layer; a network that runs under torch.no_grad() cannot be explained by gradients",
    )
