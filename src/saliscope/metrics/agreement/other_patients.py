"""arun2021, on nulls from maps of other images: whether maps of one patient agree more than maps of two patients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING

from saliscope.core.errors import MetricError
from saliscope.core.metric import OfPair
from saliscope.core.score import Score, Undefined
from saliscope.metrics.agreement.families import weights
from saliscope.metrics.statistics.bootstrap import clustered
from saliscope.metrics.statistics.permutation import permutation_p

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from saliscope.core.metric import Map

    Floats = npt.NDArray[np.float64]
    Tables = dict[tuple[str, str], Floats]

DRAWS = 999


def beyond_other_patients(
    pair: OfPair,
    maps: Mapping[str, Sequence[Map]],
    families: Mapping[str, str],
    patients: Sequence[Hashable] | None = None,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Score:
    """Return how far maps of the same image, one list (N) of maps (*S) for each method, agree across families.

    The null is the mean agreement of maps of two patients. `parts`: "percentile", the mean share of other patients'
    pairs that agree less (ties half); "p", how often methods whose patients are shuffled, each by itself, agree as
    much, exact where each patient has one image; "patients". Two runs of one method, or two networks, are compared by
    giving each a family of its own. An image with a map that cannot be compared is left out and counted. The interval
    is the bootstrap over patients. The cost is N² comparisons for each pair of methods of two families. Raises
    MetricError for lists of unlike length, or a method without a family.
    """
    own = _checked(maps, families, patients)
    every = weights({name: families[name] for name in maps})
    direction = pair.traits.direction
    how = ("agreement of maps of one image; null: maps of two patients; pairs of families weigh the same",)
    if not every:
        return Score("agreement", Undefined("all methods are of one family"), direction, n=0, how=how)
    kept, excluded, name = _comparable(pair, maps, list(every))
    numbers = {p: i for i, p in enumerate(dict.fromkeys(own[i] for i in kept))}
    if len(numbers) < 2:
        why = Undefined(f"maps of {len(numbers)} patients can be compared")
        return Score(name, why, direction, n=0, excluded=excluded, how=how)
    member = [numbers[own[i]] for i in kept]
    chosen = {m: [maps[m][i] for i in kept] for m in maps}
    images = {key: _table(pair, chosen[key[0]], chosen[key[1]]) for key in every}
    tables = {key: _by_patient(table, member) for key, table in images.items()}
    same: Floats = sum(every[key] * table.diagonal() for key, table in images.items())  # type: ignore[assignment]
    null, percentile = _null(tables, every, direction == "lower")
    parts = {
        "percentile": percentile,
        "p": _p(tables, every, draws, seed, direction == "lower"),
        "patients": float(len(numbers)),
    }
    interval = clustered(same, member, seed=seed)
    return Score(name, float(same.mean()), direction, null, interval, len(kept), excluded, parts=parts, how=how)


def _checked(
    maps: Mapping[str, Sequence[Map]], families: Mapping[str, str], patients: Sequence[Hashable] | None
) -> list[Hashable]:
    lengths = {len(m) for m in maps.values()}
    count = max(lengths, default=0)
    own: list[Hashable] = list(range(count)) if patients is None else list(patients)
    if len(lengths) != 1 or len(own) != count or not set(maps) <= set(families):
        raise MetricError(
            f"lists of {sorted(lengths)} maps of {len(own)} patients, by methods {sorted(maps)}",
            expected="one map of each image by each method, a patient for each image, a family for each method",
            do="Leave out images of which a map is missing.",
        )
    return own


def _comparable(
    pair: OfPair, maps: Mapping[str, Sequence[Map]], every: Sequence[tuple[str, str]]
) -> tuple[list[int], dict[str, int], str]:
    """Return the images whose maps can all be compared, why the others cannot, and the name of the metric."""
    kept, excluded, name = [], Counter[str](), "agreement"
    for i in range(len(next(iter(maps.values())))):
        scores = [pair.of_pair(maps[a][i], maps[b][i]) for a, b in every]
        name = scores[0].metric
        reason = next((s.value.reason for s in scores if isinstance(s.value, Undefined)), None)
        if reason is None:
            kept.append(i)
        else:
            excluded[reason] += 1
    return kept, dict(excluded), name


def _table(pair: OfPair, first: Sequence[Map], second: Sequence[Map]) -> Floats:
    """Return the agreement (N, N) of each map of one list with each of another."""
    import numpy as np

    return np.array([[pair.of_pair(a, b).number for b in second] for a in first])


def _by_patient(table: Floats, member: Sequence[int]) -> Floats:
    """Return means over the images of patients (P, P): of one patient over its images, not over pairs of them."""
    import numpy as np

    of = np.array(member)
    count = int(of.max()) + 1
    found = np.array([[table[np.ix_(of == p, of == q)].mean() for q in range(count)] for p in range(count)])
    np.fill_diagonal(found, [table.diagonal()[of == p].mean() for p in range(count)])
    return found


def _null(tables: Tables, every: Mapping[tuple[str, str], float], lower: bool) -> tuple[float, float]:
    """Return the mean agreement of two patients, and the mean share of them that agree less than each with itself."""
    import numpy as np

    table: Floats = sum(every[key] * found for key, found in tables.items())  # type: ignore[assignment]
    count = len(table)
    away = ~np.eye(count, dtype=bool)
    shares = []
    for p in range(count):
        others = np.concatenate([table[p][away[p]], table[:, p][away[p]]])
        gap = (others - table[p, p]) if lower else (table[p, p] - others)
        shares.append(float((gap > 0).mean() + 0.5 * (gap == 0).mean()))
    return float(table[away].mean()), sum(shares) / count


def _p(tables: Tables, every: Mapping[tuple[str, str], float], draws: int, seed: int, lower: bool) -> float:
    import numpy as np

    rng = np.random.default_rng(seed)
    count = len(next(iter(tables.values())))
    methods = list(dict.fromkeys(name for key in every for name in key))

    def mean(orders: Mapping[str, npt.NDArray[np.int64]]) -> float:
        found = sum(every[a, b] * float(tables[a, b][orders[a], orders[b]].mean()) for a, b in every)
        return -found if lower else found

    found = mean(dict.fromkeys(methods, np.arange(count)))
    drawn = [mean({m: rng.permutation(count) for m in methods}) for _ in range(draws)]
    # The same sum in another order may differ in its last digits, and would then count as less.
    near = 1e-12 * max(1.0, abs(found))
    return permutation_p(found - near, drawn)
