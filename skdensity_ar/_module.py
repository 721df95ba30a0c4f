"""Network × conditionals = density."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from skdensity_ar._predictive import Predictive
from skdensity_ar._residuals import Residuals
from skdensity_ar.conditionals import Conditional
from skdensity_ar.networks import Dropout, Network
from skdensity_ar.networks._masks import columns_of_units

# What is in a column, by its conditional and parameters (n, 1, P_d).
Visit = Callable[[int, Conditional, Tensor], Tensor]


class DensityModule(nn.Module):
    """log p(x) = log (1/E) Σ_e Π_d p_e(x_d | x_<d), each member e with its ordering.

    Parameters
    ----------
    network : Network
        E members: its ordering has shape (E, D).
    blocks : sequence of (Conditional, sequence of int)
        Conditionals with the columns that share them; together all D columns.
    residuals : Residuals, optional
        Network and conditionals then see z, what a linear prediction leaves of x.
    input_dropout : float
        Share of the columns that the network does not see of a training row.
    """

    score_kind: ClassVar[Literal["exact", "estimate", "bound"]] = "exact"
    column_of_input: Tensor

    def __init__(
        self,
        network: Network,
        blocks: Sequence[tuple[Conditional, Sequence[int]]],
        residuals: Residuals | None = None,
        input_dropout: float = 0.0,
    ):
        super().__init__()
        self.network = network
        self.residuals = residuals
        self.input_dropout = input_dropout
        self.conditionals: Any = nn.ModuleList(conditional for conditional, _ in blocks)
        self.columns = [list(columns) for _, columns in blocks]
        n_inputs, n_params = network.n_inputs, network.n_params
        # One block of all columns in order needs no gathering: its index is None.
        alone = len(blocks) == 1 and self.columns[0] == list(range(len(n_inputs)))
        device = network.ordering.device
        of_input = torch.tensor(columns_of_units(n_inputs), device=device)
        self.register_buffer("column_of_input", of_input, persistent=False)
        for b, columns in enumerate(self.columns):
            for name, widths in (("in", n_inputs), ("out", n_params)):
                index = None if alone else _flat_units(widths, columns).to(device)
                self.register_buffer(f"{name}{b}", index, persistent=False)
            index = None if alone else torch.tensor(columns, device=device)
            self.register_buffer(f"col{b}", index, persistent=False)

    @property
    def n_orderings(self) -> int:
        return self.network.ordering.shape[0]

    @property
    def n_members(self) -> int:
        """Sets of weights, each with training rows of its own."""
        return self.n_orderings

    @property
    def n_weights(self) -> int:
        """Weights of all members: multiplications of one pass of one row."""
        return sum(p.numel() for p in self.parameters())

    def set_dropout(self, dropout: Dropout, input_dropout: float) -> None:
        """Change what is drawn by `draw_noise` from now on."""
        self.network.dropout, self.input_dropout = dropout, input_dropout

    def encode(self, x: Tensor) -> Tensor:
        """Values (..., D) -> network inputs (..., U)."""
        if self.col0 is None:
            return self.conditionals[0].encode(x).flatten(-2)
        u = x.new_empty((*x.shape[:-1], sum(self.network.n_inputs)))
        for b, conditional in enumerate(self.conditionals):
            x_b = x[..., getattr(self, f"col{b}")]
            u[..., getattr(self, f"in{b}")] = conditional.encode(x_b).flatten(-2)
        return u

    def log_conditionals(self, params: Tensor, x: Tensor) -> Tensor:
        """log p(x_d | params_d), (..., n, P), (..., n, D) -> (..., n, D)."""
        if self.col0 is None:
            conditional = self.conditionals[0]
            params = params.unflatten(-1, (x.shape[-1], conditional.n_params))
            return conditional.log_prob(params, x)
        out = params.new_empty((*params.shape[:-1], x.shape[-1]))
        for b, conditional in enumerate(self.conditionals):
            columns = getattr(self, f"col{b}")
            params_b = params[..., getattr(self, f"out{b}")]
            params_b = params_b.unflatten(-1, (len(columns), conditional.n_params))
            out[..., columns] = conditional.log_prob(params_b, x[..., columns])
        return out

    def of_column(self, params: Tensor, d: int) -> tuple[Conditional, Tensor]:
        """The conditional of column d, and its parameters (..., n, 1, P_d)."""
        return self.by_column(params)[d]

    def by_column(self, params: Tensor) -> list[tuple[Conditional, Tensor]]:
        """The same of all columns."""
        parts = params.unsqueeze(-2).split(self.network.n_params, -1)
        return list(zip(self._column_conditionals(), parts, strict=True))

    def _log_conditionals(
        self, x: Tensor, context: Tensor | None, noise: tuple[Tensor, ...] = ()
    ) -> tuple[Tensor, Tensor]:
        """log p_e(z_d | z_<d), (members, n, D), and the log-Jacobian of z."""
        z, log_jacobian = x, x.new_zeros(())
        if self.residuals is not None:
            z = self.residuals(x, context)
            log_jacobian = -self.residuals.log_det.unsqueeze(-1)
        u = self.encode(z)
        if noise and self.input_dropout:
            seen, *rest = noise
            u, noise = u * seen, tuple(rest)
        params = self.network(u, context, noise=noise)
        return self.log_conditionals(params, z), log_jacobian

    def log_prob(
        self, x: Tensor, context: Tensor | None = None, **cells: Tensor
    ) -> Tensor:
        """log p(x) in nats, float64: (n, D) -> (n,).

        `cells` tell a module that takes missing ones of these.
        """
        members = self.member_log_prob(x, context, **cells)
        return members.logsumexp(0) - math.log(self.n_orderings)

    def member_log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p_e(x) of every member, (n, D) or rows of its own (E, n, D) -> (E, n)."""
        log_p, log_jacobian = self._log_conditionals(x, context)
        return log_p.sum(-1, dtype=torch.float64) + log_jacobian

    def conditional_log_prob(
        self, x: Tensor, given: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """log p(others | columns given (D,)), which come first in every ordering: (n,).

        The quotient of log p(x) and of log p of what is given.
        """
        each = self.member_log_conditionals(x, context).double()
        # A given value that is impossible (of a constant column) tells nothing.
        each = each.masked_fill(given & each.isneginf(), 0.0)
        log_p = each.sum(-1).logsumexp(0)
        return log_p - torch.where(given, each, 0.0).sum(-1).logsumexp(0)

    def member_log_conditionals(
        self, x: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """log p_e(x_d | x_<d) of every member, of which that is the sum: (E, n, D)."""
        log_p, _ = self._log_conditionals(x, context)
        if self.residuals is None:
            return log_p
        return log_p - self.residuals.s.log().unsqueeze(-2)

    def predictive(
        self, x: Tensor, d: int, context: Tensor | None = None
    ) -> Predictive:
        """p(x_d | all others) of a column that every ordering visits last, float64.

        By members Σ_e p_e(others) p_e(x_d | others) / Σ_e p_e(others), of rows (n, D).
        Whatever stands in column d is not looked at.
        """
        x = x.index_fill(-1, torch.tensor([d], device=x.device), 0.0)
        z = x if self.residuals is None else self.residuals(x, context)
        params = self.network(self.encode(z), context)
        log_p = self.log_conditionals(params, z).double()
        if self.residuals is not None:
            log_p = log_p - self.residuals.s.double().log().unsqueeze(-2)
        log_p[..., d] = 0.0
        log_p = log_p.masked_fill(log_p.isneginf(), 0.0)  # of constants, in all members
        weights = log_p.sum(-1).softmax(0).unsqueeze(-1)
        members = range(self.n_orderings)
        conditionals = [self._column_conditionals(e)[d] for e in members]
        _, params = self.of_column(params, d)
        of_x = (conditionals, params.double(), weights)
        if self.residuals is None or not any(row[d] for row in self.residuals.moved):
            return Predictive(*of_x)
        shift = torch.stack(
            [self.residuals.predicted(x, e, d, context) for e in members]
        )
        scale = self.residuals.s[:, None, [d]].double().expand_as(weights)
        return Predictive(*of_x, shift.double().unsqueeze(-1), scale)

    def loss(
        self,
        x: Tensor,
        *,
        context: Tensor | None = None,
        noise: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """-log p_e(x) of every member on rows of its own: (E, n, D) -> (E, n)."""
        log_p, log_jacobian = self._log_conditionals(x, context, noise)
        return -(log_p.sum(-1) + log_jacobian)

    def validation_score(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """What early stopping watches: log p_e(x), (E, n, D) -> (E, n)."""
        return self.member_log_prob(x, context)

    def validation(
        self, x: Tensor, context: Tensor | None = None
    ) -> Callable[[], Tensor]:
        """What says `validation_score` of these rows, by the weights there are then."""
        return partial(self.validation_score, x, context)

    def draw_noise(self, n: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """What the network sees of n rows, if not all, and what it draws itself."""
        n_columns = [len(self.network.n_inputs)]
        seen = self.network.dropout_masks(self.input_dropout, n, n_columns, generator)
        noise = self.network.draw_noise(n, generator)
        return *(columns[..., self.column_of_input] for columns in seen), *noise

    @torch.no_grad()
    def sample(
        self, n: int, generator: torch.Generator, context: Tensor | None = None
    ) -> Tensor:
        """Draw n rows (n, D): a member for each, then column after column."""
        device, D = generator.device, len(self.network.n_inputs)
        member = torch.randint(
            self.n_orderings, (n,), generator=generator, device=device
        )
        if self.n_orderings == 1:  # all rows are its own
            return self.sampler(0)(n, generator, context)
        x = torch.empty((n, D), dtype=self.network.dtype, device=device)
        for e in range(self.n_orderings):
            rows = (member == e).nonzero().squeeze(-1)
            if len(rows) > 0:
                draw = self.sampler(e)
                given = None if context is None else context[rows]
                x[rows] = draw(len(rows), generator, given)
        return x

    def sampler(self, e: int) -> Callable[..., Tensor]:
        """The e-th member's draw(n, generator, context=None) -> (n, D)."""
        walk, dtype, D = self.walker(e), self.network.dtype, len(self.network.n_inputs)

        @torch.no_grad()
        def draw(
            n: int, generator: torch.Generator, context: Tensor | None = None
        ) -> Tensor:
            x = torch.empty((D, n), dtype=dtype, device=generator.device)
            columns = x.unbind()

            def visit(d: int, conditional: Conditional, params: Tensor) -> Tensor:
                x_d = conditional.sample(params, generator)
                columns[d].copy_(x_d.squeeze(-1))
                return x_d

            walk(n, context, visit)
            if self.residuals is None:
                return x.T
            return self.residuals.inverse(x.T, e, context)

        return draw

    def walker(self, e: int) -> Callable[..., None]:
        """The e-th member's walk(n, context, visit): the one loop over columns.

        `visit` gets a column, its conditional and the parameters (n, 1, P_d) of n rows,
        and says what is there, (n, 1). Nothing is visited from position `end` on.
        """
        network, column = self.network.member(e), self._column_conditionals(e)
        ordering = network.ordering.tolist()

        def walk(
            n: int, context: Tensor | None, visit: Visit, end: int | None = None
        ) -> None:
            state = network.start(n, context)
            for t, d in enumerate(ordering[:end]):
                x_d = visit(d, column[d], network.step(state, t).unsqueeze(-2))
                state = network.observe(state, t, column[d].encode(x_d).squeeze(-2))

        return walk

    def _column_conditionals(self, e: int = 0) -> list[Conditional]:
        """The conditional of every column for the e-th member, each a block of one."""
        by_column = {
            d: conditional.select(i, e)
            for conditional, columns in zip(
                self.conditionals, self.columns, strict=True
            )
            for i, d in enumerate(columns)
        }
        return [by_column[d] for d in range(len(by_column))]


def initial_bias(
    blocks: Sequence[tuple[Conditional, Sequence[int]]],
    n_params: Sequence[int],
    x: Tensor,
) -> Tensor:
    """Flat parameters (Σ n_params,) at which every column of `x` is modelled alone."""
    bias = x.new_empty(sum(n_params))
    for conditional, columns in blocks:
        units = _flat_units(n_params, columns).to(x.device)
        alone = conditional.initial_bias(x[:, list(columns)]).flatten()
        if not alone.isfinite().all():
            first = alone[~alone.isfinite()][0].item()
            raise ValueError(
                f"{type(conditional).__name__}.initial_bias gives {first}: the columns "
                f"{list(columns)}, counted from 0, hold what this conditional is not "
                "for; choose another for these."
            )
        bias[units] = alone
    return bias


def _flat_units(widths: Sequence[int], columns: Sequence[int]) -> Tensor:
    """Flat indices of the units of `columns`, column after column."""
    ends = list(accumulate(widths))
    units = [torch.arange(ends[d] - widths[d], ends[d], device="cpu") for d in columns]
    return torch.cat(units)
