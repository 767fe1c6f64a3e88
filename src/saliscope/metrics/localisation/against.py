"""A map against control maps of the same images: a number beside a region means something only beside theirs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence

from saliscope.core.errors import MetricError
from saliscope.core.score import Score, Undefined
from saliscope.metrics.statistics.bootstrap import clustered


def against(
    scores: Sequence[Score], controls: Sequence[Score], groups: Sequence[Hashable] | None = None, *, seed: int = 0
) -> Score:
    """Return the mean over images of a score minus that of a control map of the same image; its null is 0.

    The interval is the bootstrap over groups (patients), each image being its own without any. An image of which either
    score is undefined is left out and counted, by whose it is and why. `parts` holds both means over the images kept,
    and the share of them on which the map does better than the control, ties being half. Raises MetricError for scores
    of several metrics, or not one of each for each image.
    """
    own = list(range(len(scores))) if groups is None else list(groups)
    names = {s.metric for s in (*scores, *controls)}
    if len(names) != 1 or not len(scores) == len(controls) == len(own):
        raise MetricError(
            f"{len(scores)} scores and {len(controls)} of controls, of {sorted(names) or 'no metric'}, "
            f"in {len(own)} groups",
            expected="scores of one metric, and for each image one of the map, one of the control, and a group",
            do="Compare each metric and each control by itself.",
        )
    kept, excluded = [], Counter[str]()
    for score, control, group in zip(scores, controls, own, strict=True):
        if isinstance(score.value, Undefined):
            excluded[f"map: {score.value.reason}"] += 1
        elif isinstance(control.value, Undefined):
            excluded[f"control: {control.value.reason}"] += 1
        else:
            kept.append((score.number, control.number, group))
    first = scores[0]
    how = ("the score of the map minus that of a control map, image by image", *first.how)
    if not kept:
        nothing = Undefined(f"none of {len(scores)} images has both scores")
        return Score(first.metric, nothing, first.direction, 0.0, n=0, excluded=dict(excluded), how=how)
    gaps = [a - b for a, b, _ in kept]
    wins = sum((gap > 0) + 0.5 * (gap == 0) for gap in gaps) / len(gaps)
    parts = {
        "map": sum(a for a, _, _ in kept) / len(kept),
        "control": sum(b for _, b, _ in kept) / len(kept),
        "better": 1 - wins if first.direction == "lower" else wins,
    }
    interval = clustered(gaps, [group for _, _, group in kept], seed=seed)
    mean = sum(gaps) / len(gaps)
    return Score(first.metric, mean, first.direction, 0.0, interval, len(kept), dict(excluded), parts=parts, how=how)
