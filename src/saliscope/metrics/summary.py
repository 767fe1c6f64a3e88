"""Many scores of one metric as one: their mean over images, the interval over patients, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from saliscope.core.errors import MetricError
from saliscope.core.score import Score, Undefined
from saliscope.metrics.statistics.bootstrap import clustered
from saliscope.metrics.statistics.intervals import wilson


def summary(scores: Sequence[Score], groups: Sequence[Hashable] | None = None) -> Score:
    """Return the mean of the defined scores of one metric, the undefined counted by reason.

    The interval is Wilson's where every score is 0 or 1 and every image has a group of its own, or all scores are the
    same (n is then the number of groups), else the bootstrap over groups (patients). Where every score has a lift over
    chance, `parts` has that of the means: the mean of lifts is decided by the smallest regions. Raises MetricError for
    scores of several metrics, or without one group for each.
    """
    names = {s.metric for s in scores}
    own = list(range(len(scores))) if groups is None else list(groups)
    if len(names) != 1 or len(own) != len(scores):
        raise MetricError(
            f"{len(scores)} scores of {sorted(names) or 'no metric'} with {len(own)} groups",
            expected="scores of one metric and a group for each",
            do="Sum up each metric by itself.",
        )
    known = [(s.number, g) for s, g in zip(scores, own, strict=True) if s.defined]
    excluded = Counter(s.value.reason for s in scores if isinstance(s.value, Undefined))
    first = scores[0]
    nulls = [s.null for s in scores if s.defined and isinstance(s.null, float | int)]
    null = sum(nulls) / len(nulls) if nulls else first.null
    if not known:
        nothing = Undefined(f"none of {len(scores)} images has a value")
        return Score(first.metric, nothing, first.direction, null, n=0, excluded=dict(excluded), how=first.how)
    values = [v for v, _ in known]
    count = len({g for _, g in known})
    alike = len(set(values)) == 1
    # Of hits that are all alike a bootstrap would have no width, however few they are.
    if set(values) <= {0.0, 1.0} and (count == len(known) or alike):
        interval = wilson(round(sum(values) * count / len(values)), count)
    else:
        interval = clustered(values, [g for _, g in known])
    mean = sum(values) / len(values)
    lifted = all("lift" in s.parts for s in scores if s.defined)
    parts = {"lift": mean / null} if lifted and isinstance(null, float) and null > 0 else {}
    kept = len(values)
    return Score(first.metric, mean, first.direction, null, interval, kept, dict(excluded), parts=parts, how=first.how)
