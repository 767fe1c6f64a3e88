"""Watching layers during one forward run, so that nothing that follows can rewrite what was seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from saliscope.core.errors import LayerError, ModelError, did_you_mean
from saliscope.core.protocols import INPUT
from saliscope.model.layer_gradients import read_by, slopes

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


class Layout(Protocol):
    """How a layer's output is laid out as (N, C, *S'), and back; of several runs, how they are stacked as one."""

    @property
    def runs(self) -> Sequence[int]:
        """Return the numbers of the layer's runs in the order of the stack; none for a single run."""

    def stacked(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the outputs of the layer's runs as one output."""

    def laid_out(self, t: Tensor) -> Tensor:
        """Return a layer's output as (N, C, *S')."""

    def put_back(self, values: Tensor, raw: Tensor) -> Tensor:
        """Return values (M, C, *S') as the layer gives them; what lies nowhere is that of one image's output `raw`."""


@dataclass
class Counts:
    """How much was asked of a network."""

    forward_samples: int = 0
    backward_passes: int = 0
    #: Replaced activations run through what comes after a layer.
    suffix_samples: int = 0
    #: Copies with one window changed of which only the changed region of each map was run; they are no full run.
    incremental_windows: int = 0
    #: Images run to learn of the network itself, once for it and a shape of input; part of no map's cost.
    look_samples: int = 0

    @property
    def samples(self) -> int:
        """Return all samples, run whole or in part."""
        return self.forward_samples + self.suffix_samples + self.incremental_windows

    @contextmanager
    def as_looks(self) -> Iterator[None]:
        """Count what is run meanwhile as looks at the network itself, and as no part of a map's cost."""
        before = replace(self)
        yield
        self.look_samples += self.samples - before.samples
        self.forward_samples, self.suffix_samples = before.forward_samples, before.suffix_samples
        self.incremental_windows = before.incremental_windows


class Probed:
    """One forward run: its output, and every watched layer's output laid out as (N, C, *S')."""

    output: Tensor

    def __init__(self, counts: Counts, grids: Mapping[str, Layout | None] | None = None) -> None:
        #: Of every watched layer what each of its runs gave: one, or several that make one output.
        self.roots: dict[str, list[Tensor]] = {}
        self.calls: dict[str, int] = {}
        self._grids = grids or {}
        self.counts = counts
        self._versions: dict[str, list[int]] = {}

    @property
    def activations(self) -> Mapping[str, Tensor]:
        """Return the output (N, C, *S') of every watched layer."""
        return {key: self.laid_out(key, roots) for key, roots in self.roots.items()}

    def laid_out(self, key: str, several: Sequence[Tensor]) -> Tensor:
        """Return what the runs of a watched layer gave, or the gradients there, as (N, C, *S')."""
        grid = self._grids.get(key)
        return several[0] if grid is None else grid.laid_out(grid.stacked(several))

    def raw(self, key: str) -> Tensor:
        """Return a watched layer's output as the layer gives it; the outputs of several runs stacked."""
        grid = self._grids.get(key)
        return self.roots[key][0] if grid is None else grid.stacked(self.roots[key])

    def every_run(self, key: str) -> bool:
        """Return whether a watched layer is all runs of its module as one."""
        grid = self._grids.get(key)
        return grid is not None and len(grid.runs) > 0

    def keep(self, key: str, seen: Tensor) -> Tensor:
        """Return what goes downstream in place of a watched tensor.

        Where no graph leads to it yet, it becomes the root of one: nothing is stored before the layer. A clone goes
        on, because an in-place operation after the layer would otherwise rewrite the activation.
        """
        if seen.is_inference():
            raise ModelError(
                f"layer {key!r}, which the network runs under torch.inference_mode()",
                expected="a network through which gradients pass",
                do="Take inference_mode out of its forward, or use occlusion or rise, which need no gradient",
            )
        root = seen if seen.requires_grad else seen.detach().requires_grad_()
        self.roots.setdefault(key, []).append(root)
        self._versions.setdefault(key, []).append(root._version)  # noqa: SLF001 - torch has no other count of writes
        return root.clone()

    def check(self, layers: Sequence[str]) -> None:
        """Raise LayerError for a layer that did not run once, or whose activation was rewritten through an alias."""
        for key in layers:
            name, _, call = key.partition("#")
            ran = self.calls.get(name, 0)
            grid = self._grids.get(key)
            if key in self.roots and grid is not None and grid.runs and len(grid.runs) != ran:
                raise LayerError(
                    f"layer {key!r}, which ran {ran} times here and {len(grid.runs)} times when it was surveyed",
                    expected="as many runs for every image",
                    do=f"Name one run, such as {name}#0, or use a method that explains the input",
                )
            if call == "*" and key not in self.roots and ran:
                raise LayerError(
                    f"layer {key!r}, whose {ran} runs do not lie beside each other at equal steps",
                    expected="runs on slices, patches or chunks of one size that follow each other",
                    do=f"Name one of: {', '.join(f'{name}#{i}' for i in range(ran))}",
                )
            if key != INPUT and not call and ran > 1 and not self.every_run(key):
                raise LayerError(
                    f"layer {name!r}, which ran {ran} times",
                    expected="one run, or the number of the run",
                    do=f"Name one of: {', '.join(f'{name}#{i}' for i in range(ran))}",
                )
            if key not in self.roots:
                runs = "did not run" if not ran else f"ran {ran} times, numbered from #0"
                raise LayerError(f"layer {key!r}: {name!r} {runs}", do="Choose a layer that takes part in the output")
            if [root._version for root in self.roots[key]] != self._versions[key]:  # noqa: SLF001
                raise LayerError(
                    f"layer {key!r}, whose output is overwritten in place by another part of the network",
                    do="Watch the layer before it or after it",
                )
            if key in self._grids and grid is None:
                raise unplaced(key, self.roots[key][0])

    def gradients(self, scores: Tensor) -> Iterator[Mapping[str, Tensor]]:
        """Yield for each of K score columns (N, K) the gradient at every watched layer; once for each probe.

        Raises LayerError when the scores do not depend on a layer.
        """
        return slopes([self], scores, self.counts)

    def read_by(self, scores: Tensor) -> Mapping[str, bool]:
        """Return for every watched layer whether each of K score columns (N, K) depends on it; once for each probe."""
        return read_by([self], scores, self.counts)


class ProbedApart:
    """Forward runs of one image each, as one probe: of networks that mix the images of a batch."""

    def __init__(self, probes: Sequence[Probed]) -> None:
        self.probes = probes
        self.output = torch.cat([p.output for p in probes])

    @property
    def activations(self) -> Mapping[str, Tensor]:
        """Return the output (N, C, *S') of every watched layer."""
        several = [p.activations for p in self.probes]
        return {key: torch.cat([one[key] for one in several]) for key in several[0]}

    def gradients(self, scores: Tensor) -> Iterator[Mapping[str, Tensor]]:
        """Yield for each of K score columns (N, K) the gradient at every watched layer; once for each probe."""
        return slopes(self.probes, scores, self.probes[0].counts)

    def read_by(self, scores: Tensor) -> Mapping[str, bool]:
        """Return for every watched layer whether each of K score columns (N, K) depends on it; once for each probe."""
        return read_by(self.probes, scores, self.probes[0].counts)


@contextmanager
def watched(module: nn.Module, x: Tensor, layers: Sequence[str], probed: Probed) -> Iterator[Tensor]:
    """Give the input to run, with hooks on the layers while it runs; they are gone after, also on error."""
    handles: list[RemovableHandle] = []
    x = x.detach().clone()
    try:
        if INPUT in layers:
            x = probed.keep(INPUT, x)
        names = dict.fromkeys(key.partition("#")[0] for key in layers if key != INPUT)
        handles += [watchable(module, n).register_forward_hook(_hook(n, set(layers), probed)) for n in names]
        yield x
    finally:
        for handle in handles:
            handle.remove()


def found(module: nn.Module, name: str) -> nn.Module:
    """Return the layer of a dotted name; raises LayerError with the nearest names."""
    named: dict[str, nn.Module] = dict(module.named_modules())
    for candidate in (name, *without_wrapper(name)):
        if candidate in named and candidate:
            return named[candidate]
    raise LayerError(
        f"layer {name!r}", expected="the dotted name of a layer", do=did_you_mean(name, filter(None, named))
    )


def without_wrapper(name: str) -> tuple[str, ...]:
    """Return a layer's name as it is inside DataParallel and torch.compile."""
    return name.removeprefix("module."), name.removeprefix("_orig_mod.")


def watchable(module: nn.Module, name: str) -> nn.Module:
    """Return the layer of a dotted name; raises LayerError for one inside a scripted module, which takes no hooks."""
    layer = found(module, name)
    if isinstance(layer, torch.jit.ScriptModule):
        raise LayerError(
            f"layer {name!r}, which is scripted",
            expected="a layer of a plain module",
            do="Explain the module before torch.jit.script, or use a method that explains the input",
        )
    return layer


def _hook(name: str, keys: set[str], probed: Probed) -> Callable[[nn.Module, object, object], object]:
    def watch(_module: nn.Module, _inputs: object, output: object) -> object:
        call = probed.calls.get(name, 0)
        probed.calls[name] = call + 1
        key = next((k for k in (f"{name}#{call}", name, f"{name}#*") if k in keys and _takes(k, call, probed)), None)
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


def _takes(key: str, call: int, probed: Probed) -> bool:
    """Return whether a watched layer of this name takes the module's run of this number."""
    number = key.partition("#")[2]
    return number == str(call) or probed.every_run(key) or (not number and call == 0)


def unplaced(layer: str, output: Tensor) -> LayerError:
    """Return the refusal of a layer whose entries lie nowhere on the image, or that could not be followed."""
    return LayerError(
        f"layer {layer!r} with an output of shape {tuple(output.shape)}, whose axes are no grid of the image's places",
        expected="a layer in which places of the image still stand beside each other",
        do="Choose an earlier layer, or give a reshape_transform from its output to (N, C, *S)",
    )
