"""Intervals, permutation tests, and corrections for many of them."""
