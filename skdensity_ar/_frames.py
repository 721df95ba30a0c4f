"""Tables of numpy, pandas and polars: their columns as arrays, and arrays as tables."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from numbers import Integral
from typing import Any, Protocol

import numpy as np

# How dtypes of pandas and polars begin whose values are labels.
_LABELS = ("cat", "dictionary", "enum", "large_string", "object", "str")


# And of polars, whose values are tables themselves.
_NESTED = ("array", "list", "struct")

# What a column of objects must not hold: as labels they would lose their order.
_DATES = (date, time, timedelta, np.datetime64, np.timedelta64)


class FrameColumn(Protocol):
    """What a table needs to know of a column: its label and its dtype."""

    name: Hashable
    dtype: Any


@dataclass
class PlainColumn:
    """A column of which no more is known than this."""

    name: Hashable
    dtype: Any
    holds_labels: bool


def container_of(X: Any) -> str:
    """ "pandas", "polars" or "numpy", by what X can do."""
    if hasattr(X, "iloc"):
        return "pandas"
    return "polars" if hasattr(X, "to_series") else "numpy"


def rows_of(X: Any, begin: int, end: int) -> Any:
    """Rows begin … end-1 of an array or a frame, whatever its index."""
    return (X.iloc if container_of(X) == "pandas" else X)[begin:end]


def take_rows(X: Any, index: np.ndarray) -> Any:
    """These rows of an array or a frame, whatever its index."""
    return (X.iloc if container_of(X) == "pandas" else X)[index]


def concatenate(tables: Sequence[Any]) -> Any:
    """Tables of one container with the same columns, one below the other.

    Raises
    ------
    Exception
        What pandas or polars say to columns whose dtypes have none in common.
    """
    container = container_of(tables[0])
    if container == "pandas":
        import pandas as pd

        below = pd.concat(tables, ignore_index=True)
        for j, dtype in enumerate(tables[0].dtypes):
            if isinstance(dtype, pd.CategoricalDtype):
                # Of other categories pd.concat makes numbers or strings.
                parts = [table.iloc[:, j] for table in tables]
                united = pd.api.types.union_categoricals(parts)
                below.isetitem(j, pd.Series(united))
        return below
    if container == "polars":
        import polars as pl

        # Integers beside floats become floats; labels beside numbers are refused.
        kinds = zip(*(table.dtypes for table in tables), strict=True)
        numbers = [all(dtype.is_numeric() for dtype in column) for column in kinds]
        named = list(zip(tables[0].columns, numbers, strict=True))
        some = [name for name, is_number in named if is_number]
        others = [name for name, is_number in named if not is_number]
        parts = [pl.concat([t.select(some) for t in tables], how="vertical_relaxed")]
        parts += [pl.concat([t.select(others) for t in tables])]
        return pl.concat(parts, how="horizontal").select(tables[0].columns)
    return np.concatenate(tables)


def all_finite(X: np.ndarray) -> bool:
    """Whether the sum is: fast, without an array like X, and seldom too careful."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(X.sum()))


def first_not_finite(X: Any) -> tuple[int, Hashable, float] | None:
    """Row, column and value of the first cell without a finite value, if any."""
    container = container_of(X)
    if container == "numpy":
        if all_finite(X):
            return None
        bad = ~np.isfinite(X)
    else:
        bad = np.column_stack([_not_finite(X, j) for j in range(X.shape[1])])
    if not bad.any():
        return None
    i, j = (int(k) for k in np.argwhere(bad)[0])
    if container == "numpy":
        return i, j, float(X[i, j])
    value = _column(X, j).to_numpy()[i]
    infinite = isinstance(value, (float, np.floating)) and np.isinf(value)
    return i, X.columns[j], float(value) if infinite else float("nan")


def _not_finite(X: Any, j: int) -> np.ndarray:
    """Which cells of a frame's column hold no finite value."""
    missing, values = _missing(X, j), _column(X, j).to_numpy()
    return missing | ~np.isfinite(values) if values.dtype.kind == "f" else missing


def _column(X: Any, j: int) -> Any:
    """Column j of a frame, as a series."""
    return X.iloc[:, j] if container_of(X) == "pandas" else X.to_series(j)


def _missing(X: Any, j: int) -> np.ndarray:
    """Which cells of a frame's column are marked as missing."""
    column = _column(X, j)
    return (
        column.isna() if container_of(X) == "pandas" else column.is_null()
    ).to_numpy()


