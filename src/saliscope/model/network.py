"""The one seam to a network: opened for a while, watched, and left as it was."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from saliscope.core.errors import ModelError, OutputError
from saliscope.core.prediction import Prediction
from saliscope.core.target import OutputKind
from saliscope.model.known import Known, known_of, turn_of, weights_digest
from saliscope.model.opened import OpenNetwork
from saliscope.model.recompute import no_recompute
from saliscope.model.said import predictions_of
from saliscope.model.state import State, without_backward_hooks
from saliscope.model.view import ToView, Viewing

if TYPE_CHECKING:
    from saliscope.model.card import Card


@dataclass(frozen=True, eq=False)
class Network:
    """A module with what is known of it: labels, kind of output, view, thresholds, default layer, digest of weights.

    `output` is the key or index of the logits where the module returns a dict or a tuple. With `rescaled`, predictions
    are given too on a scale where each operating threshold is 0.5. `notes` go with every map. `reshape_transform` is
    the caller's own function from a watched layer's output to (N, C, *S'), where its axes are not to be followed;
    `forward` calls the module with the image (N, C, *S) where that needs more than the image.
    """

    module: nn.Module
    labels: tuple[str, ...] = ()
    kind: OutputKind = "multi-class"
    name: str = "model"
    viewing: ToView = field(default_factory=Viewing)
    thresholds: tuple[float | None, ...] = ()
    layer: str = "auto"
    digest: str = ""
    output: str | int | None = None
    card: Card | None = None
    rescaled: bool = False
    notes: tuple[str, ...] = ()
    reshape_transform: Callable[[Tensor], Tensor] | None = None
    forward: Callable[[nn.Module, Tensor], object] | None = None

    def __post_init__(self) -> None:
        """Refuse a module that torch cannot tell from others: it keeps modules in sets, to list their weights."""
        module = _without_hash(self.module)
        if module is not None:
            raise ModelError(
                f"a module {type(module).__name__}, which has no hash, so that torch cannot list its weights",
                expected="modules that differ by identity, as those of torch do",
                do="Take __eq__ out of the class, or give it __hash__ = torch.nn.Module.__hash__",
            )

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
        """Give the network in evaluation mode with frozen parameters; leave it as it was after, also on error.

        Whatever its forward runs stored, counted, drew or wrote is put back: attributes, containers, buffers, weights,
        generators, hooks. Raises ModelError for a network whose weights do not exist yet.
        """
        with ExitStack() as stack:
            # What is made under the caller's inference_mode cannot have a graph.
            stack.enter_context(torch.inference_mode(mode=False))
            stack.enter_context(turn_of(unwrapped(self.module)))
            inner = _with_gradients(unwrapped(self.module))
            known = known_of(inner)
            model = OpenNetwork(self, inner)
            state = State(inner, weights=not known.keeps_weights)
            stack.callback(_put_back, state, known, model)
            _made_ready(inner, stack)
            cuda = [self.device] if self.device.type == "cuda" else []
            # A network that draws random numbers must not move the caller's generator.
            stack.enter_context(torch.random.fork_rng(devices=cuda))
            stack.enter_context(torch.autocast(self.device.type, enabled=False))
            stack.enter_context(no_recompute())
            # Compiled parts would have been compiled for, or under, our modes. Asked only where dynamo is there anyhow.
            if "torch._dynamo" in sys.modules:
                stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.callback(model.close)
            yield model

    def weights_digest(self) -> str:
        """Return the SHA-256 of the weights: the file's where it came from one, else that of the state."""
        return self.digest or weights_digest(unwrapped(self.module))

    def predictions(self, output: Tensor) -> list[Prediction]:
        """Return what an output (N, ...) says of each image; raises OutputError for an output of another kind."""
        labels = self.labels_for(output)
        return predictions_of(output, labels, self.kind, self.thresholds, rescaled=self.rescaled)

    def labels_for(self, output: Tensor) -> tuple[str, ...]:
        """Return the labels, or "class 0", "class 1" ... where none are known; raises OutputError on a mismatch."""
        columns = output.shape[1] if output.ndim > 1 else 1
        if self.kind == "multi-class" and columns == 1 and output.ndim == 2:
            raise OutputError(
                f"one logit for each image, of an output of shape {tuple(output.shape)}, and kind 'multi-class'",
                expected="two classes or more, whose probabilities sum to one",
                do="Say what the logit is: kind='binary' for one that a sigmoid turns into a probability, "
                "kind='regression' for a number that is predicted, kind='segmentation' for a map",
            )
        expected = 2 if self.kind == "binary" else columns
        if output.ndim == 1:
            raise OutputError(
                f"an output of shape {tuple(output.shape)}",
                expected="(N, 1) for one number an image, (N, classes) else",
                do="Return it as (N, 1): output[:, None]",
            )
        labels = self.labels or tuple(f"class {i}" for i in range(expected))
        if len(labels) != expected or output.ndim < 2 or (self.kind == "binary" and columns != 1):
            raise OutputError(
                f"an output of shape {tuple(output.shape)} for {len(labels)} labels and kind {self.kind!r}",
                expected="(N, 1) for binary, (N, classes) else, with one label for each class",
                do="Correct the labels, or the kind: multi-class, multi-label, binary, regression, segmentation",
            )
        return labels


def _without_hash(module: nn.Module) -> nn.Module | None:
    """Return a module among all in a module that takes no place in a set; None where there is none."""
    seen: dict[int, nn.Module] = {}
    waiting = [module]
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen[id(one)] = one
        if getattr(type(one), "__hash__", None) is None:
            return one
        # Not children(), which puts the modules into a set.
        waiting += [inner for inner in one._modules.values() if inner is not None]  # noqa: SLF001
    return None


def unwrapped(module: nn.Module) -> nn.Module:
    """Return the module inside DataParallel wrappers and torch.compile, where hooks are seen."""
    while True:
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        elif isinstance(inner := getattr(module, "_orig_mod", None), nn.Module):
            module = inner
        else:
            return module


def _with_gradients(module: nn.Module) -> nn.Module:
    """Return the module, or a copy where its weights were made under inference_mode and can have no graph.

    Raises ModelError for weights that a lazy module makes in its first run, and for weights without values.
    """
    weights = [*module.parameters(), *module.buffers()]
    meta = next((n for n, w in (*module.named_parameters(), *module.named_buffers()) if w.is_meta), None)
    if meta is not None:
        raise ModelError(
            f"{type(module).__name__}, whose weights on the device meta have no values (first: {meta})",
            expected="weights that were loaded",
            do="Load them, as by load_state_dict(weights, assign=True)",
        )
    if any(is_lazy(w) for w in weights):
        raise ModelError(
            f"{type(module).__name__}, whose weights do not exist before it was run once",
            expected="a network with weights",
            do="Run it on one image, load its weights, then explain it",
        )
    return deepcopy(module) if any(w.is_inference() for w in weights) else module


def _made_ready(module: nn.Module, stack: ExitStack) -> None:
    """Set evaluation mode, freeze the parameters, and take off hooks of the way back; the stack undoes it."""
    # Only what differs is set: a module's setter costs more than many a layer.
    for one in module.modules():
        # A frozen script has no mode.
        if getattr(one, "training", False):
            one.training = False
            stack.callback(setattr, one, "training", True)  # noqa: FBT003 - what setattr sets
    for parameter in module.parameters():
        if parameter.requires_grad:
            parameter.requires_grad = False
            stack.callback(parameter.requires_grad_)
    without_backward_hooks(module, stack)


def _put_back(state: State, known: Known, model: OpenNetwork) -> None:
    """Restore a network, tell what its runs had changed, and learn whether they write its weights."""
    with torch.inference_mode(mode=False):
        model.changed = tuple(dict.fromkeys(_plain(name) for name in state.restore()))
    known.keeps_weights = known.keeps_weights is not False and not state.wrote_weights


def _plain(name: str) -> str:
    """Return what a user calls a part of a module: "a.steps" of "a._buffers['steps']"."""
    return re.sub(r"_(?:buffers|parameters|modules)(?:\['([^']*)'\]|\.)", lambda found: found[1] or "", name)
