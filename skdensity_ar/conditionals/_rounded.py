"""Masses of integers: what a mixture of logistics has between their halves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from skdensity_ar.conditionals._base import ColumnSpec, Conditional
from skdensity_ar.conditionals._categorical import UNSEEN_MASS
from skdensity_ar.conditionals._mixtures import FARTHEST, LogisticMixture


class Rounded(Conditional):
    """p(k) = F(k + ½) - F(k - ½), where F is the cdf of a mixture on standardised k.

    The first integer takes all mass below it, the last one, where there is one, all
    above: masses sum to one. Components are logistic, for then the difference is a
    product, in which no digits cancel however far out k is:

        s(b) - s(a) = s(b) s(-a) (1 - exp(a - b)),   s the logistic function.

    The background of a mixture, a Cauchy density of mass ε, has such a form too:
    atan b - atan a = atan2(b - a, 1 + a b).

    Parameters
    ----------
    mixture : LogisticMixture
        Of the standardised column. Its scale floor keeps scales in the reach of
        float32: at a twentieth of ½ all mass is on one integer.
    middle, spread : Tensor of shape (D,)
        What standardises: (k - middle) / spread.
    first, last : Tensor of shape (D,)
        The ends; `last` may be infinity.
    """

    middle: Tensor
    spread: Tensor
    first: Tensor
    last: Tensor

    def __init__(
        self,
        mixture: LogisticMixture,
        middle: Tensor,
        spread: Tensor,
        first: Tensor,
        last: Tensor,
    ):
        super().__init__()
        self.mixture = mixture
        self.n_inputs, self.n_direct = mixture.n_inputs, mixture.n_direct
        self.n_params = mixture.n_params
        self.n_components = mixture.n_components
        self.n_frequencies = mixture.n_frequencies
        self.register_buffer("middle", middle)
        self.register_buffer("spread", spread)
        self.register_buffer("first", first)
        self.register_buffer("last", last)

    @classmethod
    def for_columns(cls, specs: Sequence[ColumnSpec], *, n_components: int) -> Self:
        def tensor(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float64, device="cpu")

        return cls(
            LogisticMixture(n_components, tensor([s.scale_floor for s in specs])),
            tensor([s.center for s in specs]),
            tensor([s.scale for s in specs]),
            tensor([s.first for s in specs]),
            tensor([cls._last(s) for s in specs]),
        )

    @staticmethod
    def _last(spec: ColumnSpec) -> float:
        return math.inf

    def with_frequencies(self, n_frequencies: int) -> Self:
        return self._of(self.mixture.with_frequencies(n_frequencies))

    def adapted(self, x: Tensor) -> Self:
        return self._of(self.mixture.adapted(self._standardised(x)))

    def _of(self, mixture: Conditional) -> Self:
        assert isinstance(mixture, LogisticMixture)
        return type(self)(mixture, self.middle, self.spread, self.first, self.last)

    def _standardised(self, x: Tensor) -> Tensor:
        z = (x - self.middle.to(x.dtype)) / self.spread.to(x.dtype)
        return z.clamp(-FARTHEST, FARTHEST)

    def _integers(self, z: Tensor) -> Tensor:
        """What is standardised to z, before it is rounded."""
        return z * self.spread.to(z.dtype) + self.middle.to(z.dtype)

    def encode(self, x: Tensor) -> Tensor:
        return self.mixture.encode(self._standardised(x))

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        # The half above k is, bit for bit, the half below k + 1.
        lower, upper = self._standardised(x - 0.5), self._standardised(x + 0.5)
        is_first = x <= self.first.to(x.dtype)
        is_last = x >= self.last.to(x.dtype)
        width = self.spread.reciprocal().to(x.dtype)
        z_alpha, mu, sigma = self.mixture.split(params)
        inside = (-torch.expm1(-width.unsqueeze(-1) / sigma)).log()
        below = logsigmoid((upper.unsqueeze(-1) - mu) / sigma)
        above = logsigmoid((mu - lower.unsqueeze(-1)) / sigma)
        below, above = _zero(below, is_last), _zero(above, is_first)
        inside = _zero(inside, is_first | is_last)
        log_p = (z_alpha + below + above + inside).logsumexp(-1)
        log_p = log_p - z_alpha.logsumexp(-1)
        background = self.mixture.background
        if background == 0.0:
            return log_p
        far = math.log(background) + _log_cauchy(lower, upper, width, is_first, is_last)
        return torch.logaddexp(log_p + math.log1p(-background), far)

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        """P(X ≤ x | params), (..., D, n_params), (..., D) -> (..., D)."""
        k = x.floor()
        cdf = self.mixture.cdf(params, self._standardised(k + 0.5))
        cdf = cdf.masked_fill(k < self.first.to(x.dtype), 0.0)
        return cdf.masked_fill(k >= self.last.to(x.dtype), 1.0)

    def quantile(self, params: Tensor, q: float) -> Tensor:
        """Of the average of E masses, (E, ..., D, n_params) -> (..., D)."""
        z = self.mixture.quantile(params, q)
        return self._clamped((self._integers(z) - 0.5).ceil())

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        return self._rounded(self.mixture.sample(params, generator))

    def center(self, params: Tensor, kind: str) -> Tensor:
        """As in `Conditional`; the mean is rounded to an integer."""
        if kind == "median":
            return self.quantile(params, 0.5)
        if kind == "mean":
            return self._rounded(self.mixture.center(params, "mean"))
        means = self._rounded(self.mixture.split(params)[1].mT).mT  # (E, ..., D, K)
        best = means[0, ..., 0]
        highest = torch.full_like(best, -torch.inf)
        for k in means.movedim(-1, 1).flatten(0, 1):
            log_p = self.log_prob(params, k.expand(params.shape[:-1])).logsumexp(0)
            best = torch.where(log_p > highest, k, best)
            highest = torch.maximum(log_p, highest)
        return best

    def initial_bias(self, x: Tensor) -> Tensor:
        return self.mixture.initial_bias(self._standardised(x))

    def _rounded(self, z: Tensor) -> Tensor:
        """The integers that standardised numbers (..., D) are rounded to."""
        return self._clamped((self._integers(z) + 0.5).floor())

    def _clamped(self, k: Tensor) -> Tensor:
        return k.maximum(self.first.to(k.dtype)).minimum(self.last.to(k.dtype))


class Count(Rounded):
    """Mass of integers from 0 on, without an upper end."""

    support = "count"


class Ordinal(Rounded):
    """Mass of K ordered levels, coded 0 … K-1.

    As in `Categorical`, the code K stands for a level not seen in training, of mass
    `UNSEEN_MASS`; a network sees it as it would see the middle of the column.
    """

    support = "ordinal"

    @staticmethod
    def _last(spec: ColumnSpec) -> float:
        return spec.n_categories - 1.0

    def encode(self, x: Tensor) -> Tensor:
        middle = self.middle.to(x.dtype).expand_as(x)
        return super().encode(torch.where(self._is_unseen(x), middle, x))

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        seen = super().log_prob(params, self._clamped(x)) + math.log1p(-UNSEEN_MASS)
        return seen.masked_fill(self._is_unseen(x), math.log(UNSEEN_MASS))

    def _is_unseen(self, x: Tensor) -> Tensor:
        return x > self.last.to(x.dtype)


def _zero(log_p: Tensor, at_end: Tensor) -> Tensor:
    """Factors of 1 where a cell has no such end."""
    return log_p.masked_fill(at_end.unsqueeze(-1), 0.0)


def _log_cauchy(
    lower: Tensor, upper: Tensor, width: Tensor, is_first: Tensor, is_last: Tensor
) -> Tensor:
    """log of a standard Cauchy's mass between the ends of a cell that are there."""
    one = torch.ones_like(lower)
    y = torch.where(is_first | is_last, one, width)
    x = torch.where(is_last, lower, 1.0 + lower * upper)
    x = torch.where(is_first, -upper, x)
    angle = torch.atan2(y, x).masked_fill(is_first & is_last, math.pi)
    return angle.log() - math.log(math.pi)
