"""log p of a mixture and its gradient in one pass over the components.

Autograd would go over them some sixty times. Sums over components run along the rows
here, whichever of the two comes last in memory, and what is written once is the
gradient.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus

# Components smaller than the largest by this factor, as a logarithm, are taken to have
# no share: half of the last digit of float64. They would fill the gradient with numbers
# below the smallest normal one, by which processors multiply a hundred times slower.
_NO_SHARE = -36.7

# Numbers per parameter evaluated at a time. Memory for much more would be asked of the
# system, and cleared by it, in every step.
_PART = 2**19


class MixtureLogProb(torch.autograd.Function):
    """log((1 - ε) Σ_k α_k f(z_k) / σ_k + ε b(x)), see `Mixture`.

    Takes params (..., D, 3 K), x that broadcasts to (..., D), floor, unit, log b(x)
    and the mixture; differentiates with respect to params alone.
    """

    @staticmethod
    def forward(ctx: Any, params, x, floor, unit, log_background, mixture):
        log_p, by_params = mixture_log_prob(
            params, x, floor, unit, log_background, mixture, with_gradient=True
        )
        ctx.save_for_backward(by_params)
        return log_p

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad):
        (by_params,) = ctx.saved_tensors
        by_params = (by_params * grad).movedim((0, 1), (-2, -1)).flatten(-2)
        return by_params, None, None, None, None, None


def mixture_log_prob(
    params: Tensor,
    x: Tensor,
    floor: Tensor,
    unit: Tensor | None,
    log_background: Tensor,
    mixture: Any,
    *,
    with_gradient: bool,
) -> tuple[Tensor, Tensor]:
    """log p (..., D) and, if asked for, its derivatives by params, (3, K, ..., D)."""
    K, shape = mixture.n_components, params.shape[:-1]
    rows_last = params.stride(-1) != 1  # in memory, as products leave them
    if rows_last:
        derivatives = torch.empty_like(params).unflatten(-1, (3, K))
        derivatives = derivatives.movedim((-2, -1), (0, 1))
        if x.dim() > 1:
            x, log_background = (v.mT.contiguous().mT for v in (x, log_background))
    else:
        derivatives = params.new_empty((3, K, *shape))
    params = params.unflatten(-1, (3, K)).movedim((-2, -1), (0, 1))
    if unit is not None:
        unit = unit.movedim(-2, 0)  # (K, members, 1, D), or fewer axes
        unit = unit[(slice(None), *[None] * (params[0].dim() - unit.dim()))]
    given = (x, floor, unit, log_background)
    size = shape[0] if len(shape) < 3 else _PART * shape[0] // max(params[0].numel(), 1)
    if size >= shape[0]:
        log_p = _evaluate(params, derivatives, given, mixture, with_gradient)
        return log_p, derivatives
    parts = []
    for begin in range(0, shape[0], max(size, 1)):
        members = slice(begin, begin + max(size, 1))
        part = tuple(
            _of_members(v, axis, members, len(shape))
            for v, axis in zip(given, (0, 0, 1, 0), strict=True)
        )
        values, out = params[:, :, members], derivatives[:, :, members]
        parts.append(_evaluate(values, out, part, mixture, with_gradient))
    return torch.cat(parts), derivatives


def _of_members(v: Any, axis: int, members: slice, n_axes: int) -> Any:
    """These members' part along `axis` of what may be there for all of them alone."""
    if v is None or v.dim() - axis < n_axes or v.shape[axis] == 1:
        return v
    return v[(slice(None),) * axis + (members,)]


def _evaluate(
    params: Tensor,
    out: Tensor,
    given: tuple[Tensor, Tensor, Tensor | None, Tensor],
    mixture: Any,
    with_gradient: bool,
) -> Tensor:
    """log p; what is written to `out` are its derivatives."""
    x, floor, unit, log_background = given
    z_alpha, mu, z_sigma = params.unbind()
    by_alpha, by_mu, by_sigma = out.unbind()
    most = mixture.log_scale_max
    # Where none is held, which a GPU would have to be asked for, none need be marked.
    none_held = z_sigma.is_cpu and bool(z_sigma.amax() <= most)
    spread = z_sigma if none_held else torch.clamp(z_sigma, max=most, out=by_sigma)
    spread = torch.exp(spread, out=by_sigma)
    sigma = spread + floor
    z = torch.sub(x, mu if unit is None else mu * unit, out=by_mu).div_(sigma)
    terms = mixture.kernel.log_prob(z).add_(z_alpha).sub_(sigma.log())
    r, total, log_r = _exp(terms, out=terms)
    alpha, total_alpha, log_alpha = _exp(z_alpha, out=by_alpha)
    log_p = log_r - log_alpha
    if mixture.background > 0.0:
        ratio = log_p + math.log1p(-mixture.background) - log_background
        log_p, inside = log_background + softplus(ratio), ratio.sigmoid()
        total, total_alpha = inside / total, inside / total_alpha
    else:
        total, total_alpha = total.reciprocal(), total_alpha.reciprocal()
    if not with_gradient:
        return log_p
    torch.sub(r.mul_(total), alpha.mul_(total_alpha), out=by_alpha)
    r.div_(sigma)
    slope = mixture.kernel.slope(z)
    # d log f(z) / σ by μ and z^σ: -f'/f / σ and -(z f'/f + 1) (σ - floor) / σ.
    spread.mul_(r).mul_(z.mul_(slope).add_(1.0).neg_())
    if not none_held:
        spread.masked_fill_(z_sigma > most, 0.0)
    torch.mul(r, slope, out=by_mu).neg_()
    if unit is not None:
        by_mu.mul_(unit)
    return log_p


def _exp(terms: Tensor, out: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """exp(terms - largest), written to `out`; its sum and logsumexp of terms."""
    largest = _fold(torch.maximum, terms)
    torch.threshold_(torch.sub(terms, largest, out=out), _NO_SHARE, -math.inf).exp_()
    total = _fold(torch.add, out)
    return out, total, total.log().add_(largest)


def _fold(operation: Any, terms: Tensor) -> Tensor:
    """Join all entries of the leading axis, halves at a time.

    Reductions of torch take two to three times as long where that axis is not the
    first in memory too.
    """
    if len(terms) == 1:
        return terms[0].clone()
    while (n := len(terms)) > 1:
        half = n // 2
        folded = operation(terms[:half], terms[n - half :])
        if n % 2:
            operation(folded[0], terms[half], out=folded[0])
        terms = folded
    return terms[0]
