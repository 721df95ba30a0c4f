"""K logits per column, and a documented mass for a category never seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from skdensity_ar.conditionals._base import ColumnSpec, Conditional

UNSEEN_MASS = 1e-6


class Categorical(Conditional):
    """Mass of a column with K categories seen in training.

    p(k) = (1 - ε) softmax(logits)_k for the codes k = 0 … K-1, and p(K) = ε for the
    one further outcome "a category not seen in training", with ε = `UNSEEN_MASS`:
    the K + 1 outcomes sum to one. Sampling draws seen categories only.
    """

    support = "category"

    def __init__(self, n_categories: int):
        super().__init__()
        self.n_inputs = self.n_params = n_categories

    @classmethod
    def for_columns(
        cls, specs: Sequence[ColumnSpec], *, n_components: int
    ) -> Categorical:
        return cls(specs[0].n_categories)

    def encode(self, x: Tensor) -> Tensor:
        codes = torch.arange(self.n_inputs, dtype=x.dtype, device=x.device)
        return (x.unsqueeze(-1) == codes).to(x.dtype)  # an unseen category is all zeros

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        codes = x.long()
        log_p = params.log_softmax(-1)
        codes, log_p = torch.broadcast_tensors(codes.unsqueeze(-1), log_p)
        seen = log_p.gather(-1, codes[..., :1].clamp(max=self.n_params - 1)).squeeze(-1)
        unseen = codes[..., 0] == self.n_params
        return (seen + math.log1p(-UNSEEN_MASS)).masked_fill(
            unseen, math.log(UNSEEN_MASS)
        )

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        return sample_index(params, generator).to(params.dtype)

    def center(self, params: Tensor, kind: str) -> Tensor:
        return params.softmax(-1).mean(0).argmax(-1).to(params.dtype)

    def initial_bias(self, x: Tensor) -> Tensor:
        counts = self.encode(x).sum(0)  # (D, K)
        return ((counts + 0.5) / (counts + 0.5).sum(-1, keepdim=True)).log()


def sample_index(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draw k ~ softmax(logits) along the last axis by inverting the cdf."""
    cdf = logits.double().softmax(-1).cumsum(-1)
    u = torch.rand(
        (*cdf.shape[:-1], 1),
        generator=generator,
        dtype=torch.float64,
        device=cdf.device,
    )
    # The cdf's last entry may fall short of 1 by rounding: never step past K - 1.
    return (u * cdf[..., -1:] >= cdf).sum(-1).clamp(max=cdf.shape[-1] - 1)
