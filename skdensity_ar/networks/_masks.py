"""Orderings, degrees and masks as pure functions (Germain et al. 2015, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor


def positions(ordering: Tensor) -> Tensor:
    """The inverse permutation: at which position each column is visited."""
    return ordering.argsort(-1)


def column_degrees(ordering: Tensor, widths: Sequence[int]) -> Tensor:
    """Degree of every input or output unit: its column's position, counted from 1.

    Column d stands for widths[d] units: (..., D) -> (..., Σ widths).
    """
    return (positions(ordering) + 1)[..., columns_of_units(widths)]


def columns_of_units(widths: Sequence[int]) -> list[int]:
    """The column of every flat unit."""
    return [d for d, width in enumerate(widths) for _ in range(width)]


def hidden_degrees(
    n_units: int, n_columns: int, device: torch.device, first: int = 1
) -> Tensor:
    """Degrees m(k) of a hidden layer: first … D-1, spread evenly, in rising order.

    Units of degree 0 see no column, but a context.
    """
    units = torch.arange(n_units, device=device)
    return first + units * max(n_columns - first, 1) // n_units


def n_of_degree_at_most(
    degree: int, n_units: int, n_columns: int, first: int = 1
) -> int:
    """How many units `hidden_degrees` gives a degree ≤ `degree`."""
    # first + k (D - first) // H ≤ m  <=>  k < (m - first + 1) H / (D - first)
    n = -(-(degree - first + 1) * n_units // max(n_columns - first, 1))
    return min(n, n_units)


def hidden_mask(m: Tensor, m_before: Tensor) -> Tensor:
    """M^W: a hidden unit of degree m sees units of degree ≤ m (eq. 8)."""
    return m.unsqueeze(-1) >= m_before.unsqueeze(-2)


def output_mask(degrees: Tensor, m_before: Tensor) -> Tensor:
    """M^V: the column of degree d sees units of degree < d only (eq. 9)."""
    return degrees.unsqueeze(-1) > m_before.unsqueeze(-2)


def unit_bounds(widths: Sequence[int]) -> list[tuple[int, int]]:
    """Begin and end of every column's units in the flat order."""
    ends = accumulate(widths)
    return [(end - width, end) for end, width in zip(ends, widths, strict=True)]


def first_units(widths: Sequence[int], n_first: Sequence[int]) -> list[int]:
    """The flat units that are among the first so many of their column."""
    bounds = zip(unit_bounds(widths), n_first, strict=True)
    return [i for (begin, _), n in bounds for i in range(begin, begin + n)]


def unit_slots(ordering: Tensor, widths: Sequence[int]) -> Tensor:
    """Flat indices of the units of the column visited at each position.

    (..., D) -> (..., D, max width). Columns narrower than the widest one are padded
    with the index Σ widths, one past the last unit.
    """
    total, widest = sum(widths), max(widths, default=0)
    table = [
        [*range(begin, end), *[total] * (widest - (end - begin))]
        for begin, end in unit_bounds(widths)
    ]
    slots = torch.tensor(table, dtype=torch.long, device=ordering.device)
    return slots.view(len(widths), widest)[ordering]
