"""The layers of a network as one run passes them: which there are, where their cells lie, which one to watch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from saliscope.core.errors import LayerError, SaliscopeError
from saliscope.core.protocols import INPUT
from saliscope.model.cells import Cells, after, untouched

if TYPE_CHECKING:
    from saliscope.model.network import OpenNetwork


@dataclass(frozen=True)
class LayerRun:
    """One run of one layer: its name, "name#k" where it runs several times, its output's shape, and its cells.

    `value` numbers the tensor that came out, so that modules which hand on the same tensor can be told;
    `used` says whether the network's output depends on it. `cells` is None where the grid could not be followed.
    """

    name: str
    shape: tuple[int, ...]
    cells: Cells | None
    value: int
    used: bool = True


def survey(model: OpenNetwork, x: Tensor) -> list[LayerRun]:
    """Return every layer run of x (N, C, *S), in order of completion, and last the output's, named "".

    Runs on tensors without content, at no cost; only a network whose path depends on values is truly run.
    """
    one = x[:1].detach()
    try:
        mode = FakeTensorMode(allow_non_fake_inputs=True)
        with mode:
            return _followed(model, mode.from_tensor(one))
    except SaliscopeError:
        raise
    except Exception:  # noqa: BLE001 - whatever a network cannot do without content, it may do with it
        return _followed(model, one)


def choose_layer(runs: Sequence[LayerRun], axes: int) -> tuple[str, str]:
    """Return the last spatial layer that the output depends on, and the reason in words.

    Where several modules hand on the same tensor, the outermost that runs once; the output itself is never chosen.
    Raises LayerError when no layer keeps a grid.
    """
    spatial = _spatial(runs, axes)
    if not spatial:
        raise LayerError(
            "a network none of whose layers keeps a spatial grid",
            expected="a convolutional layer before the pooling",
            do="Use a method that explains the input, such as gradient or occlusion",
        )
    best = _last(spatial)
    size = " x ".join(str(n) for n in best.shape[2:])
    return best.name, f"the last layer with a spatial grid ({size}) on which the output depends"


def stages(runs: Sequence[LayerRun], axes: int) -> tuple[str, ...]:
    """Return, from shallow to deep, the last layer of each grid that the network passes; see `choose_layer`."""
    by_grid: dict[tuple[int, ...], list[LayerRun]] = {}
    for run in _spatial(runs, axes):
        by_grid.setdefault(run.shape[2:], []).append(run)
    return tuple(r.name for r in sorted(map(_last, by_grid.values()), key=lambda r: r.value))


def _spatial(runs: Sequence[LayerRun], axes: int) -> list[LayerRun]:
    """Return the runs on a grid that the output depends on and is not; those with cells, if any has."""
    spatial = [
        r
        for r in runs[:-1]
        if r.used and r.value != runs[-1].value and len(r.shape) == axes + 2 and max(r.shape[2:]) > 1
    ]
    return [r for r in spatial if r.cells] or spatial


def _last(runs: Sequence[LayerRun]) -> LayerRun:
    """Return the last of some runs; where several modules hand on that tensor, the outermost that runs once."""
    last = max(r.value for r in runs)
    same = [r for r in runs if r.value == last]
    return min(same, key=lambda r: ("#" in r.name, r.name.count("."), len(r.name)))


def cells_of(runs: Sequence[LayerRun], key: str, axes: int) -> Cells | None:
    """Return the cells of a layer; None where they could not be followed."""
    if key == INPUT:
        return untouched(axes)
    return next((r.cells for r in runs if r.name in (key, f"{key}#0")), None)


class _Follower(TorchDispatchMode):
    """Numbers every tensor that an operation makes, and keeps its cells and its parents."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._values: Any = WeakIdKeyDictionary()
        self._count = 0
        self.parents: dict[int, set[int]] = {}
        self.note(x, untouched(x.ndim - 2), set())

    def note(self, tensor: Tensor, cells: Cells | None, parents: set[int]) -> None:
        self._count += 1
        self._values[tensor] = (self._count, cells)
        self.parents[self._count] = parents

    def value(self, tensor: Tensor) -> tuple[int, Cells | None]:
        found: tuple[int, Cells | None] = self._values.get(tensor, (0, None))
        return found

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        flat = [t for a in args for t in (a if isinstance(a, list | tuple) else [a]) if isinstance(t, Tensor)]
        parents = {self.value(t)[0] for t in flat} - {0}
        if parents:
            op = str(func).removeprefix("aten.")
            for made in out if isinstance(out, list | tuple) else [out]:
                if isinstance(made, Tensor):
                    cells = after(op, args, made, lambda t: self.value(t)[1]) if made.ndim > 2 else None
                    self.note(made, cells, parents)
        return out

    def ancestors(self, value: int) -> set[int]:
        found, todo = {value}, [value]
        while todo:
            new = self.parents.get(todo.pop(), set()) - found
            found |= new
            todo += new
        return found


def _followed(model: OpenNetwork, x: Tensor) -> list[LayerRun]:
    runs: list[LayerRun] = []
    follower = _Follower(x)
    names = [(name, module) for name, module in model.module.named_modules() if name]
    handles = [module.register_forward_hook(_recorder(name, runs, follower)) for name, module in names]
    try:
        with torch.no_grad(), follower:
            output = model.run_uncounted(x)
    finally:
        for handle in handles:
            handle.remove()
    last, cells = follower.value(output)
    used = follower.ancestors(last)
    often = {r.name for r in runs if sum(s.name == r.name for s in runs) > 1}
    seen: dict[str, int] = {}
    named: list[LayerRun] = []
    for r in runs:
        call = seen[r.name] = seen.get(r.name, -1) + 1
        name = f"{r.name}#{call}" if r.name in often else r.name
        named.append(LayerRun(name, r.shape, r.cells, r.value, r.value in used))
    return [*named, LayerRun("", tuple(output.shape), cells, last)]


def _recorder(name: str, runs: list[LayerRun], follower: _Follower) -> Callable[[nn.Module, object, object], None]:
    def record(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.is_floating_point():
            value, cells = follower.value(output)
            runs.append(LayerRun(name, tuple(output.shape), cells, value))

    return record