def column_values(X: Any, j: int) -> tuple[np.ndarray, np.ndarray]:
    """The values of column j that are there, and which cells (n,) have none.

    Values are numbers, booleans or, an object array, labels. NaN, None and what pandas
    and polars mark as missing are no values.

    Raises
    ------
    TypeError
        For a dtype that no density takes; names the column.
    """
    if container_of(X) == "numpy":
        values = X[:, j]
        if values.dtype.kind == "O":  # labels
            missing = np.array([is_missing(v) for v in values])
        else:
            missing = np.isnan(values)
        return values[~missing] if missing.any() else values, missing
    name, kind = X.columns[j], str(column_dtype(X, j)).lower()
    if kind.startswith(_NESTED):
        raise TypeError(_wrong_dtype(name, kind))
    if kind.endswith("int128"):
        raise TypeError(
            f"Column {name!r} has dtype {kind}, which numpy does not; cast it to Int64 "
            "or Float64."
        )
    missing, column = _missing(X, j), _column(X, j)
    if missing.any():
        is_pandas = container_of(X) == "pandas"
        column = column[~missing] if is_pandas else column.filter(~missing)
    values = column.to_numpy()
    if holds_labels(X, j):
        values = values.astype(object)
        dates = [v for v in values if isinstance(v, _DATES)]
        if dates and kind.startswith("object"):
            raise TypeError(_wrong_dtype(name, type(dates[0]).__name__))
        return values, missing
    if kind.startswith("decimal"):
        return values.astype(np.float64), missing
    if values.dtype.kind not in "biuf":
        raise TypeError(_wrong_dtype(name, kind))
    if values.dtype.kind == "f" and (nan := np.isnan(values)).any():
        missing = missing.copy()  # polars tells NaN from null
        missing[~missing] = nan
        values = values[~nan]
    return values, missing


