"""What must hold before a map is handed out: finite numbers, a gradient that means something, no raw exception."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from saliscope.core.errors import MethodError, ModelError, OutputError, SaliscopeError
from saliscope.core.protocols import Method

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.layers import Survey

#: Families of methods whose maps are made of gradients.
BY_GRADIENT = ("gradient", "path", "cam", "propagation")
#: What to do where a method ends with an error of torch.
ANOTHER = "Use another method, such as occlusion; the error that this one was raised from says where it ended"


@contextmanager
def refused_in_words(name: str, model: str, do: str = ANOTHER) -> Iterator[None]:
    """Raise a SaliscopeError in place of any other exception; `do` says what to do about it."""
    try:
        yield
    except (SaliscopeError, MemoryError):
        raise
    except Exception as error:
        first = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise ModelError(
            f"{name} on {model}, which ended with {type(error).__name__} ({first})",
            expected="a network on which it runs",
            do=do,
        ) from error


def check_output(output: Tensor) -> None:
    """Raise OutputError for an output with values that are no numbers."""
    wrong = int((~output.isfinite()).sum())
    if wrong:
        raise OutputError(
            f"an output of which {wrong} of {output.numel()} values are not finite",
            expected="finite logits",
            do="Look for NaN among the weights, or for a half precision that overflows: run it in float32",
        )


def check_maps(name: str, method: Method, maps: Mapping[str, Tensor], survey: Survey | None) -> None:
    """Raise MethodError for a map that is not finite, and for a zero gradient of a network without a real one.

    An integer network's steps are flat almost everywhere: its gradient is zero, and says nothing.
    """
    import torch

    for which, values in maps.items():
        wrong = int((~torch.isfinite(values)).sum())
        if wrong:
            raise MethodError(
                f"{name}, whose {which} has {wrong} of {values.numel()} values that are not finite",
                expected="a finite map",
                do="The network's inner values overflow or divide by zero there: run it in float32 or float64, "
                "or use occlusion, which only reads its output",
            )
    coarse = dict(survey.coarse) if survey is not None else {}
    flat = all(not bool(values.any()) for values in maps.values())
    if flat and coarse and method.traits.family in BY_GRADIENT:
        types = ", ".join(f"{kind} (by {made})" for kind, made in sorted(coarse.items()))
        raise MethodError(
            f"{name} on a network whose gradient is zero everywhere and whose values pass through {types}",
            expected="floating values between the image and the output",
            do="Explain the floating network that it was made from, or use occlusion or rise",
        )
