"""Open intervals and the maps from them to the whole line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit


@dataclass(frozen=True)
class OpenInterval:
    """The numbers x with low < x < high, and a map to y on the whole line.

    y = log(x - low) where `high` is infinite, -log(high - x) where `low` is, and
    log(x - low) - log(high - x) between two bounds; x itself without any.
    """

    low: float = -np.inf
    high: float = np.inf

    @property
    def is_bounded(self) -> bool:
        return np.isfinite(self.low) or np.isfinite(self.high)

    def holds(self, x: np.ndarray) -> np.ndarray:
        return (x > self.low) & (x < self.high)

    def to_line(self, x: np.ndarray) -> np.ndarray:
        """The y of x (n,), all of which lie inside."""
        if not self.is_bounded:
            return x
        y = np.zeros_like(x)
        if np.isfinite(self.low):
            y += np.log(x - self.low)
        if np.isfinite(self.high):
            y -= np.log(self.high - x)
        return y

    def from_line(self, y: np.ndarray) -> np.ndarray:
        """The x of y (n,), up to rounding."""
        if not self.is_bounded:
            return y
        if np.isinf(self.high):
            return self.low + np.exp(y)
        if np.isinf(self.low):
            return self.high - np.exp(-y)
        # From the bound that is near.
        width = self.high - self.low
        near_low = self.low + width * expit(y)
        return np.where(y < 0.0, near_low, self.high - width * expit(-y))

    def log_slope(self, y: np.ndarray) -> np.ndarray:
        """log dy / dx (n,) where x has these y (n,)."""
        if not self.is_bounded:
            return np.zeros_like(y)
        if np.isinf(self.high):
            return -y
        if np.isinf(self.low):
            return y
        # width / ((x - low) (high - x)) = (1 + exp(-y)) (1 + exp(y)) / width
        both = np.abs(y) + 2.0 * np.log1p(np.exp(-np.abs(y)))
        return both - np.log(self.high - self.low)

    def __str__(self) -> str:
        return f"({self.low:g}, {self.high:g})"
