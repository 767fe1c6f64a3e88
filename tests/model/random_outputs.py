"""The forms in which networks hand out their logits, and the whole network around the stages that were drawn."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


class Net(nn.Module):
    """Stages, what makes one row of each image, a linear head, and the form in which the logits are handed out."""

    def __init__(
        self, body: nn.Module, pooled: nn.Module, width: int, classes: int, handed: Callable[[Tensor], Any]
    ) -> None:
        super().__init__()
        self.body, self.pooled, self.head, self.handed = body, pooled, nn.Linear(width, classes), handed

    def forward(self, x: Tensor) -> Any:
        return self.handed(self.head(self.pooled(self.body(x))))


Pair = namedtuple("Pair", ["logits", "features"])


@dataclass
class Output:
    """An output as the libraries of language models write it."""

    logits: Tensor
    loss: Tensor | None = None


#: form of the output -> what makes it of the logits
HANDED: dict[str, Callable[[Tensor], Any]] = {
    "tensor": lambda t: t,
    "dict": lambda t: {"logits": t, "aux": t * 2},
    "tuple": lambda t: (t, t * 2),
    "named tuple": lambda t: Pair(t, t * 2),
    "dataclass": Output,
}


def logits_of(output: Any) -> Tensor:
    """Return the logits of a network of any form of output."""
    if isinstance(output, dict):
        output = output["logits"]
    return output[0] if isinstance(output, tuple) else getattr(output, "logits", output)
