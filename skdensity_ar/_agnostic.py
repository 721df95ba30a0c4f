"""The density of networks that serve every ordering."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from skdensity_ar._module import DensityModule
from skdensity_ar.conditionals import Conditional
from skdensity_ar.networks import EoNADE

# Hears of a column, rows (n,), their conditional and its parameters (n, 1, P_d).
Told = Callable[[int, Tensor, Conditional, Tensor], None]

# Prefixes per row by which validation rows are scored.
_N_PREFIXES = 16


class AgnosticModule(DensityModule):
    """log p(x) = log (1/k) Σ_e Π_d p_e(x_d | x_<d), members trained for all orderings.

    Training draws, for every row anew, an ordering and how many of its columns are
    visible, and predicts each of the others from them (Uria, Murray & Larochelle 2014,
    section 3): the mean over draws of

        D / (D - d + 1) Σ_{d' ≥ d} -log p(x_d' | x_<d)

    is the mean of -log p(x) over all orderings. `network` is an `EoNADE` of E members,
    its `ordering` (k, D) are those that scoring averages and sampling draws from.

    Cells may be missing, NaN in x: an ordering then visits what is known of a row, and
    D counts these columns. Where columns are `given`, all orderings visit them first,
    in whatever order: p(x_d | visible columns) depends on the set of these alone.
    """

    network: EoNADE
    has_missing: bool = False  # whether training and validation rows have any

    @property
    def n_members(self) -> int:
        return self.network.members[0]

    def draw_noise(self, n: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Ranks of the columns (E, n, D), the share that is visible (n, 1), masks."""
        D, device = len(self.network.n_inputs), generator.device
        # Prefixes of every length equally often: one draw shifts them all.
        shift = torch.rand((), generator=generator, dtype=torch.float64, device=device)
        ranks, share = _prefixes((self.n_members, n, D), D * shift, generator)
        return ranks, share, *self.network.draw_noise(n, generator)

    def loss(
        self,
        x: Tensor,
        *,
        context: Tensor | None = None,
        noise: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """Estimate of -log p(x), (E, n, D) -> (E, n), by what `draw_noise` drew."""
        ranks, share, *masks = noise
        return -self._predicted(x, ranks, share, context, tuple(masks))

    def _predicted(
        self,
        x: Tensor,
        ranks: Tensor,
        share: Tensor,
        context: Tensor | None,
        noise: tuple[Tensor, ...] = (),
    ) -> Tensor:
        """D times the mean log p(x_d | visible columns) over the others."""
        known = known_cells(x) if self.has_missing else None
        n_known: Tensor | int = x.shape[-1]
        if known is not None:
            x, n_known = x.nan_to_num(nan=0.0), known.sum(-1)
        visible = visible_columns(ranks, share, known).to(x)
        hidden = 1.0 - visible if known is None else known.to(x) - visible
        params = self.network(self.encode(x), context, visible=visible, noise=noise)
        log_p = (self.log_conditionals(params, x) * hidden).sum(-1)
        return log_p * (n_known / hidden.sum(-1).clamp(min=1.0))

    def validation_score(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Estimate of log p(x), (E, n, D) -> (E, n), by the same prefixes each time."""
        D = x.shape[-1]
        generator = torch.Generator(x.device).manual_seed(0)
        total = x.new_zeros((), dtype=torch.float64)
        for i in range(_N_PREFIXES):
            ranks, share = _prefixes(x.shape, i * D / _N_PREFIXES, generator)
            total = total + self._predicted(x, ranks, share, context).double()
        return total / _N_PREFIXES

    def member_log_prob(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        known: Tensor | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """log p_e of every ordering, (n, D) or (E, n, D) -> (E, n).

        `known` (n, D) are the cells of x that hold a value, `given` (n, D) those of
        them on which the others are conditioned: log p(x_known | x_given).
        """
        log_p = self.member_log_conditionals(x, context, known=known, given=given)
        return log_p.sum(-1, dtype=torch.float64)

    def member_log_conditionals(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        known: Tensor | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """log p_e(x_d | x_<d) by every ordering, (E, n, D); 0 for what is not asked."""
        if known is None:
            return super().member_log_conditionals(x, context)
        x = x.masked_fill(~known, 0.0)
        params = self.network(self.encode(x), context, known=known, given=given)
        asked = known if given is None else known & ~given
        return self.log_conditionals(params, x).masked_fill(~asked, 0.0)

    def conditional_log_prob(
        self, x: Tensor, given: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """log p(others | columns given (D,)), of what is known of x (n, D): (n,)."""
        known = known_cells(x)
        return self.log_prob(x, context, known=known, given=known & given)

    def predictive(
        self, x: Tensor, known: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Parameters of every cell given those known (n, D), by network, (E, n, P).

        In one pass: cells that are not known do not see each other.
        """
        u = self.encode(x.masked_fill(~known, 0.0))
        return self.network(u, context, visible=known)

    @torch.no_grad()
    def complete(
        self,
        x: Tensor,
        known: Tensor,
        generator: torch.Generator,
        context: Tensor | None = None,
        told: Told | None = None,
    ) -> Tensor:
        """Draw the cells of x (n, D) that are not known (n, D), given the others.

        Each row by an ordering drawn for it. `told(d, rows, conditional, params)` is
        called for the cells of every column d that are drawn, before they are.
        """
        n, device = len(x), generator.device
        x = x.masked_fill(~known, 0.0)
        member = torch.randint(
            self.n_orderings, (n,), generator=generator, device=device
        )
        for e in range(self.n_orderings):
            rows = (member == e).nonzero().squeeze(-1)
            network, column = self.network.member(e), self._column_conditionals(e)
            x_e, known_e = x[rows], known[rows]
            given = None if context is None else context[rows]
            u = self.encode(x_e)
            state = network.start(len(rows), given, u=u, given=known_e)
            for t, d in enumerate(network.ordering.tolist()):
                drawn = (~known_e[:, d]).nonzero().squeeze(-1)
                if len(drawn) == 0:
                    continue
                params = network.step(state, t, drawn).unsqueeze(-2)  # (n, 1, P_d)
                if told is not None:
                    told(d, rows[drawn], column[d], params)
                x_d = column[d].sample(params, generator)  # (n, 1)
                u_d = column[d].encode(x_d).squeeze(-2)
                state = network.observe(state, t, u_d, drawn)
                x_e[drawn, d] = x_d.squeeze(-1)
            x[rows] = x_e
        return x


def known_cells(x: Tensor) -> Tensor:
    """Which cells hold a value."""
    return ~x.isnan()


def visible_columns(ranks: Tensor, share: Tensor, known: Tensor | None) -> Tensor:
    """By which columns the others are predicted, (E, n, D).

    The first of the ranks, such a share of those known, less than all of them.
    """
    if known is None:
        return ranks < _length(share, ranks.shape[-1])
    # The known columns keep their order and come first.
    place = ranks.masked_fill(~known, ranks.shape[-1]).argsort(-1).argsort(-1)
    return known & (place < _length(share, known.sum(-1, keepdim=True)))


def _length(share: Tensor, n_columns: Tensor | int) -> Tensor:
    length = (share * n_columns).floor()
    return torch.minimum(length, torch.as_tensor(n_columns).to(length) - 1.0)


def _prefixes(
    shape: Sequence[int], shift: Tensor | float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Drawn ranks of the columns (E, n, D), and shares (n, 1) of them.

    Lengths go round: row i has that of (i + shift) mod D columns of D.
    """
    (_, n, D), device = shape, generator.device
    keys = torch.rand(
        tuple(shape), generator=generator, dtype=torch.float64, device=device
    )
    rows = torch.arange(n, dtype=torch.float64, device=device)
    return keys.argsort(-1), ((rows + shift) % D / D).unsqueeze(-1)
