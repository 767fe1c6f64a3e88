"""One forward run under another set of backward rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from saliscope.core.protocols import Model, Probe
from saliscope.core.target import Target
from saliscope.methods.kernel import held

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.rewrite import Rewriting


def run_with(
    mode: Rewriting,
    model: Model,
    x: Tensor,
    target: Target,
    layer: str,
    output: Callable[[Tensor], Tensor] = lambda logits: logits,
) -> tuple[Probe, Iterator[Mapping[str, Tensor]]]:
    """Return a probe of x (N, C, *S) run under a mode, and what comes back to a layer from the K scores of `output`.

    The mode sees the network only: what the target does with the logits keeps its gradient.
    """
    import torch

    with torch.enable_grad():
        with mode:
            probe = model.probe(x, [layer])
        return probe, iter(probe.gradients(target.scores(output(probe.output))))


def listed(names: Iterable[str]) -> str:
    """Return the names in order, as a sentence has them."""
    return ", ".join(sorted(names))


def unchanged(model: Model, x: Tensor, target: Target, *others: Tensor) -> list[Tensor]:
    """Return the scores (N, K) of x (N, C, *S), and of others of its shape, by the targets of the images of x."""
    import torch

    rows = []
    for n, image in enumerate(x.detach()):
        own = held(model, image[None], target, n)
        rows.append([own.scores(model(values[n : n + 1])) for values in (x, *others)])
    return [torch.cat(column) for column in zip(*rows, strict=True)]
