"""One logit per column: p(x_d = 1) = sigmoid(logit)."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from skdensity_ar.conditionals._base import Conditional, average


class Bernoulli(Conditional):
    """Mass of a column with values in {0, 1}."""

    support = "binary"
    n_inputs = 1
    n_params = 1
    n_uniforms = 1

    def encode(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return logsigmoid((2.0 * x - 1.0) * params.squeeze(-1))

    def log_vague(self, x: Tensor) -> Tensor:
        return torch.full_like(x, -math.log(2.0))

    def from_uniforms(self, params: Tensor, u: Tensor) -> Tensor:
        p = params.squeeze(-1).sigmoid()
        return torch.lt(u[0], p, out=torch.empty_like(p))

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        p_0 = (-params.squeeze(-1)).sigmoid()
        return torch.where(x < 1.0, torch.where(x < 0.0, 0.0, p_0), 1.0)

    def quantile(
        self, params: Tensor, q: float | Tensor, weights: Tensor | None = None
    ) -> Tensor:
        p_0 = average((-params.squeeze(-1)).sigmoid(), weights)
        return (p_0 < q).to(params.dtype)

    def center(
        self, params: Tensor, kind: str, weights: Tensor | None = None
    ) -> Tensor:
        p = average(params.squeeze(-1).sigmoid(), weights)
        return (p > 0.5).to(params.dtype)

    def initial_bias(self, x: Tensor) -> Tensor:
        # Krichevsky-Trofimov smoothing: a column seen constant keeps a finite logit.
        p = (x.sum(0) + 0.5) / (x.shape[0] + 1.0)
        return p.logit().unsqueeze(-1)
