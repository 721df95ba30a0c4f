"""Checks of input and parameters; the only file that names scikit-learn's privates."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    InvalidParameterError,
    StrOptions,
)
from sklearn.utils.validation import (
    _check_sample_weight,
    check_array,
    validate_data,
)

from skdensity_ar._frames import (
    column_index,
    column_values,
    concatenate,
    container_of,
    first_not_finite,
    is_missing,
    unknown_column,
)

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stands where scikit-learn has no callbacks yet."""


__all__ = [
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "InvalidParameterError",
    "StrOptions",
    "_fit_context",
    "as_table",
    "check_columns",
    "check_context",
    "check_count",
    "check_flag",
    "check_matplotlib_support",
    "check_sequences",
    "check_table",
    "check_weights",
    "errors_about",
    "unchanged_on_failure",
    "weighted_mean",
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


@contextmanager
def errors_about(what: str | None) -> Iterator[None]:
    """Begin the messages of errors with what they are of; None leaves them."""
    try:
        yield
    except (ValueError, TypeError) as error:
        if what is None:
            raise
        raise type(error)(f"{what}: {error}") from error


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
    _refuse_masked(X, "X", _OF_TABLE)
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
    _refuse_no_numbers(X)
    dtype = [np.float64, np.float32]
    return validate_data(estimator, X, reset=reset, dtype=dtype, **expected)


def check_sequences(
    estimator: BaseEstimator, X: Any, *, reset: bool, reads_labels: bool = False
) -> tuple[Any, np.ndarray]:
    """Validate sequences and lay them one after the other.

    Parameters
    ----------
    X : list or object array of arrays or frames (n_timesteps_i, n_features)
        Or one array (n_sequences, n_timesteps, n_features); rows of NaN at the end of
        a sequence are not part of it.
    reset, reads_labels : bool
        As in `check_table`.

    Returns
    -------
    table : ndarray or frame of shape (Σ n_timesteps_i, n_features)
        As `check_table` returns it.
    lengths : ndarray of int, shape (n_sequences,)

    Raises
    ------
    ValueError, TypeError
        Names the sequence by its index, counted from 0.
    """
    sequences = [_check_sequence(s, i) for i, s in enumerate(_sequences(X))]
    if not sequences:
        raise ValueError(
            f"Found 0 sequences in X; a minimum of 1 is required by "
            f"{type(estimator).__name__}."
        )
    first = sequences[0]
    for i, s in enumerate(sequences):
        if container_of(s) != container_of(first):
            raise TypeError(
                f"Sequence {i} is a {type(s).__name__}, sequence 0 a "
                f"{type(first).__name__}; pass sequences of one kind."
            )
        if s.shape[1] != first.shape[1]:
            raise ValueError(
                f"Sequence {i} has {s.shape[1]} features, sequence 0 has "
                f"{first.shape[1]}; all sequences must have the same ones."
            )
        if _is_frame(s) and list(s.columns) != list(first.columns):
            raise ValueError(
                f"Sequence {i} has the columns {list(s.columns)}, sequence 0 has "
                f"{list(first.columns)}; all must have the same ones in one order."
            )
    lengths = np.array([s.shape[0] for s in sequences])
    try:
        table = concatenate(sequences)
    except Exception as error:
        dtypes = [list(s.dtypes) for s in sequences]
        i = next(i for i, other in enumerate(dtypes) if other != dtypes[0])
        raise TypeError(
            f"Sequence {i} has columns of dtypes {dtypes[i]}, sequence 0 of "
            f"{dtypes[0]}, which do not go together; make them the same."
        ) from error
    table = check_table(estimator, table, reset=reset, reads_labels=reads_labels)
    return table, lengths


def check_context(C: Any, n: int, names: Sequence[Hashable] | None = None) -> Any:
    """A table of n contexts: numbers as float64, labels as objects, frames as they are.

    Parameters
    ----------
    C : array-like or frame of shape (n, n_columns), or series or array of shape (n,)
    names : sequence of hashable, optional
        The columns that it must have.

    Raises
    ------
    ValueError, TypeError
        For another shape, other columns, or dates.
    """
    _refuse_masked(C, "context", "fill or drop the masked cells first.")
    if hasattr(C, "toarray"):
        raise TypeError("context is a sparse matrix; pass context.toarray().")
    if hasattr(C, "to_frame"):  # a series
        C = C.to_frame()
    if not _is_frame(C):
        C = _context_array(C)
    if len(C.shape) != 2 or C.shape[0] != n or C.shape[1] == 0:
        raise ValueError(
            f"context has shape {tuple(C.shape)}; it must be a table of {n} rows, one "
            "for each row of X, and one column at least."
        )
    _refuse_missing(C)
    if names is None:
        return C
    if C.shape[1] != len(names):
        raise ValueError(
            f"context has {C.shape[1]} columns, the fitted density takes "
            f"{len(names)}: {list(names)}."
        )
    if _is_frame(C) and isinstance(names[0], str) and list(C.columns) != list(names):
        raise ValueError(
            f"context has the columns {list(C.columns)}, the fitted density takes "
            f"{list(names)}, in this order."
        )
    return C


def _context_array(C: Any) -> np.ndarray:
    """Numbers as float64, or labels as objects, of an array-like (n, n_columns)."""
    _refuse_lazy(C)
    # Of a list with numbers and labels numpy would make labels of all.
    C = np.asarray(C, dtype=object if isinstance(C, (list, tuple)) else None)
    C = C[:, None] if C.ndim == 1 else C
    if C.dtype.kind not in "biufOUS":
        raise TypeError(
            f"context has dtype {C.dtype}; convert it to numbers, dates to days since "
            "a reference date."
        )
    if C.dtype.kind in "biuf":
        return C.astype(np.float64)
    if C.dtype.kind != "O" or C.ndim != 2:
        return C.astype(object)
    numbers: list[int] = []
    labels: list[int] = []
    for j, column in enumerate(C.T):
        there = [v for v in column if not is_missing(v)]
        others = [v for v in there if not isinstance(v, (Real, np.bool_))]
        (labels if others else numbers).append(j)
        for v in there if others else ():
            if not isinstance(v, (str, bytes)):
                raise TypeError(
                    f"context: column {j} holds {v!r} of type {type(v).__name__}; a "
                    "column of contexts holds numbers, or strings as labels."
                )
    if numbers and labels:
        raise TypeError(
            f"context: the columns {numbers} hold numbers, {labels} labels, which an "
            "array does not tell apart; pass a pandas or polars frame."
        )
    if labels:
        return C
    cells = [[np.nan if is_missing(v) else float(v) for v in row] for row in C]
    return np.array(cells, dtype=np.float64).reshape(C.shape)


def _refuse_missing(C: Any) -> None:
    columns = C.columns if _is_frame(C) else range(C.shape[1])
    for j, name in enumerate(columns):
        with errors_about("context"):
            _, missing = column_values(C, j)
        if missing.any():
            raise ValueError(
                f"context: column {name!r} holds NaN (missing values), but every row "
                "needs its context; drop such rows, or fill them, labels by one that "
                "says that nothing is known."
            )


def check_weights(
    sample_weight: Any, n: int, parameter: str = "sample_weight"
) -> np.ndarray:
    """How often each of n rows, or sequences, counts, float64 (n,).

    Raises
    ------
    ValueError, TypeError
        For another number of weights, for what is no number, not finite or negative,
        and if all are 0.
    """
    try:
        weights = _check_sample_weight(
            sample_weight,
            np.empty((n, 1)),
            dtype=np.float64,
            ensure_non_negative=True,
        )
    except ValueError as error:
        if parameter == "sample_weight":
            raise
        raise ValueError(f"{parameter}: {error}") from error
    if not weights.any():
        raise ValueError(f"{parameter} is 0 for all rows; some must count.")
    return weights


def weighted_mean(values: np.ndarray, sample_weight: Any) -> float:
    """Mean of values (n,), of which those of weight 0 may be infinite.

    Without weights each counts once.
    """
    if sample_weight is None:
        return float(np.mean(values))
    weights = check_weights(sample_weight, len(values))
    counts = weights > 0.0
    weights = weights[counts] / weights.max()  # the sum of large ones is infinite
    return float(np.average(values[counts], weights=weights))


def _sequences(X: Any) -> list[Any]:
    """The sequences of a data set, whatever it comes in."""
    if isinstance(X, (list, tuple)):
        return list(X)
    _refuse_masked(X, "X", "mark what lies beyond a sequence's end by rows of NaN.")
    shape = getattr(X, "shape", None)
    if shape is not None and len(shape) == 2:
        raise ValueError(
            f"X is one table of shape {tuple(shape)}, not a set of sequences. Pass "
            "[X] if it is one sequence, otherwise a list of arrays (n_timesteps, "
            "n_features) or an array (n_sequences, n_timesteps, n_features)."
        )
    if shape is not None and len(shape) == 1 and X.dtype == object:
        return list(X)  # an object array, or a series of arrays
    if shape is not None and len(shape) == 3:
        return [_without_padding(sequence) for sequence in np.asarray(X)]
    raise TypeError(
        "X must be a list of arrays (n_timesteps, n_features), an object array of "
        f"such, or an array (n_sequences, n_timesteps, n_features), got {X!r:.80}."
    )


def _without_padding(sequence: np.ndarray) -> np.ndarray:
    """A sequence (n_timesteps, n_features) without the rows of NaN at its end."""
    if sequence.dtype.kind == "O":
        missing = np.array([[is_missing(v) for v in row] for row in sequence])
    elif sequence.dtype.kind == "f":
        missing = np.isnan(sequence)
    else:
        return sequence
    if sequence.shape[1] == 0:  # of which none is missing
        return sequence
    there = np.flatnonzero(~missing.all(1))
    return sequence[: there[-1] + 1 if len(there) else 0]


def _check_sequence(sequence: Any, i: int) -> Any:
    """A frame as it came, or an array (n_timesteps, n_features) of finite numbers."""
    _refuse_masked(sequence, f"Sequence {i}", "fill or drop the masked frames first.")
    plain = isinstance(sequence, np.ndarray) and sequence.ndim == 2
    plain = plain and sequence.dtype in (np.float64, np.float32)
    if not plain and not _is_frame(sequence):
        with errors_about(f"Sequence {i}"):
            _refuse_no_numbers(sequence)
            sequence = check_array(
                sequence,
                dtype=[np.float64, np.float32],
                ensure_all_finite=False,
                ensure_2d=False,
                allow_nd=True,
                ensure_min_samples=0,
                ensure_min_features=0,
            )
        if sequence.ndim != 2:
            raise ValueError(
                f"Sequence {i} has shape {sequence.shape}; each sequence must be an "
                "array (n_timesteps, n_features). Pass [X] if X itself is one "
                "sequence, X[i].reshape(-1, 1) for sequences of one feature."
            )
    if sequence.shape[0] == 0:
        raise ValueError(
            f"Sequence {i} has 0 time steps; each needs 1 at least: drop it."
        )
    place = first_not_finite(sequence)
    if place is not None:
        t, name, value = place
        raise ValueError(
            f"Sequence {i} contains {'NaN' if value != value else value} at time step "
            f"{t} in column {name!r}; only finite values are taken. Fill it, or cut "
            "the sequence there; rows of NaN at the end of a 3-D array are padding."
        )
    return sequence


def as_table(X: Any) -> Any:
    """A frame as it came, or an array; what estimators refuse is refused."""
    if _is_frame(X):
        return X
    _refuse_lazy(X)
    _refuse_masked(X, "X", _OF_TABLE)
    return check_array(X, dtype=None, ensure_all_finite=False)


def _is_frame(X: Any) -> bool:
    """Whether X is a frame of pandas or polars, or one like theirs."""
    return (hasattr(X, "iloc") or hasattr(X, "to_series")) and hasattr(X, "columns")


def _named(X: Any) -> Any:
    """A frame whose names scikit-learn can read; 1.6 knows none of polars'."""
    if hasattr(X, "iloc"):
        return X
    import pandas as pd

    return pd.DataFrame(columns=X.columns)


_OF_TABLE = "fill or drop the masked cells; X.filled(np.nan) marks them as missing."


def _refuse_masked(X: Any, name: str, remedy: str) -> None:
    if np.ma.isMaskedArray(X):
        raise TypeError(
            f"{name} is a numpy masked array, whose mask would be dropped silently; "
            f"{remedy}"
        )


def _refuse_lazy(X: Any) -> None:
    if hasattr(X, "collect"):
        name = type(X).__name__
        raise TypeError(f"The rows of a {name} are not there yet; pass its collect().")


def _refuse_no_numbers(X: Any) -> None:
    """Refuse what np.asarray turns into numbers without a word, or fails at.

    "1.5" becomes 1.5 and a date some number; of pd.NA it says no column.
    """
    _refuse_lazy(X)
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
                if type(value).__name__ == "NAType":  # pandas may not be there
                    raise ValueError(
                        f"Column {j} of the object array X holds {value!r}, which "
                        "numpy cannot make a number; write NaN for missing cells, or "
                        "pass a pandas frame."
                    )


_NO_NUMBERS = (str, bytes, date, timedelta, np.datetime64, np.timedelta64)


def check_columns(columns: Any, names: Sequence[Hashable], parameter: str) -> list[int]:
    """Indices of columns: names, indices, or a flag for every column.

    Raises
    ------
    ValueError
        For a column that is not there; names those that are.
    """
    is_label = isinstance(columns, tuple) and columns in names
    single = is_label or isinstance(columns, (str, Integral))
    if single or not isinstance(columns, Iterable):
        columns = [columns]
    columns, indices = list(columns), []
    if columns and all(isinstance(c, (bool, np.bool_)) for c in columns):
        if len(columns) == len(names):  # says of every column whether it is one
            return np.flatnonzero(columns).tolist()
    for column in columns:
        if isinstance(column, (bool, np.bool_)):
            raise ValueError(unknown_column(column, names, parameter))
        indices.append(column_index(column, names, parameter))
    return indices


def check_count(count: Any, parameter: str, least: int = 1) -> int:
    """How many of something to draw or to show.

    Raises
    ------
    TypeError, ValueError
        For anything but an integer of at least that many.
    """
    problem = f"{parameter} must be an integer >= {least}, got {count!r}."
    if isinstance(count, (bool, np.bool_)) or not isinstance(count, Integral):
        raise TypeError(problem)
    if count < least:
        raise ValueError(problem)
    return int(count)


def check_flag(flag: Any, parameter: str) -> bool:
    """Whether something is asked for.

    Raises
    ------
    TypeError
        For anything but True or False.
    """
    if not isinstance(flag, (bool, np.bool_)):
        raise TypeError(f"{parameter} must be True or False, got {flag!r}.")
    return bool(flag)
