"""Deciding the kind of every column, its categories or its center, scale and grid."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from sklearn.preprocessing import OrdinalEncoder

from skdensity_ar._bounds import OpenInterval
from skdensity_ar._columns._grids import (
    LARGEST_EXPONENT,
    FewValues,
    Grid,
    Multiples,
)
from skdensity_ar._columns._kinds import (
    BinaryColumn,
    CategoryColumn,
    Column,
    ConstantColumn,
    CountColumn,
    LabelColumn,
    LevelColumn,
    RawColumn,
    RealColumn,
)
from skdensity_ar._columns._table import Columns, read_column
from skdensity_ar._columns._values import (
    are_booleans,
    as_numbers,
    is_any_of,
    refuse_negative,
)
from skdensity_ar._columns._weights import repetitions
from skdensity_ar._frames import (
    column_dtype,
    column_index,
    container_of,
    ordered_levels,
)
from skdensity_ar.conditionals import CONDITIONALS, ColumnSpec, Conditional, PointMass

# Smallest scale of a mixture component, as a share of the column's spread.
SCALE_FLOOR = 1e-4

# Smallest scale of a component under integers, in their units: all mass is on one.
_INTEGER_FLOOR = 0.025

# Counts are coded by what they have over their center. Of large ones, of which float32
# knows no neighbours, only where that many scales lie between the center and 0: all
# small counts would have one code otherwise, and the mass of what is below it.
_LARGE, _FAR = 2.0**22, 1e4

# A categorical column of more labels than this, most rows with one of their own, looks
# like the identifier of a row.
_MANY_LABELS = 50

# So many values, half of which are there three times or more, are all that there are.
_FEW_VALUES = 20

# Steps that numbers are rounded to, in digits and powers of ten: 5, 2.5, 2 and 1. The
# least of them is that share of the spread.
_STEPS, _FINEST = ((5, 0), (25, -1), (2, 0), (1, 0)), 1e-6


@dataclass(frozen=True)
class Asked:
    """What is asked for of one column.

    Attributes
    ----------
    choice : str or class
        Its conditional.
    interval : OpenInterval or None
    atoms : tuple of float
    max_categories : int or None
    """

    choice: Any
    interval: OpenInterval | None = None
    atoms: tuple[float, ...] = ()
    max_categories: int | None = None


class Counts:
    """How often each of a column's values counts; by None each counts once."""

    def __init__(self, weights: np.ndarray | None):
        self.weights = weights

    def of(self, some: np.ndarray) -> Counts:
        """Those of some of the values, a mask (n,)."""
        return Counts(None if self.weights is None else self.weights[some])

    def repeated(self, values: np.ndarray) -> np.ndarray:
        """Each as often as it counts, but for a column that would have one value."""
        if self.weights is None:
            return values
        repeated = values[repetitions(self.weights)]
        return values if repeated.min() == repeated.max() else repeated


def fit_columns(
    X: Any,
    *,
    conditional: Any,
    numeric: str,
    handle_unknown: str,
    bounds: Any = None,
    atoms: Any = None,
    max_categories: int | None = None,
    with_missing: bool = False,
    weights: np.ndarray | None = None,
) -> Columns:
    """Learn the kind of every column, its categories or its center and scale.

    Parameters
    ----------
    X : ndarray or frame of shape (n, D)
    conditional : str, class, or dict of these by column
        The estimators' parameter.
    numeric : str
        What "auto" makes of numbers that are not all 0 or 1.
    handle_unknown : {"score", "error"}
    bounds, atoms : dict by column, or None
        The estimators' parameters, as is `max_categories`.
    with_missing : bool
        Whether cells may be missing; the others then tell of their column.
    weights : ndarray of shape (n,), optional
        How often each row counts, all more than never.
    """
    container = container_of(X)
    names = list(range(X.shape[1]) if container == "numpy" else X.columns)
    columns = []
    asked = _asked(conditional, bounds, atoms, max_categories, names)
    if container == "numpy":  # what scikit-learn expects to be said first
        for j, of_column in enumerate(asked):
            choice = numeric if of_column.choice == "auto" else of_column.choice
            if choice in ("categorical", "count"):
                refuse_negative(X[:, j], names[j], choice)
    for j, of_column in enumerate(asked):
        values, missing = read_column(X, j, names[j], with_missing)
        counts = Counts(None if weights is None else weights[~missing])
        if len(values) == 0:
            raise ValueError(
                f"Column {names[j]!r} holds no value, all are missing; drop it."
            )
        levels = ordered_levels(X, j)
        if of_column.choice == "auto" and str(column_dtype(X, j)) == "object":
            _warn_of_numbers(values, names[j])
        column = _fit_column(values, names[j], of_column, numeric, levels, counts)
        if container != "numpy":
            column.dtype = column_dtype(X, j)
        if isinstance(column, CategoryColumn):
            column.handle_unknown = handle_unknown
        columns.append(column)
    return Columns(columns, container)


