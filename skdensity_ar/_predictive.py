"""The density of one column given all others: an average of members'."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from skdensity_ar.conditionals import Conditional, halved


@dataclass
class Predictive:
    """Σ_e w_e p_e(z), where x = shift_e + scale_e z, of n rows.

    Attributes
    ----------
    conditionals : sequence of Conditional
        Of every member, a block of one column.
    params : Tensor of shape (E, n, 1, P)
    weights : Tensor of shape (E, n, 1)
        They sum to one.
    shift, scale : Tensor of shape (E, n, 1), or None
        None where x is z; otherwise x is a real number without atoms.
    """

    conditionals: Sequence[Conditional]
    params: Tensor
    weights: Tensor
    shift: Tensor | None = None
    scale: Tensor | None = None

    def first(self, n: int) -> Predictive:
        """That of the first n rows."""
        return replace(
            self,
            params=self.params[:, :n],
            weights=self.weights[:, :n],
            shift=None if self.shift is None else self.shift[:, :n],
            scale=None if self.scale is None else self.scale[:, :n],
        )

    def cdf(self, x: Tensor) -> Tensor:
        """P(X ≤ x), (n,) -> (n,)."""
        z = x.unsqueeze(-1).expand(self.weights.shape)
        if self.shift is not None and self.scale is not None:
            z = (z - self.shift) / self.scale
        members = zip(self.conditionals, self.params, z, strict=True)
        each = torch.stack([c.cdf(params, z_e) for c, params, z_e in members])
        return (self.weights * each).sum(0).squeeze(-1)

    def quantile(self, q: float) -> Tensor:
        """The least x of P(X ≤ x) ≥ q, (n,)."""
        if self.shift is None or self.scale is None:
            x = self.conditionals[0].quantile(self.params, q, self.weights)
            return x.squeeze(-1)
        # It lies between the quantiles of the members.
        members = zip(self.conditionals, self.params, strict=True)
        z = torch.stack([c.quantile(params[None], q) for c, params in members])
        x = (self.shift + self.scale * z).squeeze(-1)
        return halved(lambda middle: self.cdf(middle) < q, x.amin(0), x.amax(0))
