"""What a linear prediction from the columns before, and the context, leaves of one."""

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
    """x_d = a_d + B_d c(x_<d) + C_d h + s_d z_d on columns that are well predicted.

    Each member has its own ordering and therefore its own predictions. z_d depends on
    the columns before d and on x_d of its own, so a density of z that is a product of
    conditionals is one of x, with the log-Jacobian -Σ log s_d. All other columns are
    left as they are: a_d = 0, B_d = 0, C_d = 0, s_d = 1. c compresses far values as for
    the networks; h is the context, if there is one.

    Parameters
    ----------
    a, s : Tensor of shape (members, D)
    B : Tensor of shape (members, D, D)
        Row d is zero from the position of d on.
    C : Tensor of shape (members, D, n_context)
    ordering : Tensor of int, shape (members, D)
    """

    a: Tensor
    B: Tensor
    C: Tensor
    s: Tensor
    log_det: Tensor
    ordering: Tensor

    def __init__(self, a: Tensor, B: Tensor, C: Tensor, s: Tensor, ordering: Tensor):
        super().__init__()
        self.register_buffer("a", a)
        self.register_buffer("B", B)
        self.register_buffer("C", C)
        self.register_buffer("s", s)
        self.register_buffer("log_det", s.double().log().sum(-1))
        self.register_buffer("ordering", ordering)
        self.moved = (B.any(-1) | C.any(-1)).tolist()  # by member and column

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Rows (n, D) or (members, n, D), contexts likewise -> z (members, n, D)."""
        predicted = torch.baddbmm(
            self.a.unsqueeze(1),
            compress(x).expand(len(self.B), -1, -1),
            self.B.mT,
        )
        if context is not None:
            predicted = predicted + context @ self.C.mT
        return ((x - predicted) / self.s.unsqueeze(1)).clamp(-FARTHEST, FARTHEST)

    def inverse(self, z: Tensor, e: int, context: Tensor | None = None) -> Tensor:
        """The rows (n, D) of member e with these z."""
        x = z.clone()
        for d in self.ordering[e].tolist():
            x[:, d] = self.x_of(z[:, d], x, e, d, context)
        return x

    # The same, one column of member e at a time, from those before it in rows x (n, D).

    def z_of(self, x: Tensor, e: int, d: int, context: Tensor | None = None) -> Tensor:
        if not self.moved[e][d]:
            return x[:, d]
        z_d = (x[:, d] - self.predicted(x, e, d, context)) / self.s[e, d]
        return z_d.clamp(-FARTHEST, FARTHEST)

    def x_of(
        self, z_d: Tensor, x: Tensor, e: int, d: int, context: Tensor | None = None
    ) -> Tensor:
        if not self.moved[e][d]:
            return z_d
        return self.predicted(x, e, d, context) + self.s[e, d] * z_d

    def predicted(
        self, x: Tensor, e: int, d: int, context: Tensor | None = None
    ) -> Tensor:
        predicted = self.a[e, d] + compress(x) @ self.B[e, d]
        return predicted if context is None else predicted + context @ self.C[e, d]


def fit_residuals(
    x: Tensor,
    real: Sequence[int],
    ordering: Tensor,
    smallest: np.ndarray,
    context: Tensor | None = None,
    linear: Sequence[int] = (),
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
    context : Tensor of shape (n, n_context), optional
        As networks take it.
    linear : sequence of int
        What of it is no wave of a value but the value itself, or a label.

    Returns
    -------
    residuals : Residuals or None
        None where no column is well predicted, or there are too few rows to tell.

    References
    ----------
    .. [1] O. Ledoit, M. Wolf (2004). A Well-Conditioned Estimator for
       Large-Dimensional Covariance Matrices.
    """
    if not real:
        return None
    n_context = 0 if context is None else context.shape[1]
    (n_members, D), place = ordering.shape, {d: i for i, d in enumerate(real)}
    a, B, C, s = (
        np.zeros((n_members, D)),
        np.zeros((n_members, D, D)),
        np.zeros((n_members, D, n_context)),
        np.ones((n_members, D)),
    )
    least = np.full((n_members, D), np.inf)
    # With the context before all columns, and without: labels that tell nothing shrink
    # what the columns tell of each other.
    for inputs in [[], list(linear)] if len(linear) else [[]]:
        known = x[:, :0] if context is None else context[:, inputs]
        gaussian = _shrunk_gaussian(torch.cat([known, x[:, list(real)]], -1))
        if gaussian is None:
            continue
        mean, spread, covariance = gaussian
        n_known = len(inputs)
        for e, visited in enumerate(ordering.tolist()):
            columns = [d for d in visited if d in place]
            order = [*range(n_known), *(n_known + place[d] for d in columns)]
            L = np.linalg.cholesky(covariance[np.ix_(order, order)])
            left = L.diagonal()
            # x - mean = L ε, so ε_t = (x_t - mean_t - Σ_<t B_t (x - mean)) / L_tt.
            B_e = np.tril(np.eye(len(order)) - left[:, None] * np.linalg.inv(L), -1)
            well = left < _WELL_PREDICTED * spread[order]
            better = well[n_known:] & (left[n_known:] < least[e, columns])
            for t in np.flatnonzero(better) + n_known:
                d = columns[t - n_known]
                least[e, d] = left[t]
                C[e, d, inputs], B[e, d, columns] = np.split(B_e[t], [n_known])
                a[e, d] = mean[order[t]] - B_e[t] @ mean[order]
                s[e, d] = min(max(left[t], smallest[d]), 1.0)
    if not (B.any() or C.any()):
        return None

    def tensor(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=x.dtype, device=x.device)

    return Residuals(tensor(a), tensor(B), tensor(C), tensor(s), ordering.to(x.device))


def _shrunk_gaussian(
    x: Tensor,
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Mean, spread and shrunk covariance of rows (n, k); None of too few."""
    values = x.double().cpu().numpy()
    # One far value would decide a covariance alone.
    values = values[(np.abs(values) <= FAR).all(1)]
    k = values.shape[1]
    if k < 2 or len(values) < _ROWS_PER_COLUMN * k:
        return None
    values = values[:: 1 + len(values) // _MAX_ROWS]
    mean, spread = values.mean(0), np.maximum(values.std(0), 1e-9)
    # Shrinking keeps few rows from showing relations that are none.
    shrunk = LedoitWolf(assume_centered=True).fit((values - mean) / spread).covariance_
    return mean, spread, (shrunk + 1e-9 * np.eye(k)) * np.outer(spread, spread)
