"""Tables <-> codes and standardised numbers, column by column; numpy only.

`fit_columns` decides the kind of every column. A fitted `Columns` turns a table into
the float array that a module takes, {0, 1} for a binary column, codes 0 … K-1 for a
categorical or an ordinal one (K: not seen in training), integers for counts and
(y - center) / scale for a real one, where y is x or, where x has bounds, its logit or
logarithm; and back. Every cell of a real column has a log-Jacobian.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.preprocessing import OrdinalEncoder

from skdensity_ar._bounds import OpenInterval
from skdensity_ar._frames import (
    TABLES,
    column_dtype,
    column_values,
    container_of,
    missing_value,
    not_finite,
    ordered_levels,
    strictly_between,
)
from skdensity_ar.conditionals import (
    BESIDE_ATOMS,
    CONDITIONALS,
    FARTHEST,
    ColumnSpec,
    Conditional,
    PointMass,
    code_of_atom,
)

# Smallest scale of a mixture component, as a share of the column's spread.
SCALE_FLOOR = 1e-4

# Smallest scale of a component under integers, in their units: all mass is on one.
_INTEGER_FLOOR = 0.025

# Larger counts than this have no neighbours in float64; they score as this one does.
_LARGEST_COUNT = 2.0**53

# A categorical column of more labels than this, most rows with one of their own, looks
# like the identifier of a row.
_MANY_LABELS = 50


@dataclass
class Column:
    """One column as it was fitted.

    Attributes
    ----------
    name : hashable
        Its label in a frame, its index in an array.
    conditional : subclass of Conditional
    spec : ColumnSpec
        What the conditional may know.
    dtype : object
        The dtype in the fitted frame; None for an array.
    """

    name: Hashable
    conditional: type[Conditional]
    spec: ColumnSpec = field(default_factory=ColumnSpec)
    dtype: Any = None

    reads_labels: ClassVar[bool] = False  # values that only a frame can hold

    @property
    def base_measure(self) -> str:
        """With respect to what its conditional is a density."""
        return "counting"

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Values (n,) -> what the module takes, float64 (n,)."""
        return _numbers(values, self.name)

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        """The values (n,) that `transform` turns into `codes`."""
        return codes


@dataclass
class RawColumn(Column):
    """Numbers as they are, for a conditional of a user's own."""

    @property
    def base_measure(self) -> str:
        return f"that of {self.conditional.__name__}"


@dataclass
class RealColumn(Column):
    """(y - center) / scale, where y is x without bounds; atoms have codes of their own.

    Attributes
    ----------
    interval : OpenInterval
        Where all values lie that are no atoms.
    atoms : tuple of float
        Values that have mass, in rising order.
    """

    center: float = 0.0
    scale: float = 1.0
    interval: OpenInterval = field(default_factory=OpenInterval)
    atoms: tuple[float, ...] = ()

    @property
    def base_measure(self) -> str:
        where = f" on {self.interval}" if self.interval.is_bounded else ""
        atoms = f" + counting at {list(self.atoms)}" if self.atoms else ""
        return f"Lebesgue{where}{atoms}"

    @property
    def places(self) -> tuple[float, ...]:
        """Where the atoms lie among the codes of the others."""
        atoms = np.array(self.atoms)
        places = np.where(atoms <= self.interval.low, -np.inf, np.inf)
        inside = self.interval.holds(atoms)
        y = self.interval.to_line(atoms[inside])
        places[inside] = (y - self.center) / self.scale
        return tuple(places.tolist())

    def transform(self, values: np.ndarray) -> np.ndarray:
        numbers = _numbers(values, self.name)
        if not self.atoms:
            return self._standardised(numbers, FARTHEST)
        is_other = ~is_any_of(values, self.atoms)
        codes = np.empty(len(values))
        codes[is_other] = self._standardised(numbers[is_other], BESIDE_ATOMS)
        for k, atom in enumerate(self.atoms):
            codes[is_any_of(values, (atom,))] = code_of_atom(k)
        return codes

    def _standardised(self, x: np.ndarray, farthest: float) -> np.ndarray:
        self.check_inside(x)
        with np.errstate(over="ignore"):
            z = (self.interval.to_line(x) - self.center) / self.scale
        return np.clip(z, -farthest, farthest)

    def check_inside(self, x: np.ndarray) -> None:
        bad = x[~self.interval.holds(x)]
        if len(bad):
            raise ValueError(
                f"Column {self.name!r} holds {bad[0]}, which does not lie inside its "
                f"bounds {self.interval}; widen them, or drop such rows. Values that "
                f"lie on a bound may be given mass: atoms={{{self.name!r}: {bad[0]}}}."
            )

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        limit = np.finfo(np.float64).max
        with np.errstate(over="ignore"):
            y = codes * self.scale + self.center
            x = np.clip(self.interval.from_line(y), -limit, limit)
        if self.interval.is_bounded:
            x = strictly_between(x, self.interval.low, self.interval.high, self.dtype)
        for k, atom in enumerate(self.atoms):
            x[codes == code_of_atom(k)] = atom
        return x

    def log_jacobian(self, codes: np.ndarray) -> np.ndarray:
        """log |d code / d x| (n,) in nats; 0 for an atom, which has a mass."""
        log_jacobian = np.full(len(codes), -np.log(self.scale))
        if self.interval.is_bounded:
            log_jacobian += self.interval.log_slope(codes * self.scale + self.center)
        if self.atoms:
            log_jacobian[codes > BESIDE_ATOMS] = 0.0
        return log_jacobian


