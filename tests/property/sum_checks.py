"""What a map sums to, where its method promises it."""

from __future__ import annotations

import numpy as np

from property.network_checks import EQUAL, GAP, Outcome, Subject
from saliscope.methods import METHODS


def _sum(s: Subject, method: str, right: float, beside: str = "", **fields: object) -> Outcome:
    """Compare a map's sum, and what its method says stands beside it, with what is right, within its own limit."""
    found = s.explain(method, **fields)
    values = np.asarray(found.values, dtype=np.float64)
    total = values.sum() + found.provenance.diagnostics.get(beside, 0.0)
    limit = getattr(METHODS.make(method, **fields), "gap_limit", GAP)
    # Where both are near nothing, the gap is judged by the size of what was added up.
    larger = max(abs(total), abs(right), 1e-2 * np.abs(values).sum(), 1e-12)
    gap = abs(total - right) / larger
    return EQUAL if gap <= limit else Outcome("mismatch", f"sums to {total:.4g} where {right:.4g} is right, {gap:.1%}")


def deeplift(s: Subject) -> Outcome:
    return _sum(s, "deeplift", float(s.score(s.x) - s.score(0 * s.x)), baseline="zero")


def integrated_gradients(s: Subject) -> Outcome:
    return _sum(s, "integrated-gradients", float(s.score(s.x) - s.score(0 * s.x)), baseline="zero")


def lrp(s: Subject) -> Outcome:
    """With every bias zero nothing is absorbed but by epsilon."""
    return _sum(s, "lrp", float(s.score(s.x)), "absorbed", composite="epsilon")


def full_grad(s: Subject) -> Outcome:
    return _sum(s, "full-grad", float(s.score(s.x)), "without_place")
