"""The density of what is known of a row, estimated by draws of what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from skdensity_ar._module import DensityModule
from skdensity_ar._residuals import Residuals
from skdensity_ar.conditionals import Conditional, PointMass, drawn_index
from skdensity_ar.networks import Network

# Rows with missing cells that are scored at a time, the last of them padded, and draws
# of each: a score must not depend on what comes with a row.
_ROWS, _DRAWS = 32, 64

# Draws per row by which validation rows are scored, and of which training chooses.
_VALID_DRAWS, _TRAIN_DRAWS = 16, 8

# Rows times draws at a time where no score is kept.
_LANES = 2**14

# The draw of a column in some rows (m,), by its conditional and their parameters:
# (m, 1, P_d) -> (m, 1).
Draw = Callable[[int, Tensor, Conditional, Tensor], Tensor]


class EstimateModule(DensityModule):
    """p̂(x_known) = 1/(E J) Σ_e Σ_j w_ej,  w_ej = Π_known p_e(x_d | x_<d of draw j).

    Each member visits the columns in its own ordering. What is known stays, what is
    missing is drawn from p_e(x_d | x_<d), J times, and stays for the columns after it:
    importance sampling, with the prefix as what is drawn from. p̂ has the mean p, so its
    logarithm is too low in the mean, by about half its variance. Where nothing is drawn
    before a column that is known, all w_ej of a member are equal and exact.

    Parameters as in `DensityModule`; conditionals make draws of uniforms.
    """

    score_kind = "estimate"

    def __init__(
        self,
        network: Network,
        blocks: Sequence[tuple[Conditional, Sequence[int]]],
        residuals: Residuals | None = None,
        input_dropout: float = 0.0,
    ):
        super().__init__(network, blocks, residuals, input_dropout)
        self.n_uniforms = []  # by column
        for conditional in self._column_conditionals():
            if conditional.n_uniforms is None:
                raise ValueError(
                    "missing='estimate' needs conditionals whose draws are made of "
                    f"given uniforms, which {type(conditional).__name__} does not say "
                    "how to: define n_uniforms and from_uniforms(params, u), or fit "
                    "with ordering='agnostic'."
                )
            self.n_uniforms.append(conditional.n_uniforms)

    @torch.no_grad()
    def estimate(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        n_draws: int,
        seed: int,
    ) -> tuple[Tensor, Tensor]:
        """log p̂ of what is known of rows (n, D), and its standard deviation: both (n,).

        Missing cells are NaN; the deviation is 0 where the score is exact. The same
        uniforms make the draws of all rows, so that a row scores the same whatever
        comes with it, to rounding.
        """
        log_p = self.log_prob(x.nan_to_num(nan=0.0), context)
        std = torch.zeros_like(log_p)
        rows = x.isnan().any(-1).nonzero().squeeze(-1)
        if len(rows) == 0:
            return log_p, std
        u = self._uniforms(n_draws, seed, x.device)
        for some in rows.split(_ROWS):
            padded = torch.cat([some, some[:1].expand(_ROWS - len(some))])
            log_w = self._log_weights(x[padded], u, _rows_of(context, padded))
            for out, of_rows in zip((log_p, std), log_mean(log_w), strict=True):
                out[some] = of_rows[: len(some)]
        return log_p, std

    def conditional_estimate(
        self,
        x: Tensor,
        given: Tensor,
        context: Tensor | None = None,
        *,
        n_draws: int,
        seed: int,
    ) -> tuple[Tensor, Tensor]:
        """log p̂(others | columns given (D,)) of rows (n, D), and its deviation.

        The difference of two estimates by draws of their own: errors are independent.
        """
        # A given value that is impossible (of a constant column) tells nothing.
        x = x.masked_fill(given & ~self._telling(x), 0.0)
        each = [
            self.estimate(part, context, n_draws=n_draws, seed=seed + i)
            for i, part in enumerate((x, x.masked_fill(~given, torch.nan)))
        ]
        (log_p, std), (log_given, std_given) = each
        return log_p - log_given, std.hypot(std_given)

    def _telling(self, x: Tensor) -> Tensor:
        """Which cells (n, D) are not other values of a constant column than its own."""
        telling = torch.ones_like(x, dtype=torch.bool)
        for conditional, columns in zip(self.conditionals, self.columns, strict=True):
            if isinstance(conditional, PointMass):
                telling[:, columns] = (x[:, columns] == 0.0) | x[:, columns].isnan()
        return telling

    def _uniforms(self, n_draws: int, seed: int, device: torch.device) -> Tensor:
        """What the draws of all members are made of, (E, J, Σ n_uniforms)."""
        # Made on the CPU: scores are the same on every device.
        generator = torch.Generator("cpu").manual_seed(seed)
        shape = (self.n_orderings, n_draws, sum(self.n_uniforms))
        u = torch.rand(shape, generator=generator, dtype=torch.float64, device="cpu")
        return u.to(device)

    def _log_weights(self, x: Tensor, u: Tensor, context: Tensor | None) -> Tensor:
        """log w_ej of rows (n, D) by uniforms (E, J, U), float64: (E, J, n)."""
        by_member = [
            [self._weighed_by(e, x, part, context) for part in of_member.split(_DRAWS)]
            for e, of_member in enumerate(u)
        ]
        return torch.stack([torch.cat(parts) for parts in by_member])

    def _weighed_by(
        self, e: int, x: Tensor, u: Tensor, context: Tensor | None
    ) -> Tensor:
        """log w_ej of rows (n, D) by the e-th member's uniforms (J, U): (J, n)."""
        n_draws, n = len(u), len(x)
        by_column = u.T.split(self.n_uniforms)

        def draw(d: int, rows: Tensor, conditional: Conditional, params: Tensor):
            shared = by_column[d][:, rows // n].unsqueeze(-1)
            return conditional.from_uniforms(params, shared)

        lanes = x.repeat(n_draws, 1)
        known = ~lanes.isnan()
        # Nothing is drawn after the last column that any row knows.
        some = known.any(0)[self.network.ordering[e]].nonzero()
        end = int(some.max()) + 1 if len(some) else 0
        context = None if context is None else context.repeat(n_draws, 1)
        _, log_w = self.completed(e, lanes, known, draw, context, end)
        return log_w.view(n_draws, n)

    @torch.no_grad()
    def completed(
        self,
        e: int,
        x: Tensor,
        known: Tensor,
        draw: Draw,
        context: Tensor | None = None,
        end: int | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Rows (n, D) with draws by the e-th member where x is NaN, and log w (n,).

        w is the product of p_e(x_d | x_<d) over the cells `known` (n, D), which are not
        NaN. From position `end` on nothing is drawn.
        """
        missing, residuals = x.isnan(), self.residuals
        x = x.masked_fill(missing, 0.0)
        log_w = x.new_zeros(len(x), dtype=torch.float64)

        def visit(d: int, conditional: Conditional, params: Tensor) -> Tensor:
            z_d = x[:, d]
            if residuals is not None:
                z_d = residuals.z_of(x, e, d, context)
            rows = missing[:, d].nonzero().squeeze(-1)
            if len(rows) > 0:
                drawn = draw(d, rows, conditional, params[rows]).squeeze(-1)
                z_d = z_d.index_copy(0, rows, drawn)
                if residuals is not None:
                    outside = _rows_of(context, rows)
                    drawn = residuals.x_of(drawn, x[rows], e, d, outside)
                x[rows, d] = drawn
            z_d = z_d.unsqueeze(-1)
            log_p = conditional.log_prob(params, z_d).squeeze(-1).double()
            if residuals is not None:
                log_p = log_p - residuals.s[e, d].double().log()
            log_w.add_(log_p.masked_fill(~known[:, d], 0.0))
            return z_d

        self.walker(e)(len(x), context, visit, end)
        return x, log_w

    def validation_score(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p̂_e of what is known by the same draws each time, (E, n, D) -> (E, n)."""
        scores = self.member_log_prob(x.nan_to_num(nan=0.0), context)
        if not x.isnan().any():
            return scores
        u = self._uniforms(_VALID_DRAWS, 0, x.device)
        for e, x_e in enumerate(x):
            rows = x_e.isnan().any(-1).nonzero().squeeze(-1)
            for some in rows.split(_LANES // _VALID_DRAWS):
                outside = None if context is None else context[e, some]
                log_w = self._weighed_by(e, x_e[some], u[e], outside)
                scores[e, some] = log_w.logsumexp(0) - math.log(_VALID_DRAWS)
        return scores

    def complete(
        self,
        x: Tensor,
        known: Tensor,
        generator: torch.Generator,
        context: Tensor | None = None,
        *,
        n_draws: int,
    ) -> Tensor:
        """Draw the cells of x (n, D) that are not known (n, D), given the others.

        One of the draws of all members by its weight (sampling-importance-resampling):
        the more of them, the closer to p(missing | known).
        """
        x, parts = x.masked_fill(~known, torch.nan), []
        for rows in torch.arange(len(x)).split(max(1, _LANES // n_draws)):
            lanes, outside = x[rows].expand(n_draws, -1, -1), _rows_of(context, rows)
            each = [
                self._resampled(e, lanes, known[rows], generator, outside)
                for e in range(self.n_orderings)
            ]
            drawn, log_p = (
                torch.stack(of_members) for of_members in zip(*each, strict=True)
            )
            parts.append(_one_of(drawn, log_p, generator))
        return torch.cat(parts)

    def redrawn(
        self,
        e: int,
        x: Tensor,
        filled: Tensor,
        generator: torch.Generator,
        context: Tensor | None = None,
    ) -> Tensor:
        """Rows (n, D) whose cells that are NaN in x are drawn given all others.

        One of several draws by its weight w, the values so far, `filled`, among them:
        p_e(missing | known) stays what it is under such a step, however few draws there
        are (iterated sampling-importance-resampling [1]_).

        References
        ----------
        .. [1] C. Andrieu, A. Lee, M. Vihola (2018). Uniform Ergodicity of the Iterated
           Conditional SMC and Geometric Ergodicity of Particle Gibbs Samplers.
        """
        parts = [filled[:0]]
        for rows in torch.arange(len(x)).split(_LANES // _TRAIN_DRAWS):
            lanes = x[rows].expand(_TRAIN_DRAWS - 1, -1, -1)
            lanes = torch.cat([filled[rows].unsqueeze(0), lanes])
            known, outside = ~x[rows].isnan(), _rows_of(context, rows)
            parts.append(self._resampled(e, lanes, known, generator, outside)[0])
        return torch.cat(parts)

    def _resampled(
        self,
        e: int,
        lanes: Tensor,
        known: Tensor,
        generator: torch.Generator,
        context: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """One of J draws of rows (J, n, D) by its weight, (n, D), and log p̂_e (n,)."""
        J, n, D = lanes.shape

        def draw(d: int, rows: Tensor, conditional: Conditional, params: Tensor):
            return conditional.sample(params, generator)

        context = None if context is None else context.repeat(J, 1)
        rows, known = lanes.reshape(-1, D), known.repeat(J, 1)
        known = known & self._telling(rows)
        rows, log_w = self.completed(e, rows, known, draw, context)
        log_w = log_w.view(J, n)
        drawn = _one_of(rows.view(J, n, D), log_w, generator)
        return drawn, log_w.logsumexp(0) - math.log(J)


def _one_of(rows: Tensor, log_w: Tensor, generator: torch.Generator) -> Tensor:
    """Of rows (J, n, D) one by its weight, (J, n): (n, D)."""
    n, device = log_w.shape[1], log_w.device
    u = torch.rand(n, generator=generator, dtype=torch.float64, device=device)
    return rows[drawn_index(log_w.T, u), torch.arange(n, device=device)]


def log_mean(log_w: Tensor) -> tuple[Tensor, Tensor]:
    """log of the mean of w (E, J, n) and its standard deviation, both (n,).

    The draws of each of E members are J independent ones: the mean w̄ has the variance
    Σ_e s_e² / (E² J), and its logarithm, to first order, that over w̄².
    """
    E, J, _ = log_w.shape
    largest = log_w.amax((0, 1)).nan_to_num(neginf=0.0)
    w = (log_w - largest).exp()
    mean = w.mean((0, 1))
    std = (w.var(1).sum(0) / J).sqrt() / E
    relative = torch.where(mean > 0.0, std / mean, 0.0)
    return mean.log() + largest, relative


def _rows_of(context: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if context is None else context[rows]
