"""Where the components of a mixture start: on the values of the column alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# A heap is a value that this share of the rows have, and at least so many rows. The
# most populous heaps get a component each that starts with this scale.
_HEAP_SHARE, _HEAP_ROWS, _MOST_HEAPS = 0.04, 5, 3
_HEAP_SCALE = 0.003

# From so many components on, the others are kernels on the values, in sets of one width
# each: a number, or the distance to the so many-th other value, but no less than the
# first of the numbers.
_MANY = 200
_WIDTHS, _NEIGHBOURS = (0.01, 0.02, 0.05, 0.15, 0.5), (3, 9, 27)

# The sets that are kept and their weights make the likelihood of values left out, in so
# many folds, large; it is climbed by so many steps of EM.
N_SETS, _FOLDS, _STEPS = 4, 10, 100

# More rows than this are thinned out.
_MAX_ROWS = 2**14


def heaps_of_column(x: Tensor, K: int) -> tuple[Tensor, Tensor]:
    """The values (heaps,) that get a narrow component of the K, and their shares."""
    x = _thinned(x)
    values, counts = x.unique(return_counts=True)
    # Sorting in descending order of the counts, and of equal ones the smallest value.
    order = counts.sort(descending=True, stable=True).indices
    n_heaps = int((counts >= max(_HEAP_SHARE * len(x), _HEAP_ROWS)).sum())
    n_heaps = min(n_heaps, _MOST_HEAPS, K - 2) if K > 2 and len(values) > 1 else 0
    heaps = order[:n_heaps]
    return values[heaps], counts[heaps].to(x) / len(x)


def unit_of_column(x: Tensor, K: int, floor: Tensor) -> Tensor:
    """What the means of the components take their steps in, (K,)."""
    heaps, _ = heaps_of_column(x, K)
    unit = torch.ones(K, dtype=heaps.dtype, device=heaps.device)
    unit[: len(heaps)] = _HEAP_SCALE + floor
    return unit


def start_of_column(
    x: Tensor, K: int, log_prob: Callable[..., Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """α, μ, σ (K,) of a column: narrow components on its heaps, others on the rest.

    Parameters
    ----------
    x : Tensor of shape (n,)
        Values of the column.
    K : int
        Components.
    log_prob : callable
        Log-density of values, (α, μ, σ, values) -> (n_values,). σ here and in what is
        returned is without the floor of the column.
    """
    heaps, shares = heaps_of_column(x, K)
    x = _thinned(x)
    rest = x[~torch.isin(x, heaps)]
    ordered = (x if len(rest) == 0 else rest).sort().values
    k = K - len(heaps)
    are_many = K >= _MANY and len(ordered) >= 2 * _FOLDS
    alpha, mu, sigma = (
        _kernels(ordered, k, log_prob) if are_many else even_start(ordered, k)
    )
    return (
        torch.cat([shares, alpha * max(len(rest), 1) / len(x)]),
        torch.cat([heaps, mu]),
        torch.cat([torch.full_like(heaps, _HEAP_SCALE), sigma]),
    )


def _thinned(x: Tensor) -> Tensor:
    return x[:: 1 + (len(x) - 1) // _MAX_ROWS].double()


def even_start(ordered: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
    """Of k components: equal weights, quantiles of values in rising order and widths.

    With these neighbours overlap.
    """
    mu = ordered[_middles(len(ordered), k)]
    # The outer ones are as wide as their gap.
    gaps = mu.diff() if k > 1 else torch.ones_like(mu)
    left, right = torch.cat([gaps[:1], gaps])[:k], torch.cat([gaps, gaps[-1:]])[:k]
    return (
        torch.full_like(mu, 1.0 / k),
        mu,
        torch.maximum(left, right).clamp(min=0.1),
    )


def _kernels(
    ordered: Tensor, k: int, log_prob: Callable[..., Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """Kernel densities of several widths side by side: α, μ, σ of all, each (k,)."""
    n = len(ordered)
    generator = torch.Generator(ordered.device).manual_seed(0)
    fold = torch.randperm(n, generator=generator, device=ordered.device) % _FOLDS
    left_out = []
    for f in range(_FOLDS):
        alpha, mu, widths = _sets(ordered[fold != f], k // N_SETS)
        x = ordered[fold == f]
        left_out.append(torch.stack([log_prob(alpha, mu, w, x) for w in widths]))
    log_p = torch.cat(left_out, -1)  # (sets, n)
    kept = _weights(log_p).topk(N_SETS).indices
    parts = []
    for i, weight in enumerate(_weights(log_p[kept])):
        alpha, mu, widths = _sets(ordered, (k + i) // N_SETS)
        parts.append((weight * alpha, mu, widths[kept[i]]))
    alpha, mu, width = (torch.cat(each) for each in zip(*parts, strict=True))
    return alpha, mu, width


def _sets(ordered: Tensor, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights and places (m,) of kernels, and their widths in every set (sets, m)."""
    index = _middles(len(ordered), m)
    alpha = 1.0 / index.bincount()[index].to(ordered)  # values that come twice: halves
    near = torch.stack([_distance(ordered, j) for j in _NEIGHBOURS])
    even = ordered.new_tensor(_WIDTHS).unsqueeze(-1).expand(-1, len(ordered))
    widths = torch.cat([even, near.clamp(min=_WIDTHS[0])])
    return alpha / alpha.sum(), ordered[index], widths[:, index]


def _middles(n: int, k: int) -> Tensor:
    """Where the middles of k equal parts of n sorted values are."""
    middles = (torch.arange(k, dtype=torch.float64, device="cpu") + 0.5) / k
    return (middles * n).long().clamp(max=n - 1)


def _distance(ordered: Tensor, j: int) -> Tensor:
    """How far the j-th nearest other value is from each of these, or the farthest."""
    n, j = len(ordered), min(j, len(ordered) - 1)
    far = ordered.new_full((j,), torch.inf)
    padded = torch.cat([-far, ordered, far])
    # Of the j + 1 runs of j + 1 values that a value is in, the one that reaches least.
    reach = [
        torch.maximum(ordered - padded[i : i + n], padded[i + j : i + j + n] - ordered)
        for i in range(j + 1)
    ]
    return torch.stack(reach).amin(0)


def _weights(log_p: Tensor) -> Tensor:
    """The weights (sets,) of densities whose mixture makes log_p (sets, n) largest."""
    weights = log_p.new_full((len(log_p),), 1.0 / len(log_p))
    for _ in range(_STEPS):
        responsibilities = (log_p + weights.log().unsqueeze(-1)).softmax(0)
        weights = responsibilities.mean(-1).clamp(min=1e-6)
    return weights / weights.sum()