def is_missing(value: Any) -> bool:
    """Whether a Python object stands for no value: None, NaN, pandas' NaT and NA."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):  # of NA, or of an array; pandas may not be there
        return type(value).__name__ == "NAType"


def _wrong_dtype(name: Hashable, kind: str) -> str:
    return (
        f"Column {name!r} has dtype {kind}; a density takes numbers, booleans, strings "
        "and categories. Convert it, dates to days since a reference date."
    )


def column_dtype(X: Any, j: int) -> Any:
    container = container_of(X)
    if container == "numpy":
        return X.dtype
    return (X.dtypes.iloc if container == "pandas" else X.dtypes)[j]


def holds_labels(X: Any, j: int) -> bool:
    """Whether the values of a column are strings, categories or objects."""
    return str(column_dtype(X, j)).lower().startswith(_LABELS)


def plain_columns(X: Any) -> list[PlainColumn]:
    """The columns of a table; those of an array go by their index."""
    names = range(X.shape[1]) if container_of(X) == "numpy" else X.columns
    return [
        PlainColumn(name, column_dtype(X, j), holds_labels(X, j))
        for j, name in enumerate(names)
    ]


def column_index(column: Any, names: Sequence[Hashable], parameter: str) -> int:
    """Where the column that a parameter names, by its label or index, is among all.

    Raises
    ------
    ValueError
        For a column that is not there; names those that are.
    """
    if column in names:
        return list(names).index(column)
    if isinstance(column, Integral) and 0 <= int(column) < len(names):
        return int(column)
    raise ValueError(unknown_column(column, names, parameter))


def unknown_column(column: Any, names: Sequence[Hashable], parameter: str) -> str:
    return (
        f"{parameter} names the column {column!r}, which X does not have; its columns "
        f"are {list(names)}."
    )


def ordered_levels(X: Any, j: int) -> np.ndarray | None:
    """All levels of a column whose dtype gives them an order, in this order."""
    container = container_of(X)
    if container == "numpy":
        return None
    dtype = column_dtype(X, j)
    if container == "pandas":
        is_ordered = bool(getattr(dtype, "ordered", False))
        return np.array(dtype.categories, dtype=object) if is_ordered else None
    is_enum = str(dtype).startswith("Enum")
    return np.array(dtype.categories.to_list(), dtype=object) if is_enum else None


def not_finite(found: str, name: Hashable) -> str:
    return (
        f"Input X contains {found} in column {name!r}; only finite values are taken: "
        "drop such rows, or fill them with sklearn.impute."
    )


def missing_value(name: Hashable) -> str:
    return (
        f"Input X contains NaN (missing values) in column {name!r}, of which "
        "ordering='agnostic' knows the exact probability of what is there, and "
        "missing='estimate' estimates it for other orderings; fit so, drop such rows, "
        "or fill them with sklearn.impute."
    )


def missing_cells(X: Any) -> np.ndarray:
    """Which cells of a table hold no value, (n, D)."""
    return np.column_stack([column_values(X, j)[1] for j in range(X.shape[1])])


def with_flags(X: Any, flags: np.ndarray, names: Sequence[str]) -> Any:
    """The table with columns of 0 and 1 after its own; `names` of all of them.

    A frame's own stay as they are where they are strings: others beside strings are
    no names to scikit-learn.
    """
    container = container_of(X)
    if container == "numpy":
        return np.hstack([X, flags.astype(X.dtype)])
    n_own = X.shape[1]
    values = dict(zip(names[n_own:], flags.astype(np.float64).T, strict=True))
    if container == "pandas":
        import pandas as pd

        if values and not all(isinstance(name, str) for name in X.columns):
            X = X.set_axis(list(names[:n_own]), axis=1)
        return pd.concat([X, pd.DataFrame(values, index=X.index)], axis=1)
    import polars as pl

    return X.with_columns([pl.Series(name, v) for name, v in values.items()])


def with_doubles(X: Any) -> Any:
    """The frame with its floats, if they are narrower, as float64."""
    if container_of(X) == "pandas":
        is_narrow = [str(d).lower() in ("float16", "float32") for d in X.dtypes]
        X = X.copy() if any(is_narrow) else X
        for j in np.flatnonzero(is_narrow):
            X.isetitem(j, X.iloc[:, j].astype(np.float64))
        return X
    import polars as pl

    return X.with_columns(pl.col(pl.Float32).cast(pl.Float64))


def as_matrix(X: Any) -> np.ndarray:
    """The cells of a table (n, D), NaN where missing; objects where it has labels."""
    if container_of(X) == "numpy":
        return X
    columns = [column_values(X, j) for j in range(X.shape[1])]
    has_labels = any(values.dtype.kind == "O" for values, _ in columns)
    out = np.full(X.shape, np.nan, dtype=object if has_labels else np.float64)
    for j, (values, missing) in enumerate(columns):
        out[~missing, j] = values
    return out


def without_values(X: Any, j: int) -> Any:
    """The table whose column j is missing; X stays."""
    container = container_of(X)
    if container == "polars":
        import polars as pl

        return X.with_columns(pl.lit(None, dtype=X.dtypes[j]).alias(X.columns[j]))
    X = X.copy()
    if container == "numpy":
        X[:, j] = np.nan
    else:
        X.isetitem(j, np.full(len(X), np.nan))
    return X


# What fills a column: its missing cells (n,), their values and the dtype in `fit`.
Filling = tuple[np.ndarray, np.ndarray, Any]


def with_cells(X: Any, cells: Mapping[int, Filling]) -> Any:
    """A copy of the table with values in missing cells, by the index of their column.

    Of a column without values, whose dtype tells nothing, the dtype becomes the fitted.
    """
    container = container_of(X)
    if container == "polars":
        return X.with_columns([_polars_filled(X, j, *c) for j, c in cells.items()])
    X = X.copy()
    for j, (missing, values, fitted) in cells.items():
        if container == "numpy":
            X[missing, j] = values
        else:
            X.isetitem(j, _pandas_filled(X, j, missing, values, fitted))
    return X


def _pandas_filled(
    X: Any, j: int, missing: np.ndarray, values: np.ndarray, fitted: Any
) -> Any:
    import pandas as pd

    column = X.iloc[:, j].copy()
    if not isinstance(fitted, (np.dtype, pd.api.extensions.ExtensionDtype)):
        fitted = None  # of another library
    is_sparse = isinstance(column.dtype, pd.SparseDtype)
    if is_sparse:
        column = column.sparse.to_dense()
    if column.dtype == object and missing.all():
        filled = pd.Series(_within(values, fitted), index=column.index)
        return filled if fitted is None else filled.astype(fitted)
    if values.dtype.kind == "O" and not holds_labels(X, j):
        column = column.astype(object if fitted is None else fitted)
    if isinstance(column.dtype, pd.CategoricalDtype):
        known = list(column.cat.categories)
        if not set(values) <= set(known):  # as fitted, the levels in their order
            every = list(getattr(fitted, "categories", np.unique(values)))
            every += [label for label in known if label not in every]
            column = column.cat.set_categories(every)
    column[missing] = (
        pd.Series(_within(values, column.dtype)).astype(column.dtype).array
    )
    if is_sparse and values.dtype.kind != "O":
        return column.astype(X.dtypes.iloc[j])
    return column


def _polars_filled(
    X: Any, j: int, missing: np.ndarray, values: np.ndarray, fitted: Any
) -> Any:
    import polars as pl

    name, dtype, cells = X.columns[j], X.dtypes[j], X.to_series(j).to_list()
    if not isinstance(fitted, pl.DataType):
        fitted = None  # of another library
    if dtype == pl.Null or (values.dtype.kind == "O" and not holds_labels(X, j)):
        dtype = fitted
    if isinstance(dtype, pl.Enum):
        known = dtype.categories.to_list()
        if not set(values) <= set(known):  # as fitted, the levels in their order
            every = list(getattr(fitted, "categories", np.unique(values)))
            dtype = pl.Enum(every + [label for label in known if label not in every])
    listed = _within(values, dtype).tolist()
    if isinstance(dtype, pl.Decimal):
        listed = [Decimal(f"{value:.{dtype.scale}f}") for value in listed]
    for i, value in zip(np.flatnonzero(missing), listed, strict=True):
        cells[i] = value
    return pl.Series(name, cells, dtype=dtype)


def _array(values: list[np.ndarray], columns: Sequence[FrameColumn]) -> np.ndarray:
    return np.column_stack(values)


def _pandas_frame(values: list[np.ndarray], columns: Sequence[FrameColumn]) -> Any:
    import pandas as pd

    series = [
        pd.Series(_within(v, c.dtype)).astype(c.dtype)
        for v, c in zip(values, columns, strict=True)
    ]
    frame = pd.concat(series, axis=1)
    frame.columns = pd.Index([c.name for c in columns])
    return frame


def _polars_frame(values: list[np.ndarray], columns: Sequence[FrameColumn]) -> Any:
    import polars as pl

    return pl.DataFrame(
        [
            pl.Series(str(c.name), _within(v, c.dtype).tolist()).cast(c.dtype)
            for v, c in zip(values, columns, strict=True)
        ]
    )


TABLES: dict[str, Callable[[list[np.ndarray], Sequence[FrameColumn]], Any]] = {
    "numpy": _array,
    "pandas": _pandas_frame,
    "polars": _polars_frame,
}


def strictly_between(
    values: np.ndarray, low: float, high: float, dtype: Any
) -> np.ndarray:
    """Values as `dtype` holds them, moved off the bounds on which they then fall."""
    held = held_as(values, dtype)
    if held.dtype.kind == "f":
        kind = held.dtype.type
        lowest, highest = (
            np.nextafter(kind(low), kind(np.inf)),
            np.nextafter(kind(high), kind(-np.inf)),
        )
    else:
        lowest, highest = np.floor(low) + 1.0, np.ceil(high) - 1.0
    return np.clip(held.astype(np.float64), float(lowest), float(highest))


def held_as(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Numbers as `dtype` holds them; as they are where it is of no numbers."""
    target = _numpy_dtype(dtype)
    if target is None or target.kind not in "iuf":
        target = np.dtype(np.float64)
    return _within(values, target)


def _numpy_dtype(dtype: Any) -> np.dtype | None:
    """numpy's dtype of the same name; None for decimals, labels and no dtype."""
    if dtype is None:
        return None
    try:
        return np.dtype(re.split(r"[\[(]", str(dtype).lower())[0])
    except TypeError:
        return None


def _within(values: np.ndarray, dtype: Any) -> np.ndarray:
    """Draws of a real column as the fitted frame's dtype can hold them."""
    target = _numpy_dtype(dtype)
    if values.dtype.kind == "f" and str(dtype).lower().startswith("bool"):
        return values > 0.5
    if target is None or values.dtype.kind != "f" or target.kind not in "iuf":
        return values
    if target.kind == "f":
        largest = np.finfo(target).max
        return np.clip(values, -largest, largest).astype(target)
    limits = np.iinfo(target)
    # 2^63 - 1 is no float64: the largest one below it bounds int64.
    largest = min(float(limits.max), np.nextafter(float(limits.max) + 1.0, 0.0))
    return np.rint(np.clip(values, limits.min, largest)).astype(target)
