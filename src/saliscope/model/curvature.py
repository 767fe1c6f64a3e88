"""Second derivatives of a network: other ways to compute what torch derives only once, and a sentence for the rest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from saliscope.core.errors import MethodError

#: How torch says that it has no derivative of a derivative, and of which.
MISSING = re.compile(r"derivative for '?(?:aten::)?(\w+?)'? is not implemented|[Dd]ouble backwards? is not supported")


class _Plain(TorchFunctionMode):
    """Writes a hard sigmoid as the clamp that it is, whose slope torch can derive; all else runs as it is."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if getattr(func, "__name__", "").strip("_") != "hardsigmoid":
            return func(*args, **named)
        given: Tensor = args[0] if args else named["input"]
        inplace = func.__name__.endswith("_") or named.get("inplace", args[1] if len(args) > 1 else False)
        value = (given + 3).clamp(0, 6) / 6
        return given.copy_(value) if inplace else value


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """Run a network, and derive it twice, so that its second derivatives can be had.

    Attention is computed step by step and not by a fused kernel. Raises MethodError for an operation whose second
    derivative torch does not have.
    """
    try:
        with sdpa_kernel(SDPBackend.MATH), _Plain():
            yield
    except (RuntimeError, NotImplementedError) as error:
        missing = MISSING.search(str(error))
        if missing is None:
            raise
        raise MethodError(
            f"a network whose operation {missing[1] or 'after the layer'!r} torch derives only once",
            expected="operations after the layer that have a second derivative",
            do="Use a method of first derivatives, such as grad-cam or layercam, or a later layer",
        ) from error
