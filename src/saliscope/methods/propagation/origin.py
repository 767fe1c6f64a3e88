"""What is known of where a tensor of a network came from; it stands at the node of autograd's graph, not at the tensor.

So a write in place begins anew, a view inherits, and a backward hook between two operations hides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

KEY = "saliscope origin"
#: What autograd puts between a module with a backward hook and its neighbours.
HOOK = "BackwardHookFunctionBackward"


@dataclass(frozen=True, eq=False)
class Origin:
    """Whether no linear layer stands before a tensor, how much of a gate it is, and the linear layer that made it."""

    early: bool
    rank: int = 0
    layer: Any = None


def mark(made: Tensor, origin: Origin) -> None:
    """Remember the origin of a tensor, unless it is known; an image has none."""
    node: Any = made.grad_fn
    if node is not None:
        node.metadata.setdefault((KEY, made.output_nr), origin)


def origin_of(t: Tensor) -> Origin:
    """Return the origin of a tensor; what was not marked inherits from what it was made of."""
    origins: list[Origin] = []
    passed: set[tuple[Any, int]] = set()
    waiting: list[tuple[Any, int]] = [(t.grad_fn, t.output_nr)]
    whole = True
    while waiting:
        node, place = step = waiting.pop()
        if step in passed:
            continue
        passed.add(step)
        known = None if node is None else node.metadata.get((KEY, place))
        if known is not None:
            origins.append(known)
        elif node is None or not node.next_functions:
            origins.append(Origin(early=True))
        elif node.name() == HOOK:
            waiting.append(node.next_functions[place])
        else:
            whole = False
            waiting += [(n, at) for n, at in node.next_functions if n is not None]
    if whole and len(origins) == 1:
        return origins[0]
    return Origin(all(o.early for o in origins), min((o.rank for o in origins), default=0))
