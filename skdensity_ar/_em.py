"""Fitting a mixture of Gaussians to rows with missing cells."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from skdensity_ar._gaussians import Gaussians
from skdensity_ar.conditionals import compress

# More columns than this would cost more than they tell: a step solves equations of
# that size for every row.
MOST_COLUMNS = 64

# Rows per column and component below which a covariance tells of noise; numbers of all
# means at most.
_ROWS_PER_COLUMN, _MOST_NUMBERS = 5, 128

# EM thins out more rows than this, or than make so many multiplications a step where
# cells are missing. It stops after so many steps or when one gains less nats per row.
_MAX_ROWS, _MAX_WORK, _STEPS, _TOL = 2**12, 2**28, 100, 1e-4

# Weight of the Gaussian of all rows where there are others of parts of them.
_OF_WHOLE = 0.1

# Parts of the rows that are left out in turn.
_PARTS = 10

# Clusterings of which the best is where EM starts; up to so many components they are
# tried one by one.
_STARTS, _BY_ONE = 3, 4

# Variance that one of several components has at least, as a share of the column's own:
# there are others for heaps. What counts as nothing.
_LEAST_OF_COMPONENT, _SMALLEST = 1e-3, 1e-9


def fit_gaussians(x: Tensor, columns: Sequence[int]) -> Gaussians:
    """Fit a mixture of Gaussians to rows with missing cells, NaN, by EM [1]_.

    With as many components as make the information criterion BIC least; they start at
    clusters. To each are added half as many rows as there are columns, which show no
    relation: without them, few rows show relations that are none. A single column, more
    than `MOST_COLUMNS`, or too few rows make a mixture of no components.

    References
    ----------
    .. [1] Z. Ghahramani, M. I. Jordan (1994). Supervised Learning from Incomplete Data
       via an EM Approach. NIPS.
    """
    x, R = x[:, list(columns)], len(columns)
    x = x[_thinned(x)]
    known = ~x.isnan()
    if not 1 < R <= MOST_COLUMNS or known.sum(0).min() < _ROWS_PER_COLUMN * R:
        none = x.new_empty(0)
        return Gaussians([], none, none.view(0, 0), none.view(0, 0, 0))
    rows = _rows(x)
    mean = rows.x.sum(0) / rows.visible.sum(0)
    off = (rows.x - mean) * rows.visible
    variance = (off.square().sum(0) / rows.visible.sum(0)).clamp(min=_SMALLEST)
    one = mean.new_zeros(1), mean[None], variance.diag()[None]
    best, least = rows.climbed(Gaussians(columns, *one), torch.zeros_like(variance))
    filled = rows.filled(best)
    whitened = ((filled - mean) / variance.sqrt()).cpu().numpy()
    # Numbers that differ by rounding alone make no clusters.
    n_different = len(np.unique(whitened.round(6), axis=0))
    most = min(len(x) // (_ROWS_PER_COLUMN * R), n_different, _MOST_NUMBERS // R)
    floor = _LEAST_OF_COMPONENT * variance
    whole, J, n_worse = best, 2, 0
    while J <= most and n_worse < 2:
        start = _of_clusters(filled, whitened, J, floor, columns)
        more, criterion = rows.climbed(start, floor)
        n_worse = 0 if criterion < least else n_worse + 1
        if criterion < least:
            best, least = more, criterion
        J += 1 if J < _BY_ONE else 2
    return whole if best is whole else _whole_and_parts(whole, best)


def _whole_and_parts(whole: Gaussians, parts: Gaussians) -> Gaussians:
    """Of all rows, and of parts of them, by weights that sum to one."""
    log_weights = [
        whole.log_weights + math.log(_OF_WHOLE),
        parts.log_weights + math.log(1.0 - _OF_WHOLE),
    ]
    means = torch.cat([whole.means, parts.means])
    covariances = torch.cat([whole.covariances, parts.covariances])
    return Gaussians(whole.columns, torch.cat(log_weights), means, covariances)


def _of_clusters(
    filled: Tensor,
    whitened: np.ndarray,
    J: int,
    floor: Tensor,
    columns: Sequence[int],
) -> Gaussians:
    """A Gaussian for each of so many clusters of complete rows (n, R), or of fewer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of fewer clusters than asked for
        clusters = KMeans(J, n_init=_STARTS, random_state=0).fit(whitened)
    _, which = np.unique(clusters.labels_, return_inverse=True)  # none is empty
    labels = torch.as_tensor(which, device=filled.device).long()
    shares = nn.functional.one_hot(labels).double()
    counts = shares.sum(0)
    means = shares.T @ filled / counts.unsqueeze(-1)
    off = filled - means[labels]
    second = torch.einsum("nj,na,nb->jab", shares, off, off)
    return _maximised(counts, means, second, floor, columns)


