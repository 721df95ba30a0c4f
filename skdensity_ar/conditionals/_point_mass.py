"""A column that was constant in training: nothing to learn, nothing to say."""

import torch
from torch import Tensor

from skdensity_ar.conditionals._base import Conditional


class PointMass(Conditional):
    """All mass on one value, coded 0; it contributes 0 nats there, -inf elsewhere."""

    support = "raw"
    n_inputs = 0
    n_params = 0
    n_uniforms = 0

    def encode(self, x: Tensor) -> Tensor:
        return x.new_empty((*x.shape, 0))

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        log_p = torch.zeros_like(x).masked_fill(x != 0.0, -torch.inf)
        return log_p + params.sum(-1)  # the sum over no parameter at all: 0

    def log_vague(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)

    def from_uniforms(self, params: Tensor, u: Tensor) -> Tensor:
        return params.new_zeros(params.shape[:-1])

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        return (x >= 0.0).to(x.dtype) + params.sum(-1)

    def quantile(
        self, params: Tensor, q: float | Tensor, weights: Tensor | None = None
    ) -> Tensor:
        return params.new_zeros(params.shape[1:-1])

    def center(
        self, params: Tensor, kind: str, weights: Tensor | None = None
    ) -> Tensor:
        return params.new_zeros(params.shape[1:-1])

    def initial_bias(self, x: Tensor) -> Tensor:
        return x.new_empty((x.shape[1], 0))
