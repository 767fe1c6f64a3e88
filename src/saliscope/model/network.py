"""The one seam to a network: opened for a while, watched, and left as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from saliscope.core.errors import ModelError, OutputError
from saliscope.core.prediction import Prediction
from saliscope.core.protocols import INPUT
from saliscope.core.target import OutputKind, Target
from saliscope.core.windows import Windows
from saliscope.model.biases import biases
from saliscope.model.cells import Cells
from saliscope.model.frozen import Frozen, frozen
from saliscope.model.layers import LayerRun, cells_of, stages, survey
from saliscope.model.onto import onto
from saliscope.model.phase import phase_gradients
from saliscope.model.probe import Counts, Probed, watched
from saliscope.model.reduced import Reduced
from saliscope.model.said import predictions_of
from saliscope.model.suffix import Suffix
from saliscope.model.view import Viewing

if TYPE_CHECKING:
    from saliscope.model.card import Card
    from saliscope.model.incremental.drops import Incremental

#: Keys under which networks that return a dict keep their logits.
LOGIT_KEYS = ("logits", "out", "output", "pred")


@dataclass(frozen=True, eq=False)
class Network:
    """A module with what is known of it: labels, kind of output, view, thresholds, default layer, digest of weights.

    `output` is the key or index of the logits where the module returns a dict or a tuple. With `rescaled`, predictions
    are given too on a scale where each operating threshold is 0.5. `notes` go with every map.
    """

    module: nn.Module
    labels: tuple[str, ...] = ()
    kind: OutputKind = "multi-class"
    name: str = "model"
    viewing: Viewing = field(default_factory=Viewing)
    thresholds: tuple[float | None, ...] = ()
    layer: str = "auto"
    digest: str = ""
    output: str | int | None = None
    card: Card | None = None
    rescaled: bool = False
    notes: tuple[str, ...] = ()

    @property
    def device(self) -> torch.device:
        """Return where the parameters lie."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    @property
    def warning(self) -> str:
        """Return what whoever uses the network must be told; empty where its card has no warning."""
        return self.card.warning if self.card is not None else ""

    @property
    def dtype(self) -> torch.dtype:
        """Return the floating type of the parameters."""
        return next((p.dtype for p in self.module.parameters() if p.is_floating_point()), torch.float32)

    @contextmanager
    def opened(self) -> Iterator[OpenNetwork]:
        """Give the network in evaluation mode with frozen parameters; restore every flag after, also on error."""
        inner = unwrapped(self.module)
        modes = [(m, m.training) for m in inner.modules()]
        grads = [(p, p.requires_grad) for p in inner.parameters()]
        cuda = [self.device] if self.device.type == "cuda" else []
        model = OpenNetwork(self, inner)
        try:
            # Only what differs is set: a module's setter costs more than many a layer.
            for module, mode in modes:
                if mode:
                    module.training = False
            for parameter, grad in grads:
                if grad:
                    parameter.requires_grad = False
            # A network that draws random numbers must not move the caller's generator.
            with torch.random.fork_rng(devices=cuda), torch.autocast(self.device.type, enabled=False):
                yield model
        finally:
            model.closed = True
            for module, mode in modes:
                if module.training != mode:
                    module.training = mode
            for parameter, grad in grads:
                if parameter.requires_grad != grad:
                    parameter.requires_grad = grad

    def weights_digest(self) -> str:
        """Return the SHA-256 of the weights: the file's where it came from one, else that of the state."""
        if self.digest:
            return self.digest
        sha = hashlib.sha256()
        for name, value in unwrapped(self.module).state_dict().items():
            if isinstance(value, Tensor):
                sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
                sha.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return sha.hexdigest()

    def predictions(self, output: Tensor) -> list[Prediction]:
        """Return what an output (N, ...) says of each image; raises OutputError for an output of another kind."""
        labels = self.labels_for(output)
        return predictions_of(output, labels, self.kind, self.thresholds, rescaled=self.rescaled)

    def labels_for(self, output: Tensor) -> tuple[str, ...]:
        """Return the labels, or "class 0", "class 1" ... where none are known; raises OutputError on a mismatch."""
        columns = output.shape[1] if output.ndim > 1 else 1
        expected = 2 if self.kind == "binary" else columns
        labels = self.labels or tuple(f"class {i}" for i in range(expected))
        if len(labels) != expected or output.ndim < 2 or (self.kind == "binary" and columns != 1):
            raise OutputError(
                f"an output of shape {tuple(output.shape)} for {len(labels)} labels and kind {self.kind!r}",
                expected="(N, 1) for binary, (N, classes) else, with one label for each class",
                do="Correct the labels, or the kind: multi-class, multi-label, binary, regression, segmentation",
            )
        return labels


