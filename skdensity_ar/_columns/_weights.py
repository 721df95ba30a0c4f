"""Weights as repetitions."""

from __future__ import annotations

import numpy as np

# Weights that are whole numbers are taken as repetitions up to so many rows in all, or
# so many times the rows there are.
_MOST_ROWS, _MOST_TIMES = 2**20, 8


def repetitions(weights: np.ndarray) -> np.ndarray:
    """Repeat the index of every example as often as it counts, from weights (n,) > 0.

    Of weights that are no whole numbers n indices in all, in proportion: what counts
    little may not be among them.
    """
    n, largest = len(weights), weights.max()
    shares = np.cumsum(weights / largest)  # of large ones the sum is infinite
    whole = bool((weights == np.floor(weights)).all())
    if whole and shares[-1] <= max(_MOST_ROWS, _MOST_TIMES * n) / largest:
        ends = np.cumsum(weights)
    else:
        ends = np.floor(shares * (n / shares[-1]) + 0.5)
    times = np.diff(ends, prepend=0.0)
    return np.repeat(np.arange(n), times.astype(np.int64))
