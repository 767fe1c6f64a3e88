"""Whether a network's answer for an image is its own, or depends on the images beside it in the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from saliscope.core.errors import SaliscopeError
from saliscope.model.layers import LayerRun, survey
from saliscope.model.suffix import CLOSE, CLOSE_ON_GPU

if TYPE_CHECKING:
    from saliscope.model.opened import OpenNetwork


@dataclass(frozen=True)
class Independence:
    """Whether images may run together, why not in words, and whether the network repeats its own output.

    `bag` says that it gives one answer for all images together, as multiple-instance networks do.
    """

    together: bool
    reason: str = ""
    repeats: bool = True
    bag: bool = False
    #: The runs of every layer for three images.
    runs: tuple[LayerRun, ...] = ()


def independence(model: OpenNetwork, x: Tensor, alone: Tensor | None = None) -> Independence:
    """Return whether the first image of x (N, C, *S) gets between two others what it gets `alone`.

    It stands in the middle of three, so that a network that compares with the first or the last image shows too.
    """
    one = x[:1].detach()
    others = beside(one)
    with torch.no_grad():
        alone = model.run_alone(one) if alone is None else alone
        model.counts.look_samples += 3
        try:
            seen = survey(model, torch.cat([others[0], one, others[1]]))
            three = seen.output
        except SaliscopeError as error:
            return Independence(together=False, reason=f"it does not take several images at once ({error.got})")
        except Exception as error:  # noqa: BLE001 - whatever it cannot do with three images, it may do with one
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return Independence(together=False, reason=f"it does not take several images at once ({first})")
        if three.shape[1:] != alone.shape[1:] or len(three) != 3:
            return Independence(
                together=False,
                reason=f"it gives an output of shape {tuple(three.shape)} for three images",
                bag=three.ndim == alone.ndim and len(three) == 1,
            )
        if same(three[1:2], alone):
            return Independence(together=True, runs=seen.runs)
        if not same(model.run_alone(one), alone):
            return Independence(
                together=False, reason="it does not give one image the same output twice", repeats=False
            )
    return Independence(
        together=False,
        reason="its output for an image depends on the images beside it, by "
        f"{100 * _difference(three[1:2], alone):.2g} % of its largest value",
    )


def same(values: Tensor, right: Tensor) -> bool:
    """Return whether an output (1, ...) is another's but for rounding."""
    return _difference(values, right) <= (CLOSE_ON_GPU if right.is_cuda else CLOSE).get(right.element_size(), 1e-4)


def beside(one: Tensor) -> tuple[Tensor, Tensor]:
    """Return two other images (1, C, *S) of other content, mean and range."""
    turned = one.flip(tuple(range(2, one.ndim)))
    span = (one.max() - one.min()).clamp(min=1e-3)
    ramp = torch.linspace(-1, 1, one.shape[-1], device=one.device, dtype=torch.float64).to(one.dtype)
    return turned * 1.5 + span * (0.5 + ramp), one * 0.5 - span * ramp


def _difference(values: Tensor, right: Tensor) -> float:
    """Return the largest difference as a share of the largest value; infinite where one is no number and one is."""
    a, b = values.double(), right.double()
    if not torch.equal(a.isfinite(), b.isfinite()):
        return float("inf")
    most = b.nan_to_num(0, 0, 0).abs().max().clamp(min=1e-30)
    return float((a - b).nan_to_num(0, 0, 0).abs().max() / most)
