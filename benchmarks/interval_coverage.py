"""How often the intervals of `clustered`, called 95 %, hold the true value, by kind of data and number of groups.

Every run draws a cohort from a law whose mean is known, and asks for one interval. `clusters` are patients of one to
six images each, most of the spread between patients; `shares` are skewed values from 0 to 1, as overlaps are; `hits`
are images that are hit or not, with a chance of their patient's own; `AUC` is a statistic that is no mean, and of
fewer than ten groups says nothing.
Run: python benchmarks/interval_coverage.py [RUNS] > benchmarks/interval_coverage.md
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, rankdata

from saliscope.metrics.statistics.bootstrap import DRAWS, clustered

GROUPS = (3, 5, 10, 12, 20, 29, 30, 60, 99, 100)
Floats = npt.NDArray[np.float64]
Cohort = tuple[Floats, list[int], float]


def alone(values: Floats, true: float) -> Cohort:
    """Return values of which each is its own group."""
    return values, list(range(len(values))), true


def clusters(rng: np.random.Generator, count: int) -> Cohort:
    """Return images of patients that differ more than the images of one do."""
    sizes = rng.integers(1, 7, count)
    values = np.repeat(rng.normal(size=count), sizes) + 0.5 * rng.normal(size=sizes.sum())
    return values, np.repeat(np.arange(count), sizes).tolist(), 0.0


def hits(rng: np.random.Generator, count: int) -> Cohort:
    """Return hits and misses of patients with chances of their own, 30 % in the mean."""
    sizes = rng.integers(1, 7, count)
    chances = np.repeat(rng.beta(1.5, 3.5, count), sizes)
    return (rng.random(len(chances)) < chances).astype(float), np.repeat(np.arange(count), sizes).tolist(), 0.3


def ranked(rng: np.random.Generator, count: int) -> Cohort:
    """Return rows (score, label) of two laws that lie one standard deviation apart."""
    labels = (np.arange(count) % 2).astype(float)
    return alone(np.stack([rng.normal(size=count) + labels, labels], axis=1), float(norm.cdf(0.5**0.5)))


def auc(rows: Floats) -> float:
    """Return the area under the curve of scores for labels; not a number with one label only."""
    ill = rows[:, 1] > 0.5
    pairs = int(ill.sum() * (~ill).sum())
    return float((rankdata(rows[:, 0])[ill].sum() - ill.sum() * (ill.sum() + 1) / 2) / pairs) if pairs else float("nan")


LAWS: dict[str, Callable[[np.random.Generator, int], Cohort]] = {
    "normal": lambda rng, n: alone(rng.normal(size=n), 0.0),
    "exponential": lambda rng, n: alone(rng.exponential(size=n), 1.0),
    "shares": lambda rng, n: alone(rng.beta(0.7, 2, size=n), 0.7 / 2.7),
    "clusters": clusters,
    "hits": hits,
    "AUC": ranked,
}


def coverage(law: str, count: int, runs: int) -> tuple[float, float]:
    """Return the share of intervals that hold the true value, and the mean width; all from one seed."""
    rng = np.random.default_rng(0)
    inside, widths = 0, []
    statistic, draws = (auc, 400) if law == "AUC" else (None, DRAWS)
    for run in range(runs):
        values, groups, true = LAWS[law](rng, count)
        found = clustered(values, groups, statistic, draws=draws, seed=run)
        if found is not None:
            inside += found.low <= true <= found.high
            widths.append(found.high - found.low)
    return inside / runs, float(np.median(widths))


def cell(law: str, count: int, runs: int) -> str:
    """Return a cell of the table: the share, and the median width."""
    if law == "AUC" and count < 10:
        return "–"
    share, width = coverage(law, count, runs // 5 if law == "AUC" else runs)
    return f"{share:.1%} ({width:.2f})"


def main(runs: int) -> None:
    """Print a table in Markdown: laws by numbers of groups."""
    print(f"# Coverage of intervals called 95 %\n\nFrom `python benchmarks/interval_coverage.py {runs}`.")
    print(f"Of {runs} cohorts each (AUC: {runs // 5}) the share whose interval holds the true value; median width.\n")
    print("| groups |", " | ".join(LAWS), "|\n|--:|" + "--:|" * len(LAWS))
    for count in GROUPS:
        print(f"| {count} |", " | ".join(cell(law, count, runs) for law in LAWS), "|", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
