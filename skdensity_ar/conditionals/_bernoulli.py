"""One logit per column: p(x_d = 1) = sigmoid(logit)."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from skdensity_ar.conditionals._base import Conditional


class Bernoulli(Conditional):
    """Mass of a column with values in {0, 1}."""

    support = "binary"
    n_inputs = 1
    n_params = 1

    def encode(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        return logsigmoid((2.0 * x - 1.0) * params.squeeze(-1))

    def log_vague(self, x: Tensor) -> Tensor:
        return torch.full_like(x, -math.log(2.0))

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        p = params.squeeze(-1).sigmoid()
        u = torch.rand(
            p.shape, generator=generator, dtype=torch.float64, device=p.device
        )
        return torch.lt(u, p, out=torch.empty_like(p))

    def center(self, params: Tensor, kind: str) -> Tensor:
        return (params.squeeze(-1).sigmoid().mean(0) > 0.5).to(params.dtype)

    def initial_bias(self, x: Tensor) -> Tensor:
        # Krichevsky-Trofimov smoothing: a column seen constant keeps a finite logit.
        p = (x.sum(0) + 0.5) / (x.shape[0] + 1.0)
        return p.logit().unsqueeze(-1)