class OpenNetwork:
    """An opened network: call it, or probe it. It counts what it was asked."""

    def __init__(self, network: Network, module: nn.Module) -> None:
        self.network, self.module = network, module
        self.counts = Counts()
        #: Called after every forward run, for whoever shows progress.
        self.watch: Callable[[Counts], None] | None = None
        self.closed = False
        #: Sentences for the record of the maps being made.
        self.notes: list[str] = []
        self._runs: dict[tuple[int, ...], list[LayerRun]] = {}
        self._incremental: Incremental | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits of x (N, C, *S), without a graph."""
        with torch.no_grad():
            return self._run(x.detach().clone())

    def probe(self, x: Tensor, layers: Sequence[str]) -> Probed:
        """Run x (N, C, *S) once and watch layers by dotted name, the input by the name `INPUT`.

        The k-th run of a layer that runs several times is "name#k".
        Raises LayerError for a layer that is not there, did not run, ran more than once, or gave no tensor.
        """
        with torch.enable_grad(), ExitStack() as hooks:
            probed = Probed(self.counts)
            x = hooks.enter_context(watched(self.module, x, layers, probed))
            if INPUT in layers:
                hooks.enter_context(phase_gradients())
            probed.output = self._run(x)
        probed.check(layers)
        return probed

    def suffix(self, x: Tensor, layer: str) -> Suffix:
        """Return what comes after a layer for one image x (1, C, *S), to run it on other activations.

        Raises LayerError as `probe` does, and ModelError where the network does not repeat its own output.
        """
        return Suffix(self, x, layer)

    def window_drops(self, x: Tensor, without: Tensor, target: Target, windows: Windows) -> Tensor | None:
        """Return how much the scores of x (1, C, *S) fall (n, K) for windows, or None: run them in full."""
        from saliscope.model.incremental.drops import Incremental

        self._incremental = self._incremental or Incremental(self)
        return self._incremental.drops(x, without, target, windows)

    def note(self, text: str) -> None:
        """Keep a sentence for the record of the maps being made; the same one only once."""
        if text not in self.notes:
            self.notes.append(text)

    def take_notes(self) -> tuple[str, ...]:
        """Return the sentences kept so far, and keep none of them."""
        taken, self.notes = tuple(self.notes), []
        return taken

    def runs(self, x: Tensor) -> list[LayerRun]:
        """Return every layer run of an input of this shape (N, C, *S), surveyed once, on tensors without content."""
        key = tuple(x.shape[1:])
        if key not in self._runs:
            self._runs[key] = survey(self, x)
        return self._runs[key]

    def cells(self, x: Tensor, layer: str) -> Cells | None:
        """Return where the cells of a layer lie on an input (N, C, *S); None where they could not be followed."""
        return cells_of(self.runs(x), layer, x.ndim - 2)

    def size_of(self, x: Tensor, layer: str) -> tuple[int, ...]:
        """Return the grid's size S' of a layer's output for an input (N, C, *S), () for a layer that does not run."""
        runs = (r for r in self.runs(x) if r.name in (layer, f"{layer}#0"))
        return next((tuple(r.shape[2:]) for r in runs), ())

    def stages(self, x: Tensor) -> tuple[str, ...]:
        """Return, from shallow to deep, the last layer of each grid that an input (N, C, *S) passes."""
        return stages(self.runs(x), x.ndim - 2)

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
        found = frozen(self, x)
        return None if isinstance(found, str) else found

    def run_uncounted(self, x: Tensor, module: nn.Module | None = None) -> Tensor:
        """Return the logits of x as the caller's gradient mode has it: for runs on tensors without content."""
        if self.closed:
            raise ModelError("a network used after it was closed", do="Use it inside `with network.opened()`")
        return selected((self.module if module is None else module)(x), self.network.output)

    def count(self, samples: int) -> None:
        """Count samples that were run forward, and tell whoever watches."""
        self.counts.forward_samples += samples
        if self.watch is not None:
            self.watch(self.counts)

    def _run(self, x: Tensor) -> Tensor:
        output = self.run_uncounted(x)
        self.count(len(x))
        return output


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside DataParallel wrappers and torch.compile, where hooks are seen."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            return module


def selected(output: object, key: str | int | None) -> Tensor:
    """Return the logits among a network's outputs; raises OutputError where they cannot be told."""
    found = output
    if key is not None and not isinstance(output, Tensor):
        try:
            found = output[key]  # type: ignore[index]
        except (KeyError, IndexError, TypeError):
            found = None
    elif isinstance(output, dict):
        tensors = [k for k, v in output.items() if isinstance(v, Tensor)]
        named = [k for k in LOGIT_KEYS if k in tensors] or (tensors if len(tensors) == 1 else [])
        found = output[named[0]] if named else None
    elif isinstance(output, tuple | list):
        found = next((v for v in output if isinstance(v, Tensor)), None)
    if isinstance(found, Tensor) and found.is_floating_point() and found.ndim >= 1:
        return found
    keys = f" with {', '.join(map(repr, output))}" if isinstance(output, dict) else ""
    raise OutputError(
        f"a network output of type {type(output).__name__}{keys} and key {key!r}",
        expected="a floating tensor of logits",
        do="Name the key or the index of the logits (`output=`)",
    )
