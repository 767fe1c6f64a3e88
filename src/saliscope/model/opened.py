"""A network while it is open: called, watched, cut, and asked about; made by `Network.opened`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from saliscope.core.errors import ModelError
from saliscope.core.protocols import INPUT
from saliscope.core.target import Target
from saliscope.core.windows import Windows
from saliscope.model.axes.grid import Grid
from saliscope.model.axes.transform import Transformed
from saliscope.model.biases import biases
from saliscope.model.cells import Cells
from saliscope.model.failure import told_of_failure
from saliscope.model.frozen import Frozen, frozen
from saliscope.model.independence import TRIED, Independence, independence, more_often, other_alone, same
from saliscope.model.known import Seen, known_of, shape_key
from saliscope.model.layer_choice import stages
from saliscope.model.layers import EVERY, LayerRun, Survey, cells_of, run_of, survey
from saliscope.model.onto import onto
from saliscope.model.output import one_row_each, selected
from saliscope.model.phase import phase_gradients
from saliscope.model.probe import Counts, Probed, ProbedApart, watched
from saliscope.model.reduced import Reduced
from saliscope.model.suffix import Suffix

if TYPE_CHECKING:
    from saliscope.model.incremental.drops import Incremental
    from saliscope.model.network import Network


#: What is remarked of a network that draws random numbers when it runs.
DRAWS = (
    "The network does not give one image the same output twice: its maps hold that noise, and none can be made again. "
    "Switch off what it draws, or average its output over draws."
)


class OpenNetwork:
    """An opened network: call it, or probe it. It counts what it was asked."""

    def __init__(self, network: Network, module: nn.Module) -> None:
        self.network, self.module = network, module
        self.counts = Counts()
        self.watch: Callable[[Counts], None] | None = None  # called after every forward run, to show progress
        self.closed = False
        #: What runs had changed in the network, told when it was put back.
        self.changed: tuple[str, ...] = ()
        #: Sentences for the record of the maps being made, and those that hold for every map.
        self.notes: list[str] = []
        self.remarks: list[str] = []
        self._incremental: Incremental | None = None
        self._first_seen: Tensor | None = None
        self.tried = self.looked = TRIED  # rows of the trial, and of the largest batch of which a row also ran alone

    def close(self) -> None:
        """Refuse every call from now on."""
        self.closed = True

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits of x (N, C, *S), without a graph."""
        with torch.no_grad():
            return self._run(x.detach().clone())

    def probe(self, x: Tensor, layers: Sequence[str], *, placed: bool = True) -> Probed | ProbedApart:
        """Run x (N, C, *S) once and watch layers by dotted name, the input by the name `INPUT`.

        The k-th run of a layer that runs several times is "name#k". Activations and gradients are laid out as
        (N, C, *S'), whatever the layer's own order of axes, or as the layer has them where they need not be `placed`.
        Images that a network mixes run one at a time. Raises LayerError for a layer that is not there, ran not once,
        gave no tensor, or whose places could not be followed.
        """
        if not self.mixes(x):
            probed = self._probe(x, layers, placed=placed)
            if self.stands(x, probed.output, more_often(self.surveyed(x), probed.calls, len(x))):
                probed.check(layers)
                return probed
        several = [self._probe(one, layers, placed=placed) for one in x.split(1)]
        for one in several:
            one.check(layers)
        return ProbedApart(several)

    def stands(self, x: Tensor, output: Tensor, amiss: str = "") -> bool:
        """Return whether a row of the output (N, ...) of many images x (N, C, *S) is what the image gets by itself.

        It is looked at in the first batch of more images than were tried, and in each larger one, for every method
        anew. Where it is not, or something was `amiss`, images run alone from then on.
        """
        if len(x) > self.looked and not amiss:
            self.looked = len(x)
            amiss = other_alone(self, x, output)
        if amiss:
            self._seen().independence[shape_key(x, self.network.output)] = Independence(together=False, reason=amiss)
            self.mixes(x)
        return not amiss

    def _probe(self, x: Tensor, layers: Sequence[str], *, placed: bool) -> Probed:
        # Several runs are one output only when they are stacked.
        named = [layer for layer in layers if layer != INPUT and (placed or layer.endswith(EVERY))]
        grids = {layer: self.grid(x, layer) for layer in named}
        with torch.enable_grad(), ExitStack() as hooks:
            probed = Probed(self.counts, grids)
            x = hooks.enter_context(watched(self.module, x, layers, probed))
            if INPUT in layers:
                hooks.enter_context(phase_gradients())
            probed.output = self.run_once(x)
        return probed

    def suffix(self, x: Tensor, layer: str) -> Suffix:
        """Return what comes after a layer for one image x (1, C, *S), to run it on other activations.

        Raises LayerError as `probe` does, and ModelError where the network does not repeat its own output.
        """
        with told_of_failure(self.module, x):
            return Suffix(self, x, layer)

    def window_drops(self, x: Tensor, without: Tensor, target: Target, windows: Windows) -> Tensor | None:
        """Return how much the scores of x (1, C, *S) fall (n, K) for windows, or None: run them in full."""
        from saliscope.model.incremental.drops import Incremental

        # The graph of the module is not that of a caller's own way to call it.
        if self.network.forward is not None or self.mixes(x, rows=2):
            return None
        self._incremental = self._incremental or Incremental(self)
        return self._incremental.drops(x, without, target, windows)

    def note(self, text: str) -> None:
        """Keep a sentence for the record of the maps being made; the same one only once."""
        if text not in self.notes:
            self.notes.append(text)

    def remark(self, text: str) -> None:
        """Keep a sentence for the record of every map made while the network is open."""
        if text not in self.remarks:
            self.remarks.append(text)

    def take_notes(self) -> tuple[str, ...]:
        """Return the sentences kept so far, and keep none of them."""
        taken, self.notes, self.looked = tuple(self.notes), [], self.tried
        return taken

    def survey(self, x: Tensor) -> Survey:
        """Return what one run of an input of this shape (N, C, *S) shows; it is run once for a network as it is."""
        surveys = self._seen().surveys
        key = shape_key(x, self.network.output)
        if key not in surveys:
            with told_of_failure(self.module, x[:1]):
                surveys[key] = survey(self, x[:1])
            self.counts.look_samples += 1
            self._first_seen = x[:1].detach().clone()
        return surveys[key]

    def surveyed(self, x: Tensor) -> Survey | None:
        """Return the survey of an input of this shape (N, C, *S) where there was one."""
        return self._seen().surveys.get(shape_key(x, self.network.output))

    def runs(self, x: Tensor) -> Sequence[LayerRun]:
        """Return every layer run of an input of this shape (N, C, *S)."""
        return self.survey(x).runs

    def independence(self, x: Tensor, alone: Tensor | None = None) -> Independence:
        """Return whether images of this shape (N, C, *S) may run together; tried once for a network as it is.

        `alone` is what the first of them gets by itself, where that is known.
        """
        tried = self._seen().independence
        key = shape_key(x, self.network.output)
        if key not in tried:
            survey = self.survey(x)
            if alone is None and self._first_seen is not None and torch.equal(self._first_seen, x[:1]):
                alone = survey.output
            tried[key] = independence(self, x, alone)
        return tried[key]

    def bytes_of_one(self, x: Tensor) -> int:
        """Return about how many bytes a run of one image of this shape (N, C, *S) holds at once, without a graph."""
        largest = max(prod(run.shape) for run in self.runs(x))
        return 4 * x.element_size() * max(largest, x[0].numel())

    def compare(self, x: Tensor, output: Tensor) -> None:
        """Learn from an output of x (N, ...) whether the network repeats what its survey gave, and remark if not."""
        seen, key = self._seen(), shape_key(x, self.network.output)
        if self._first_seen is not None and torch.equal(self._first_seen, x[:1]):
            seen.repeats[key] = same(output[:1].detach(), seen.surveys[key].output, x)
        if not seen.repeats.get(key, True):
            self.remark(DRAWS)

    def tried_independence(self, x: Tensor) -> Independence | None:
        """Return whether images of this shape may run together, where it was tried already."""
        return self._seen().independence.get(shape_key(x, self.network.output))

    def mixes(self, x: Tensor, rows: int | None = None) -> bool:
        """Return whether the images of x (N, C, *S), or `rows` copies of one, must run one at a time; it is noted."""
        if (len(x) if rows is None else rows) < 2:
            return False
        found = self.independence(x)
        if not found.repeats:
            self.remark(DRAWS)
        elif not found.together:
            self.remark(f"Every image was run alone, because {found.reason}.")
        return not found.together

    def grid(self, x: Tensor, layer: str) -> Grid | Transformed | None:
        """Return how a layer's output for x (N, C, *S) lies on the input; None where it could not be followed."""
        if self.network.reshape_transform is not None:
            return Transformed(self.network.reshape_transform, x.ndim)
        run = run_of(self.runs(x), layer)
        if run is None or run.grid is None:
            return None
        # A run of several images tells for sure where they stand among folded slices or windows.
        tried = self.tried_independence(x)
        several = run_of(tried.runs, run.name) if tried is not None else None
        grid = run.grid if several is None or several.grid is None else several.grid
        # Which rows are whose is known only where the axis of images could be followed.
        return grid if grid.batched or len(x) == 1 else None

    def laid_out(self, values: Tensor, x: Tensor, layer: str) -> Tensor | None:
        """Return values like a layer's output as (N, C', *S'), joined runs as they are; None for one without a grid."""
        apart = self.mixes(x)
        if (grid := self.grid(x[:1] if apart else x, layer)) is None or grid.runs:
            return None if grid is None else values
        several = values.split(len(values) // len(x)) if apart else (values,)
        return torch.cat([grid.laid_out(one) for one in several])

    def cells(self, x: Tensor, layer: str) -> Cells | None:
        """Return where the cells of a layer lie on an input (N, C, *S); None where they could not be followed."""
        return None if layer != INPUT and self.network.reshape_transform else cells_of(self.runs(x), layer, x.ndim - 2)

    def size_of(self, x: Tensor, layer: str) -> tuple[int, ...]:
        """Return the grid's size S' of a layer's output for an input (N, C, *S), () for a layer without one."""
        run = run_of(self.runs(x), layer)
        if run is not None and self.network.reshape_transform is not None:
            return tuple(Transformed(self.network.reshape_transform, x.ndim).laid_out(torch.zeros(run.shape)).shape[2:])
        return run.grid.shape if run is not None and run.grid is not None else ()

    def stages(self, x: Tensor) -> tuple[str, ...]:
        """Return, from shallow to deep, the last layer of each grid that an input (N, C, *S) passes."""
        return stages(self.runs(x))

    def biases(self, x: Tensor) -> dict[str, Tensor]:
        """Return what each layer adds on the way of an input (N, C, *S), in a shape that fits the layer's output."""
        return biases(self, x)

    def onto_input(self, values: Tensor, x: Tensor, layer: str) -> Tensor:
        """Return values (N, K, *S') of a layer on the elements (N, K, *S) of x, linear between the layer's cells."""
        return onto(values, self.cells(x, layer), x.shape[2:])

    def reduced(self, dtype: torch.dtype) -> Reduced:
        """Return a copy that runs forward in another floating type, such as bfloat16."""
        return Reduced(self, dtype)

    def frozen(self, x: Tensor) -> Frozen | None:
        """Return what gives the logits of many inputs faster, proved on x (N, C, *S); None where nothing does."""
        faster = None if self.mixes(x, rows=2) else frozen(self, x)
        return None if isinstance(faster, str) else faster

    def run_uncounted(self, x: Tensor, module: nn.Module | None = None) -> Tensor:
        """Return the logits of x as the caller's gradient mode has it, whatever the network raises."""
        if self.closed:
            raise ModelError("a network used after it was closed", do="Use it inside `with network.opened()`")
        module, forward = self.module if module is None else module, self.network.forward
        output = selected(module(x) if forward is None else forward(module, x), self.network.output)
        # Made under inference_mode inside the network, it could not be used with anything that has a graph.
        return output.clone() if output.is_inference() else output

    def run_alone(self, x: Tensor) -> Tensor:
        """Return the logits of one image x (1, C, *S), counted as a look at the network."""
        with told_of_failure(self.module, x):
            output = self.run_uncounted(x)
        self.counts.look_samples += 1
        return one_row_each(output, x)

    def run_once(self, x: Tensor) -> Tensor:
        """Return the logits of x (N, C, *S), all images at once, counted."""
        with told_of_failure(self.module, x):
            output = self.run_uncounted(x)
        self.count(len(x))
        return one_row_each(output, x)

    def count(self, samples: int) -> None:
        """Count samples that were run forward, and tell whoever watches."""
        self.counts.forward_samples += samples
        if self.watch:
            self.watch(self.counts)

    def _seen(self) -> Seen:
        return known_of(self.module).seen(self.network.forward)

    def _run(self, x: Tensor) -> Tensor:
        if self.mixes(x):
            return torch.cat([self.run_once(one) for one in x.split(1)])
        output = self.run_once(x)
        return output if self.stands(x, output) else self._run(x)
