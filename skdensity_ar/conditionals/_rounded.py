"""Masses of integers: what a mixture of logistics has between their halves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from skdensity_ar.conditionals._base import ColumnSpec, Conditional, average
from skdensity_ar.conditionals._categorical import UNSEEN_MASS
from skdensity_ar.conditionals._mixture_start import even_start
from skdensity_ar.conditionals._mixtures import FARTHEST, LogisticMixture

# The weights of components start where so many steps of EM on so many rows lead.
_STEPS, _MAX_ROWS, _SMALLEST_SHARE = 30, 2**12, 1e-4

# Scale of a logistic density of the spread of a Gaussian of scale 1.
_NARROWER = 1.0 / LogisticMixture.kernel.spread


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
        self.n_uniforms = mixture.n_uniforms
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
        z_alpha = self.mixture.split(params)[0]
        log_p = (z_alpha + self._log_parts(params, x)).logsumexp(-1)
        log_p = log_p - z_alpha.logsumexp(-1)
        background = self.mixture.background
        if background == 0.0:
            return log_p
        far = math.log(background) + self._log_background(x)
        return torch.logaddexp(log_p + math.log1p(-background), far)

    def _log_parts(self, params: Tensor, x: Tensor) -> Tensor:
        """The log-masses of x (..., D) in all components, (..., D, K)."""
        # The half above k is, bit for bit, the half below k + 1.
        lower, upper = self._standardised(x - 0.5), self._standardised(x + 0.5)
        is_first, is_last = self._at_ends(x)
        _, mu, sigma = self.mixture.split(params)
        inside = (-torch.expm1(-self._width(x).unsqueeze(-1) / sigma)).log()
        below = logsigmoid((upper.unsqueeze(-1) - mu) / sigma)
        above = logsigmoid((mu - lower.unsqueeze(-1)) / sigma)
        below, above = _zero(below, is_last), _zero(above, is_first)
        return below + above + _zero(inside, is_first | is_last)

    def log_vague(self, x: Tensor) -> Tensor:
        return self._log_background(self._clamped(x))

    def _log_background(self, x: Tensor) -> Tensor:
        """The log-mass of x (..., D) in a standard Cauchy density."""
        lower, upper = self._standardised(x - 0.5), self._standardised(x + 0.5)
        is_first, is_last = self._at_ends(x)
        width = torch.where(is_first | is_last, 1.0, self._width(x))
        place = torch.where(is_last, lower, 1.0 + lower * upper)
        place = torch.where(is_first, -upper, place)
        angle = torch.atan2(width, place).masked_fill(is_first & is_last, math.pi)
        return angle.log() - math.log(math.pi)

    def _at_ends(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where a cell has no lower, and where it has no upper end."""
        return x <= self.first.to(x.dtype), x >= self.last.to(x.dtype)

    def _width(self, like: Tensor) -> Tensor:
        return self.spread.reciprocal().to(like.dtype)

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        k = x.floor()
        cdf = self.mixture.cdf(params, self._standardised(k + 0.5))
        cdf = cdf.masked_fill(k < self.first.to(x.dtype), 0.0)
        return cdf.masked_fill(k >= self.last.to(x.dtype), 1.0)

    def quantile(
        self, params: Tensor, q: float | Tensor, weights: Tensor | None = None
    ) -> Tensor:
        z = self.mixture.quantile(params, q, weights)
        return self._clamped((self._integers(z) - 0.5).ceil())

    def from_uniforms(self, params: Tensor, u: Tensor) -> Tensor:
        return self._rounded(self.mixture.from_uniforms(params, u))

    def center(
        self, params: Tensor, kind: str, weights: Tensor | None = None
    ) -> Tensor:
        """As in `Conditional`; the mean is rounded to an integer."""
        if kind == "median":
            return self.quantile(params, 0.5, weights)
        if kind == "mean":
            return self._mean(params, weights)
        log_weights = 0.0 if weights is None else weights.log()
        candidates = self._candidates(params)
        best, highest = candidates[0], torch.full_like(candidates[0], -torch.inf)
        for k in candidates:
            log_p = self.log_prob(params, k.expand(params.shape[:-1])) + log_weights
            log_p = log_p.logsumexp(0)
            best = torch.where(log_p > highest, k, best)
            highest = torch.maximum(log_p, highest)
        return best

    def _mean(self, params: Tensor, weights: Tensor | None) -> Tensor:
        """Rounded; of the components alone where no last integer ends the sum.

        Of numbers y before they are rounded, the mean of max(y, first): for a logistic
        density max(μ, first) + σ log(1 + exp(-|μ - first| / σ)).
        """
        if bool(self.last.isfinite().all()):
            n_values = int((self.last - self.first).max()) + 1
            mean = torch.zeros_like(params[0, ..., 0])
            for step in range(n_values):
                k = (self.first + step).to(params).expand(params.shape[:-1])
                p = average(self.log_prob(params, self._clamped(k)).exp(), weights)
                mean = mean + torch.where(k[0] <= self.last.to(k), p * k[0], 0.0)
            return self._clamped((mean + 0.5).floor())
        z_alpha, mu, sigma = self.mixture.split(params)
        least = self._standardised(self.first.to(params)).unsqueeze(-1)
        far = (mu - least).abs() / sigma
        means = torch.maximum(mu, least) + sigma * softplus(-far)
        return self._rounded(average((z_alpha.softmax(-1) * means).sum(-1), weights))

    def _candidates(self, params: Tensor) -> Tensor:
        """Where masses (E, ..., D, P) may be highest, (n, ..., D)."""
        means = self._rounded(self.mixture.split(params)[1].mT).mT  # (E, ..., D, K)
        means = means.movedim(-1, 1).flatten(0, 1)
        n_values = float((self.last - self.first).max()) + 1.0
        if n_values > len(means) + 1:
            return torch.cat([means, self.first.to(means).expand_as(means[:1])])
        steps = torch.arange(int(n_values), dtype=means.dtype, device=means.device)
        values = self.first.to(means) + steps.unsqueeze(-1)  # (n, D)
        shape = (len(steps), *[1] * (means.dim() - 2), means.shape[-1])
        return values.view(shape).expand(-1, *means.shape[1:])

    def initial_bias(self, x: Tensor) -> Tensor:
        x = x[:: 1 + (len(x) - 1) // _MAX_ROWS]
        ordered = self._standardised(x).sort(0).values
        starts = [even_start(z.double(), self.n_components) for z in ordered.T]
        _, mu, sigma = (torch.stack(each) for each in zip(*starts, strict=True))
        z_sigma = (_NARROWER * sigma).log()
        params = torch.cat([torch.zeros_like(mu), mu, z_sigma], -1).to(x.dtype)
        # They overlap as densities should; weigh them as masses.
        log_parts = self._log_parts(params, x)  # (n, D, K)
        z_alpha = torch.zeros_like(log_parts[0])
        for _ in range(_STEPS):
            shares = (log_parts + z_alpha).softmax(-1).mean(0)
            z_alpha = shares.clamp(min=_SMALLEST_SHARE).log()
        return torch.cat([z_alpha, params[..., self.n_components :]], -1)

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

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        """As in `Conditional`, of the levels seen; NaN for one that has no place."""
        return super().cdf(params, x).masked_fill(self._is_unseen(x), torch.nan)

    def _is_unseen(self, x: Tensor) -> Tensor:
        return x > self.last.to(x.dtype)


def _zero(log_p: Tensor, at_end: Tensor) -> Tensor:
    """Factors of 1 where a cell has no such end."""
    return log_p.masked_fill(at_end.unsqueeze(-1), 0.0)
