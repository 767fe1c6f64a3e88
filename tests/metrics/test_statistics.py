"""Intervals, bootstrap, permutation and corrections against scipy and against what they promise."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from saliscope.core.errors import MetricError
from saliscope.metrics.statistics.bootstrap import clustered
from saliscope.metrics.statistics.intervals import clopper_pearson, upper_bound, wilson
from saliscope.metrics.statistics.multiple import benjamini_hochberg, holm
from saliscope.metrics.statistics.permutation import permutation_p, stopped

TRIALS = [(0, 1), (1, 1), (0, 50), (1, 50), (7, 240), (25, 50), (50, 50), (3, 10000)]


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("hits", "n"), TRIALS)
@pytest.mark.parametrize(("ours", "theirs"), [(wilson, "wilson"), (clopper_pearson, "exact")])
def test_intervals_of_a_proportion_equal_scipy(ours, theirs, hits, n, level):
    found, right = ours(hits, n, level), stats.binomtest(hits, n).proportion_ci(level, theirs)
    assert (found.low, found.high) == pytest.approx((right.low, right.high), abs=1e-12)
    assert 0 <= found.low <= hits / n <= found.high <= 1
    assert found.level == level


@pytest.mark.parametrize(("hits", "n"), TRIALS)
def test_the_one_sided_bound_equals_scipy(hits, n):
    right = stats.binomtest(hits, n, alternative="less").proportion_ci(0.95, "exact")
    assert upper_bound(hits, n) == pytest.approx(right.high, abs=1e-12)


def test_none_of_fifty_nine_is_below_five_percent():
    assert upper_bound(0, 59) < 0.05 < upper_bound(0, 58)
    assert upper_bound(0, 0) == 1


def test_without_trials_there_is_no_interval_and_more_hits_than_trials_are_refused():
    assert wilson(0, 0) is None
    assert clopper_pearson(0, 0) is None
    for ask in (wilson, clopper_pearson, upper_bound):
        for bad in ((2, 1, 0.95), (-1, 1, 0.95), (1, 2, 0.0), (1, 2, 1.0)):
            with pytest.raises(MetricError):
                ask(*bad)


@pytest.mark.parametrize("values", [stats.expon, stats.norm], ids=["skew", "symmetric"])
def test_groups_of_one_equal_scipy_s_bca_draw_for_draw(values):
    # From 100 groups on: with 60, BCa covered 93.0 % where the bootstrap-t did 95.
    rows = values.rvs(size=120, random_state=np.random.default_rng(3))
    right = stats.bootstrap((rows,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(0))
    found = clustered(rows, range(120))
    assert (found.low, found.high) == pytest.approx(tuple(right.confidence_interval), rel=1e-9)
    assert found.kind == "BCa bootstrap over 120 groups"


def test_any_statistic_of_groups_of_one_equals_scipy_s():
    rows = np.random.default_rng(3).exponential(size=120)
    right = stats.bootstrap(
        (rows,), np.median, n_resamples=500, method="BCa", vectorized=True, rng=np.random.default_rng(4)
    )
    found = clustered(rows, range(120), lambda some: float(np.median(some)), draws=500, seed=4)
    assert (found.low, found.high) == pytest.approx(tuple(right.confidence_interval), rel=1e-9)


def test_the_mean_in_one_step_equals_the_mean_draw_by_draw():
    rng = np.random.default_rng(1)
    # 100 groups and more: below, the mean has the bootstrap-t, which a statistic without a known error has not.
    rows, groups = rng.normal(size=(300, 3)), [*range(110), *rng.integers(110, size=190)]
    one, two = clustered(rows, groups), clustered(rows, groups, lambda some: float(some.mean()))
    assert (one.low, one.high) == pytest.approx((two.low, two.high), rel=1e-9)


def test_few_groups_take_the_bootstrap_t_written_out_and_say_so():
    """hall1988: the mean less its error times the quantiles of (mean of a draw - mean) / error of the draw."""
    rows = np.random.default_rng(3).exponential(size=20)

    def error(some):
        return some.std(ddof=1) / 20**0.5

    chosen = np.random.default_rng(0).integers(20, size=(2000, 20))
    quotients = [(rows[c].mean() - rows.mean()) / error(rows[c]) for c in chosen]
    low, high = np.quantile(quotients, [0.025, 0.975])
    found = clustered(rows, range(20))
    right = (rows.mean() - high * error(rows), rows.mean() - low * error(rows))
    assert (found.low, found.high) == pytest.approx(right, rel=1e-9)
    assert found.kind == "bootstrap-t over 20 groups"


def test_the_error_of_a_mean_over_groups_is_that_of_a_ratio():
    """cochran's ratio estimator: groups of unequal size differ from the mean by their sum less its share of rows."""
    rng = np.random.default_rng(5)
    groups = np.repeat(np.arange(4), [1, 2, 3, 6])
    rows = rng.normal(size=12) + groups
    off = [rows[groups == g].sum() - rows.mean() * (groups == g).sum() for g in range(4)]
    half = stats.t.ppf(0.975, 3) * (4 / 3 * sum(o**2 for o in off)) ** 0.5 / 12
    found = clustered(rows, list(groups))
    assert (found.low, found.high) == pytest.approx((rows.mean() - half, rows.mean() + half), rel=1e-12)
    assert found.kind == "Student's t over 4 groups"


