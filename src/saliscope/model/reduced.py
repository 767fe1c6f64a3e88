"""A network run in reduced precision on a copy of its own, for methods that only run it forward."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from saliscope.core.errors import ModelError

if TYPE_CHECKING:
    from saliscope.model.opened import OpenNetwork


#: The layout in memory in which convolutions of reduced precision run fastest, by the axes of (N, C, *S).
LAYOUTS = {4: torch.channels_last, 5: torch.channels_last_3d}


class Reduced:
    """A copy of an opened network whose weights have another floating type; its last linear layer keeps its own.

    Logits differ little from copy to copy of an image: rounded to eight bits, most differences would be gone. So the
    layer that makes them, where it is linear, runs as it was. Channels lie last in memory, which halves the time;
    a network that cannot take this has them where they were. It counts as the network that it copies.
    """

    def __init__(self, opened: OpenNetwork, dtype: torch.dtype) -> None:
        self._opened, self._dtype = opened, dtype
        self._layout: dict[int, torch.memory_format] = dict(LAYOUTS)
        self._module = deepcopy(opened.module)
        linear = [m for m in self._module.modules() if isinstance(m, nn.Linear)]
        kept = linear[-1].weight.dtype if linear else dtype
        self._module.to(dtype)
        for parameter in self._module.parameters():
            if parameter.ndim in LAYOUTS:
                parameter.data = parameter.data.contiguous(memory_format=LAYOUTS[parameter.ndim])
        if linear:
            linear[-1].to(kept)
            linear[-1].register_forward_pre_hook(lambda _module, inputs: tuple(i.to(kept) for i in inputs))

    def __call__(self, x: Tensor) -> Tensor:
        """Return the logits of x (N, C, *S) in at least float32, without a graph; ModelError where it does not run."""
        apart = self._opened.mixes(x)
        x = x.detach().to(self._dtype)
        try:
            output = torch.cat([self._run(row[None]) for row in x]) if apart else self._run(x)
        except RuntimeError as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(
                f"a network that does not run in {self._dtype} ({first})", do="Run it in float32, the default"
            ) from error
        self._opened.count(len(x))
        return output.to(torch.promote_types(output.dtype, torch.float32))

    def _run(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            if x.ndim in self._layout:
                try:
                    laid = x.contiguous(memory_format=self._layout[x.ndim])
                    return self._opened.run_uncounted(laid, self._module)
                except RuntimeError:
                    # Such as a `view` that counts on channels first: once more, and from now on, in that order.
                    self._layout.clear()
                    for parameter in self._module.parameters():
                        parameter.data = parameter.data.contiguous()
            return self._opened.run_uncounted(x, self._module)
