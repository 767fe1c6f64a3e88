"""hooker2019, the random ranking: what a map scores that knows neither image nor network."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from saliscope.core.protocols import Model, Traits
from saliscope.core.target import Target
from saliscope.methods.resolution import one_element

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Random:
    """Standard normal noise, the same for the same image and seed, different for different images."""

    seed: int = 0

    traits: ClassVar[Traits] = Traits(
        family="control",
        signed=True,
        grid="input",
        class_discriminative=False,
        citation="hooker2019",
        cost="none: the network is not run",
        blind="Everything. A metric that likes this map does not measure fidelity.",
    )
    resolution = one_element

    def attribute(self, model: Model, x: Tensor, target: Target) -> Tensor:  # noqa: ARG002 - the contract of a method
        """Return (N, K, *S), equal for all K."""
        import torch

        maps = []
        for image in x.detach():
            content = image.to("cpu", torch.float32).contiguous().numpy().tobytes()
            digest = hashlib.sha256(self.seed.to_bytes(16, "big", signed=True) + content).digest()
            # The image's own digest is the seed, so that the map of an image does not depend on its batch.
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True))
            maps.append(torch.randn(image.shape[1:], generator=generator))
        stacked = torch.stack(maps).to(device=x.device, dtype=x.dtype)
        return stacked[:, None].repeat(1, len(target.labels), *[1] * (x.ndim - 2))