def fit_without(
    gaussians: Gaussians, x: Tensor, weights: Tensor | None
) -> tuple[Gaussians, Tensor]:
    """Gaussians that have not seen some of the rows, by EM from the same start [1]_.

    A set for each part of the rows, fitted to the other parts, the last fitted to all;
    and which set a row has, (n,), equal rows the same one. Gaussians that had seen a
    row would look better to networks that learn beside them than they are elsewhere.

    References
    ----------
    .. [1] D. H. Wolpert (1992). Stacked Generalization. Neural Networks.
    """
    x = x[:, gaussians.columns]
    rows, same = x.nan_to_num(nan=torch.inf).unique(dim=0, return_inverse=True)
    generator = torch.Generator("cpu").manual_seed(0)
    order = torch.randperm(len(rows), generator=generator).to(x.device)
    which = order[same] % _PARTS
    sets = []
    for part in range(_PARTS):
        index = (which != part).nonzero().squeeze(-1)
        index = index[_thinned(x[index])]
        of_weights = None if weights is None else weights[index].double()
        sets.append(_again(gaussians, _rows(x[index], of_weights)))
    each = zip(*(one.buffers() for one in [*sets, gaussians]), strict=True)
    buffers = [torch.stack(buffer) for buffer in each]
    return Gaussians(gaussians.columns, *buffers), which


def _again(gaussians: Gaussians, rows: _Rows) -> Gaussians:
    """EM on other rows from there on, of the whole and the parts each by itself."""
    if len(rows.x) == 0:
        return gaussians
    whole, parts = gaussians.some(slice(1)), gaussians.some(slice(1, None))
    variance = whole.covariances[0].diagonal()
    whole, _ = rows.climbed(whole, torch.zeros_like(variance))
    if parts.n_components == 0:
        return whole
    return _whole_and_parts(
        whole, rows.climbed(parts, _LEAST_OF_COMPONENT * variance)[0]
    )


