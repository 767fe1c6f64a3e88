"""Operations whose way back carries relevance, also where they, or what follows them, write in place.

A rule needs the values that an operation saw. They are kept by reference, and copied at the moment before something
writes into their storage: so a network that works in place costs copies only where it overwrites what a rule needs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

import torch

from saliscope.core.errors import MethodError

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.model.rewrite import Call

#: What sends back one relevance for each input of an operation, given that of its result.
Back = Callable[["Tensor"], Sequence["Tensor | None"]]


class Kept:
    """The values of a tensor as they are now, without its graph."""

    def __init__(self, values: Tensor) -> None:
        self._values, self._version = values.detach(), values._version  # noqa: SLF001 - no other count of writes

    def copy(self) -> None:
        """Make the values independent of their storage."""
        self._values = self._values.clone()
        self._version = self._values._version  # noqa: SLF001

    @property
    def values(self) -> Tensor:
        """Return the values; raises MethodError where they were overwritten out of sight."""
        if self._values._version != self._version:  # noqa: SLF001
            raise MethodError(
                "a network that overwrites its activations in place where it cannot be seen",
                expected="writes in place that go through operations of torch with gradients on",
                do="Use integrated-gradients, or replace what is done under no_grad by operations on new tensors",
            )
        return self._values


class Carrier:
    """Gives results a way back of their own, and keeps what their rules need."""

    def __init__(self) -> None:
        self._kept: defaultdict[int, WeakSet[Kept]] = defaultdict(WeakSet)

    def keep(self, values: Tensor) -> Kept:
        """Return the values of a tensor as they are now, whatever is written into it later."""
        kept = Kept(values)
        self._kept[values.untyped_storage().data_ptr()].add(kept)
        return kept

    def before(self, call: Call) -> None:
        """Copy what is kept of a storage that a call is about to write into."""
        for target in written(call):
            for kept in self._kept.pop(target.untyped_storage().data_ptr(), ()):
                kept.copy()

    def carry(self, call: Call, inputs: Sequence[Tensor], back: Back, run: Callable[[], Any] | None = None) -> Tensor:
        """Return the result of a call, or of `run`, whose backward is `back(relevance)`, one for each input.

        A call in place runs on a copy that is then copied into its target: torch follows that through every view.
        """
        target = next(written(call), None)
        if target is None:
            return _apply(_Carried, run or call.run, back, *inputs)
        self.before(call)
        made = _apply(_Carried, run or (lambda: call.on(target.detach().clone())), back, *inputs)
        return target.copy_(made)


def written(call: Call) -> Iterator[Tensor]:
    """Give the tensors that a call overwrites."""
    if (call.inplace or call.name == "setitem") and call.args and isinstance(call.args[0], torch.Tensor):
        yield call.args[0]


def on_copy(call: Call) -> Call:
    """Return a call whose target is a copy, where no graph leads to it, so that it can be run again when it is over."""
    target = next(written(call), None)
    if target is None or any(target is t for t in call.followed):
        return call
    return replace(call, args=(target.detach().clone(), *call.args[1:]))


def again(call: Call, values: Sequence[Tensor]) -> Any:
    """Return what a call returns when other values, in order, stand for the arguments that a graph led to."""
    following, followed = iter(values), {id(t) for t in call.followed}
    targets = {id(t) for t in written(call)} - followed

    def other(argument: Any) -> Any:
        if isinstance(argument, torch.Tensor):
            if id(argument) in followed:
                return next(following)
            return argument.clone() if id(argument) in targets else argument
        if isinstance(argument, tuple | list):
            return [other(v) for v in argument] if isinstance(argument, list) else tuple(other(v) for v in argument)
        return argument

    args = [other(a) for a in call.args]
    return call.function(*args, **{k: other(v) for k, v in call.named.items()})


def _apply(function: type[torch.autograd.Function], *args: Any) -> Tensor:
    return cast("Tensor", function.apply(*args))


class _Carried(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, run: Callable[[], Any], back: Back, *_inputs: Tensor) -> Any:
        ctx.back = back
        result = run()
        # torch forbids to write in place into a view, or an input, that such a function returns.
        seen = any(result is t for t in _inputs)
        return result.clone() if seen or result._is_view() else result  # noqa: SLF001 - torch has no public name

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> Any:
        return (None, None, *ctx.back(relevance[0]))
