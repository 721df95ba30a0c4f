"""Real columns whose values repeat: a mixture says where, the values seen say what."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from skdensity_ar.conditionals._base import Conditional
from skdensity_ar.conditionals._mixtures import Mixture

# Rows per cell: few enough for the mixture to say where, enough to say what is there.
_ROWS_PER_CELL = 50


class Histogram(NamedTuple):
    """The values of a column, each a box as wide as the rounding, cell by cell.

    Columns of fewer values or cells are padded with infinite ones of no rows.
    """

    width: Tensor  # (D,), any where values do not repeat
    values: Tensor  # (V, D), rising
    n_below: Tensor  # (V + 1, D), rows with values before each, and all
    edges: Tensor  # (C + 1, D), rising from -inf to inf


class Repeats(Conditional):
    """p(x) = (1 - λ) m(x) + λ m(cell of x) q(x | cell of x).

    m is a mixture and m(cell) its mass on one of the cells that part the line. q is a
    histogram of the values seen in the cell, each a box of the rounding width: numbers
    that were read off a scale, or that come from a list, take few of the values that
    their digits allow. A cell has the mass m(cell) under either part, so p integrates
    to one; a column whose numbers fill their grid evenly gains nothing.

    Parameters
    ----------
    mixture : Mixture
        m, of D columns.
    weight : Tensor of shape (D,)
        λ.
    histogram : Histogram
    """

    support = "real"
    weight: Tensor
    width: Tensor
    values: Tensor
    n_below: Tensor
    edges: Tensor

    def __init__(self, mixture: Mixture, weight: Tensor, histogram: Histogram):
        super().__init__()
        self.mixture = mixture
        self.n_inputs, self.n_params = mixture.n_inputs, mixture.n_params
        self.register_buffer("weight", weight)
        for name, buffer in histogram._asdict().items():
            self.register_buffer(name, buffer)

    def select(self, index: int, member: int = 0) -> Conditional:
        one = super().select(index, member)
        one._modules = {"mixture": self.mixture.select(index, member)}
        return one

    def encode(self, x: Tensor) -> Tensor:
        return self.mixture.encode(x)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        log_m = self.mixture.log_prob(params, x)
        log_q = self.log_repeats(params, x)
        log_p = torch.logaddexp(
            log_m.double() + torch.log1p(-self.weight), log_q + self.weight.log()
        )
        return log_p.to(log_m.dtype)

    def log_repeats(self, params: Tensor, x: Tensor, *, seen: bool = False) -> Tensor:
        """log m(cell of x) q(x | cell of x), float64; rows `seen` are left out of q."""
        cell, inside, n = self._count(x)
        inside, n = (inside - int(seen)).clamp(min=0), (n - int(seen)).clamp(min=1)
        log_q = (inside / (n * self.width)).log()
        low, high = _at(self.edges, cell), _at(self.edges, cell + 1)
        return self.mixture.mass(params, low, high).log() + log_q

    def _count(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The cell of x, its rows within half a width of x and all of them."""
        x = x.double()
        cell = self._cell(x)
        half = 0.5 * self.width
        inside = self._rows_below(x + half, right=True) - self._rows_below(x - half)
        first, end = (self._rows_below(_at(self.edges, c)) for c in (cell, cell + 1))
        return cell, inside, end - first

    def _cell(self, x: Tensor) -> Tensor:
        return _place(self.edges[1:-1], x, right=True)

    def _rows_below(self, x: Tensor, *, right: bool = False) -> Tensor:
        return _at(self.n_below, _place(self.values, x, right=right))

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        """P(X ≤ x | params), (..., D, n_params), (..., D) -> (..., D)."""
        x = x.double()
        cell = self._cell(x)
        low, high = _at(self.edges, cell), _at(self.edges, cell + 1)
        first, end = self._rows_below(low), self._rows_below(high)
        # Boxes that end before x, and the parts of those that it lies in.
        half = 0.5 * self.width
        begin, stop = (_place(self.values, x + h, right=True) for h in (-half, half))
        n, total = _at(self.n_below, stop) - _at(self.n_below, begin), self._sums
        inside = n * (x / self.width + 0.5)
        inside = inside - (_at(total, stop) - _at(total, begin)) / self.width
        share = (_at(self.n_below, begin) - first + inside) / (end - first).clamp(min=1)
        smooth = self.mixture.cdf(params.double(), x)
        below = self.mixture.cdf(params.double(), low)
        boxes = below + self.mixture.mass(params, low, high) * share
        return torch.where(
            self.weight > 0.0, smooth + self.weight * (boxes - smooth), smooth
        )

    @property
    def _sums(self) -> Tensor:
        """Σ of the values of all rows before each value, (V + 1, D)."""
        finite = self.values.masked_fill(self.values.isinf(), 0.0)
        return torch.cat(
            [self.n_below[:1], (finite * self.n_below.diff(dim=0)).cumsum(0)]
        )

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        x = self.mixture.sample(params, generator)
        u = torch.rand(
            (3, *x.shape), generator=generator, dtype=torch.float64, device=x.device
        )
        cell = self._cell(x.double())
        first, end = (self._rows_below(_at(self.edges, c)) for c in (cell, cell + 1))
        row = first + (u[1] * (end - first)).floor()  # of all rows, sorted
        index = _place(self.n_below[1:], row, right=True)
        value = _at(self.values, index.clamp(max=len(self.values) - 1))
        boxed = (value + self.width * (u[2] - 0.5)).to(x.dtype)
        return torch.where(u[0] < self.weight, boxed, x)


def _place(table: Tensor, x: Tensor, *, right: bool = False) -> Tensor:
    """Index of x (..., D) among the rising columns of a table (V, D)."""
    flat = x.reshape(-1, x.shape[-1]).T.contiguous()
    return torch.searchsorted(table.T.contiguous(), flat, right=right).T.view(x.shape)


def _at(table: Tensor, index: Tensor) -> Tensor:
    """The entries of a table (V, D) at index (..., D)."""
    flat = index.reshape(-1, index.shape[-1])
    return table.gather(0, flat).view(index.shape)


def histogram(columns: Sequence[Tensor], widths: Sequence[float]) -> Histogram:
    """Make the cells of columns, each (n,), that were rounded to these widths."""
    all_values, all_counts, all_edges = [], [], []
    for x, width in zip(columns, widths, strict=True):
        values, counts = x.double().unique(return_counts=True)
        if width == 0.0:
            values, counts = values[:0], counts[:0]
        # A cell ends where enough rows have passed, and not within a box.
        middle = (counts.cumsum(0) - 0.5 * counts) / _ROWS_PER_CELL
        ends = (middle.floor().diff() > 0) & (values.diff() > 0.999 * width)
        edges = (0.5 * (values[1:] + values[:-1]))[ends]
        infinite = edges.new_tensor([math.inf])
        all_values.append(values)
        all_counts.append(counts.double())
        all_edges.append(torch.cat([-infinite, edges, infinite]))
    counts = _padded(all_counts, 0.0)
    n_below = torch.cat([counts.new_zeros((1, counts.shape[1])), counts.cumsum(0)])
    return Histogram(
        n_below.new_tensor([width or 1.0 for width in widths]),
        _padded(all_values, math.inf),
        n_below,
        _padded(all_edges, math.inf),
    )


def _padded(columns: Sequence[Tensor], value: float) -> Tensor:
    """Columns of different lengths side by side, (longest, D)."""
    return torch.nn.utils.rnn.pad_sequence(list(columns), padding_value=value)