def test_one_group_unlike_all_others_takes_student_s_t():
    """Each third draw is without it, and then has next to no error to divide by: a quotient without bound."""
    rows = [1.0, *np.random.default_rng(2).normal(0, 1e-3, 19)]
    found, right = clustered(rows, range(20)), stats.t.interval(0.95, 19, np.mean(rows), stats.sem(rows))
    assert (found.low, found.high) == pytest.approx(right, rel=1e-9)
    assert found.kind == "Student's t over 20 groups"


def test_a_statistic_of_few_groups_has_bca_with_the_tails_of_student_s_t():
    """hesterberg2015, section 5: the tails a of the normal become those of t, and the spread is without its bias."""
    rows = np.random.default_rng(3).exponential(size=12)
    level = 1 - 2 * stats.norm.cdf(stats.t.ppf(0.025, 11) * (12 / 11) ** 0.5)
    right = stats.bootstrap(
        (rows,),
        np.median,
        n_resamples=500,
        method="BCa",
        vectorized=True,
        confidence_level=level,
        rng=np.random.default_rng(4),
    )
    found = clustered(rows, range(12), lambda some: float(np.median(some)), draws=500, seed=4)
    assert (found.low, found.high) == pytest.approx(tuple(right.confidence_interval), rel=1e-9)
    assert found.kind == "BCa widened bootstrap over 12 groups"


@pytest.mark.parametrize("count", [5, 10, 12, 29, 30, 60])
@pytest.mark.parametrize("kind", ["normal", "exponential", "clusters"])
def test_ninety_five_percent_is_what_it_says_with_few_patients_too(kind, count):
    """300 cohorts each, so within three standard errors of 93 to 97 %; the measured table is in benchmarks/."""
    rng, inside = np.random.default_rng(count), 0
    for _ in range(300):
        sizes = rng.integers(1, 7, count) if kind == "clusters" else np.ones(count, int)
        groups = np.repeat(np.arange(count), sizes)
        rows = rng.exponential(size=count) - 1 if kind == "exponential" else rng.normal(size=count)
        rows = np.repeat(rows, sizes) + (kind == "clusters") * 0.5 * rng.normal(size=len(groups))
        found = clustered(rows, list(groups), draws=500)
        inside += found.low <= 0 <= found.high
    assert 0.93 - 0.044 <= inside / 300 <= 0.97 + 0.03


def test_the_interval_of_hits_stays_between_none_and_all():
    found = clustered([0.0, 0.0, 1.0, 0.0, 0.0, 0.0], "aabbcd")
    assert (found.low, found.kind) == (0.0, "Student's t over 4 groups")
    assert found.high <= 1


def test_intervals_over_patients_hold_what_they_promise_where_those_over_images_do_not():
    """50 patients with 6 images each, most of the spread between patients; 300 cohorts; 95 % promised."""
    rng, groups, held = np.random.default_rng(8), np.repeat(np.arange(50), 6), {"patients": 0, "images": 0}
    for _ in range(300):
        rows = np.repeat(rng.normal(size=50), 6) + 0.5 * rng.normal(size=300)
        for name, own in (("patients", list(groups)), ("images", range(300))):
            found = clustered(rows, own, draws=400)
            held[name] += found.low <= 0 <= found.high
    assert 0.90 <= held["patients"] / 300 <= 0.98
    assert held["images"] / 300 < 0.75


