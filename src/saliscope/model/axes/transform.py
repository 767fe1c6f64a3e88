"""A caller's own function from a layer's output to (N, C, *S'), in place of what was followed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from saliscope.core.errors import LayerError


@dataclass(frozen=True, eq=False)
class Transformed:
    """What pytorch-grad-cam calls a `reshape_transform`: `function` lays a layer's output out as (N, C, *S')."""

    function: Callable[[Tensor], Tensor]
    ndim: int
    #: It takes the output of one run.
    runs: tuple[int, ...] = ()

    def stacked(self, outputs: Sequence[Tensor]) -> Tensor:
        """Return the output of the layer's one run."""
        return outputs[0]

    def of_each_run(self, t: Tensor) -> list[Tensor]:
        """Return the output of the layer's one run."""
        return [t]

    def laid_out(self, t: Tensor) -> Tensor:
        """Return a layer's output as (N, C, *S'); raises LayerError for a result with other axes."""
        values = self.function(t)
        if not isinstance(values, Tensor) or values.ndim != self.ndim or len(values) == 0:
            shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            raise LayerError(
                f"a reshape_transform that makes {shape} of a layer's output {tuple(t.shape)}",
                expected=f"{self.ndim} axes (N, C, *S')",
                do="Reshape the cells to the grid and bring the channels to the second axis",
            )
        return values

    def put_back(self, values: Tensor, raw: Tensor) -> Tensor:
        """Return values (M, C, *S') as the layer gives them; what the function leaves out is that of one image `raw`.

        Where each entry came from is read off by laying out the numbers of the entries. Raises LayerError for a
        function that does more than move them.
        """
        numbers = torch.arange(raw.numel(), dtype=torch.float64, device=raw.device).reshape(raw.shape)
        placed = self.laid_out(numbers)
        index = placed.round().long().reshape(-1)
        if not torch.equal(placed.reshape(-1), index.double()) or len(index.unique()) != len(index):
            raise LayerError(
                "a reshape_transform that changes values",
                expected="one that only moves them, for a method that puts changed values back",
                do="Use a method that only looks at the layer, such as grad-cam",
            )
        flat = raw.reshape(1, -1).repeat(len(values), 1)
        flat[:, index] = values.reshape(len(values), -1)
        return flat.reshape(len(values) * len(raw), *raw.shape[1:])
