"""The value of a metric: never a bare float, never NaN."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal

from saliscope.core.errors import MetricError

#: Which values are better; "neither" for those that only describe a map.
Direction = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Undefined:
    """No value, and why: an empty mask, a map that is zero everywhere, a decision that changed."""

    reason: str


@dataclass(frozen=True)
class Interval:
    """From `low` to `high`; `kind` says how it was found, such as "Wilson" or "BCa over patients".

    Of values that were only observed (over perturbations, over methods) it is a range, and `kind` begins so; `level`
    is then None. Raises MetricError for ends that are not finite or out of order.
    """

    low: float
    high: float
    kind: str
    level: float | None = 0.95

    def __post_init__(self) -> None:
        if not (isfinite(self.low) and isfinite(self.high) and self.low <= self.high):
            raise MetricError(
                f"an interval from {self.low} to {self.high}", expected="finite ends in order", do="Give none instead."
            )


@dataclass(frozen=True)
class Score:
    """What a metric says: a value or why there is none, which values are better, and what knowing nothing would give.

    `null` is the value expected of a map that knows nothing; None where there is no such number, Undefined where it
    could not be had. `n` counts what went into the value, `excluded` what did not, by reason. `curve` holds pairs
    (x, y) where the value sums one up; `parts` further named numbers of the same measurement; `how` the choices that
    the value depends on, in words. Raises MetricError for a number that is not finite.
    """

    metric: str
    value: float | Undefined
    direction: Direction
    null: float | Undefined | None = None
    interval: Interval | None = None
    n: int = 1
    excluded: Mapping[str, int] = field(default_factory=dict)
    curve: tuple[tuple[float, float], ...] = ()
    parts: Mapping[str, float] = field(default_factory=dict)
    how: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        numbers = {"value": self.value, "null": self.null, **self.parts}
        for name, number in numbers.items():
            if isinstance(number, float | int) and not isfinite(number):
                raise MetricError(
                    f"{name} = {number} of metric {self.metric!r}",
                    expected="a finite number or Undefined",
                    do="Return Undefined with the reason.",
                )

    @property
    def defined(self) -> bool:
        """Return whether there is a value."""
        return not isinstance(self.value, Undefined)

    @property
    def number(self) -> float:
        """Return the value; raises MetricError where there is none."""
        if isinstance(self.value, Undefined):
            raise MetricError(
                f"the value of {self.metric!r}, which is undefined: {self.value.reason}",
                do="Ask `defined` first.",
            )
        return float(self.value)

    def described(self) -> dict[str, Any]:
        """Return the score as plain data for JSON; an undefined number is {"undefined": reason}."""
        ends = self.interval
        return {
            "metric": self.metric,
            "value": _plain(self.value),
            "direction": self.direction,
            "null": _plain(self.null),
            "interval": None
            if ends is None
            else {"low": ends.low, "high": ends.high, "kind": ends.kind, "level": ends.level},
            "n": self.n,
            "excluded": dict(self.excluded),
            "curve": [list(point) for point in self.curve],
            "parts": dict(self.parts),
            "how": list(self.how),
        }


def _plain(number: float | Undefined | None) -> Any:
    return {"undefined": number.reason} if isinstance(number, Undefined) else number
