"""What a mixture of Gaussians says of a column given any others."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skdensity_ar.conditionals import Prediction, compress

# Numbers in the matrices of all rows that are looked at together, on a CPU and a GPU.
_NUMBERS, _NUMBERS_GPU = 2**16, 2**24

# Variance that a prediction leaves at least, as a share of the column's own.
_LEAST = 1e-6


class Gaussians(nn.Module):
    """log w_j, m_j and s_j of each column given those visible, under J Gaussians.

    The first is of all rows, others are of parts of them. Far values are compressed as
    for the networks. There may be several sets of Gaussians, of which every row has
    one.

    Parameters
    ----------
    columns : sequence of int
        The R columns of a table.
    log_weights : Tensor of shape (J,) or (sets, J)
    means : Tensor of shape (J, R) or (sets, J, R)
    covariances : Tensor of shape (J, R, R) or (sets, J, R, R)
        Positive definite.
    """

    log_weights: Tensor
    means: Tensor
    covariances: Tensor

    def __init__(
        self,
        columns: Sequence[int],
        log_weights: Tensor,
        means: Tensor,
        covariances: Tensor,
    ):
        super().__init__()
        self.register_buffer("log_weights", log_weights.double())
        self.register_buffer("means", means.double())
        self.register_buffer("covariances", covariances.double())
        self.columns = list(columns)

    @property
    def n_components(self) -> int:
        """J."""
        return self.log_weights.shape[-1]

    @property
    def n_sets(self) -> int:
        return len(self.log_weights) if self.log_weights.dim() > 1 else 1

    def alone(self) -> Tensor:
        """Mean and log-spread (2, R) of every column alone, of the first Gaussian."""
        spreads = 0.5 * self.covariances[0].diagonal().log()
        return torch.stack([self.means[0], spreads])

    def forward(
        self, x: Tensor, visible: Tensor, which: Tensor | None = None
    ) -> Prediction:
        """Of all columns at once, rows x (..., n, D) given columns visible (..., n, D).

        All of shape (..., n, R, J). `which` (..., n) are the sets of the rows, if there
        are several.
        """
        x, visible = x[..., self.columns], visible[..., self.columns]
        x, visible = torch.broadcast_tensors(compress(x).double(), visible.double())
        x, visible, lead = x.flatten(0, -2), visible.flatten(0, -2), x.shape[:-1]
        parts = []
        for rows in torch.arange(len(x), device=x.device).split(self.block):
            gaussians = self if which is None else self.sets(which.flatten()[rows])
            log_p, moves, roots = gaussians.given(x[rows], visible[rows])
            variances = _diagonals(gaussians.covariances)
            log_weights = (gaussians.log_weights + log_p).log_softmax(-1)
            part = (
                log_weights.unsqueeze(-2).expand_as(moves.mT),
                (gaussians.means + moves).mT,
                _log_spread(variances - roots.square().sum(-2), variances).mT,
            )
            parts.append(part)
        each = zip(*parts, strict=True)
        return Prediction(*(torch.cat(part).unflatten(0, lead) for part in each))

    @property
    def block(self) -> int:
        """Rows of which all matrices stay in the processor's cache."""
        numbers = _NUMBERS_GPU if self.covariances.is_cuda else _NUMBERS
        return max(1, numbers // max(math.prod(self.covariances.shape[-3:]), 1))

    def sets(self, which: Tensor) -> Gaussians:
        """Some of the sets; a row's own, if it is one for each row."""
        return Gaussians(self.columns, *(buffer[which] for buffer in self.buffers()))

    def some(self, which: slice) -> Gaussians:
        """Some of the Gaussians, with weights that sum to one."""
        log_weights = self.log_weights[which].log_softmax(0)
        means, covariances = self.means[which], self.covariances[which]
        return Gaussians(self.columns, log_weights, means, covariances)

    def given(self, x: Tensor, visible: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What cells visible (n, R) of x (n, R) say.

        Their log p (n, J), how far the means of all columns move (n, J, R), and roots W
        (n, J, R, R): WᵀW is what the covariances lose.
        """
        off, visible = x.unsqueeze(-2) - self.means, visible.unsqueeze(-2)
        seen = visible.unsqueeze(-1) * self.covariances  # (n, J, R, R)
        # The visible block, and ones on the diagonal for the others.
        A = seen * visible.unsqueeze(-2)
        noise = visible * (_LEAST * _diagonals(self.covariances))
        A.diagonal(dim1=-2, dim2=-1).add_(1.0 - visible + noise)
        L = torch.linalg.cholesky(A)
        roots = torch.linalg.solve_triangular(L, seen, upper=False)
        z = (visible * off).unsqueeze(-1)
        z = torch.linalg.solve_triangular(L, z, upper=False).squeeze(-1)
        log_p = -0.5 * (z.square() + visible * math.log(2.0 * math.pi)).sum(-1)
        log_p = log_p - _diagonals(L).log().sum(-1)
        return log_p, (z.unsqueeze(-2) @ roots).squeeze(-2), roots

    def place(self, d: int) -> int | None:
        """Where column d of the table is among the R."""
        return self.columns.index(d) if d in self.columns else None

    # The same, one column after the other, of one set.

    def start(self, x: Tensor, given: Tensor | None = None) -> State:
        """The state of rows x (n, D) of which the cells given (n, D) are known."""
        n = len(x)
        state = State(
            self.log_weights.expand(n, -1),
            self.means.expand(n, -1, -1),
            self.covariances.unsqueeze(0),
        )
        if given is None:
            return state
        for i, d in enumerate(self.columns):
            rows = given[:, d].nonzero().squeeze(-1)
            if len(rows) > 0:
                some = rows if len(rows) < n else None
                state = self.observe(state, i, x[rows, d], some)
        return state

    def step(self, state: State, i: int, rows: Tensor | None) -> Prediction:
        """Of the i-th column, (n, J), of all rows or these."""
        log_w, m, left = state.log_w, state.m[..., i], state.left[..., i, i]
        left = left.expand(len(m), -1)
        if rows is not None:
            log_w, m, left = log_w[rows], m[rows], left[rows]
        spread = _log_spread(left, _diagonals(self.covariances)[:, i])
        return Prediction(log_w.log_softmax(-1), m, spread)

    def observe(self, state: State, i: int, x_i: Tensor, rows: Tensor | None) -> State:
        """The state once all rows, or these, have x_i (n,) in the i-th column."""
        log_w, m, left = state.log_w, state.m, state.left
        if rows is not None:
            log_w, m = log_w[rows], m[rows]
            left = left.expand(len(state.m), -1, -1, -1)[rows]
        visited = left[..., i]  # (n, J, R), or (1, J, R) where all rows have the same
        variance = visited[..., i] + _LEAST * _diagonals(self.covariances)[:, i]
        gain = visited / variance.unsqueeze(-1)
        surprise = compress(x_i).double().unsqueeze(-1) - m[..., i]  # (n, J)
        log_w = log_w - 0.5 * (surprise.square() / variance + variance.log())
        m = m + surprise.unsqueeze(-1) * gain
        left = left - gain.unsqueeze(-1) * visited.unsqueeze(-2)
        if rows is None:
            return State(log_w, m, left)
        every = state.left.expand(len(state.m), -1, -1, -1)
        return State(
            state.log_w.index_copy(0, rows, log_w),
            state.m.index_copy(0, rows, m),
            every.index_copy(0, rows, left),
        )


@dataclass
class State:
    """What is known of n rows: log w (n, J), means (n, J, R), covariances of all.

    (n, J, R, R), or (1, J, R, R) where the same columns are known of all rows.
    """

    log_w: Tensor
    m: Tensor
    left: Tensor


def _diagonals(matrices: Tensor) -> Tensor:
    return matrices.diagonal(dim1=-2, dim2=-1)


def _log_spread(left: Tensor, variances: Tensor) -> Tensor:
    return 0.5 * torch.maximum(left, _LEAST * variances).log()
