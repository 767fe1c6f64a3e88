"""Operations that move values or choose among them: relevance goes where the value came from.

What stands in for a value that is moved away, such as a padding, a class token or what a mask puts in, keeps its
relevance, which is counted. A zero has none: what a mask hides hands relevance on as an activation does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import MethodError
from saliscope.methods.propagation.carrier import Carrier, again

if TYPE_CHECKING:
    from torch import Tensor

    from saliscope.methods.propagation.ledger import Ledger
    from saliscope.model.rewrite import Call

#: What autograd calls such operations, beside those that every rewriting lets pass.
MOVING = frozenset({
    "BackwardHookFunction", "_Carried", "Min", "Amin", "Minimum", "Fmax", "Fmin", "Topk", "Sort", "Kthvalue", "Median",
    "Nanmedian", "Cummax", "Cummin", "MaxUnpool2D", "MaxUnpool3D", "FractionalMaxPool2D", "FractionalMaxPool3D",
    "AdaptiveMaxPool1D", "MaxPool1DWithIndices", "IndexPut", "IndexPutImpl", "IndexFill", "IndexCopy", "MaskedScatter",
    "MaskedSelect", "Scatter", "Take", "SliceScatter", "SelectScatter", "DiagonalScatter", "AsStridedScatter",
    "NativeChannelShuffle", "ChannelShuffle", "Im2Col", "Tril", "Triu", "Unsafe_Index", "UnsafeIndex", "UnsafeSplit",
    "UnsafeSplitWithSizes", "SplitWithSizesCopy", "SwapAxes", "BroadcastTo", "Contiguous", "Lift", "LiftFresh",
    "Identity", "Detach", "ValuesIndices", "MkldnnMaxPool3D", "QuantizedMaxPool2D", "Rot90", "Flatten", "Aminmax",
    "Fill", "Zero",
})  # fmt: skip
#: Custom functions that are known to work element by element.
ACTIVATING = frozenset({
    "SwishImplementation", "SwishAutoFn", "SwishJitAutoFn", "MishAutoFn", "MishJitAutoFn", "HardSwishJitAutoFn",
    "HardSigmoidJitAutoFn", "HardMishJitAutoFn", "MemoryEfficientSwishFunction",
})  # fmt: skip
#: Moves that may bring in constants.
JOINS = frozenset({
    "cat", "concat", "concatenate", "stack", "hstack", "vstack", "dstack", "column_stack", "pad", "index_put",
    "index_fill", "index_copy", "masked_scatter", "scatter", "slice_scatter", "select_scatter", "diagonal_scatter",
    "fill", "zero",
})  # fmt: skip


def tensors(call: Call) -> int:
    """Return how many tensors, or numbers in place of one, a call takes."""
    import torch

    values = [*call.args, *(v for k, v in call.named.items() if k == "other")]
    return sum(isinstance(v, torch.Tensor) for v in values)


def packed(call: Call) -> bool:
    """Return whether a recurrent layer runs on a packed sequence, whose steps are not written out."""
    layer = call.name in ("lstm", "gru", "rnn_tanh", "rnn_relu")
    return layer and not isinstance(call.args[1], list | tuple) and not call.args[1].is_floating_point()


def moved(carrier: Carrier, call: Call, ledger: Ledger | None) -> Tensor | None:
    """Return the result of a move that brings in constants; None for any other call, whose gradient is right."""
    if call.name in JOINS:
        plain = call.name == "pad" and call.given(2, "mode", "constant") != "constant"
        return None if plain or ledger is None else _joined(carrier, call, ledger)
    if call.name == "setitem":
        return _overwritten(carrier, call, ledger)
    if call.name in ("where", "masked_fill") and len(call.followed) == 1:
        return _masked(carrier, call, ledger)
    return None


def _joined(carrier: Carrier, call: Call, ledger: Ledger) -> Tensor:
    """Count what constants between the values of a join keep."""
    import torch

    with torch.enable_grad():
        roots = [t.detach().requires_grad_() for t in call.followed]
        made: Tensor = again(call, [root.clone() for root in roots] if call.inplace else roots)

    def back(r: Tensor) -> Sequence[Tensor]:
        sent = torch.autograd.grad(made, roots, r, retain_graph=True)
        ledger.add(r.double().sum() - torch.stack([s.double().sum() for s in sent]).sum())
        return sent

    return carrier.carry(call, call.followed, back, lambda: made.detach().clone())


def _overwritten(carrier: Carrier, call: Call, ledger: Ledger | None) -> Tensor | None:
    """Write constants into a part of a tensor, and count the relevance that stays there."""
    import torch

    target, key, value = call.args
    if ledger is None or not target.requires_grad or (isinstance(value, torch.Tensor) and value.requires_grad):
        return None
    carrier.before(call)
    call.run()

    def back(r: Tensor) -> Sequence[Tensor]:
        ledger.add(r[key])
        return [r]

    return carrier.carry(replace(call, function=torch.Tensor.copy_), [target], back, lambda: target.detach().clone())


def _masked(carrier: Carrier, call: Call, ledger: Ledger | None) -> Tensor:
    """Choose between a followed value and a constant; a constant of zero has no relevance to keep."""
    import torch

    (seen,) = call.followed
    one, mask, other = _choice(call)
    const, chosen = (other, mask) if one is seen else (one, ~mask)
    zero = torch.as_tensor(const, device=seen.device) == 0
    keeps, shape = chosen | zero, seen.shape

    def back(r: Tensor) -> Sequence[Tensor]:
        sent = r.where(keeps, 0)
        if ledger is not None:
            ledger.add(r - sent)
        return [sent.sum_to_size(shape)]

    return carrier.carry(call, [seen], back)


def _choice(call: Call) -> tuple[Any, Tensor, Any]:
    """Return what a call chooses where its mask holds, the mask, and what it chooses elsewhere."""
    import torch

    if call.name == "masked_fill":
        return call.input, ~call.given(1, "mask"), call.given(2, "value")
    names = ("condition", "input", "other")
    first, second, third = (*call.args, *(call.named[name] for name in names if name in call.named))
    return (second, first, third) if first.dtype == torch.bool else (first, second, third)


def nodes(output: Tensor) -> Iterator[tuple[Any, str]]:
    """Give every operation between an output and the roots of its graph, with its name as autograd has it."""
    passed: set[Any] = set()
    waiting = [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in passed:
            passed.add(node)
            yield node, node.name().rpartition("::")[2].rstrip("0123456789").removesuffix("Backward")
            waiting += [n for n, _ in node.next_functions]


def check(output: Tensor) -> None:
    """Raise MethodError for operations before an output that relevance has no way through.

    Known custom activations are made to hand relevance on.
    """
    from saliscope.model.rewrite import LARGEST, ROUTING

    unknown = set()
    for node, name in nodes(output):
        if name in ACTIVATING:
            node.register_hook(lambda inputs, outputs: (outputs[0], *inputs[1:]))
        elif name not in ROUTING | LARGEST | MOVING:
            unknown.add(name)
    if unknown:
        raise MethodError(
            f"a network with operations that have no relevance rule: {', '.join(sorted(unknown))}",
            expected="layers, sums, products, gates, attention, recurrent layers, pools, normalisations, activations",
            do="Use integrated-gradients or occlusion, which need no rules; scripted and custom parts cannot be seen",
        )