def _asked(
    conditional: Any,
    bounds: Any,
    atoms: Any,
    max_categories: int | None,
    names: list[Hashable],
) -> list[Asked]:
    """What is asked for, by column."""
    if isinstance(conditional, Mapping):
        choices = {
            j: _checked(choice, f"conditional of column {names[j]!r}")
            for j, choice in _by_column(conditional, "conditional", names).items()
        }
    else:
        choices = dict.fromkeys(range(len(names)), _checked(conditional, "conditional"))
    intervals = {
        j: _interval(pair, names[j])
        for j, pair in _by_column(bounds or {}, "bounds", names).items()
    }
    masses = {
        j: _atoms(values, names[j])
        for j, values in _by_column(atoms or {}, "atoms", names).items()
    }
    return [
        Asked(
            choices.get(j, "auto"), intervals.get(j), masses.get(j, ()), max_categories
        )
        for j in range(len(names))
    ]


def _by_column(given: Mapping, parameter: str, names: list[Hashable]) -> dict[int, Any]:
    """The entries of a parameter by the positions of the columns that it names."""
    by_index: dict[int, Any] = {}
    for key, value in given.items():
        j = column_index(key, names, parameter)
        if j in by_index:
            raise ValueError(
                f"{parameter} names the column {names[j]!r} twice, by its name and by "
                f"its index {j}; name it once."
            )
        by_index[j] = value
    return by_index


def _interval(pair: Any, name: Hashable) -> OpenInterval:
    try:
        low, high = pair
        low, high = -np.inf if low is None else low, np.inf if high is None else high
        if not isinstance(low, str) and low < high:
            low, high = float(low), float(high)
            if high - low < np.inf or np.inf in (-low, high):
                return OpenInterval(low, high)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(
        f"bounds of column {name!r} must be a pair of numbers (low, high), low < high, "
        f"high - low a number of float64, with None for an open side, got {pair!r}."
    )


def _atoms(values: Any, name: Hashable) -> tuple[float, ...]:
    listed = [values] if isinstance(values, Real) else values
    try:
        atoms = tuple(sorted(float(v) for v in listed if isinstance(v, Real)))
        if 0 < len(set(atoms)) == len(listed) and np.isfinite(atoms).all():
            return atoms
    except TypeError:
        pass
    raise ValueError(
        f"atoms of column {name!r} must be a number or a list of different numbers, "
        f"got {values!r}."
    )


def _checked(choice: Any, what: str) -> Any:
    is_class = isinstance(choice, type) and issubclass(choice, Conditional)
    is_name = isinstance(choice, str) and choice in ("auto", *CONDITIONALS)
    if not is_class and not is_name:
        raise ValueError(
            f"{what} must be 'auto', one of {sorted(CONDITIONALS)} or a subclass of "
            f"Conditional, got {choice!r}."
        )
    support = getattr(choice, "support", None)
    if is_class and support not in _FIT:
        raise ValueError(
            f"{what}: {choice.__name__}.support must be one of {sorted(_FIT)}, got "
            f"{support!r}."
        )
    return choice


def _fit_column(
    values: np.ndarray,
    name: Hashable,
    asked: Asked,
    numeric: str,
    levels: Any,
    counts: Counts,
) -> Column:
    choice = asked.choice
    if choice == "auto":
        if levels is not None:
            choice = "ordinal"
        elif values.dtype.kind == "O" and not are_booleans(values):
            choice = "categorical"
        elif np.isin(values, (0, 1)).all():
            choice = "bernoulli"
        else:
            choice = numeric
    conditional: type[Conditional] = CONDITIONALS.get(choice, choice)
    if conditional.support != "real":
        _refuse_what_is_for_real(asked, choice, name)
    return _FIT[conditional.support](conditional, values, name, asked, levels, counts)


def _refuse_what_is_for_real(asked: Asked, choice: Any, name: Hashable) -> None:
    for parameter, value in (("bounds", asked.interval), ("atoms", asked.atoms)):
        if value:
            raise ValueError(
                f"{parameter} are for real columns, but column {name!r} has the "
                f"conditional {choice!r}; leave it out of {parameter}, or set "
                f"conditional={{{name!r}: 'gaussian_mixture'}}."
            )


def _fit_binary(conditional, values, name, asked, levels, counts) -> Column:
    value_type = bool if are_booleans(values) else float
    column = BinaryColumn(name, conditional, value_type=value_type)
    column.transform(values)
    return column


