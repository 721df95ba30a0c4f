"""Checks of input and parameters; the only file that names scikit-learn's privates."""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_array, validate_data

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands where scikit-learn has no callbacks yet."""


__all__ = [
    "CallbackSupportMixin",
    "Interval",
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


def is_frame(X: Any) -> bool:
    """Whether X is a pandas or polars frame."""
    return hasattr(X, "columns") and hasattr(X, "dtypes") and hasattr(X, "shape")


def check_table(
    estimator: BaseEstimator, X: Any, *, reset: bool, mixed: bool | None = None
) -> Any:
    """Validate a table: a float array, or a frame whose columns are of several kinds.

    Parameters
    ----------
    reset : bool
        True in `fit`: learn the number and names of the features; otherwise hold X
        against them.
    mixed : bool or None
        Whether the fitted table is read column by column; None decides by X.

    Returns
    -------
    X : ndarray of shape (n, D), float64 or float32; or the frame itself if mixed

    Raises
    ------
    ValueError, TypeError
        Says which column holds what, and the remedy.
    """
    if np.ma.isMaskedArray(X):
        raise TypeError(
            "X is a numpy masked array, whose mask would be dropped silently. Fill or "
            "drop the masked cells first; X.filled(np.nan) marks them as missing."
        )
    if mixed is None:
        mixed = is_frame(X) and any(_frame_kind(X, j) != "number" for j in range(X.shape[1]))
    if mixed:
        return _check_frame(estimator, X, reset=reset)
    if is_frame(X):
        for j in range(X.shape[1]):
            if (kind := _frame_kind(X, j)) != "number":
                raise ValueError(
                    f"Column {X.columns[j]!r} holds {kind} values but was numeric when "
                    f"{type(estimator).__name__} was fitted; convert it to numbers."
                )
    else:
        _refuse_strings(X)
    X = validate_data(
        estimator,
        X,
        reset=reset,
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,
        ensure_min_samples=2 if reset else 1,
    )
    _check_finite(estimator, X)
    return X


def _refuse_strings(X: Any) -> None:
    """np.asarray would turn "1.5" into 1.5 without a word."""
    X = np.asarray(X) if isinstance(X, (list, tuple)) else X
    dtype = getattr(X, "dtype", None)
    if not isinstance(dtype, np.dtype):
        return
    if dtype.kind in "mM":
        raise TypeError(
            f"X has dtype {dtype}, dates or durations; convert them to numbers first, "
            "such as days since a reference date."
        )
    if dtype.kind in "USTV":
        raise ValueError(
            f"X is an array of strings (dtype {dtype}); pass a pandas or polars frame "
            "for categorical columns, or X.astype(float) for digits."
        )
    if dtype.kind == "O" and X.ndim == 2:
        for j in range(X.shape[1]):
            for value in X[:, j]:
                if isinstance(value, (str, bytes)):
                    raise ValueError(
                        f"Column {j} of the object array X holds the string {value!r}; "
                        "pass a pandas or polars frame for categorical columns, or "
                        "X.astype(float) for digits."
                    )


def _check_finite(estimator: BaseEstimator, X: np.ndarray) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(X.sum(dtype=np.float64)):
            return
    names = getattr(estimator, "feature_names_in_", range(X.shape[1]))
    for j, name in enumerate(names):
        bad = X[~np.isfinite(X[:, j]), j]
        if len(bad):
            found = "NaN" if np.isnan(bad[0]) else f"infinity ({bad[0]})"
            raise ValueError(
                f"Input X contains {found} in column {name!r}; "
                f"{type(estimator).__name__} takes finite values only: drop such rows, "
                "or fill them with sklearn.impute."
            )


def _frame_kind(X: Any, j: int) -> str:
    """ "number", "category", or a kind that no density takes, by the column's dtype."""
    dtype = str(X.dtypes.iloc[j] if hasattr(X.dtypes, "iloc") else X.dtypes[j]).lower()
    if dtype.startswith(("int", "uint", "float", "decimal", "double", "sparse[float")):
        return "number"
    if dtype.startswith(("cat", "enum", "bool", "str", "object", "large_string")):
        return "category"
    return f"{dtype}"


def _check_frame(estimator: BaseEstimator, X: Any, *, reset: bool) -> Any:
    if not is_frame(X):
        raise TypeError(
            f"{type(estimator).__name__} was fitted on a frame with columns of several "
            f"kinds; pass such a frame, not {type(X).__name__}."
        )
    validate_data(estimator, X, reset=reset, skip_check_array=True)
    n, minimum = X.shape[0], 2 if reset else 1
    if n < minimum:
        raise ValueError(
            f"Found array with {n} sample(s) (shape={tuple(X.shape)}) while a minimum "
            f"of {minimum} is required by {type(estimator).__name__}."
        )
    return X


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