def test_what_the_bootstrap_refuses_and_what_it_cannot_say():
    assert clustered([1.0, 2.0], ["a", "a"]) is None
    assert clustered([], []) is None
    with pytest.raises(MetricError):
        clustered([1.0, 2.0], ["a"])
    assert clustered([1.0, 2.0], ["a", "b"], lambda some: float("nan")) is None
    same = clustered([0.1] * 40, range(40))
    assert (same.low, same.high) == pytest.approx((0.1, 0.1))


def test_a_draw_that_is_not_finite_is_left_out():
    def ratio(some):
        return float(some.sum() / some.max()) if some.max() > 0 else float("nan")

    found = clustered([0.0, 1.0, 2.0], "abc", ratio)
    assert 1 <= found.low <= found.high <= 3


def test_the_bootstrap_moves_no_shared_generator_and_repeats():
    before = repr(np.random.get_state())  # noqa: NPY002
    assert clustered([1.0, 2.0, 4.0], "abc") == clustered([1.0, 2.0, 4.0], "abc")
    assert clustered([1.0, 2.0, 4.0], "abc", seed=1).kind == clustered([1.0, 2.0, 4.0], "abc").kind
    assert repr(np.random.get_state()) == before  # noqa: NPY002


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_equals_scipy(p):
    np.testing.assert_allclose(benjamini_hochberg(p), stats.false_discovery_control(p), rtol=1e-12)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_equals_its_definition(p):
    order = np.argsort(p, kind="stable")
    right = np.empty(len(p))
    right[order] = np.minimum(1, np.maximum.accumulate((len(p) - np.arange(len(p))) * np.array(p)[order]))
    np.testing.assert_allclose(holm(p), right, rtol=1e-12)


def test_corrections_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert benjamini_hochberg([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert holm([]) == benjamini_hochberg([]) == []
    for ask in (holm, benjamini_hochberg):
        for bad in (-0.1, 1.1, float("nan")):
            with pytest.raises(MetricError):
                ask([0.5, bad])


def test_holm_keeps_its_promise_where_all_is_chance():
    """Of 2000 families of 8 true null hypotheses, 5 % or fewer have a rejection, but for chance (3 errors)."""
    draws = np.random.default_rng(0).random((2000, 8))
    wrong = np.mean([min(holm(list(row))) <= 0.05 for row in draws])
    assert wrong <= 0.05 + 3 * (0.05 * 0.95 / 2000) ** 0.5
    assert np.mean([min(row) <= 0.05 for row in draws]) > 0.3, "without it a third have one"


def test_the_permutation_p_is_exact():
    """Over all 5! orders, each as likely under the null hypothesis: P(p <= a) is never above a."""
    data = [0.3, 1.2, -0.7, 2.2, 0.9]
    every = [order[0] + order[1] - order[3] for order in permutations(data)]
    found = [permutation_p(one, every[:i] + every[i + 1 :]) for i, one in enumerate(every)]
    for level in (0.05, 0.1, 0.5):
        assert np.mean([p <= level + 1e-12 for p in found]) <= level
    assert min(found) == pytest.approx(sum(e == max(every) for e in every) / 120)


def test_the_permutation_p_by_hand_is_never_zero_and_takes_ties_against_the_find():
    assert permutation_p(3, [1, 2, 3, 4]) == pytest.approx(3 / 5)
    assert permutation_p(9, [1] * 99) == pytest.approx(0.01)
    for bad in ((1.0, []), (float("nan"), [1.0]), (1.0, [float("nan")])):
        with pytest.raises(MetricError):
            permutation_p(*bad)
        with pytest.raises(MetricError):
            stopped(*bad, enough=1)


def test_drawing_stops_at_the_draw_that_is_enough():
    assert stopped(3, [1, 5, 1, 3, 9, 9], enough=2) == (0.5, 4)
    assert stopped(3, [1, 5, 1, 1], enough=2) == (2 / 5, 4)
    with pytest.raises(MetricError):
        stopped(3, [1], enough=0)


def test_a_test_that_stops_early_keeps_its_level():
    """20,000 tests of chance with at most 199 draws, stopped at the tenth that is as large; 3 standard errors."""
    rng = np.random.default_rng(2)
    p = np.array([stopped(row[0], row[1:], enough=10)[0] for row in rng.random((20000, 200)).tolist()])
    for level in (0.05, 0.1, 0.2):
        assert np.mean(p <= level) <= level + 3 * (level / 20000) ** 0.5
        assert np.mean(p <= level) > 0.8 * level
