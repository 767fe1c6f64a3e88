"""cohen2022: torchxrayvision's conventions: values from -1024 to 1024, empty pathologies, and its rescaled sigmoid.

The library's networks give, for each pathology, the sigmoid of a logit rescaled so that an operating threshold becomes
0.5. Here the logit is explained; the probability and the rescaled one are both shown beside the map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from math import isnan
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import CardError, ModelError
from saliscope.model.intensity import Channels
from saliscope.model.library_steps import Affine
from saliscope.model.steps import Crop, Resize
from saliscope.model.view import Viewing

if TYPE_CHECKING:
    from torch import Tensor, nn

    from saliscope.model.network import Network

#: Built up from what a clinician sees, 0..255, as `xrv.datasets.normalize(image, 255)` does.
LOW, HIGH = -1024.0, 1024.0


def chest_view(size: int = 224) -> Viewing:
    """Return torchxrayvision's view: one channel, the middle square, -1024..1024, `size` x `size`."""
    return Viewing((Channels(1), Affine(0, 255, LOW, HIGH), Crop(), Resize((size, size))), "display")


def from_xrv(module: nn.Module) -> Network:
    """Return a network of torchxrayvision with its pathologies, thresholds and view; the module stays as it is.

    Raises ModelError for a module that does not say its pathologies or whose last linear layer is not found.
    """
    from saliscope.model.network import Network

    listed = [str(p) for p in getattr(module, "pathologies", getattr(module, "targets", ()))]
    if not any(listed):
        raise ModelError("a module without pathologies", expected="a network of torchxrayvision", do="Use Network")
    own = deepcopy(module)
    limits = getattr(own, "op_threshs", None)
    limits = [float("nan")] * len(listed) if limits is None else [float(t) for t in limits]
    size = int(getattr(own, "input_resolution", 224))
    given_as_logits(own)
    labels = tuple(p for p in listed if p)
    kept = keep_columns(own, listed, labels)
    thresholds = tuple(None if isnan(limits[listed.index(p)]) else limits[listed.index(p)] for p in labels)
    return Network(
        kept.eval(), labels, "multi-label", str(module), chest_view(size), thresholds, rescaled=any(thresholds)
    )


def given_as_logits(module: nn.Module) -> None:
    """Switch off what a network of torchxrayvision does to its logits, and the check of its input that prints."""
    for name, value in (("op_threshs", None), ("apply_sigmoid", False)):
        if hasattr(module, name):
            setattr(module, name, value)
    if hasattr(module, "input_resolution"):
        del module.input_resolution


def keep_columns(module: nn.Module, outputs: Sequence[str], labels: Sequence[str]) -> nn.Module:
    """Return the module with only the outputs of these labels left in its last linear layer, in their order."""
    from torch import nn

    holder = getattr(module, "model", module)
    place = next((n for n in ("classifier", "fc") if isinstance(getattr(holder, n, None), nn.Linear)), None)
    missing = [label for label in labels if label not in outputs]
    if place is None or missing:
        raise CardError(
            f"a network whose outputs are {[o for o in outputs if o]} for labels {list(labels)}",
            expected="a last linear layer, and labels among its outputs",
            do="Correct the card's labels or arguments.outputs",
        )
    whole = getattr(holder, place)
    if len(outputs) != whole.out_features:
        raise CardError(
            f"{len(outputs)} names of outputs for {whole.out_features} outputs",
            expected="one for each, '' where there is none",
            do="Correct arguments.outputs in the card",
        )
    rows = [list(outputs).index(label) for label in labels]
    linear = nn.Linear(whole.in_features, len(rows))
    linear.weight = nn.Parameter(whole.weight.detach()[rows].clone())
    linear.bias = nn.Parameter(whole.bias.detach()[rows].clone())
    setattr(holder, place, linear)
    return module


def without_thresholds(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict without the operating thresholds that torchxrayvision stores among the weights."""
    return {k: v for k, v in state.items() if k.rpartition(".")[2] != "op_threshs"}


def split_arguments(arguments: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Return the names of all outputs ("" for an unused one) and the other arguments; raises CardError if wrong."""
    rest = dict(arguments)
    outputs = rest.pop("outputs", [])
    if not isinstance(outputs, list) or not all(isinstance(o, str) for o in outputs):
        raise CardError(f"outputs = {outputs!r}", expected="a list of names", do="Correct the card's arguments")
    if outputs:
        rest["num_classes"] = len(outputs)
    return outputs, rest
