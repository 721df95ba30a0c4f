"""Tables <-> codes and standardised numbers, column by column; numpy only.

`fit_columns` decides the kind of every column. A fitted `Columns` turns a table into
the float array that a module takes, {0, 1} for a binary column, codes 0 … K-1 for a
categorical one (K: not seen in training), (x - center) / scale for a real one, and
back. Scaling has the log-Jacobian -log scale.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.preprocessing import OrdinalEncoder

from skdensity_ar._frames import (
    TABLES,
    column_dtype,
    column_values,
    container_of,
    missing_value,
    not_finite,
)
from skdensity_ar.conditionals import (
    CONDITIONALS,
    FARTHEST,
    ColumnSpec,
    Conditional,
    PointMass,
)

# Smallest scale of a mixture component, as a share of the column's spread.
SCALE_FLOOR = 1e-4


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
    def log_scale(self) -> float:
        """log |d x / d transformed|, in nats."""
        return 0.0

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Values (n,) -> what the module takes, float64 (n,)."""
        return _numbers(values, self.name)

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        """The values (n,) that `transform` turns into `codes`."""
        return codes


@dataclass
class RealColumn(Column):
    """(x - center) / scale."""

    center: float = 0.0
    scale: float = 1.0

    @property
    def log_scale(self) -> float:
        return float(np.log(self.scale))

    def transform(self, values: np.ndarray) -> np.ndarray:
        values = _numbers(values, self.name)
        with np.errstate(over="ignore"):
            z = (values - self.center) / self.scale
        return np.clip(z, -FARTHEST, FARTHEST)

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        limit = np.finfo(np.float64).max
        with np.errstate(over="ignore"):
            return np.clip(codes * self.scale + self.center, -limit, limit)


@dataclass
class ConstantColumn(Column):
    """0 for the one value seen, 1 for any other."""

    value: float = 0.0

    def transform(self, values: np.ndarray) -> np.ndarray:
        return (_numbers(values, self.name) != self.value).astype(np.float64)

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
class CategoryColumn(Column):
    """Codes of the integers seen in training."""

    encoder: Any = None
    handle_unknown: str = "score"

    def read(self, values: np.ndarray) -> np.ndarray:
        return _integers(values, self.name)

    def transform(self, values: np.ndarray) -> np.ndarray:
        codes = self.encoder.transform(self.read(values)[:, None])[:, 0]
        unseen = codes < 0
        if self.handle_unknown == "error" and unseen.any():
            first = values[unseen].tolist()[0]
            raise ValueError(
                f"Column {self.name!r} holds {first!r}, a category not seen in "
                "training; handle_unknown='score' scores such rows low."
            )
        return np.where(unseen, self.spec.n_categories, codes)

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        return self.encoder.categories_[0][codes.astype(np.intp)]


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
    def log_jacobian(self) -> float:
        """log |d standardised / d x| in nats, which every log-density gains."""
        return float(self.log_jacobians.sum())

    @property
    def log_jacobians(self) -> np.ndarray:
        """Likewise, of every column, (D,)."""
        return np.array([-c.log_scale for c in self.columns])

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
            if isinstance(column, ConstantColumn) and (codes[:, j] > 0.0).any():
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


def fit_columns(
    X: Any,
    *,
    conditional: Any,
    numeric: str,
    handle_unknown: str,
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
    with_missing : bool
        Whether cells may be missing; the others then tell of their column.
    """
    container = container_of(X)
    names = list(range(X.shape[1]) if container == "numpy" else X.columns)
    columns, choices = [], _choices(conditional, names)
    if container == "numpy":  # what scikit-learn expects to be said first
        for j, choice in enumerate(choices):
            if (numeric if choice == "auto" else choice) == "categorical":
                _refuse_negative(X[:, j], names[j])
    for j, choice in enumerate(choices):
        values, _ = _read(X, j, names[j], with_missing)
        if len(values) == 0:
            raise ValueError(
                f"Column {names[j]!r} holds no value, all are missing; drop it."
            )
        column = _fit_column(values, names[j], choice, numeric)
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


def _choices(conditional: Any, names: list[Hashable]) -> list[Any]:
    """The conditional asked for, by column."""
    if not isinstance(conditional, Mapping):
        return [_checked(conditional, "conditional")] * len(names)
    choices: list[Any] = ["auto"] * len(names)
    for key, choice in conditional.items():
        if key in names:
            j = names.index(key)
        elif isinstance(key, Integral) and 0 <= int(key) < len(names):
            j = int(key)
        else:
            raise ValueError(
                f"conditional names the column {key!r}, which X does not have; its "
                f"columns are {names}."
            )
        choices[j] = _checked(choice, f"conditional of column {key!r}")
    return choices


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
    values: np.ndarray, name: Hashable, choice: Any, numeric: str
) -> Column:
    if choice == "auto":
        if values.dtype.kind == "O" and not _are_booleans(values):
            choice = "categorical"
        elif np.isin(values, (0, 1)).all():
            choice = "bernoulli"
        else:
            choice = numeric
    conditional: type[Conditional] = CONDITIONALS.get(choice, choice)
    return _FIT[conditional.support](conditional, values, name)


def _fit_binary(conditional, values, name) -> Column:
    value_type = bool if _are_booleans(values) else float
    column = BinaryColumn(name, conditional, value_type=value_type)
    column.transform(values)
    return column


def _fit_category(conditional, values, name) -> Column:
    kind = LabelColumn if values.dtype.kind == "O" else CategoryColumn
    column = kind(name, conditional)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    try:
        column.encoder = encoder.fit(column.read(values)[:, None])
    except TypeError as error:
        types = sorted({type(v).__name__ for v in values})
        raise TypeError(
            f"Column {name!r} holds labels of several types, {types}; make them one, "
            f"for example by X[{name!r}].astype(str)."
        ) from error
    column.spec = ColumnSpec(n_categories=len(column.encoder.categories_[0]))
    return column


def _fit_real(conditional, values, name) -> Column:
    values = _numbers(values, name)
    if values.min() == values.max():
        return ConstantColumn(name, PointMass, value=float(values[0]))
    center, scale = _center_and_scale(values)
    column = RealColumn(name, conditional, center=center, scale=scale)
    width = _rounding_width(column.transform(values))
    floor = max(SCALE_FLOOR, width / np.sqrt(12.0))
    column.spec = ColumnSpec(scale_floor=float(floor))
    return column


def _fit_raw(conditional, values, name) -> Column:
    column = Column(name, conditional)
    column.transform(values)
    return column


_FIT: dict[str, Callable[..., Column]] = {
    "binary": _fit_binary,
    "category": _fit_category,
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


def _refuse_negative(values: np.ndarray, name: Hashable) -> None:
    negative = values[values < 0]
    if len(negative):
        raise ValueError(
            "Negative values in data: conditional='categorical' expects integers >= 0, "
            f"got {negative[0]} in column {name!r}; shift or encode it "
            "(sklearn.preprocessing.OrdinalEncoder), or use a mixture for real values."
        )


def _integers(values: np.ndarray, name: Hashable) -> np.ndarray:
    values = _numbers(values, name)
    _refuse_negative(values, name)
    broken = values[values != np.floor(values)]
    if len(broken):
        raise ValueError(
            f"conditional='categorical' expects integers >= 0, got {broken[0]} in "
            f"column {name!r}; encode it (sklearn.preprocessing.OrdinalEncoder), or "
            "use MADEDensity or RNADEDensity for real values."
        )
    return values
