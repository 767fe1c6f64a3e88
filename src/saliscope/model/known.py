"""What has been learnt of a network, kept for as long as it stays the same: once for each (network, weights, shape)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import RLock
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from saliscope.model.independence import Independence
    from saliscope.model.layers import Survey

#: What tells one state of a module from another: its modules and the storage and count of writes of its weights.
Signature = tuple[Any, ...]


@dataclass(eq=False)
class Seen:
    """What runs showed of a module called in one way, by shape: surveys, independence, whether it repeats itself."""

    surveys: dict[tuple[Any, ...], Survey] = field(default_factory=dict)
    independence: dict[tuple[Any, ...], Independence] = field(default_factory=dict)
    repeats: dict[tuple[Any, ...], bool] = field(default_factory=dict)


@dataclass(eq=False)
class Known:
    """What is known of a module in one state: what its runs showed, by how it is called, and what they wrote."""

    signature: Signature
    plain: Seen = field(default_factory=Seen)
    called: WeakKeyDictionary[Callable[..., Any], Seen] = field(default_factory=WeakKeyDictionary)
    #: Whether a run leaves the weights as they are; None before a first run was compared.
    keeps_weights: bool | None = None
    digest: tuple[int, str] | None = None

    def seen(self, forward: Callable[..., Any] | None) -> Seen:
        """Return what runs by the caller's own `forward` showed, or by the module's own."""
        return self.plain if forward is None else self.called.setdefault(forward, Seen())


_known: WeakKeyDictionary[nn.Module, Known] = WeakKeyDictionary()
_turns: WeakKeyDictionary[nn.Module, RLock] = WeakKeyDictionary()


def known_of(module: nn.Module) -> Known:
    """Return what is known of a module as it is now; of another state nothing is."""
    signature = signature_of(module)
    found = _known.get(module)
    if found is None or found.signature != signature:
        found = _known[module] = Known(signature)
    return found


def turn_of(module: nn.Module) -> RLock:
    """Return the lock by which threads that open one module take turns: each would undo the other's flags."""
    return _turns.setdefault(module, RLock())


def signature_of(module: nn.Module) -> Signature:
    """Return what changes when a module is put into another, or a weight is written or replaced."""
    modules = tuple(id(m) for m in module.modules())
    weights = tuple((id(p), _pointer(p), _writes(p)) for p in module.parameters())
    return modules, weights


def _writes(p: Tensor) -> int:
    return 0 if p.is_inference() else p._version  # noqa: SLF001 - torch has no other count of writes


def _pointer(p: Tensor) -> int:
    try:
        return p.data_ptr()
    except RuntimeError:  # a weight without storage yet, or of another kind than plain memory
        return 0


def shape_key(x: Tensor, output: str | int | None) -> tuple[Any, ...]:
    """Return what tells the inputs of one kind from others, whatever their number: shape, type, device, output."""
    return (tuple(x.shape[1:]), x.dtype, str(x.device), output)


def weights_digest(module: nn.Module) -> str:
    """Return the SHA-256 of a module's state; it is computed anew only where a sum over all bits differs."""
    known = known_of(module)
    check = _sum_of_bits(module)
    if known.digest is None or known.digest[0] != check:
        known.digest = check, _sha256(module)
    return known.digest[1]


def _sum_of_bits(module: nn.Module) -> int:
    """Return a sum over the bits of every tensor of the state, weighed by its place: far cheaper than a digest.

    A weight written through `.data` leaves torch's count of writes as it was; this sees it.
    """
    total = 0
    for place, value in enumerate(module.state_dict().values(), start=1):
        if isinstance(value, Tensor) and value.numel():
            flat = _bytes(value)
            words = flat[: flat.numel() // 4 * 4].view(torch.int32)
            total += place * (int(words.sum(dtype=torch.int64)) + 31 * int(words[::3].sum(dtype=torch.int64)))
            total += place * int(flat[flat.numel() // 4 * 4 :].sum(dtype=torch.int64))
    return total


def _sha256(module: nn.Module) -> str:
    sha = hashlib.sha256()
    for name, value in module.state_dict().items():
        if isinstance(value, Tensor):
            sha.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            sha.update(_bytes(value).cpu().numpy().tobytes())
    return sha.hexdigest()


def _bytes(value: Tensor) -> Tensor:
    """Return the bytes of a tensor of any kind; of one without content, such as a meta tensor, none."""
    value = value.detach()
    if value.is_meta:
        return torch.empty(0, dtype=torch.uint8)
    if value.is_quantized:
        value = value.int_repr()
    if value.layout != torch.strided:
        value = value.to_dense()
    return value.resolve_conj().resolve_neg().contiguous().reshape(-1).view(torch.uint8)
