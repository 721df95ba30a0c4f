"""What a linear prediction from the columns before leaves of a column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from torch import Tensor, nn

from skdensity_ar.conditionals import FAR, FARTHEST, compress

# Columns of which a linear prediction leaves less than this share of the spread. To
# move the others is of no use: the networks find weaker relations by themselves.
_WELL_PREDICTED = 0.3

# Rows per column below which a covariance tells of noise.
_ROWS_PER_COLUMN = 10

# More rows than this are thinned out: the prediction is only where training starts.
_MAX_ROWS = 2**15


class Residuals(nn.Module):
    """x_d = a_d + B_d c(x_<d) + s_d z_d on columns that are well predicted.

    Each member has its own ordering and therefore its own predictions. z_d depends on
    the columns before d and on x_d of its own, so a density of z that is a product of
    conditionals is one of x, with the log-Jacobian -Σ log s_d. All other columns are
    left as they are: a_d = 0, B_d = 0, s_d = 1. c compresses far values as for the
    networks.

    Parameters
    ----------
    a, s : Tensor of shape (members, D)
    B : Tensor of shape (members, D, D)
        Row d is zero from the position of d on.
    ordering : Tensor of int, shape (members, D)
    """

    a: Tensor
    B: Tensor
    s: Tensor
    log_det: Tensor
    ordering: Tensor

    def __init__(self, a: Tensor, B: Tensor, s: Tensor, ordering: Tensor):
        super().__init__()
        self.register_buffer("a", a)
        self.register_buffer("B", B)
        self.register_buffer("s", s)
        self.register_buffer("log_det", s.double().log().sum(-1))
        self.register_buffer("ordering", ordering)

    def forward(self, x: Tensor) -> Tensor:
        """Rows (n, D) or (members, n, D) -> z (members, n, D)."""
        predicted = torch.baddbmm(
            self.a.unsqueeze(1),
            compress(x).expand(len(self.B), -1, -1),
            self.B.mT,
        )
        return ((x - predicted) / self.s.unsqueeze(1)).clamp(-FARTHEST, FARTHEST)

    def inverse(self, z: Tensor, e: int) -> Tensor:
        """The rows (n, D) of member e with these z."""
        x = z.clone()
        for d in self.ordering[e].tolist():
            x[:, d] = self.x_of(z[:, d], x, e, d)
        return x

    # The same, one column of member e at a time, from those before it in rows x (n, D).

    def z_of(self, x: Tensor, e: int, d: int) -> Tensor:
        if not self.B[e, d].any():
            return x[:, d]
        z_d = (x[:, d] - self.predicted(x, e, d)) / self.s[e, d]
        return z_d.clamp(-FARTHEST, FARTHEST)

    def x_of(self, z_d: Tensor, x: Tensor, e: int, d: int) -> Tensor:
        if not self.B[e, d].any():
            return z_d
        return self.predicted(x, e, d) + self.s[e, d] * z_d

    def predicted(self, x: Tensor, e: int, d: int) -> Tensor:
        return self.a[e, d] + compress(x) @ self.B[e, d]


def fit_residuals(
    x: Tensor, real: Sequence[int], ordering: Tensor, smallest: np.ndarray
) -> Residuals | None:
    """Predict real columns by the conditionals of a shrunk Gaussian [1]_.

    Parameters
    ----------
    x : Tensor of shape (n, D)
        Rows, standardised.
    real : sequence of int
        The real columns.
    ordering : Tensor of int, shape (members, D)
    smallest : ndarray of shape (D,)
        Columns are not taken to be predicted better than this.

    Returns
    -------
    residuals : Residuals or None
        None where no column is well predicted, or there are too few rows to tell.

    References
    ----------
    .. [1] O. Ledoit, M. Wolf (2004). A Well-Conditioned Estimator for
       Large-Dimensional Covariance Matrices.
    """
    values = x[:, list(real)].double().cpu().numpy()
    # One far value would decide a covariance alone.
    values = values[(np.abs(values) <= FAR).all(1)]
    if len(real) < 2 or len(values) < _ROWS_PER_COLUMN * len(real):
        return None
    values = values[:: 1 + len(values) // _MAX_ROWS]
    mean, spread = values.mean(0), np.maximum(values.std(0), 1e-9)
    # Shrinking keeps few rows from showing relations that are none.
    shrunk = LedoitWolf(assume_centered=True).fit((values - mean) / spread).covariance_
    covariance = (shrunk + 1e-9 * np.eye(len(real))) * np.outer(spread, spread)

    (n_members, D), place = ordering.shape, {d: i for i, d in enumerate(real)}
    a, B, s = (
        np.zeros((n_members, D)),
        np.zeros((n_members, D, D)),
        np.ones((n_members, D)),
    )
    for e, visited in enumerate(ordering.tolist()):
        columns = [d for d in visited if d in place]
        order = [place[d] for d in columns]
        L = np.linalg.cholesky(covariance[np.ix_(order, order)])
        left = L.diagonal()
        # x - mean = L ε, so ε_t = (x_t - mean_t - Σ_<t B_t (x - mean)) / L_tt.
        B_e = np.tril(np.eye(len(order)) - left[:, None] * np.linalg.inv(L), -1)
        well = left < _WELL_PREDICTED * spread[order]
        for t in np.flatnonzero(well):
            d = columns[t]
            B[e, d, columns] = B_e[t]
            a[e, d] = mean[order[t]] - B_e[t] @ mean[order]
            s[e, d] = min(max(left[t], smallest[d]), 1.0)
    if not B.any():
        return None

    def tensor(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=x.dtype, device=x.device)

    return Residuals(tensor(a), tensor(B), tensor(s), ordering.to(x.device))