@dataclass
class ConstantColumn(Column):
    """0 for the one value seen, -1 for any below it, 1 for any above."""

    value: float = 0.0

    @property
    def base_measure(self) -> str:
        return f"counting at [{self.value}]"

    def transform(self, values: np.ndarray) -> np.ndarray:
        values = _numbers(values, self.name)
        return (values > self.value) - (values < self.value).astype(np.float64)

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        return np.full(len(codes), self.value)


@dataclass
class BinaryColumn(Column):
    """Values in {0, 1}, booleans included."""

    value_type: type = float

    def transform(self, values: np.ndarray) -> np.ndarray:
        values = _numbers(values, self.name)
        bad = values[(values != 0.0) & (values != 1.0)]
        if len(bad):
            raise ValueError(
                f"{'Negative values in data: ' if bad.min() < 0 else ''}"
                f"conditional='bernoulli' expects values in {{0, 1}}, got {bad.min()} "
                f"in column {self.name!r}; 'auto' chose it if fit saw no other values. "
                f"conditional={{{self.name!r}: 'categorical'}} takes further ones."
            )
        return values

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        return codes.astype(self.value_type)


@dataclass
class CountColumn(Column):
    """k - offset, so that float32 tells apart large counts that lie close together."""

    offset: float = 0.0

    def transform(self, values: np.ndarray) -> np.ndarray:
        values = _integers(values, self.name, "count", _COUNT_REMEDY)
        return np.minimum(values, _LARGEST_COUNT) - self.offset

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        return codes + self.offset


@dataclass
class CategoryColumn(Column):
    """Codes of the integers seen in training, the rarest last where they are grouped.

    Attributes
    ----------
    order : ndarray of int
        The label, as the encoder counts them, that has each code.
    """

    encoder: Any = None
    order: Any = None
    handle_unknown: str = "score"

    def read(self, values: np.ndarray) -> np.ndarray:
        return _integers(values, self.name, "categorical", _CATEGORY_REMEDY)

    def transform(self, values: np.ndarray) -> np.ndarray:
        index = self.encoder.transform(self.read(values)[:, None])[:, 0].astype(int)
        unseen = index < 0
        if self.handle_unknown == "error" and unseen.any():
            first = values[unseen].tolist()[0]
            raise ValueError(
                f"Column {self.name!r} holds {first!r}, a category not seen in "
                "training; handle_unknown='score' scores such rows low."
            )
        codes = np.argsort(self.order)[index]
        return np.where(unseen, len(self.order), codes).astype(np.float64)

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        return self.encoder.categories_[0][self.order[codes.astype(np.intp)]]


@dataclass
class LevelColumn(CategoryColumn):
    """Codes of numbers seen in training, in their order."""

    def read(self, values: np.ndarray) -> np.ndarray:
        return _numbers(values, self.name)


@dataclass
class LabelColumn(CategoryColumn):
    """Codes of the labels seen in training, in a frame's column of such."""

    reads_labels = True

    def read(self, values: np.ndarray) -> np.ndarray:
        return values.astype(object)


