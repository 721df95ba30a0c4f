"""The grids that numbers are rounded to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

# The largest power of ten that float64 holds, and from where on it has no halves.
LARGEST_EXPONENT, _NO_HALVES = 22, 2.0**53


class Grid(Protocol):
    """Numbers that a column's values are among."""

    def around(self, x: np.ndarray) -> np.ndarray:
        """The number that is nearest to each x (n,) and those beside it, (n, some)."""


@dataclass(frozen=True)
class FewValues:
    """The values seen, in rising order."""

    values: tuple[float, ...]

    def around(self, x: np.ndarray) -> np.ndarray:
        values = np.array(self.values)
        above = np.searchsorted(values, x)
        beside = np.stack([above - 1, above], axis=1)  # (n, 2)
        return values[np.clip(beside, 0, len(values) - 1)]


@dataclass(frozen=True)
class Multiples:
    """k · digits · 10^exponent for all integers k, each the nearest in float64."""

    digits: int
    exponent: int

    @property
    def step(self) -> float:
        return float(self._power(np.array(self.digits)))

    def _power(self, integers: np.ndarray) -> np.ndarray:
        """Integers times 10^exponent."""
        # A product or a quotient of numbers that float64 holds is the nearest there is;
        # 10^-1 is none of these: 3 · 0.1 is not 0.3.
        power = 10.0 ** abs(self.exponent)
        return integers * power if self.exponent > 0 else integers / power

    def around(self, x: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            k = np.rint(x / self.step)[:, None] + (-1.0, 0.0, 1.0)  # (n, 3)
            integers = self.digits * k
            multiples = self._power(integers)
        return np.where(np.abs(integers) < _NO_HALVES, multiples, x[:, None])
