"""What a Gaussian says of a column given any others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skdensity_ar.conditionals import compress

# More columns than this would cost more than they tell: a step solves equations of
# that size for every row.
MOST_COLUMNS = 64

# Rows per column below which a covariance tells of noise.
_ROWS_PER_COLUMN = 5

# EM thins out more rows than this, and stops after so many steps.
_MAX_ROWS, _STEPS = 2**12, 30

# Variance that a prediction leaves at least, as a share of the column's own.
_LEAST = 1e-6


class Gaussian(nn.Module):
    """Mean m and spread s of each column given those visible, under a Gaussian.

    Far values are compressed as for the networks. What is returned is m less the mean,
    and log s / s_0, s_0 the spread where nothing is visible.

    Parameters
    ----------
    mean : Tensor of shape (R,)
    covariance : Tensor of shape (R, R)
        Positive definite.
    columns : sequence of int
        The R columns of a table.
    """

    mean: Tensor
    covariance: Tensor

    def __init__(self, mean: Tensor, covariance: Tensor, columns: Sequence[int]):
        super().__init__()
        self.register_buffer("mean", mean.double())
        self.register_buffer("covariance", covariance.double())
        self.columns = list(columns)

    def forward(self, x: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Shifts m - mean and log-ratios log s / s_0, both (..., n, R).

        Of all columns at once, of rows x (..., n, D) given columns visible (..., n, D).
        """
        centered = compress(x[..., self.columns]).double() - self.mean
        shift, left = self._given(centered, visible[..., self.columns].double())
        left = left.diagonal(dim1=-2, dim2=-1)
        return shift, self._log_ratio(left, self.covariance.diagonal())

    def _given(self, centered: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Means (..., R) and covariances (..., R, R) given those visible, 0 or 1."""
        v, covariance = visible.unsqueeze(-1), self.covariance
        # The visible block, and ones on the diagonal for the others.
        A = v * covariance * v.mT + torch.diag_embed(1.0 - visible)
        A = A + torch.diag(covariance.diagonal() * _LEAST)
        gain = torch.linalg.solve(A, v * covariance)  # (..., R, R)
        mean = ((centered * visible).unsqueeze(-2) @ gain).squeeze(-2)
        return mean, covariance - (covariance * v.mT) @ gain

    def _log_ratio(self, left: Tensor, variance: Tensor) -> Tensor:
        return 0.5 * (left / variance).clamp(_LEAST, 1.0).log()

    def place(self, d: int) -> int | None:
        """Where column d of the table is among the R."""
        return self.columns.index(d) if d in self.columns else None

    # The same, one column after the other.

    def start(self, x: Tensor, given: Tensor | None = None) -> State:
        """The state of rows x (n, D) of which the cells given (n, D) are known."""
        n = len(x)
        state = State(self.mean.expand(n, -1), self.covariance.unsqueeze(0))
        if given is None:
            return state
        for i, d in enumerate(self.columns):
            rows = given[:, d].nonzero().squeeze(-1)
            if len(rows) > 0:
                some = rows if len(rows) < n else None
                state = self.observe(state, i, x[rows, d], some)
        return state

    def step(self, state: State, i: int, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        """The shift and the log-ratio (n,) of the i-th column, of all rows or these."""
        m, left = state.m[:, i], state.left[:, i, i].expand(len(state.m))
        if rows is not None:
            m, left = m[rows], left[rows]
        return m - self.mean[i], self._log_ratio(left, self.covariance[i, i])

    def observe(self, state: State, i: int, x_i: Tensor, rows: Tensor | None) -> State:
        """The state once all rows, or these, have x_i (n,) in the i-th column."""
        m, left = state.m, state.left
        if rows is not None:
            left = left.expand(len(m), -1, -1)[rows]
        visited = left[:, i]  # (n, R), or (1, R) where all rows have the same
        noise = _LEAST * self.covariance[i, i]
        gain = visited / (visited[:, i, None] + noise)
        surprise = compress(x_i).double() - (m[:, i] if rows is None else m[rows, i])
        step = surprise.unsqueeze(-1) * gain
        left = left - gain.unsqueeze(-1) * visited.unsqueeze(-2)
        if rows is None:
            return State(m + step, left)
        every = state.left.expand(len(m), -1, -1)
        return State(m.index_add(0, rows, step), every.index_copy(0, rows, left))


@dataclass
class State:
    """What is known of n rows: means (n, R) and covariances (n, R, R) of all columns.

    (1, R, R) where the same columns are known of all rows.
    """

    m: Tensor
    left: Tensor


def fit_gaussian(x: Tensor, columns: Sequence[int]) -> Gaussian:
    """Fit a Gaussian to rows with missing cells, NaN, by EM [1]_.

    Half as many rows as there are columns, which show no relation, are added: without
    them, few rows show relations that are none. A single column, more than
    `MOST_COLUMNS`, or too few rows make a Gaussian of no columns.

    References
    ----------
    .. [1] R. J. A. Little, D. B. Rubin (2019). Statistical Analysis with Missing Data,
       section 11.2.
    """
    x = x[:, list(columns)]
    if len(x) > _MAX_ROWS:
        # At random: what is missing may follow the order of the rows.
        generator = torch.Generator("cpu").manual_seed(0)
        some = torch.randperm(len(x), generator=generator)[:_MAX_ROWS]
        x = x[some.to(x.device)]
    known = ~x.isnan()
    if not 1 < len(columns) <= MOST_COLUMNS or known.sum(
        0
    ).min() < _ROWS_PER_COLUMN * len(columns):
        nothing = x.new_empty(0)
        return Gaussian(nothing, nothing.diag(), [])
    x = compress(x.double())
    x, visible = x.nan_to_num(nan=0.0), known.double()
    (n, R), counts = x.shape, visible.sum(0)
    mean = x.sum(0) / counts
    variance = (visible * (x - mean).square()).sum(0) / counts
    none = 0.5 * R / n
    gaussian = Gaussian(mean, variance.clamp(min=1e-9).diag(), columns)
    for _ in range(_STEPS if not known.all() else 1):
        filled, left = gaussian._given(x - gaussian.mean, visible)
        filled = torch.where(known, x - gaussian.mean, filled)
        # Of two cells that are missing, what is left of both counts.
        missing = 1.0 - visible
        both = torch.einsum("nij,ni,nj->ij", left, missing, missing)
        step = filled.mean(0)
        covariance = (filled.mT @ filled + both) / n - step.outer(step)
        shrunk = (covariance + none * covariance.diagonal().diag()) / (1.0 + none)
        diagonal = covariance.diagonal().clamp(min=1e-9)
        shrunk = shrunk + (diagonal - shrunk.diagonal()).diag()
        gaussian = Gaussian(gaussian.mean + step, shrunk, columns)
    return gaussian
