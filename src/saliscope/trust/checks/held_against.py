"""What checks are held against: numbers from the user's own images where there is an audit, conventions elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from saliscope.trust.audit_card import AuditCard, Threshold

#: Names under which an audit keeps what single images are held against.
SPREAD, OTHERS_HIGH, OTHERS_MIDDLE = "score-spread", "other-patients-95", "other-patients-50"


@dataclass(frozen=True)
class Limits:
    """The limits of the checks of one image; those that are conventions were set on the development part of a study.

    `chance` and `hopeless` are p-values below which an area matters, and above which it does not. An area must move
    the score by `moves` standard deviations of the score over images, a single spot by `spot_moves`. Of what a map
    points with, no more than `idle` may lie in spots that do not matter, half at most in `speckle`; the stronger half
    of the area must account for `core` of what all of it does.
    """

    chance: float = 0.05
    hopeless: float = 0.2
    moves: float = 0.5
    spot_moves: float = 0.1
    idle: float = 0.05
    mostly_idle: float = 0.5
    speckle: float = 0.5
    core: float = 0.3
    same_map: float = 0.99
    near_threshold: float = 0.05


LIMITS = Limits()


def threshold(audit: AuditCard | None, name: str) -> float | None:
    """Return a threshold of an audit by name; None where there is none, or it is undefined."""
    known: Mapping[str, Threshold] = {} if audit is None else audit.thresholds
    value = known[name].value if name in known else None
    return float(value) if isinstance(value, float | int) else None
