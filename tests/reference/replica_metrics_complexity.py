"""Metrics of a map alone, again from their papers: loops over elements, float64, any number of axes."""

from math import exp, log


def gini(attribution):
    """chalasani2020: 1 - 2 sum_k (v_(k) / ||v||_1) (d - k + 1/2) / d, values in rising order, k from 1."""
    values = sorted(abs(float(v)) for v in attribution.ravel())
    d, total = len(values), sum(values)
    return 1 - 2 * sum(v / total * (d - k + 0.5) / d for k, v in enumerate(values, start=1))


def entropy(attribution):
    """bhatt2020: - sum p log p of the shares in the sum of magnitudes."""
    values = [abs(float(v)) for v in attribution.ravel()]
    total = sum(values)
    return -sum(v / total * log(v / total) for v in values if v)


def effective_size(attribution):
    """hill1973: the number of order 1, over the number of elements."""
    return exp(entropy(attribution)) / attribution.size
