"""Checks of input and parameters; the only file that names scikit-learn's privates."""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval, InvalidParameterError, StrOptions
from sklearn.utils.validation import check_array, validate_data

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands where scikit-learn has no callbacks yet."""


__all__ = [
    "CallbackSupportMixin",
    "Interval",
    "InvalidParameterError",
    "StrOptions",
    "_fit_context",
    "check_n_samples",
    "check_table",
    "unchanged_on_failure",
]


@contextmanager
def unchanged_on_failure(estimator: BaseEstimator) -> Iterator[None]:
    """Leave the estimator as it was before, whatever ends the block early."""
    before = dict(estimator.__dict__)
    try:
        yield
    except BaseException:
        estimator.__dict__.clear()
        estimator.__dict__.update(before)
        raise


def check_table(
    estimator: BaseEstimator, X: Any, *, reset: bool, reads_labels: bool = False
) -> Any:
    """Validate the shape and the names of a table, and what an array may hold.

    What a column may hold is for `_columns` to say, which knows its kind.

    Parameters
    ----------
    reset : bool
        True in `fit`: learn the number and names of the features; otherwise hold X
        against them.
    reads_labels : bool
        Whether the fitted table has columns that only a frame can hold.

    Returns
    -------
    X : ndarray of shape (n, D), float64 or float32; or the frame as it came

    Raises
    ------
    ValueError, TypeError
        Says what came and the remedy.
    """
    if np.ma.isMaskedArray(X):
        raise TypeError(
            "X is a numpy masked array, whose mask would be dropped silently. Fill or "
            "drop the masked cells first; X.filled(np.nan) marks them as missing."
        )
    expected = {"ensure_all_finite": False, "ensure_min_samples": 2 if reset else 1}
    if _is_frame(X):
        validate_data(estimator, _named(X), reset=reset, skip_check_array=True)
        # A table of this shape, to refuse one without rows in scikit-learn's words.
        check_array(np.broadcast_to(0.0, X.shape), estimator=estimator, **expected)
        return X
    if reads_labels:
        raise TypeError(
            f"{type(estimator).__name__} was fitted on a frame with columns of labels; "
            f"pass such a frame, not {type(X).__name__}."
        )
    _refuse_strings_and_dates(X)
    dtype = [np.float64, np.float32]
    return validate_data(estimator, X, reset=reset, dtype=dtype, **expected)


def _is_frame(X: Any) -> bool:
    """Whether X is a frame of pandas or polars, or one like theirs."""
    return (hasattr(X, "iloc") or hasattr(X, "to_series")) and hasattr(X, "columns")


def _named(X: Any) -> Any:
    """A frame whose names scikit-learn can read; 1.6 knows none of polars'."""
    if hasattr(X, "iloc"):
        return X
    import pandas as pd

    return pd.DataFrame(columns=X.columns)


def _refuse_strings_and_dates(X: Any) -> None:
    """np.asarray would turn "1.5" into 1.5 without a word, and dates into numbers."""
    X = np.asarray(X) if isinstance(X, (list, tuple)) else X
    dtype = getattr(X, "dtype", None)
    if not isinstance(dtype, np.dtype):
        return
    if dtype.kind in "mM":
        raise TypeError(
            f"X has dtype {dtype}, dates or durations; convert them to numbers first, "
            "such as days since a reference date."
        )
    if dtype.kind in "UST":
        raise ValueError(
            f"X is an array of strings (dtype {dtype}); pass a pandas or polars frame "
            "for categorical columns, or X.astype(float) for digits."
        )
    if dtype.kind == "O" and X.ndim == 2:
        for j in range(X.shape[1]):
            for value in X[:, j]:
                if isinstance(value, _NO_NUMBERS):
                    raise ValueError(
                        f"Column {j} of the object array X holds {value!r}; pass a "
                        "pandas or polars frame for categorical columns, X.astype("
                        "float) for digits, dates as days since a reference date."
                    )


_NO_NUMBERS = (str, bytes, date, timedelta, np.datetime64, np.timedelta64)


def check_n_samples(n_samples: Any) -> int:
    """A number of rows to draw.

    Raises
    ------
    TypeError, ValueError
        For anything but an integer of at least 1.
    """
    if isinstance(n_samples, (bool, np.bool_)) or not isinstance(
        n_samples, numbers.Integral
    ):
        raise TypeError(f"n_samples must be an integer >= 1, got {n_samples!r}.")
    if n_samples < 1:
        raise ValueError(f"n_samples must be an integer >= 1, got {n_samples!r}.")
    return int(n_samples)
