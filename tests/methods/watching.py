"""How many images at once a network was given. Counted outside of it, because what a run changes in it is put back."""

from __future__ import annotations

from torch import Tensor, nn

_sizes: list[int] = []


def watch(module: nn.Module) -> None:
    """Begin to count the images of every run of a module."""
    _sizes.clear()
    module.register_forward_pre_hook(_count)


def forget() -> None:
    """Begin anew."""
    _sizes.clear()


def largest() -> int:
    """Return the largest number of images that ran at once."""
    return max(_sizes)


def _count(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    _sizes.append(len(inputs[0]))
