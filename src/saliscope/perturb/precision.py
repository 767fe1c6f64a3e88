"""Forward runs in reduced precision, behind a check against full precision on the very copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from saliscope.core.errors import MethodError, ModelError
from saliscope.core.protocols import Model
from saliscope.core.target import Target
from saliscope.perturb.stream import scored

if TYPE_CHECKING:
    from torch import Tensor

#: "float32" stands for the network's own type.
Precision = Literal["float32", "bfloat16"]

#: From so many copies on, building a faster run pays; it is proved on so many of them at most.
MANY, PROVED = 256, 5
#: How many copies are run both ways, and the least correlation of their effects on every score.
CHECKED, LEAST = 32, 0.99


def check_precision(precision: str) -> None:
    """Raise MethodError unless a precision is one that is known."""
    if precision not in ("float32", "bfloat16"):
        raise MethodError(f"precision {precision!r}", expected="float32 or bfloat16", do="Choose one of them")


def at_precision(
    model: Model, target: Target, copies: Callable[[range], Tensor], count: int, size: int, precision: Precision
) -> Callable[[Tensor], Tensor]:
    """Return what runs the copies: the model itself, or what runs faster and was shown to say the same.

    `copies` makes those (m, C, *S) of any range within `count`. In the network's own type, many copies are run with
    its weights folded in. In bfloat16, `CHECKED` copies, spread over all, are run both ways and the effects on the
    scores correlated (Pearson); below `LEAST` for any score, or where the network does not run, it stays with the
    model. Which way was taken is noted, with the number.
    """
    import torch

    if precision == "float32":
        few = min(count, 1 + size, PROVED)
        spread = [i * (count - 1) // max(1, few - 1) for i in range(few)]
        quick = model.frozen(torch.cat([copies(range(i, i + 1)) for i in spread])) if count >= MANY else None
        if quick is not None:
            model.note("the copies ran with the network's weights folded in, equal but for rounding.")
        return quick or model
    number = min(CHECKED, count)
    chosen = [i * (count - 1) // max(1, number - 1) for i in range(number)]

    def sample(some: range) -> Tensor:
        return torch.cat([copies(range(chosen[i], chosen[i] + 1)) for i in some])

    try:
        reduced = model.reduced(torch.bfloat16)
        found = torch.cat([s for _, s in scored(reduced, target, sample, number, size)])
    except ModelError as error:
        model.note(f"bfloat16 was asked for and could not be used ({error.got}); float32 was.")
        return model
    right = torch.cat([s for _, s in scored(model, target, sample, number, size)])
    agreement = float(correlation(found.double(), right.double()).min())
    if not agreement >= LEAST:
        model.note(
            f"bfloat16 was asked for and not used: its effects correlate with float32 by {agreement:.4f}, less than "
            f"{LEAST}, on {number} of the copies; float32 was used."
        )
        return model
    model.note(f"run in bfloat16, whose effects correlate with float32 by {agreement:.4f} on {number} of the copies.")
    return reduced


def correlation(a: Tensor, b: Tensor) -> Tensor:
    """Return the Pearson correlation (K,) of the columns of two tensors (m, K); NaN for a constant column."""
    a, b = a - a.mean(dim=0), b - b.mean(dim=0)
    return (a * b).sum(dim=0) / (a.square().sum(dim=0) * b.square().sum(dim=0)).sqrt()
