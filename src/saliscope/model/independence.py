"""Whether a network's answer for an image is its own, or depends on the images beside it in the batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from saliscope.core.errors import SaliscopeError
from saliscope.model.layers import LayerRun, Survey, survey
from saliscope.model.suffix import CLOSE, CLOSE_ON_GPU, least_like_first

if TYPE_CHECKING:
    from saliscope.model.opened import OpenNetwork


#: Bytes that a trial with several images may hold at once.
ROOM = 4 * 2**30
#: The most images that a trial runs together.
TRIED = 6


@dataclass(frozen=True)
class Independence:
    """Whether images may run together, why not in words, and whether the network repeats its own output.

    `bag` says that it gives one answer for all images together, as multiple-instance networks do.
    """

    together: bool
    reason: str = ""
    repeats: bool = True
    bag: bool = False
    #: The runs of every layer for several images.
    runs: tuple[LayerRun, ...] = ()


def independence(model: OpenNetwork, x: Tensor, alone: Tensor | None = None) -> Independence:
    """Return whether the first image of x (N, C, *S) gets among five others what it gets `alone`.

    It stands there twice and in the middle, so that a network that compares with the first or the last image shows
    too; of the others two are unlike it, and two nearly alike, as the copies of a perturbation are.
    """
    one = x[:1].detach()
    far, near = beside(one), nearly(one)
    room = ROOM // max(1, model.bytes_of_one(one))
    if room < 3:
        return Independence(together=False, reason="several of this size at once were not tried, for their memory")
    several = torch.cat([far[0], near[0], one, one, near[1], far[1]] if room >= 6 else [far[0], one, near[1]])
    middle = slice(2, 4) if len(several) == 6 else slice(1, 2)
    with torch.no_grad():
        alone = model.run_alone(one) if alone is None else alone
        model.counts.look_samples += len(several)
        try:
            seen = survey(model, several)
            together = seen.output
        except SaliscopeError as error:
            return Independence(together=False, reason=f"it does not take several images at once ({error.got})")
        except Exception as error:  # noqa: BLE001 - whatever it cannot do with several images, it may do with one
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            return Independence(together=False, reason=f"it does not take several images at once ({first})")
        if together.shape[1:] != alone.shape[1:] or len(together) != len(several):
            return Independence(
                together=False,
                reason=f"it gives an output of shape {tuple(together.shape)} for {len(several)} images",
                bag=together.ndim == alone.ndim and len(together) == 1,
            )
        often = Counter(run.name.partition("#")[0] for run in seen.runs)
        if looped := more_often(model.survey(one), often, len(several)):
            return Independence(together=False, reason=looped)
        rows = together[middle]
        if all(same(row[None], alone, one) for row in rows):
            return Independence(together=True, runs=seen.runs)
        if not same(model.run_alone(one), alone, one):
            return Independence(
                together=False, reason="it does not give one image the same output twice", repeats=False
            )
    return Independence(
        together=False,
        reason="its output for an image depends on the images beside it, by "
        f"{100 * max(_difference(row[None], alone) for row in rows):.2g} % of its largest value",
    )


def more_often(survey: Survey | None, often: Mapping[str, int], rows: int) -> str:
    """Return that a layer ran more often for several rows than for one, as in a loop over them; or nothing.

    The rows of what such a layer gives are not those of the images.
    """
    once = Counter(run.name.partition("#")[0] for run in survey.runs if run.name) if survey is not None else {}
    name = next((name for name, count in once.items() if rows > 1 and often.get(name, 0) > count), None)
    if name is None:
        return ""
    return f"its layer {name} runs {once[name]} time{'s' * (once[name] > 1)} for one image and {often[name]} for {rows}"


def other_alone(model: OpenNetwork, x: Tensor, output: Tensor) -> str:
    """Return that a row of the output (N, ...) of x (N, C, *S) is not what the image gets alone; or nothing."""
    at = least_like_first(x)
    with torch.no_grad():
        alone = model.run_alone(x[at : at + 1].detach())
    row = output[at : at + 1].detach()
    if row.shape == alone.shape and same(row, alone, x):
        return ""
    return f"in a batch of {len(x)} its output for an image is another than for it alone"


def nearly(one: Tensor) -> tuple[Tensor, Tensor]:
    """Return two images (1, C, *S) that are nearly one image: with a quarter of it made plain, and slightly darker."""
    plain = one.clone()
    corner = (slice(None), slice(None), *(slice(0, max(1, n // 2)) for n in one.shape[2:]))
    plain[corner] = one.mean()
    return plain, one * 0.99


def same(values: Tensor, right: Tensor, x: Tensor) -> bool:
    """Return whether an output (1, ...) of x is another but for rounding, in the coarser of the two types."""
    size = min(right.element_size(), x.element_size())
    return _difference(values, right) <= (CLOSE_ON_GPU if right.is_cuda else CLOSE).get(size, 1e-4)


def beside(one: Tensor) -> tuple[Tensor, Tensor]:
    """Return two other images (1, C, *S) of other content, mean and range: a turned one, and spots of both extremes.

    Spots reach further than the image after most filters, which shows a network that takes the extremes of a batch.
    """
    turned = one.flip(tuple(range(2, one.ndim)))
    span = (one.max() - one.min()).clamp(min=1e-3)
    ramp = torch.linspace(-1, 1, one.shape[-1], device=one.device, dtype=torch.float64).to(one.dtype)
    drawn = torch.rand(one.shape, generator=torch.Generator().manual_seed(0)).to(one.device)
    spots = torch.where(drawn < 0.5, one.max() + span, one.min() - span)
    return turned * 1.5 + span * (0.5 + ramp), spots


def _difference(values: Tensor, right: Tensor) -> float:
    """Return the largest difference as a share of the largest value; infinite where one is no number and one is."""
    a, b = values.double(), right.double()
    if not torch.equal(a.isfinite(), b.isfinite()):
        return float("inf")
    most = b.nan_to_num(0, 0, 0).abs().max().clamp(min=1e-30)
    return float((a - b).nan_to_num(0, 0, 0).abs().max() / most)
