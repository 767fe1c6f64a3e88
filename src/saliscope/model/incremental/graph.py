"""The steps of a traced network: what each one runs, and on what."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from saliscope.model.incremental.rules import Conv, Join, Local, Pool, Rule, clamp


class Unfit(Exception):
    """A graph that failed where the network itself may not; never leaves this package."""


@contextmanager
def running() -> Iterator[None]:
    """Turn whatever a graph raises when it runs into `Unfit`, with the reason."""
    try:
        yield
    except Exception as error:
        first = str(error).strip().splitlines()
        raise Unfit(f"its graph failed ({type(error).__name__}: {first[0] if first else ''})") from error


@dataclass(eq=False)
class Step:
    """One operation: `call` runs it on the whole values of `inputs`; `rule` says how to run it on a region, if known.

    `fixed` is the value of a step that does not depend on the image.
    """

    name: str
    inputs: tuple[Step, ...]
    call: Callable[[Sequence[Any]], Any]
    rule: Rule | None = None
    fixed: Any = None
    depends: bool = True
    users: int = 0
    chain: Chain | None = None

    @property
    def moving(self) -> tuple[Step, ...]:
        """Return the inputs that depend on the image."""
        return tuple(i for i in self.inputs if i.depends)


@dataclass(eq=False)
class Chain:
    """Concatenations each of which begins with all of the one before, as in a dense block: they share one buffer."""

    joins: list[Step] = field(default_factory=list)
    parts: list[Step] = field(default_factory=list)


@dataclass(eq=False)
class Graph:
    """The steps of a network in the order in which they run; the first is the image, the last the output."""

    steps: list[Step]

    @property
    def image(self) -> Step:
        """Return the step that stands for the input (N, C, *S)."""
        return self.steps[0]

    @property
    def output(self) -> Step:
        """Return the step that gives what the network returns."""
        return self.steps[-1]

    def values(self, x: Tensor) -> Iterator[tuple[Step, Any]]:
        """Run x (N, C, *S) from beginning to end, and give every step's value; each is forgotten after its last use."""
        values: dict[Step, Any] = {}
        last = last_uses(self.steps)
        for step in self.steps:
            if step is self.image:
                values[step] = x
            elif step.depends:
                values[step] = step.call([values[i] if i.depends else i.fixed for i in step.inputs])
            else:
                continue
            yield step, values[step]
            for used in last.get(step, ()):
                values.pop(used, None)


def last_uses(steps: Sequence[Step]) -> dict[Step, list[Step]]:
    """Return for each step the inputs that nothing after it uses."""
    last: dict[Step, Step] = {}
    for step in steps:
        for used in step.inputs:
            last[used] = step
    ends: dict[Step, list[Step]] = {}
    for used, step in last.items():
        ends.setdefault(step, []).append(used)
    return ends


def needed(steps: Sequence[Step], output: Step) -> list[Step]:
    """Return the steps that the output uses, in order, the image first, and count their users."""
    kept: set[Step] = set()
    open_ends = [output]
    while open_ends:
        step = open_ends.pop()
        if step not in kept:
            kept.add(step)
            open_ends += step.inputs
    for step in steps:
        step.users = 0
    for step in kept:
        for used in step.inputs:
            used.users += 1
    return [s for s in steps if s in kept or s is steps[0]]


def folded(steps: Sequence[Step]) -> None:
    """Rewrite, with equal results: fewer passes over memory, and means before products.

    A scale and shift for each channel joins the convolution before it. Before a rectifier and a 1x1 convolution it
    joins that one: max(s x + b, 0) is s max(x, -b/s) + b for s > 0. A mean over cells goes before a 1x1 convolution.
    """
    for step in steps:
        if len(step.inputs) != 1 or step.inputs[0].users != 1 or step.rule is None:
            continue
        before = step.inputs[0]
        if step.rule.affine is not None and isinstance(before.rule, Conv):
            step.rule = before.rule.scaled(*step.rule.affine)
            step.inputs, step.call = before.inputs, step.rule.whole
        elif isinstance(step.rule, Conv) and step.rule.pointwise and isinstance(before.rule, Local):
            _folded_clamp(step, before)
        elif _swaps(before, step):
            before.rule, step.rule = step.rule, before.rule
            before.call, step.call = step.call, before.call


def _swaps(before: Step, step: Step) -> bool:
    mean, conv = step.rule, before.rule
    return isinstance(mean, Pool) and mean.linear and isinstance(conv, Conv) and conv.pointwise


def _folded_clamp(step: Step, relu: Step) -> None:
    """Fold a scale and shift that a rectifier follows into the 1x1 convolution after both."""
    if not (isinstance(relu.rule, Local) and relu.rule.rectifies and isinstance(step.rule, Conv)):
        return
    source = relu.inputs[0]
    if source.users != 1 or source.rule is None or source.rule.affine is None:
        return
    scale, shift = source.rule.affine
    if bool((scale == 0).any()):
        return
    clamped = clamp(scale, shift)
    relu.rule, relu.inputs, relu.call = clamped, source.inputs, lambda values: clamped.apply(*values)
    step.rule = step.rule.after(scale, shift)
    step.call = step.rule.whole


def chained(steps: Sequence[Step]) -> None:
    """Find the chains of concatenations, nested or with a growing list of parts."""
    parts: dict[Step, list[Step]] = {}
    for step in steps:
        if not isinstance(step.rule, Join) or not all(i.depends for i in step.inputs):
            continue
        flat = [p for i in step.inputs for p in parts.get(i, [i])]
        before = next(
            (s.chain for s in reversed(list(parts)) if s.chain and s.chain.joins[-1] is s and _begins(flat, parts[s])),
            None,
        )
        step.chain = before or Chain()
        step.chain.joins.append(step)
        step.chain.parts = parts[step] = flat


def _begins(whole: list[Step], start: list[Step]) -> bool:
    return len(start) < len(whole) and all(a is b for a, b in zip(whole, start, strict=False))