def _fit_category(conditional, values, name, asked, levels, counts) -> Column:
    kind = LabelColumn if values.dtype.kind == "O" else CategoryColumn
    column = kind(name, conditional)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    try:
        index = encoder.fit_transform(column.read(values)[:, None])[:, 0].astype(int)
    except TypeError as error:
        types = sorted({type(v).__name__ for v in values})
        if len(types) == 1:
            raise TypeError(
                f"Column {name!r} holds values of type {types[0]}, such as "
                f"{values[0]!r}, which are no labels; make them strings or numbers."
            ) from error
        raise TypeError(
            f"Column {name!r} holds labels of several types, {types}; make them one, "
            f"for example by X[{name!r}].astype(str)."
        ) from error
    if asked.max_categories is None:
        _warn_of_identifiers(np.bincount(index), name)
    frequencies = np.bincount(index, counts.weights)
    n_kept, order = len(frequencies), np.arange(len(frequencies))
    if asked.max_categories is not None and n_kept > asked.max_categories:
        n_kept = asked.max_categories - 1
        order = np.argsort(-frequencies, kind="stable")
    rare = frequencies[order[n_kept:]]
    column.encoder, column.order = encoder, order
    column.spec = ColumnSpec(
        n_categories=n_kept + bool(len(rare)), shares=tuple(rare / rare.sum())
    )
    return column


def _warn_of_numbers(values: np.ndarray, name: Hashable) -> None:
    """Say that objects are labels, though all of them are numbers."""
    if all(isinstance(v, Real) and not isinstance(v, bool) for v in values):
        warnings.warn(
            f"Column {name!r} holds numbers, but has dtype object: they are taken for "
            "labels, of which none is near another. Its astype(float) makes them "
            "numbers; astype('category') says that they are labels.",
            UserWarning,
            stacklevel=2,
        )


def _warn_of_identifiers(counts: np.ndarray, name: Hashable) -> None:
    n_alone = int((counts == 1).sum())
    if len(counts) > _MANY_LABELS and n_alone > counts.sum() / 2:
        warnings.warn(
            f"Column {name!r} has {len(counts)} labels, {n_alone} of which belong to "
            "one row each: it looks like the identifier of a row, of which nothing can "
            "be learnt. Drop it, or pool rare labels by max_categories=.",
            UserWarning,
            stacklevel=2,
        )


def _fit_ordinal(conditional, values, name, asked, levels, counts) -> Column:
    if levels is None:
        if not all(isinstance(v, (Real, np.bool_)) for v in values):
            raise ValueError(
                f"conditional='ordinal' needs levels in an order, column {name!r} "
                f"holds {values[0]!r}; make it an ordered categorical (pandas) or an "
                "Enum (polars)."
            )
        levels = np.unique(values)
    kind = LabelColumn if values.dtype.kind == "O" else LevelColumn
    column = kind(name, conditional)
    levels = column.read(np.asarray(levels))
    column.encoder = OrdinalEncoder(
        categories=[levels], handle_unknown="use_encoded_value", unknown_value=-1
    ).fit(column.read(values)[:, None])
    column.order = np.arange(len(levels))
    center, scale = _integer_center_and_scale(column.transform(values), counts)
    column.spec = ColumnSpec(
        n_categories=len(levels),
        center=center,
        scale=scale,
        scale_floor=_INTEGER_FLOOR / scale,
    )
    return column


def _fit_count(conditional, values, name, asked, levels, counts) -> Column:
    column = CountColumn(name, conditional)
    center, scale = _integer_center_and_scale(column.transform(values), counts)
    if center < _LARGE or center > _FAR * scale:
        column.offset = float(np.round(center))
    column.spec = ColumnSpec(
        center=center - column.offset,
        scale=scale,
        scale_floor=_INTEGER_FLOOR / scale,
        first=-column.offset,
    )
    return column


def _integer_center_and_scale(k: np.ndarray, counts: Counts) -> tuple[float, float]:
    """As of real values, but a step is at most two scales."""
    k = counts.repeated(k)
    if k.min() == k.max():
        return float(k[0]), 0.5
    center, scale = _center_and_scale(k)
    return center, max(scale, 0.5)


