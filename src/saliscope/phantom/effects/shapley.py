"""Shapley values of players whose coalitions were scored: exact over all coalitions, or over drawn orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import factorial

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]


def steps(order: Sequence[int]) -> list[int]:
    """Return the sets, as bits, that grow while elements come in one by one: from the empty to the full one."""
    sets = [0]
    for element in order:
        sets.append(sets[-1] | 1 << element)
    return sets


def exact(table: Doubles, count: int) -> Doubles:
    """Return Shapley values (m, K) of the scores (2**m, K) of all sets, in the order of their bits (shapley1953)."""
    sets = np.arange(1 << count)
    size = np.bitwise_count(sets)
    weight = np.array([factorial(s) * factorial(count - s - 1) / factorial(count) for s in range(count)])
    found = np.zeros((count, table.shape[1]))
    for i in range(count):
        without = sets[(sets >> i) & 1 == 0]
        found[i] = weight[size[without]] @ (table[without | 1 << i] - table[without])
    return found


def sampled(table: Mapping[int, Doubles], orders: Sequence[Sequence[int]]) -> tuple[Doubles, Doubles]:
    """Return means (m, K) over drawn orders and their standard errors; `orders` are pairs of one and its reverse.

    A pair is one draw: its two halves are not independent.
    """
    gains = np.stack([_gains(table, order) for order in orders])
    draws = gains.reshape(-1, 2, *gains.shape[1:]).mean(axis=1)
    return draws.mean(axis=0), draws.std(axis=0, ddof=1) / np.sqrt(len(draws))


def _gains(table: Mapping[int, Doubles], order: Sequence[int]) -> Doubles:
    found = [table[later] - table[earlier] for earlier, later in pairwise(steps(order))]
    return np.stack(found)[np.argsort(order)]
