"""Mixture densities: the conditionals of RNADE (Uria et al. 2013, eq. 5-8)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

from skdensity_ar.conditionals._base import ColumnSpec, Conditional, average
from skdensity_ar.conditionals._categorical import drawn_index
from skdensity_ar.conditionals._mixture_kernel import MixtureLogProb, mixture_log_prob
from skdensity_ar.conditionals._mixture_start import start_of_column, unit_of_column

# Mass of the wide Cauchy density under every mixture. A row far from all that was
# seen then scores low and finite, and one such row cannot pull the training of the
# others: its gradient is bounded. It costs log(1 - 1e-4) nats per column at most.
BACKGROUND_MASS = 1e-4

# Inputs beyond this many spreads grow with the logarithm only. A conditional may
# look at any function of x_<d, so this needs no Jacobian.
FAR = 5.0

# Standardised values are held within ± this, so that float32 can square them. The
# background has less than 1e-18 of its mass beyond.
FARTHEST = 1e14

# Scale of the Cauchy density that stands for a wrong value.
_VAGUE = 3.0

# Scales beyond which a component has no mass to speak of, and halvings of what lies
# between, after which float32 tells no more apart.
_FAR_OUT, _HALVINGS = 40.0, 60


class Kernel(NamedTuple):
    """A standard density: its logarithm and the slope of that, cdf and quantiles.

    And its standard deviation.
    """

    log_prob: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor]
    cdf: Callable[[Tensor], Tensor]
    quantile: Callable[[Tensor], Tensor]
    spread: float


GAUSSIAN = Kernel(
    lambda z: torch.addcmul(
        z.new_full((), -0.5 * math.log(2.0 * math.pi)), z, z, value=-0.5
    ),
    torch.neg,
    torch.special.ndtr,
    torch.special.ndtri,
    1.0,
)
LAPLACE = Kernel(
    lambda z: -z.abs() - math.log(2.0),
    lambda z: -z.sign(),
    lambda z: 0.5 - 0.5 * z.sign() * torch.expm1(-z.abs()),
    lambda p: -(p - 0.5).sign() * torch.log1p(-2.0 * (p - 0.5).abs()),
    math.sqrt(2.0),
)
LOGISTIC = Kernel(
    lambda z: -z.abs() - 2.0 * softplus(-z.abs()),
    lambda z: -(0.5 * z).tanh(),
    torch.sigmoid,
    torch.logit,
    math.pi / math.sqrt(3.0),
)
CAUCHY = Kernel(
    lambda z: -math.log(math.pi) - torch.log1p(z.square()),
    lambda z: -2.0 * z / (1.0 + z.square()),
    lambda z: 0.5 + z.atan() / math.pi,
    lambda p: torch.tan(math.pi * (p - 0.5)),
    math.inf,
)


class Prediction(NamedTuple):
    """J Gaussians that stand for a column given others: log w_j, m_j and log s_j.

    Each (..., J); the weights sum to one.
    """

    log_weights: Tensor
    means: Tensor
    log_spreads: Tensor

    def to(self, other: Tensor) -> Prediction:
        """In the dtype and on the device of `other`."""
        return Prediction(*(v.to(other) for v in self))


class Mixture(Conditional):
    """p(x) = (1 - ε) Σ_k α_k f((x - μ_k) / σ_k) / σ_k + ε Cauchy(x).

    α = softmax(z^α), μ = unit z^μ, σ = exp(z^σ) + floor, where (z^α, z^μ, z^σ) are the
    3 K parameters of a column; ε is `background` and floor is the column's
    `scale_floor`. With both at zero and units of 1 this is the paper's mixture.

    Units are 1 but for narrow components, which start on heaps: values that many rows
    share. Steps in the scale of the others would throw them off.

    Parameters
    ----------
    n_components : int
        K.
    scale_floor : Tensor of shape (D,) or (members, 1, D)
        Smallest scale per column: a continuous density on rounded measurements
        grows without bound where nothing bounds its scale.
    background : float
        Mass of the standard Cauchy density under the mixture.
    n_frequencies : int
        Waves that the network sees of a value besides the value itself.
    n_predicted : int
        The last so many components follow a `Prediction`, by `moved`.
    """

    support = "real"
    n_direct = 1
    n_uniforms = 3
    kernel: ClassVar[Kernel]
    log_scale_max: ClassVar[float] = 40.0  # exp() of more overflows float32 if squared
    scale_floor: Tensor
    unit: Tensor | None  # (members, 1, K, D)

    def __init__(
        self,
        n_components: int,
        scale_floor: Tensor,
        background: float = BACKGROUND_MASS,
        n_frequencies: int = 0,
        n_predicted: int = 0,
    ):
        super().__init__()
        self.n_predicted = n_predicted
        self.n_frequencies = n_frequencies
        self.n_inputs = 1 + 2 * n_frequencies
        self.n_components = n_components
        self.n_params = 3 * n_components
        self.background = background
        self.register_buffer("scale_floor", scale_floor)
        self.register_buffer("unit", None)

    @classmethod
    def for_columns(cls, specs: Sequence[ColumnSpec], *, n_components: int) -> Mixture:
        floors = [spec.scale_floor for spec in specs]
        return cls(
            n_components, torch.tensor(floors, dtype=torch.float64, device="cpu")
        )

    def split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Parameters (..., D, 3 K) -> z^α = log α + const, μ, σ, each (..., D, K)."""
        z_alpha, mu, z_sigma = params.unflatten(-1, (3, self.n_components)).unbind(-2)
        floor = self.scale_floor.to(params.dtype).unsqueeze(-1)
        mu = mu if self.unit is None else mu * self.unit.mT.to(params.dtype)
        return z_alpha, mu, z_sigma.clamp(max=self.log_scale_max).exp() + floor

    def divided(self, by: Tensor) -> Mixture:
        return self._replaced(scale_floor=self.scale_floor / by.double().unsqueeze(-2))

    def with_frequencies(self, n_frequencies: int) -> Mixture:
        return self._replaced(n_frequencies=n_frequencies)

    def _replaced(self, **changed: Any) -> Mixture:
        names = (
            "n_components",
            "scale_floor",
            "background",
            "n_frequencies",
            "n_predicted",
        )
        return type(self)(**{name: getattr(self, name) for name in names} | changed)

    def with_predicted(self, J: int) -> Mixture:
        """The mixture of J more components, those of a `Prediction`."""
        n_components = self.n_components - self.n_predicted + J
        return self._replaced(n_components=n_components, n_predicted=J)

    def moved(
        self,
        params: Tensor,
        prediction: Prediction,
        alone: Tensor,
        share: Tensor,
        logits: Tensor,
    ) -> Tensor:
        """Let components follow a prediction: parameters (..., n, D, 3 K) -> the same.

        Of the last J, whose parameters say how they differ from it,

            z^α <- z^α + logit_j + log w_j,  μ <- m_j + s_j μ,  z^σ <- z^σ + log s_j,

        and the wide ones of the others move as its mean m and spread s do,

            μ <- μ + g (m - m₀ + (μ - m₀) (s / s₀ - 1)),  z^σ <- z^σ + g log s / s₀,

        by the share g (..., 1, D, K - J). Heaps stay where they are. m₀ and log s₀,
        each (..., D), are those where nothing is known.
        """
        K, J = self.n_components, self.n_predicted
        if self.unit is not None:
            share = share * (self.unit.mT[..., : K - J] == 1.0)
        # Rows come last in memory, as products leave them: (..., D, 3 K, n).
        share, logits = _rows_last(share), _rows_last(logits)
        z_alpha, mu, z_sigma = _rows_last(params).unflatten(-2, (3, K)).unbind(-3)
        log_w, m, log_s = (_rows_last(v) for v in prediction)
        center, log_s_0 = alone.unsqueeze(-1).unsqueeze(-1)  # (D, 1, 1)
        shift, log_ratio = m[..., :1, :] - center, log_s[..., :1, :] - log_s_0
        wide, last = slice(K - J), slice(K - J, None)
        to = torch.addcmul(shift, mu[..., wide, :] - center, log_ratio.expm1())
        parts = [
            z_alpha[..., wide, :],
            z_alpha[..., last, :] + (log_w + logits),
            torch.addcmul(mu[..., wide, :], share, to),
            torch.addcmul(m, mu[..., last, :], log_s.exp()),
            torch.addcmul(z_sigma[..., wide, :], share, log_ratio),
            z_sigma[..., last, :] + log_s,
        ]
        return torch.cat(parts, -2).movedim(-1, -3)

    def encode(self, x: Tensor) -> Tensor:
        """The value, compressed, and its waves sin(2ᵏ x) / 2ᵏ and cos(2ᵏ x) / 2ᵏ."""
        x = compress(x)
        if self.n_frequencies == 0:
            return x.unsqueeze(-1)
        # Rows come last in memory: loops are long, and products take them so.
        shape = x.shape
        x = torch.atleast_2d(x).mT.contiguous().unsqueeze(-2)  # (..., D, 1, n)
        k = torch.arange(self.n_frequencies, dtype=x.dtype, device=x.device)
        frequency = (2.0**k).unsqueeze(-1)
        angle = x * frequency
        waves = [angle.sin().div_(frequency), angle.cos().div_(frequency)]
        return torch.cat([x, *waves], -2).movedim(-1, -3).reshape(*shape, self.n_inputs)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        by_autograd = torch.is_grad_enabled() and x.requires_grad
        shapes = [x.shape, self.scale_floor.shape]
        if self.unit is not None:
            shapes.append(self.unit[..., 0, :].shape)
        if not by_autograd and all(_fits(s, params.shape[:-1]) for s in shapes):
            floor = self.scale_floor.to(params.dtype)
            unit = None if self.unit is None else self.unit.to(params.dtype)
            given = (params, x, floor, unit, self._far(x), self)
            if torch.is_grad_enabled() and params.requires_grad:
                return MixtureLogProb.apply(*given)
            return mixture_log_prob(*given, with_gradient=False)[0]
        z_alpha, mu, sigma = self.split(params)
        z = (x.unsqueeze(-1) - mu) / sigma
        terms = z_alpha + self.kernel.log_prob(z) - sigma.log()  # (..., D, K)
        log_p = _logsumexp(terms) - _logsumexp(z_alpha)
        if self.background == 0.0:
            return log_p
        far = self._far(x)
        # log(e^a + e^b) = b + softplus(a - b)
        return far + softplus(log_p + math.log1p(-self.background) - far)

    def _far(self, x: Tensor) -> Tensor:
        """log ε Cauchy(x)."""
        return CAUCHY.log_prob(x) + math.log(self.background or 1.0)

    def log_vague(self, x: Tensor) -> Tensor:
        return CAUCHY.log_prob(x / _VAGUE) - math.log(_VAGUE)

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        z_alpha, mu, sigma = self.split(params)
        z = (x.unsqueeze(-1) - mu) / sigma
        cdf = (z_alpha.softmax(-1) * self.kernel.cdf(z)).sum(-1)
        return (1.0 - self.background) * cdf + self.background * CAUCHY.cdf(x)

    def from_uniforms(self, params: Tensor, u: Tensor) -> Tensor:
        z_alpha, mu, sigma = self.split(params)
        k = drawn_index(z_alpha, u[0]).unsqueeze(-1)
        inside = u[2].clamp(min=2.0**-54)  # the quantile of 0 is -inf
        z = self.kernel.quantile(inside).to(params.dtype)
        x = mu.gather(-1, k).squeeze(-1) + z * sigma.gather(-1, k).squeeze(-1)
        far = CAUCHY.quantile(u[2]).to(params.dtype)
        return torch.where(u[1] < self.background, far, x)

    def center(
        self, params: Tensor, kind: str, weights: Tensor | None = None
    ) -> Tensor:
        """As in `Conditional`, of the components: the background has no mean.

        The mode is that mean of a component where their density is highest.
        """
        z_alpha, mu, sigma = self.split(params)
        if kind == "mean":
            return average((z_alpha.softmax(-1) * mu).sum(-1), weights)
        if kind == "median":
            return self.quantile(params, 0.5, weights)
        log_height = z_alpha.log_softmax(-1) - sigma.log()
        if weights is not None:
            log_height = log_height + weights.log().unsqueeze(-1)
        best, highest = mu[0, ..., 0], mu.new_full(mu.shape[1:-1], -torch.inf)
        for candidate in mu.movedim(-1, 1).flatten(0, 1):
            z = (candidate.unsqueeze(-1) - mu) / sigma
            log_p = (log_height + self.kernel.log_prob(z)).logsumexp((0, -1))
            best = torch.where(log_p > highest, candidate, best)
            highest = torch.maximum(log_p, highest)
        return best

    def quantile(
        self, params: Tensor, q: float | Tensor, weights: Tensor | None = None
    ) -> Tensor:
        _, mu, sigma = self.split(params)
        axes = (0, -1)
        # Beyond every component and that quantile of the background the cdf is less
        # than q, or more.
        q = torch.as_tensor(q, dtype=params.dtype, device=params.device)
        far = CAUCHY.quantile(q)
        low = (mu - _FAR_OUT * sigma).amin(axes).minimum(far)
        high = (mu + _FAR_OUT * sigma).amax(axes).maximum(far)
        return halved(lambda x: average(self.cdf(params, x), weights) < q, low, high)

    def adapted(self, x: Tensor) -> Mixture:
        one = self._replaced()
        units = [self._units(x_e) for x_e in x.view(-1, *x.shape[-2:])]
        one.unit = torch.stack(units).unsqueeze(1)
        return one

    def initial_bias(self, x: Tensor) -> Tensor:
        K = self.n_components - self.n_predicted
        starts = [
            start_of_column(x_d, K, partial(self._log_prob_with, floor))
            for x_d, floor in self._by_column(x)
        ]
        alpha, mu, sigma = (torch.stack(each, -1) for each in zip(*starts, strict=True))
        mu = mu if self.unit is None else mu / self._units(x)[:K]
        # Predicted components start as they are predicted, of the same spread.
        of_kernel = 0.0, 0.0, -math.log(self.kernel.spread)
        own, shape = (alpha.log(), mu, sigma.log()), (self.n_predicted, mu.shape[-1])
        parts = [
            torch.cat([v, v.new_full(shape, start)])
            for v, start in zip(own, of_kernel, strict=True)
        ]
        return torch.cat(parts).T.to(x.dtype)

    def _units(self, x: Tensor) -> Tensor:
        """What the means take their steps in, (K, D)."""
        K = self.n_components - self.n_predicted
        each = [unit_of_column(x_d, K, floor) for x_d, floor in self._by_column(x)]
        units = torch.stack(each, -1)
        return torch.cat([units, units.new_ones((self.n_predicted, units.shape[-1]))])

    def _by_column(self, x: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Every column of x (n, D) and its floor; of members, that of the first."""
        floors = self.scale_floor.double().flatten()[: x.shape[1]]
        return zip(x.T, floors, strict=True)

    def _log_prob_with(
        self, floor: Tensor, alpha: Tensor, mu: Tensor, sigma: Tensor, x: Tensor
    ) -> Tensor:
        """Log-density of values of one column; α, μ and σ, without the floor, (K,)."""
        mixture = type(self)(len(mu), floor, self.background)
        return mixture.log_prob(torch.cat([alpha.log(), mu, sigma.log()]), x)


class GaussianMixture(Mixture):
    """Mixture of Gaussians: f(z) = exp(-z² / 2) / √(2π)."""

    kernel = GAUSSIAN


class LaplaceMixture(Mixture):
    """Mixture of Laplace densities: f(z) = exp(-|z|) / 2."""

    kernel = LAPLACE


class LogisticMixture(Mixture):
    """Mixture of logistic densities: f(z) = exp(-z) / (1 + exp(-z))²."""

    kernel = LOGISTIC


def halved(is_below: Callable[[Tensor], Tensor], low: Tensor, high: Tensor) -> Tensor:
    """Where between low and high numbers cease to be below what is looked for."""
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = is_below(middle)
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 0.5 * (low + high)


def compress(x: Tensor) -> Tensor:
    """What a network sees of a real value: itself, its logarithm where it is far."""
    far = x.sign() * (FAR + (x.abs() - FAR).clamp(min=0.0).log1p())
    return torch.where(x.abs() <= FAR, x, far)


def _rows_last(v: Tensor) -> Tensor:
    """(..., n, D, K) -> (..., D, K, n)."""
    return v.movedim(-3, -1)


def _fits(shape: Sequence[int], into: Sequence[int]) -> bool:
    """Whether numbers of `shape` broadcast to `into`, which stays as it is."""
    ends = zip(reversed(shape), reversed(into), strict=False)
    return len(shape) <= len(into) and all(a in (1, b) for a, b in ends)


def _logsumexp(terms: Tensor) -> Tensor:
    # On a last axis of a few components torch.logsumexp takes twice as long.
    largest = terms.detach().amax(-1, keepdim=True)
    return (terms - largest).exp().sum(-1).log() + largest.squeeze(-1)