@dataclass
class Columns:
    """All columns of a fitted table.

    Attributes
    ----------
    columns : list of Column
    container : {"numpy", "pandas", "polars"}
        What the table came in, and what `inverse` makes.
    """

    columns: list[Column]
    container: str

    @property
    def names(self) -> list[Hashable]:
        return [c.name for c in self.columns]

    @property
    def reads_labels(self) -> bool:
        """Whether only a frame can hold such a table."""
        return any(c.reads_labels for c in self.columns)

    @property
    def real(self) -> list[int]:
        """The real columns."""
        return [j for j, c in enumerate(self.columns) if isinstance(c, RealColumn)]

    @property
    def linear(self) -> list[int]:
        """Those of them that a linear prediction may be of: all without atoms."""
        return [j for j in self.real if not self.columns[j].spec.atoms]

    @property
    def mixtures(self) -> list[int]:
        """The columns whose conditionals have components."""
        supports = ("real", "count", "ordinal")
        return [
            j for j, c in enumerate(self.columns) if c.conditional.support in supports
        ]

    @property
    def base_measure(self) -> dict[Hashable, str]:
        """With respect to what the columns have densities."""
        return {c.name: c.base_measure for c in self.columns}

    def log_jacobians(self, codes: np.ndarray) -> np.ndarray:
        """log |d code / d x| of cells (n, D) in nats, which their log-densities gain.

        0 for cells that have a mass, and for those that are missing.
        """
        out = np.zeros(codes.shape)
        for j in self.real:
            column = self.columns[j]
            assert isinstance(column, RealColumn)
            out[:, j] = column.log_jacobian(codes[:, j])
        return np.where(np.isnan(codes), 0.0, out)

    def transform(self, X: Any, *, with_missing: bool = False) -> np.ndarray:
        """Table (n, D) -> float64 (n, D), NaN where values may be missing.

        Raises
        ------
        ValueError
            For a value that its column cannot hold; names both.
        """
        out = np.empty(X.shape, dtype=np.float64)
        for j, column in enumerate(self.columns):
            values, missing = _read(X, j, column.name, with_missing)
            if missing.any():
                out[missing, j] = np.nan
                if len(values) > 0:
                    out[~missing, j] = column.transform(values)
            else:
                out[:, j] = column.transform(values)
        return out

    def warn_of_constants(self) -> None:
        """Say which columns tell nothing of a row."""
        constant = [c.name for c in self.columns if isinstance(c, ConstantColumn)]
        if constant:
            warnings.warn(
                f"Columns {constant} are constant: each is taken as a point mass, "
                "which adds 0 to the log-density of its value and -inf to that of any "
                "other. Drop them to be rid of this warning.",
                UserWarning,
                stacklevel=2,
            )

    def check_constants(self, codes: np.ndarray) -> None:
        """Refuse validation rows that no density with a point mass could score."""
        for j, column in enumerate(self.columns):
            if isinstance(column, ConstantColumn) and (np.abs(codes[:, j]) > 0.0).any():
                raise ValueError(
                    f"X_val has other values than {column.value} in column "
                    f"{column.name!r}, which is constant in X: every score of X_val "
                    "would be -inf. Drop the column, or such rows of X_val."
                )

    def rescaled(self, which: list[int], scales: list[float]) -> Columns:
        """The columns as they are for values that were divided by `scales` again."""
        columns = list(self.columns)
        for d, scale in zip(which, scales, strict=True):
            floor = self.columns[d].spec.scale_floor / scale
            spec = replace(self.columns[d].spec, scale_floor=floor)
            columns[d] = replace(self.columns[d], spec=spec)
        return Columns(columns, self.container)

    def inverse(self, codes: np.ndarray) -> Any:
        """Float64 (n, D) -> a table like the fitted one."""
        values = [c.inverse(codes[:, j]) for j, c in enumerate(self.columns)]
        return TABLES[self.container](values, self.columns)


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
    """
    container = container_of(X)
    names = list(range(X.shape[1]) if container == "numpy" else X.columns)
    columns = []
    asked = _asked(conditional, bounds, atoms, max_categories, names)
    if container == "numpy":  # what scikit-learn expects to be said first
        for j, of_column in enumerate(asked):
            choice = numeric if of_column.choice == "auto" else of_column.choice
            if choice in ("categorical", "count"):
                _refuse_negative(X[:, j], names[j], choice)
    for j, of_column in enumerate(asked):
        values, _ = _read(X, j, names[j], with_missing)
        if len(values) == 0:
            raise ValueError(
                f"Column {names[j]!r} holds no value, all are missing; drop it."
            )
        levels = ordered_levels(X, j)
        column = _fit_column(values, names[j], of_column, numeric, levels)
        if container != "numpy":
            column.dtype = column_dtype(X, j)
        if isinstance(column, CategoryColumn):
            column.handle_unknown = handle_unknown
        columns.append(column)
    return Columns(columns, container)


def _read(
    X: Any, j: int, name: Hashable, with_missing: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The values of a column that are there, and which cells have none."""
    values, missing = column_values(X, j)
    if missing.any() and not with_missing:
        raise ValueError(missing_value(name))
    return values, missing


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
    by_column = {}
    for key, value in given.items():
        if key in names:
            j = names.index(key)
        elif isinstance(key, Integral) and 0 <= int(key) < len(names):
            j = int(key)
        else:
            raise ValueError(
                f"{parameter} names the column {key!r}, which X does not have; its "
                f"columns are {names}."
            )
        by_column[j] = value
    return by_column


