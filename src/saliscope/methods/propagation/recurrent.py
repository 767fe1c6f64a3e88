"""arras2019: recurrent layers step by step, in linear layers, sums, and products in which the signal takes all.

torch runs them as one operation. Here every step is written out as its documentation has it, so that each part has its
rule: the sigmoids gate, and what has a tanh is the signal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

State = tuple[Tensor, ...]
Cell = Callable[[Tensor, Tensor, State], State]


def _gate(opening: Tensor, signal: Tensor) -> Tensor:
    """Return a gate times a signal; a signal that is a constant, as a first state is, takes all and keeps it."""
    gate = torch.sigmoid(opening)
    return (gate if signal.requires_grad else gate.detach()) * signal


def _lstm(sent: Tensor, kept: Tensor, state: State) -> State:
    """Return (h, c) from what input and hidden state give the four gates, input, forget, cell and output."""
    put, forget, cell, out = (sent + kept).chunk(4, -1)
    c = _gate(forget, state[1]) + _gate(put, torch.tanh(cell))
    return _gate(out, torch.tanh(c)), c


def _gru(sent: Tensor, kept: Tensor, state: State) -> State:
    """Return (h,) from what input and hidden state give the reset and update gates and the new state."""
    (reset_x, update_x, new_x), (reset_h, update_h, new_h) = sent.chunk(3, -1), kept.chunk(3, -1)
    new = torch.tanh(new_x + _gate(reset_x + reset_h, new_h))
    # 1 - sigmoid(z) is sigmoid(-z).
    return (_gate(-(update_x + update_h), new) + _gate(update_x + update_h, state[0]),)


def _rnn(activation: Callable[[Tensor], Tensor]) -> Cell:
    return lambda sent, kept, _state: (activation(sent + kept),)


def _layer(cell: Cell, values: Sequence[Tensor], state: State, weights: Sequence[Tensor]) -> tuple[list[Tensor], State]:
    """Return the outputs of one direction of one layer, step by step, and its last state."""
    w_in, w_hidden, *rest = weights
    b_in, b_hidden = rest[:2] if len(rest) > 1 else (None, None)
    project = rest[-1] if len(rest) % 2 else None
    outputs = []
    for value in values:
        sent, kept = functional.linear(value, w_in, b_in), functional.linear(state[0], w_hidden, b_hidden)
        h, *others = cell(sent, kept, state)
        h = h if project is None else functional.linear(h, project)
        state = (h, *others)
        outputs.append(h)
    return outputs, state


def _unrolled(cell: Cell, states: int) -> Callable[..., Any]:
    """Return a recurrent layer, as torch calls it, of so many states a cell."""

    def run(
        values: Tensor,
        start: Sequence[Tensor] | Tensor,
        weights: Sequence[Tensor],
        _bias: bool,
        layers: int,
        _dropout: float,
        _training: bool,
        bidirectional: bool,
        batch_first: bool,
    ) -> Any:
        first = [start] if isinstance(start, Tensor) else list(start)
        ways = 2 if bidirectional else 1
        several = len(weights) // (layers * ways)
        rows = list(values.unbind(1 if batch_first else 0))
        ends: list[State] = []
        for layer in range(layers):
            made = []
            for way in range(ways):
                at = layer * ways + way
                ordered = rows[::-1] if way else rows
                own = weights[at * several : (at + 1) * several]
                out, state = _layer(cell, ordered, tuple(s[at] for s in first), own)
                made.append(out[::-1] if way else out)
                ends.append(state)
            rows = [torch.cat(steps, -1) if ways > 1 else steps[0] for steps in zip(*made, strict=True)]
        last = [torch.stack([end[i] for end in ends]) for i in range(states)]
        return torch.stack(rows, 1 if batch_first else 0), *last

    return run


def _single(cell: Cell) -> Callable[..., Any]:
    """Return one step of a cell, as torch calls it."""

    def run(value: Tensor, start: Any, *weights: Tensor | None) -> Any:
        w_in, w_hidden, b_in, b_hidden = (*weights, None, None)[:4]
        assert w_in is not None
        assert w_hidden is not None
        state = (start,) if isinstance(start, Tensor) else tuple(start)
        made = cell(functional.linear(value, w_in, b_in), functional.linear(state[0], w_hidden, b_hidden), state)
        return made if len(made) > 1 else made[0]

    return run


#: name -> the same step by step.
RECURRENT: Mapping[str, Callable[..., Any]] = {
    "lstm": _unrolled(_lstm, 2),
    "gru": _unrolled(_gru, 1),
    "rnn_tanh": _unrolled(_rnn(torch.tanh), 1),
    "rnn_relu": _unrolled(_rnn(torch.relu), 1),
    "lstm_cell": _single(_lstm),
    "gru_cell": _single(_gru),
    "rnn_tanh_cell": _single(_rnn(torch.tanh)),
    "rnn_relu_cell": _single(_rnn(torch.relu)),
}
