"""How far a column's values are those seen before, told after training."""

from __future__ import annotations

import torch
from torch import Tensor

from skdensity_ar._module import DensityModule
from skdensity_ar.conditionals import Mixture, Repeats, histogram

# More rows than this are thinned out for the weights.
_MAX_ROWS, _BLOCK = 4096, 512

# A smaller weight is not worth its evaluation.
_SMALLEST_WEIGHT = 0.05

_EM_STEPS = 50


@torch.no_grad()
def add_repeats(module: DensityModule, x: Tensor, rounding: Tensor) -> None:
    """Give real columns of the fitted module the values that training rows share.

    Parameters
    ----------
    module : DensityModule
        Its mixtures are replaced by `Repeats`.
    x : Tensor of shape (n, D)
        Training rows, standardised.
    rounding : Tensor of shape (D,)
        Widths that columns were rounded to, 0 where values do not repeat.
    """
    widths = rounding.clone()
    if module.residuals is not None:  # what a prediction leaves does not repeat
        widths[(module.residuals.s != 1.0).any(0)] = 0.0
    some = x[:: 1 + len(x) // _MAX_ROWS]
    for b, (conditional, columns) in enumerate(
        zip(module.conditionals, module.columns, strict=True)
    ):
        width = widths[columns].tolist()
        if not isinstance(conditional, Mixture) or not any(width):
            continue
        values = list(x[:, columns].T)
        nothing = torch.zeros_like(widths[columns])
        repeats = Repeats(conditional, nothing, histogram(values, width))
        weight = _weights(_log_ratio(module, b, repeats, some), len(some))
        weight[(weight < _SMALLEST_WEIGHT) | (widths[columns] == 0.0)] = 0.0
        if weight.any():
            width = (widths[columns] * (weight > 0.0)).tolist()
            seen = histogram(values, width)
            module.conditionals[b] = Repeats(conditional, weight, seen)


def without_repeats(module: DensityModule) -> None:
    """Leave the mixtures alone, to train them further."""
    for b, conditional in enumerate(module.conditionals):
        if isinstance(conditional, Repeats):
            module.conditionals[b] = conditional.mixture


def _log_ratio(module: DensityModule, b: int, repeats: Repeats, x: Tensor) -> Tensor:
    """What the values seen make of each log-density, (n E, D_b)."""
    parts = []
    for rows in x.split(_BLOCK):
        params, z = module.params(rows)
        params, z = module.block(b, params, z)
        log_m = repeats.mixture.log_prob(params, z).double()
        log_q = repeats.log_repeats(params, z, seen=True)
        parts.append((log_q - log_m).flatten(0, -2))
    return torch.cat(parts)


def _weights(log_ratio: Tensor, n_rows: int) -> Tensor:
    """The λ of each column at which Σ log(1 - λ + λ ratio) is largest, by EM."""
    weight = torch.full_like(log_ratio[0], 0.5)
    for _ in range(_EM_STEPS):
        logit = (weight / (1.0 - weight).clamp(min=1e-9)).log() + log_ratio
        weight = logit.sigmoid().mean(0)
    # A value not seen has at least Laplace's share of a row.
    return weight.clamp(max=1.0 - 1.0 / (n_rows + 2))