def _interval(pair: Any, name: Hashable) -> OpenInterval:
    try:
        low, high = pair
        low, high = -np.inf if low is None else low, np.inf if high is None else high
        if not isinstance(low, str) and low < high:
            return OpenInterval(float(low), float(high))
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"bounds of column {name!r} must be a pair of numbers (low, high), low < high, "
        f"with None for an open side, got {pair!r}."
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
    return choice


def _fit_column(
    values: np.ndarray, name: Hashable, asked: Asked, numeric: str, levels: Any
) -> Column:
    choice = asked.choice
    if choice == "auto":
        if levels is not None:
            choice = "ordinal"
        elif values.dtype.kind == "O" and not _are_booleans(values):
            choice = "categorical"
        elif np.isin(values, (0, 1)).all():
            choice = "bernoulli"
        else:
            choice = numeric
    conditional: type[Conditional] = CONDITIONALS.get(choice, choice)
    if conditional.support != "real":
        _refuse_what_is_for_real(asked, choice, name)
    return _FIT[conditional.support](conditional, values, name, asked, levels)


def _refuse_what_is_for_real(asked: Asked, choice: Any, name: Hashable) -> None:
    for parameter, value in (("bounds", asked.interval), ("atoms", asked.atoms)):
        if value:
            raise ValueError(
                f"{parameter} are for real columns, but column {name!r} has the "
                f"conditional {choice!r}; leave it out of {parameter}, or set "
                f"conditional={{{name!r}: 'gaussian_mixture'}}."
            )


def _fit_binary(conditional, values, name, asked, levels) -> Column:
    value_type = bool if _are_booleans(values) else float
    column = BinaryColumn(name, conditional, value_type=value_type)
    column.transform(values)
    return column


def _fit_category(conditional, values, name, asked, levels) -> Column:
    kind = LabelColumn if values.dtype.kind == "O" else CategoryColumn
    column = kind(name, conditional)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    try:
        index = encoder.fit_transform(column.read(values)[:, None])[:, 0].astype(int)
    except TypeError as error:
        types = sorted({type(v).__name__ for v in values})
        raise TypeError(
            f"Column {name!r} holds labels of several types, {types}; make them one, "
            f"for example by X[{name!r}].astype(str)."
        ) from error
    counts = np.bincount(index)
    n_kept, order = len(counts), np.arange(len(counts))
    if asked.max_categories is None:
        _warn_of_identifiers(counts, name)
    elif len(counts) > asked.max_categories:
        n_kept = asked.max_categories - 1
        order = np.argsort(-counts, kind="stable")
    rare = counts[order[n_kept:]]
    column.encoder, column.order = encoder, order
    column.spec = ColumnSpec(
        n_categories=n_kept + bool(len(rare)), shares=tuple(rare / max(rare.sum(), 1))
    )
    return column


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


def _fit_ordinal(conditional, values, name, asked, levels) -> Column:
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
    center, scale = _integer_center_and_scale(column.transform(values))
    column.spec = ColumnSpec(
        n_categories=len(levels),
        center=center,
        scale=scale,
        scale_floor=_INTEGER_FLOOR / scale,
    )
    return column


