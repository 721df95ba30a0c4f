"""Values of a column as the numbers that they must be."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from numbers import Real

import numpy as np

from skdensity_ar._frames import not_finite


def as_numbers(values: np.ndarray, name: Hashable) -> np.ndarray:
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


def are_booleans(values: np.ndarray) -> bool:
    return values.dtype.kind == "b" or (
        values.dtype.kind == "O"
        and all(isinstance(v, (bool, np.bool_)) for v in values)
    )


def refuse_negative(values: np.ndarray, name: Hashable, conditional: str) -> None:
    negative = values[values < 0]
    if len(negative):
        raise ValueError(
            f"Negative values in data: conditional={conditional!r} expects integers "
            f">= 0, got {negative[0]} in column {name!r}; shift or encode it "
            "(sklearn.preprocessing.OrdinalEncoder), or use a mixture for real values."
        )


def as_integers(
    values: np.ndarray, name: Hashable, conditional: str, remedy: str
) -> np.ndarray:
    values = as_numbers(values, name)
    refuse_negative(values, name, conditional)
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
