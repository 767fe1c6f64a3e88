"""One plan for an image: which changed copies are to be run, each once, and what the network said of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError
from saliscope.core.metric import Fill
from saliscope.core.target import Target
from saliscope.perturb.stream import FORWARD, batch_size

if TYPE_CHECKING:
    from torch import Tensor

#: Copies of one fill are made so many at a time at most: a fill may solve an equation for all of them together.
TOGETHER = 32
#: Memory that batches may take where nothing else is said: on an accelerator, and on a CPU.
USUAL_MB = (1024, 128)


class PerturbationPlan:
    """The changed copies of one image x (1, C, *S) that metrics ask for; equal ones are made and run once.

    `asked` counts the copies asked for, `planned` those that differ, `done` those that were run. It may be asked for
    more after it was run, and run again.
    """

    def __init__(self, x: Tensor) -> None:
        if x.ndim < 3 or len(x) != 1:
            raise MetricError(
                f"an input of shape {tuple(x.shape)}", expected="one image (1, C, *S)", do="Plan each alone."
            )
        self._x = x
        self.asked = 0
        self._tickets: dict[bytes, int] = {}
        self._fills: list[tuple[Fill, Tensor] | Callable[[], Tensor]] = []
        self._scores: list[Tensor | None] = []

    @property
    def x(self) -> Tensor:
        """Return the image (1, C, *S)."""
        return self._x

    @property
    def planned(self) -> int:
        """Return how many copies differ from each other."""
        return len(self._fills)

    @property
    def done(self) -> int:
        """Return how many copies were run."""
        return sum(s is not None for s in self._scores)

    def unchanged(self) -> int:
        """Ask for the image itself; return its ticket."""
        return self.changed("unchanged", lambda: self._x[0])

    def removed(self, gone: Tensor, fill: Fill) -> list[int]:
        """Ask for the image with places (m, *S) filled; return a ticket for each of the m copies.

        A copy with nothing gone is the image itself, whatever the fill. Raises MetricError for masks of another shape.
        """
        import numpy as np
        import torch

        if gone.dtype != torch.bool or gone.shape[1:] != self._x.shape[2:]:
            raise MetricError(
                f"masks of {gone.dtype} {tuple(gone.shape)} for an image of {tuple(self._x.shape[2:])}",
                expected="boolean masks (m, *S)",
                do="Give one mask for each copy on the image's own elements.",
            )
        tickets = []
        for one in gone.cpu():
            if not one.any():
                tickets.append(self.unchanged())
                continue
            bits = np.packbits(one.numpy().ravel()).tobytes()
            key = hashlib.sha256(fill.name.encode() + b"\0" + bits).digest()
            tickets.append(self._ticket(key, (fill, one)))
        return tickets

    def changed(self, key: str, make: Callable[[], Tensor]) -> int:
        """Ask for a copy (C, *S) that `make` returns, one and the same wherever `key` is; return its ticket."""
        return self._ticket(b"changed " + key.encode(), make)

    def score(self, ticket: int) -> Tensor:
        """Return the scores (K,), in float64, of a copy; raises MetricError where it was not run."""
        found = self._scores[ticket]
        if found is None:
            raise MetricError("a copy that was not run", do="Run the plan before asking for scores.")
        return found

    def waiting(self) -> list[int]:
        """Return the tickets that were not run yet, those of one fill together."""
        open_ = [t for t, s in enumerate(self._scores) if s is None]
        return sorted(open_, key=lambda t: (self._fill_name(t), t))

    def keep(self, ticket: int, scores: Tensor) -> None:
        """Keep the scores (K,) of a copy."""
        import torch

        self._scores[ticket] = scores.detach().to("cpu", torch.float64)
        # What was run is not made again: a mask held for each copy of a volume would fill the memory.
        self._fills[ticket] = _run_already

    def made(self, tickets: Sequence[int]) -> Tensor:
        """Return the copies (m, C, *S) of tickets, those of one fill made together."""
        import torch

        found: dict[int, Tensor] = {}
        grouped: dict[str, list[int]] = {}
        for ticket in tickets:
            grouped.setdefault(self._fill_name(ticket), []).append(ticket)
        for some in grouped.values():
            first = self._fills[some[0]]
            if isinstance(first, tuple):
                gone = torch.stack([self._fills[t][1] for t in some])  # type: ignore[index]
                found |= dict(zip(some, first[0](self._x, gone), strict=True))
            else:
                found |= {t: self._fills[t]() for t in some}  # type: ignore[operator]
        return torch.stack([found[t].to(self._x) for t in tickets])

    def _fill_name(self, ticket: int) -> str:
        fill = self._fills[ticket]
        return fill[0].name if isinstance(fill, tuple) else ""

    def _ticket(self, key: bytes, fill: tuple[Fill, Tensor] | Callable[[], Tensor]) -> int:
        self.asked += 1
        if key not in self._tickets:
            self._tickets[key] = len(self._fills)
            self._fills.append(fill)
            self._scores.append(None)
        return self._tickets[key]


def run(
    plans: Sequence[PerturbationPlan],
    model: Callable[[Tensor], Tensor],
    targets: Sequence[Target],
    memory_mb: float | None = None,
    said: Callable[[int, int], None] | None = None,
) -> None:
    """Run what is waiting in plans through a network, copies of all images together, within a memory budget.

    Each plan has its target, already held for its image. Unless one is given the budget is 128 MB on a CPU, where large
    batches leave the caches and are slower, and 1024 MB elsewhere. `said` is told after each batch how many of how many
    copies are done. A copy's scores do not depend on what it was run with.
    """
    import torch

    queue = [(p, t) for p, plan in enumerate(plans) for t in plan.waiting()]
    if not queue:
        return
    size = min(
        TOGETHER, min(batch_size(plan.x, memory_mb or USUAL_MB[plan.x.device.type == "cpu"], FORWARD) for plan in plans)
    )
    rest, done = iter(queue), 0
    while some := list(islice(rest, size)):
        parts = {p: [t for q, t in some if q == p] for p in dict.fromkeys(p for p, _ in some)}
        shapes = {plans[p].x.shape for p in parts}
        groups = [[p for p in parts if plans[p].x.shape == shape] for shape in shapes]
        for group in groups:
            with torch.no_grad():
                output = model(torch.cat([plans[p].made(parts[p]) for p in group]))
            at = 0
            for p in group:
                rows = targets[p].scores(output[at : at + len(parts[p])])
                at += len(parts[p])
                for ticket, row in zip(parts[p], rows, strict=True):
                    plans[p].keep(ticket, row)
        done += len(some)
        if said is not None:
            said(done, len(queue))


def _run_already() -> Tensor:
    raise MetricError("a copy that was run already", do="Ask for its score.")