def _fit_count(conditional, values, name, asked, levels) -> Column:
    column = CountColumn(name, conditional)
    center, scale = _integer_center_and_scale(column.transform(values))
    column.offset = float(np.round(center))
    column.spec = ColumnSpec(
        center=center - column.offset,
        scale=scale,
        scale_floor=_INTEGER_FLOOR / scale,
        first=-column.offset,
    )
    return column


def _integer_center_and_scale(k: np.ndarray) -> tuple[float, float]:
    """As of real values, but a step is at most two scales."""
    if k.min() == k.max():
        return float(k[0]), 0.5
    center, scale = _center_and_scale(k)
    return center, max(scale, 0.5)


def _fit_real(conditional, values, name, asked, levels) -> Column:
    numbers = _numbers(values, name)
    if numbers.min() == numbers.max():
        return ConstantColumn(name, PointMass, value=float(numbers[0]))
    interval, atoms = asked.interval or OpenInterval(), asked.atoms
    column = RealColumn(name, conditional, interval=interval, atoms=atoms)
    others = numbers[~is_any_of(values, atoms)]
    if len(others) == 0:
        raise ValueError(
            f"All values of column {name!r} are among its atoms {list(atoms)}; "
            f"conditional={{{name!r}: 'categorical'}} is for such a column."
        )
    column.check_inside(others)
    y = interval.to_line(others)
    if y.min() == y.max():  # beside atoms: no spread is known
        column.center, column.scale = float(y[0]), max(abs(float(y[0])), 1.0)
    else:
        column.center, column.scale = _center_and_scale(y)
    floor = max(SCALE_FLOOR, _standardised_step(others, column) / np.sqrt(12.0))
    column.spec = ColumnSpec(scale_floor=float(floor), atoms=column.places)
    return column


def _standardised_step(x: np.ndarray, column: RealColumn) -> float:
    """The step of the grid that x was rounded to, in units of the codes; 0 of none."""
    codes = column.transform(x)
    if not column.interval.is_bounded:
        return _rounding_width(codes)
    return _rounding_width(x) * float(np.exp(np.median(column.log_jacobian(codes))))


def _fit_raw(conditional, values, name, asked, levels) -> Column:
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


def _numbers(values: np.ndarray, name: Hashable) -> np.ndarray:
    """Finite float64, or an error that names the column and the value."""
    if values.dtype.kind not in "biuf":
        wrong = [v for v in values if not isinstance(v, (Real, np.bool_))]
        if wrong:
            raise ValueError(
                f"Column {name!r} holds {wrong[0]!r} where numbers are expected; "
                "convert it to numbers, or fit with it as a categorical column."
            )
    values = values.astype(np.float64, copy=False)
    bad = values[~np.isfinite(values)]
    if len(bad):
        raise ValueError(not_finite(f"infinity ({bad[0]})", name))
    return values


def _are_booleans(values: np.ndarray) -> bool:
    return values.dtype.kind == "b" or (
        values.dtype.kind == "O"
        and all(isinstance(v, (bool, np.bool_)) for v in values)
    )


def _refuse_negative(values: np.ndarray, name: Hashable, conditional: str) -> None:
    negative = values[values < 0]
    if len(negative):
        raise ValueError(
            f"Negative values in data: conditional={conditional!r} expects integers "
            f">= 0, got {negative[0]} in column {name!r}; shift or encode it "
            "(sklearn.preprocessing.OrdinalEncoder), or use a mixture for real values."
        )


_CATEGORY_REMEDY = (
    "encode it (sklearn.preprocessing.OrdinalEncoder), or use MADEDensity or "
    "RNADEDensity for real values."
)
_COUNT_REMEDY = "use a mixture for real values."


def _integers(
    values: np.ndarray, name: Hashable, conditional: str, remedy: str
) -> np.ndarray:
    values = _numbers(values, name)
    _refuse_negative(values, name, conditional)
    broken = values[values != np.floor(values)]
    if len(broken):
        raise ValueError(
            f"conditional={conditional!r} expects integers >= 0, got {broken[0]} in "
            f"column {name!r}; {remedy}"
        )
    return values


def is_any_of(values: np.ndarray, numbers: Sequence[float]) -> np.ndarray:
    """Which values (n,) are these numbers, as the values' dtype holds them."""
    if values.dtype.kind == "f":
        return np.isin(values, np.array(numbers, dtype=values.dtype))
    return np.isin(values.astype(np.float64), numbers)
