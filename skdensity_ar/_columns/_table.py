"""All columns of a fitted table."""

from __future__ import annotations

import warnings
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from skdensity_ar._columns._kinds import Column, ConstantColumn, RealColumn
from skdensity_ar._frames import TABLES, column_values, missing_value


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

    def has_mass(self, codes: np.ndarray) -> np.ndarray:
        """Which cells (n, D) have a mass, not a density."""
        each = [c.has_mass(codes[:, j]) for j, c in enumerate(self.columns)]
        return np.column_stack(each)

    def transform(self, X: Any, *, with_missing: bool = False) -> np.ndarray:
        """Table (n, D) -> float64 (n, D), NaN where values may be missing.

        Raises
        ------
        ValueError
            For a value that its column cannot hold; names both.
        """
        out = np.empty(X.shape, dtype=np.float64)
        for j, column in enumerate(self.columns):
            values, missing = read_column(X, j, column.name, with_missing)
            if missing.any():
                out[missing, j] = np.nan
                if len(values) > 0:
                    out[~missing, j] = column.transform(values)
            else:
                out[:, j] = column.transform(values)
        return out

    @property
    def constant(self) -> list[Hashable]:
        """The names of those of one value."""
        return [c.name for c in self.columns if isinstance(c, ConstantColumn)]

    def warn_of_constants(self) -> None:
        """Say which columns tell nothing of a row."""
        if self.constant:
            warnings.warn(
                f"Columns {self.constant} are constant: each is taken as a point mass, "
                "which adds 0 to the log-density of its value and -inf to that of any "
                "other. Drop them to be rid of this warning.",
                UserWarning,
                stacklevel=2,
            )

    def check_constants(self, codes: np.ndarray, name: str) -> None:
        """Refuse further rows that no density with a point mass could score."""
        for j, column in enumerate(self.columns):
            if isinstance(column, ConstantColumn) and (np.abs(codes[:, j]) > 0.0).any():
                raise ValueError(
                    f"{name} has other values than {column.value} in column "
                    f"{column.name!r}, which was constant: they would score -inf. Drop "
                    f"the column, or such rows of {name}."
                )

    def rescaled(self, which: list[int], scales: list[float]) -> Columns:
        """The columns as they are for values that were divided by `scales` again."""
        columns = list(self.columns)
        for d, scale in zip(which, scales, strict=True):
            floor = self.columns[d].spec.scale_floor / scale
            spec = replace(self.columns[d].spec, scale_floor=floor)
            columns[d] = replace(self.columns[d], spec=spec)
        return Columns(columns, self.container)

    def inverse(self, codes: np.ndarray, *, rounded: bool = False) -> Any:
        """Float64 (n, D) -> a table like the fitted one, its numbers rounded as there.

        Without `rounded` they have all the digits of the codes.
        """
        values = [c.inverse(codes[:, j]) for j, c in enumerate(self.columns)]
        if rounded:
            values = [c.on_grid(x) for c, x in zip(self.columns, values, strict=True)]
        return TABLES[self.container](values, self.columns)


def read_column(
    X: Any, j: int, name: Hashable, with_missing: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The values of a column that are there, and which cells have none."""
    values, missing = column_values(X, j)
    if missing.any() and not with_missing:
        raise ValueError(missing_value(name))
    return values, missing
