"""K logits per column, and a documented mass for a category never seen."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from skdensity_ar.conditionals._base import ColumnSpec, Conditional, average

UNSEEN_MASS = 1e-6


class Categorical(Conditional):
    """Mass of a column with K categories seen in training.

    p(k) = (1 - ε) softmax(logits)_k for the codes k = 0 … K-1, and p(K) = ε for the
    one further outcome "a category not seen in training", with ε = `UNSEEN_MASS`:
    the K + 1 outcomes sum to one. Sampling draws seen categories only.

    Where `shares` are given, the last category is a group of R rare labels, coded
    K-1 … K+R-2, with K+R-1 for "not seen"; each has its share of the group's mass.

    Parameters
    ----------
    n_categories : int
        K.
    shares : Tensor of shape (R, D), optional
        Of the labels in the group; they sum to one.
    """

    support = "category"
    log_shares: Tensor | None

    def __init__(self, n_categories: int, shares: Tensor | None = None):
        super().__init__()
        self.n_inputs = self.n_params = n_categories
        self.n_labels = n_categories + (0 if shares is None else len(shares) - 1)
        self.n_uniforms = 1 if shares is None else 2
        self.register_buffer("log_shares", None if shares is None else shares.log())

    @classmethod
    def for_columns(
        cls, specs: Sequence[ColumnSpec], *, n_components: int
    ) -> Categorical:
        shares = None
        if specs[0].shares:
            each = [spec.shares for spec in specs]
            shares = torch.tensor(each, dtype=torch.float64, device="cpu").T
        return cls(specs[0].n_categories, shares)

    def encode(self, x: Tensor) -> Tensor:
        codes = torch.arange(self.n_inputs, dtype=x.dtype, device=x.device)
        if self.log_shares is not None:
            x = torch.where(x < self.n_labels, x.clamp(max=self.n_params - 1), x)
        return (x.unsqueeze(-1) == codes).to(x.dtype)  # an unseen category is all zeros

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        codes = x.long()
        log_p = params.log_softmax(-1)
        codes, log_p = torch.broadcast_tensors(codes.unsqueeze(-1), log_p)
        seen = log_p.gather(-1, codes[..., :1].clamp(max=self.n_params - 1)).squeeze(-1)
        unseen = codes[..., 0] == self.n_labels
        if self.log_shares is not None:
            seen = seen + self._log_share(codes[..., 0]).to(seen.dtype)
        return (seen + math.log1p(-UNSEEN_MASS)).masked_fill(
            unseen, math.log(UNSEEN_MASS)
        )

    def _log_share(self, codes: Tensor) -> Tensor:
        """Of a label in its category, (..., D): 0 for those that are not grouped."""
        assert self.log_shares is not None
        R, D = self.log_shares.shape
        rank = codes - (self.n_params - 1)
        column = torch.arange(D, device=codes.device)
        log_share = self.log_shares[rank.clamp(min=0, max=R - 1), column]
        return log_share.masked_fill(rank < 0, 0.0)

    def log_vague(self, x: Tensor) -> Tensor:
        return torch.full_like(x, -math.log(self.n_labels + 1.0))  # with "not seen"

    def from_uniforms(self, params: Tensor, u: Tensor) -> Tensor:
        code = drawn_index(params, u[0])
        if self.log_shares is not None:
            shares = self.log_shares.mT.expand(*code.shape, -1)
            rank = drawn_index(shares, u[1])
            code = torch.where(code == self.n_params - 1, code + rank, code)
        return code.to(params.dtype)

    def center(
        self, params: Tensor, kind: str, weights: Tensor | None = None
    ) -> Tensor:
        p = average(params.softmax(-1), None if weights is None else weights[..., None])
        if self.log_shares is None:
            return p.argmax(-1).to(params.dtype)
        rare = self.log_shares.exp().to(p.dtype).mT * p[..., -1:]
        return torch.cat([p[..., :-1], rare], -1).argmax(-1).to(params.dtype)

    def initial_bias(self, x: Tensor) -> Tensor:
        counts = self.encode(x).sum(0)  # (D, K)
        return ((counts + 0.5) / (counts + 0.5).sum(-1, keepdim=True)).log()


def drawn_index(logits: Tensor, u: Tensor) -> Tensor:
    """Draw k ~ softmax(logits) (..., K) by inverting the cdf at u (...)."""
    cdf = logits.double().softmax(-1).cumsum(-1)
    # The cdf's last entry may fall short of 1 by rounding: never step past K - 1.
    return (u.unsqueeze(-1) * cdf[..., -1:] >= cdf).sum(-1).clamp(max=cdf.shape[-1] - 1)