def _fit_real(conditional, values, name, asked, levels, counts) -> Column:
    numbers = as_numbers(values, name)
    interval, atoms = asked.interval or OpenInterval(), asked.atoms
    column = RealColumn(name, conditional, interval=interval, atoms=atoms)
    is_other = ~is_any_of(values, atoms)
    others = numbers[is_other]
    column.check_inside(others)
    if numbers.min() == numbers.max():
        return ConstantColumn(name, PointMass, value=float(numbers[0]))
    if len(others) == 0:
        raise ValueError(
            f"All values of column {name!r} are among its atoms {list(atoms)}; leave "
            f"it out of atoms and set conditional={{{name!r}: 'ordinal'}}, which gives "
            "every value of a column its mass."
        )
    column.grid = _grid(values[is_other] if values.dtype.kind == "f" else others)
    others = counts.of(is_other).repeated(others)
    y = interval.to_line(others)
    if y.min() == y.max():  # beside atoms: no spread is known
        column.center, column.scale = float(y[0]), max(abs(float(y[0])), 1.0)
    else:
        with np.errstate(over="ignore", invalid="ignore"):
            column.center, column.scale = _center_and_scale(y)
    if not 0.0 < column.scale < np.inf:
        raise ValueError(
            f"The values of column {name!r}, from {others.min()} to {others.max()}, "
            "have no spread that float64 could hold; multiply them by a number that "
            "brings them near 1."
        )
    floor = max(SCALE_FLOOR, _standardised_step(others, column) / np.sqrt(12.0))
    column.spec = ColumnSpec(scale_floor=float(floor), atoms=column.places)
    return column


def _standardised_step(x: np.ndarray, column: RealColumn) -> float:
    """The step of the grid that x was rounded to, in units of the codes; 0 of none."""
    codes = column.transform(x)
    if not column.interval.is_bounded:
        return _rounding_width(codes)
    return _rounding_width(x) * float(np.exp(np.median(column.log_jacobian(codes))))


def _fit_raw(conditional, values, name, asked, levels, counts) -> Column:
    column = RawColumn(name, conditional)
    column.transform(values)
    return column


_FIT: dict[str, Callable[..., Column]] = {
    "binary": _fit_binary,
    "category": _fit_category,
    "ordinal": _fit_ordinal,
    "count": _fit_count,
    "real": _fit_real,
    "raw": _fit_raw,
}


def _center_and_scale(x: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of what lies within reach of the middle.

    Values further than 5 interquartile ranges from the quartiles count as lying
    there, so a single one of 1e12 does not flatten the rest. Scaling x by a power of
    two scales both exactly.
    """
    x = x / 16.0  # so that no difference overflows
    for tail in (0.25, 0.1, 0.05, 0.01, 0.0):
        low, high = np.quantile(x, [tail, 1.0 - tail])
        if high > low:
            break
    width = high - low
    near = (np.clip(x, low - 5.0 * width, high + 5.0 * width) - low) / width
    return float(16.0 * (low + width * near.mean())), float(16.0 * width * near.std())


def _grid(values: np.ndarray) -> Grid | None:
    """The grid that values (n,) are on, each row counting once; None if on none.

    Either few values that repeat, or the multiples of the largest step of which they
    are some. That may be untrue of one row in twenty and of half of the values, and the
    most frequent value does not count: it is often a zero for "none".
    """
    distinct, counts = np.unique(values, return_counts=True)
    if values.dtype.itemsize < 8:
        distinct = distinct.astype(str)  # 0.1, of which float64 makes 0.10000000149
    x = distinct.astype(np.float64)
    if len(x) <= _FEW_VALUES and np.median(counts) > 2:
        return FewValues(tuple(x.tolist()))
    if len(x) < 4:  # three others lie on some grid once in thousands of times
        return None
    others = np.arange(len(x)) != counts.argmax()
    x, counts = x[others], counts[others]
    with np.errstate(over="ignore", invalid="ignore"):
        _, spread = _center_and_scale(np.repeat(x, counts))
        if not 0.0 < spread < np.inf:
            return None
        # Of far larger steps all values but the farthest would be near one multiple.
        largest = min(int(np.log10(spread) // 1) + 1, LARGEST_EXPONENT)
        least = max(int(np.ceil(np.log10(_FINEST * spread))), 1 - LARGEST_EXPONENT)
        for exponent in range(largest, least - 1, -1):
            for digits, shift in _STEPS:
                grid = Multiples(digits, exponent + shift)
                steps = x / grid.step
                on_grid = np.abs(steps - np.rint(steps)) < 0.01
                # A few heaps beside numbers that do not repeat make no grid.
                if on_grid.mean() >= 0.5 and counts @ on_grid >= 0.95 * counts.sum():
                    return grid
    return None


def _rounding_width(z: np.ndarray) -> float:
    """The step of the grid that z was rounded to; 0 where values hardly repeat."""
    values, counts = np.unique(z, return_counts=True)
    repeated = values[counts > 1]
    if counts[counts > 1].sum() < 0.1 * len(z) or len(repeated) < 2:
        return 0.0
    # Between the tails every point of the grid is taken, so most gaps are one step.
    # A few atoms beside numbers that do not repeat have gaps too, but make no grid.
    gaps = np.diff(repeated)
    for width in np.quantile(gaps, (0.1, 0.02, 0.0), method="lower"):
        steps = (z - repeated[0]) / width
        if np.mean(np.abs(steps - np.round(steps)) < 0.05) > 0.9:
            return float(width)
    return 0.0