def _thinned(x: Tensor) -> Tensor:
    """Which rows EM takes: at random, as what is missing may follow their order."""
    most = _MAX_ROWS
    if x.isnan().any():
        most = min(most, _MAX_WORK // x.shape[1] ** 3)
    if len(x) <= most:
        return torch.arange(len(x), device=x.device)
    generator = torch.Generator("cpu").manual_seed(0)
    return torch.randperm(len(x), generator=generator)[:most].to(x.device)


def _rows(x: Tensor, weights: Tensor | None = None) -> _Rows:
    known = (~x.isnan()).double()
    return _Rows(compress(x.double()).nan_to_num(nan=0.0), known, weights)


@dataclass
class _Rows:
    """Rows x (n, R), 0 where a cell is not visible (n, R), and how often they count."""

    x: Tensor
    visible: Tensor
    weights: Tensor | None = None

    def climbed(self, gaussians: Gaussians, floor: Tensor) -> tuple[Gaussians, float]:
        """EM from there on, no variance less than `floor` (R,); and BIC at its end."""
        n = len(self.x) if self.weights is None else self.weights.sum().item()
        before = -math.inf
        for step in range(_STEPS + 1):
            log_p, counts, first, second = self._expected(gaussians)
            if log_p / n < before + _TOL or step == _STEPS:
                break
            before = log_p / n
            move = first / counts.unsqueeze(-1)
            second = second - torch.einsum("j,ja,jb->jab", counts, move, move)
            gaussians = _maximised(
                counts, gaussians.means + move, second, floor, gaussians.columns
            )
        J, R = gaussians.means.shape
        n_params = J * (1 + R + R * (R + 1) // 2) - 1
        return gaussians, n_params * math.log(n) - 2.0 * log_p

    def _expected(self, gaussians: Gaussians) -> tuple[float, Tensor, Tensor, Tensor]:
        """log p of all, rows by component, sums and products of x less the means."""
        log_p, sums = 0.0, [torch.zeros_like(buffer) for buffer in gaussians.buffers()]
        for x, visible, weights in self._blocks(gaussians):
            of_all, moves, roots = _known_or_not(gaussians, x, visible)
            of_all = of_all + gaussians.log_weights
            log_p += (weights * of_all.logsumexp(-1)).sum().item()
            shares = weights.unsqueeze(-1) * of_all.softmax(-1)
            off = x.unsqueeze(-2) - gaussians.means
            off = torch.where(visible.unsqueeze(-2) > 0.0, off, moves)
            weighted = shares.unsqueeze(-1) * off
            sums[0] += shares.sum(0)
            sums[1] += weighted.sum(0)
            sums[2] += torch.einsum("nja,njb->jab", weighted, off)
            if roots is not None:
                # Of two cells that are missing, what is left of both counts.
                missing = 1.0 - visible
                left = gaussians.covariances - roots.mT @ roots
                sums[2] += torch.einsum(
                    "njab,nj,na,nb->jab", left, shares, missing, missing
                )
        return log_p, sums[0].clamp(min=_SMALLEST), sums[1], sums[2]

    def filled(self, gaussians: Gaussians) -> Tensor:
        """Rows with the means of the first component given what is visible."""
        parts = []
        for x, visible, _ in self._blocks(gaussians):
            _, moves, _ = _known_or_not(gaussians, x, visible)
            parts.append(torch.where(visible > 0.0, x, (gaussians.means + moves)[:, 0]))
        return torch.cat(parts)

    def _blocks(self, gaussians: Gaussians) -> Iterator[tuple[Tensor, ...]]:
        size = len(self.x)
        if not self.visible.all():
            size = gaussians.block
        weights = self.x.new_ones(len(self.x)) if self.weights is None else self.weights
        parts = (v.split(size) for v in (self.x, self.visible, weights))
        return zip(*parts, strict=True)


def _known_or_not(
    gaussians: Gaussians, x: Tensor, visible: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """`Gaussians.given`; where all is visible one matrix serves all rows.

    Without the noise there, a millionth of the variances, which BIC does not feel.
    """
    if not visible.all():
        return gaussians.given(x, visible)
    off = x.unsqueeze(-2) - gaussians.means  # (n, J, R)
    L = torch.linalg.cholesky(gaussians.covariances)
    z = torch.linalg.solve_triangular(L, off.movedim(0, -1), upper=False)  # (J, R, n)
    log_p = -0.5 * (z.square().sum(-2).T + x.shape[-1] * math.log(2.0 * math.pi))
    log_p = log_p - L.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return log_p, torch.zeros_like(off), None


def _maximised(
    counts: Tensor,
    means: Tensor,
    second: Tensor,
    floor: Tensor,
    columns: Sequence[int],
) -> Gaussians:
    """The Gaussians of so many rows (J,), with these products (J, R, R) about means."""
    R, n_each = len(columns), counts.view(-1, 1, 1).clamp(min=_SMALLEST)
    none = 0.5 * R / n_each
    covariances = second / n_each
    variances = covariances.diagonal(dim1=-2, dim2=-1)
    variances = torch.maximum(variances, floor.clamp(min=_SMALLEST))
    covariances = covariances / (1.0 + none)
    covariances.diagonal(dim1=-2, dim2=-1).copy_(variances)
    log_weights = (counts / counts.sum()).clamp(min=_SMALLEST).log()
    return Gaussians(columns, log_weights, means, covariances)
