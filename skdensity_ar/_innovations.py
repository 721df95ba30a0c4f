"""What a linear prediction of a frame from the frames before leaves of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from sklearn.covariance import LedoitWolf
from sklearn.linear_model import RidgeCV
from torch import Tensor, nn

from skdensity_ar.conditionals import FAR, FARTHEST, compress

# Frames per coefficient that a lag must be worth: in fewer, the regression fits noise,
# and neither training nor validation, which it has seen too, would tell.
_FRAMES_PER_COEFFICIENT = 10

# More frames than this are thinned out: the regression is only where training starts.
_MAX_FRAMES = 2**15

# No column is taken to be predicted better than to so many of its scale floors: on the
# scale of L the floor is then small enough for the first frames, which have no lags.
_FLOORS_PER_ERROR = 20.0


class Innovations(nn.Module):
    """x_t = m + A (x_{t-1}, …, x_{t-p}) + L z_t on the real columns of a frame.

    L is lower triangular in the order in which a member visits the columns, so that z_t
    of a column depends on the columns before it and on x_t of its own: a density of z_t
    that is a product of conditionals is one of x_t, with the log-Jacobian -log det L,
    and each column's conditional is that of z, moved to the linear prediction and
    scaled to its error. The first frames have fewer lags and coefficients of their own,
    fitted to the first frames alone where there are enough sequences.

    Parameters
    ----------
    real : Tensor of int, shape (R,)
        The real columns.
    A : Tensor of shape (p + 1, R, p R)
        A[k] holds for frames with k frames before them, A[p] for all later ones; far
        values of the lags are compressed as for the networks.
    m : Tensor of shape (p + 1, R)
    L : Tensor of shape (p + 1, members, R, R)
    """

    real: Tensor
    A: Tensor
    m: Tensor
    L: Tensor
    L_inverse: Tensor
    log_det: Tensor

    def __init__(self, real: Tensor, A: Tensor, m: Tensor, L: Tensor):
        super().__init__()
        diagonal = L.diagonal(dim1=-2, dim2=-1)
        self.register_buffer("real", real)
        self.register_buffer("A", A)
        self.register_buffer("m", m)
        self.register_buffer("L", L)
        self.register_buffer("L_inverse", torch.linalg.inv(L))
        self.register_buffer("log_det", diagonal.log().sum(-1))  # (p + 1, members)

    @property
    def n_lags(self) -> int:
        return len(self.A) - 1

    def transform(self, x: Tensor, lengths: np.ndarray) -> tuple[Tensor, Tensor]:
        """Frames (N, D) -> z (members, N, D) and log det L (members, N), float64.

        Sequences lie one after the other; columns that are not real are left as they
        are.
        """
        n_members = self.L.shape[1]
        known = torch.as_tensor(_frame_numbers(lengths), device=x.device)
        known = known.clamp(max=self.n_lags)
        x = x.double()
        lags = _lags(compress(x[:, self.real]), known, self.n_lags)
        z = x.expand(n_members, -1, -1).clone()
        for k in range(self.n_lags + 1):
            rows = (known == k).nonzero().squeeze(-1)
            left = x[rows][:, self.real] - self.m[k] - lags[rows] @ self.A[k].mT
            z_k = left @ self.L_inverse[k].mT  # (members, n, R)
            z[:, rows[:, None], self.real] = z_k.clamp(-FARTHEST, FARTHEST)
        return z, self.log_det[known].mT

    def inverse(self, z: Tensor, past: Sequence[Tensor], e: int) -> Tensor:
        """The frames (n, D) of member e with these z after the frames `past`."""
        k = min(len(past), self.n_lags)
        x = z.double().clone()
        seen = [
            compress(frame.double()[:, self.real]) for frame in past[-1 : -k - 1 : -1]
        ]
        n_missing = (self.n_lags - k) * len(self.real)
        lags = torch.cat([*seen, x.new_zeros((len(z), n_missing))], -1)
        x[:, self.real] = (
            self.m[k] + lags @ self.A[k].mT + x[:, self.real] @ self.L[k, e].mT
        )
        return x.to(z.dtype)


def fit_innovations(
    x: Tensor,
    lengths: np.ndarray,
    real: Sequence[int],
    ordering: Tensor,
    n_lags: int,
    smallest: np.ndarray,
) -> Innovations:
    """Regress frames on their lags; the covariance of what is left gives L.

    Parameters
    ----------
    x : Tensor of shape (N, D)
        Frames of all sequences, standardised.
    lengths : ndarray of int
        Lengths of the sequences.
    real : sequence of int
        The real columns.
    ordering : Tensor of int, shape (members, D)
    n_lags : int
        p.
    smallest : ndarray of shape (R,)
        Smallest diagonal entries of L, see `smallest_errors`.
    """
    number = _frame_numbers(lengths)
    chosen = x[:, list(real)].double().cpu()
    lags = _lags(
        compress(chosen), torch.as_tensor(number, device="cpu"), n_lags
    ).numpy()
    values = chosen.numpy()
    # One far value would decide a least squares fit alone.
    near = (np.abs(np.hstack([values, lags])) <= FAR).all(1)
    R = len(real)
    A, m = np.zeros((n_lags + 1, R, n_lags * R)), np.zeros((n_lags + 1, R))
    covariances: list[np.ndarray] = []
    for k in range(n_lags + 1):
        enough = _FRAMES_PER_COEFFICIENT * max(k, 1) * R
        rows = np.flatnonzero(near & (number == k))
        if k == n_lags or len(rows) < enough:
            rows = np.flatnonzero(near & (number >= k))
        if k > 0 and len(rows) < enough:
            A[k], m[k] = A[k - 1], m[k - 1]
            covariances.append(covariances[-1])
            continue
        rows = rows[:: 1 + len(rows) // _MAX_FRAMES]
        left = values[rows]
        if k > 0:
            ridge = RidgeCV(np.logspace(-4, 4, 9), alpha_per_target=True)
            ridge.fit(lags[rows][:, : k * R], left)
            A[k, :, : k * R], m[k] = ridge.coef_.reshape(R, -1), ridge.intercept_
            left = left - ridge.predict(lags[rows][:, : k * R]).reshape(-1, R)
        elif len(rows):
            m[k] = left.mean(0)
            left = left - m[k]
        covariances.append(_covariance(left, n_coefficients=k * R))
    place = {column: i for i, column in enumerate(real)}
    L = np.zeros((n_lags + 1, len(ordering), R, R))
    for e, visited in enumerate(ordering.tolist()):
        order = np.array([place[column] for column in visited if column in place])
        for k, covariance in enumerate(covariances):
            triangle = np.linalg.cholesky(covariance[np.ix_(order, order)])
            np.fill_diagonal(triangle, np.maximum(triangle.diagonal(), smallest[order]))
            L[k, e][np.ix_(order, order)] = triangle
    tensors = (torch.as_tensor(a, device=x.device) for a in (A, m, L))
    return Innovations(torch.as_tensor(list(real), device=x.device), *tensors)


def smallest_errors(scale_floors: np.ndarray) -> np.ndarray:
    """Smallest prediction errors of columns with these scale floors, standardised."""
    return np.minimum(_FLOORS_PER_ERROR * scale_floors, 1.0)


def _covariance(left: np.ndarray, n_coefficients: int) -> np.ndarray:
    """Ledoit & Wolf's shrunk covariance, on the scale of each column."""
    n, R = left.shape
    if n < 2:
        return np.eye(R)
    scale = np.maximum(left.std(0), 1e-9)
    if n < _FRAMES_PER_COEFFICIENT * R:
        return np.diag(scale**2)
    shrunk = LedoitWolf(assume_centered=True).fit(left / scale).covariance_
    # What a regression leaves of the frames it was fitted to is too small.
    shrunk = shrunk * (n / (n - n_coefficients)) + 1e-9 * np.eye(R)
    return shrunk * np.outer(scale, scale)


def _frame_numbers(lengths: np.ndarray) -> np.ndarray:
    """How many frames of its sequence come before each frame, (N,)."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _lags(c: Tensor, number: Tensor, n_lags: int) -> Tensor:
    """The n_lags frames before each, the last one first, 0 before the first."""
    if n_lags == 0:
        return c.new_zeros((len(c), 0))
    shifted = [
        torch.where((number >= k).unsqueeze(-1), c.roll(k, 0), 0.0)
        for k in range(1, n_lags + 1)
    ]
    return torch.cat(shifted, -1)
