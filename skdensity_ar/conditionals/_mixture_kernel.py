"""log p of a mixture and its gradient in one pass over the components.

Autograd would go over them some sixty times. Components lead here, so that sums over
them run along the rows, and what is written once is the gradient.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import softplus


class MixtureLogProb(torch.autograd.Function):
    """log((1 - ε) Σ_k α_k f(z_k) / σ_k + ε b(x)), see `Mixture`.

    Takes params (..., D, 3 K), x (..., D), floor, unit, log b(x) and the mixture;
    differentiates with respect to params alone.
    """

    @staticmethod
    def forward(ctx: Any, params, x, floor, unit, log_background, mixture):
        split = params.unflatten(-1, (3, mixture.n_components))
        out = split.movedim((-2, -1), (0, 1))  # (3, K, ..., D)
        out = out.clone(memory_format=torch.contiguous_format)
        z_alpha, mu, z_sigma = out.unbind()
        held = z_sigma > mixture.log_scale_max
        spread = z_sigma.masked_fill_(held, mixture.log_scale_max).exp_()
        sigma = spread + floor
        if unit is not None:
            unit = unit.movedim(-2, 0)  # (K, members, 1, D)
            mu.mul_(unit)
        z = mu.neg_().add_(x).div_(sigma)
        terms = mixture.kernel.log_prob(z).add_(z_alpha).sub_(sigma.log())
        r, log_r = _softmax(terms)
        alpha, log_alpha = _softmax(z_alpha)
        log_p = log_r - log_alpha
        if mixture.background > 0.0:
            ratio = log_p + math.log1p(-mixture.background) - log_background
            log_p, inside = log_background + softplus(ratio), ratio.sigmoid()
            r.mul_(inside)
            alpha.mul_(inside)
        torch.sub(r, alpha, out=z_alpha)
        r.div_(sigma).neg_()
        slope = mixture.kernel.slope(z)
        # d log f(z) / σ by μ and z^σ: -f'/f / σ and -(z f'/f + 1) (σ - floor) / σ.
        spread.mul_(r).mul_(z.mul_(slope).add_(1.0)).masked_fill_(held, 0.0)
        torch.mul(r, slope, out=mu)
        if unit is not None:
            mu.mul_(unit)
        ctx.save_for_backward(out)
        return log_p

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad):
        (by_params,) = ctx.saved_tensors
        by_params = (by_params * grad).movedim((0, 1), (-2, -1)).flatten(-2)
        return by_params, None, None, None, None, None


def _softmax(terms: Tensor) -> tuple[Tensor, Tensor]:
    """softmax, written over `terms`, and logsumexp over the leading axis."""
    largest = terms.amax(0)
    terms.sub_(largest).exp_()
    total = terms.sum(0)
    return terms.div_(total), total.log().add_(largest)
