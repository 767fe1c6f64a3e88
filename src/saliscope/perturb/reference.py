"""Other images that stand for what is absent: named by their content, so that they can be a field of a method."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from saliscope.core.errors import MethodError

if TYPE_CHECKING:
    from torch import Tensor


class References:
    """A fixed tensor (M, C, *S) of M reference images in units of the view, equal where its content is equal.

    The tensor is a copy of its own: whoever made it cannot change it later. Treat it as read-only.
    """

    __slots__ = ("_digest", "_values")

    def __init__(self, values: Tensor) -> None:
        if values.ndim < 4 or not len(values) or not values.is_floating_point() or not bool(values.isfinite().all()):
            raise MethodError(
                f"references of shape {tuple(values.shape)} and type {values.dtype}",
                expected="finite floating values (M, C, *S) with M of at least one and two or three axes S",
                do="Stack the images as the network sees them",
            )
        self._values = values.detach().cpu().clone().contiguous()
        content = self._values.double().numpy().tobytes()
        self._digest = hashlib.sha256(f"{tuple(values.shape)}".encode() + content).hexdigest()

    @classmethod
    def of(cls, tensor: Tensor) -> References:
        """Return the holder of images (M, C, *S); raises MethodError for another shape or no numbers."""
        return cls(tensor)

    @property
    def values(self) -> Tensor:
        """Return the images (M, C, *S) on the CPU."""
        return self._values

    @property
    def digest(self) -> str:
        """Return the SHA-256 of shape and content."""
        return self._digest

    def like(self, x: Tensor) -> Tensor:
        """Return the images (M, C, *S) in the type and on the device of x; raises MethodError for another shape."""
        if self._values.shape[1:] != x.shape[1:]:
            raise MethodError(
                f"references of shape {tuple(self._values.shape[1:])} for an image of shape {tuple(x.shape[1:])}",
                expected="the same channels and size (C, *S)",
                do="Bring the references through the network's view",
            )
        return self._values.to(device=x.device, dtype=x.dtype)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, References) and self._digest == other._digest

    def __hash__(self) -> int:
        return hash(self._digest)

    def __repr__(self) -> str:
        count = len(self._values)
        return f"{count} reference{'' if count == 1 else 's'} sha256:{self._digest[:12]}"

    def __copy__(self) -> References:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> References:
        return self

    def __reduce__(self) -> tuple[type[References], tuple[Tensor]]:
        return References, (self._values,)
