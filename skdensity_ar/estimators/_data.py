"""What `fit` is given: rows, or sequences, with weights and contexts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skdensity_ar._columns import Columns, repetitions
from skdensity_ar._frames import take_rows

# Sums of so small and so large weights are numbers in float32.
_RELATIVE = 1e-30, 1e30


@dataclass
class Given:
    """Checked tables.

    Attributes
    ----------
    X : ndarray or frame of shape (n_rows, D)
    lengths : ndarray of int, shape (n,), or None
        Of sequences, whose frames X holds; rows of a table are examples themselves.
    weights : ndarray of shape (n,), or None
        How often each example counts.
    context : ndarray or frame of shape (n_rows, C), or None
    """

    X: Any
    lengths: np.ndarray | None
    weights: np.ndarray | None = None
    context: Any = None

    def without_weightless(self) -> Given:
        """Leave out examples of weight 0."""
        if self.weights is None or self.weights.all():
            return self
        kept = np.flatnonzero(self.weights)
        rows = self._rows_of(kept)
        return Given(
            take_rows(self.X, rows),
            None if self.lengths is None else self.lengths[kept],
            self.weights[kept],
            None if self.context is None else take_rows(self.context, rows),
        )

    @property
    def n_context(self) -> int:
        """Columns of the context."""
        return 0 if self.context is None else self.context.shape[1]

    @property
    def row_weights(self) -> np.ndarray | None:
        """How often each row counts: a frame as often as its sequence."""
        if self.weights is None or self.lengths is None:
            return self.weights
        return np.repeat(self.weights, self.lengths)

    def repeated(self) -> tuple[Any, np.ndarray | None]:
        """Rows of every example as often as it counts, and the lengths of such."""
        if self.weights is None:
            return slice(None), self.lengths
        index = repetitions(self.weights)
        lengths = None if self.lengths is None else self.lengths[index]
        return self._rows_of(index), lengths

    def _rows_of(self, index: np.ndarray) -> np.ndarray:
        if self.lengths is None:
            return index
        ends, n = np.cumsum(self.lengths), self.lengths[index]
        return np.repeat(ends[index] - np.cumsum(n), n) + np.arange(n.sum())


def relative_weights(weights: np.ndarray, n_train: int) -> np.ndarray:
    """Weights (n,) > 0 as float32 holds them: of mean 1, those after n_train as well.

    What counts least still counts: a mean over such examples alone exists.
    """
    parts = [part / part.max() for part in np.split(weights, [n_train]) if len(part)]
    relative = np.concatenate([part / part.mean() for part in parts])
    return np.clip(relative, *_RELATIVE)


@dataclass(frozen=True)
class Size:
    """What "auto" parameters follow.

    Attributes
    ----------
    columns : Columns
        Of X.
    n_rows : int
        Rows of X, each as often as it counts.
    n_context : int
        Columns of the context.
    """

    columns: Columns
    n_rows: int
    n_context: int = 0

    @property
    def n_columns(self) -> int:
        """All that a network has to do with."""
        return len(self.columns.columns) + self.n_context


@dataclass
class Data:
    """What trains and validates, on the device.

    Attributes
    ----------
    x : Tensor of shape (n_rows, D)
        Codes and standardised numbers.
    lengths : ndarray of int, shape (n,), or None
        As in `Given`.
    weights : ndarray of shape (n,), or None
    context : Tensor of shape (n_rows, C), or None
        What a network takes of it.
    linear : sequence of int
        What of it is no wave of a value but the value itself, or a label.
    """

    x: Tensor
    lengths: np.ndarray | None
    weights: np.ndarray | None
    context: Tensor | None
    linear: Sequence[int] = ()

    @property
    def n(self) -> int:
        """Rows, or sequences."""
        return len(self.x) if self.lengths is None else len(self.lengths)

    def first(self, n: int) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Return the first n rows of a table, their contexts and their weights."""
        context = None if self.context is None else self.context[:n]
        if self.weights is None:
            return self.x[:n], context, None
        weights = torch.as_tensor(relative_weights(self.weights[:n], n))
        return self.x[:n], context, weights.to(self.x.device)

    def followed_by(self, other: Data) -> Data:
        """Join the others to these."""
        both = self, other
        joined = replace(self, x=torch.cat([data.x for data in both]))
        if self.lengths is not None and other.lengths is not None:
            joined.lengths = np.concatenate([self.lengths, other.lengths])
        if self.weights is not None or other.weights is not None:
            weights = [np.ones(d.n) if d.weights is None else d.weights for d in both]
            joined.weights = np.concatenate(weights)
        if self.context is not None and other.context is not None:
            joined.context = torch.cat([self.context, other.context])
        return joined
