"""The density of networks that serve every ordering."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from skdensity_ar._gaussians import Gaussians
from skdensity_ar._module import DensityModule
from skdensity_ar._predictive import Predictive
from skdensity_ar.conditionals import Conditional, Prediction
from skdensity_ar.networks import EoNADE

# Some rows by their index; None for all.
Rows = Tensor | None

# What is in a column of these rows, by its conditional and parameters (E, n, 1, P_d).
Visit = Callable[[int, Rows, Conditional, Tensor], Tensor]

# Prefixes per row by which validation rows are scored.
_N_PREFIXES = 8

# Shares of the way to their mean that networks try, and how much of the best they go.
_TRIED, _OF_BEST = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6), 0.75

# Rows by which they try, and how many of these at a time.
_MOST_ROWS, _AT_A_TIME = 2048, 256

# An average is at its best later than its networks, see the class.
_PAST_BEST = 2.0

# Logarithm of the weight with which the components of Gaussians start, beside 1 for
# all others together, in one network and in the next.
_LOGITS = 0.0, -3.0


class AgnosticModule(DensityModule):
    """log p(x) = log (1/k) Σ_o Π_d (1/E) Σ_e p_e(x_d | x_<d), in k orderings o.

    E networks, each trained for all orderings, are averaged in every conditional.
    Training draws, for every row anew, an ordering and how many of its columns are
    visible, and predicts each of the others from them (Uria, Murray & Larochelle 2014,
    section 3): the mean over draws of

        D / (D - d + 1) Σ_{d' ≥ d} -log p(x_d' | x_<d)

    is the mean of -log p_e(x) over all orderings. `network` is an `EoNADE` of E
    networks, its `ordering` (k, D) are those that scoring averages and sampling draws
    from: "members" that score are orderings, those that train are networks.

    Cells may be missing, NaN in x: an ordering then visits what is known of a row, and
    D counts these columns. Where columns are `given`, all orderings visit them first,
    in whatever order: p(x_d | visible columns) depends on the set of these alone.

    What a network learns of its own rows alone costs it nats on others, but is averaged
    away. So networks train for twice as many epochs as score their validation rows best
    (`past_best` in `train`).

    An average of densities that differ is wider than they are, and too wide if they are
    right (Ranjan & Gneiting 2010). So networks, once trained, come nearer to each other
    (`contract`). Of the parameters θ_e that they say of a conditional, p_e has

        θ_e + s (θ̄ - θ_e),  θ̄ = (1/E) Σ_e θ_e

    Of labels, and about so of a mixture of one component, s = 1 is the average of
    logarithms (Genest & Zidek 1986). Components that have parted ways in training do
    not bear it, which shows on the rows trained on, too: these say which s is best.
    Three quarters of that are taken, as networks agree less on other rows.

    Parameters
    ----------
    network, blocks
        As in `DensityModule`.
    gaussians : Gaussians
        Of columns with mixtures, if any. What they say of a column given those visible
        is J components of its mixture, which the network corrects, beside others that
        move as the first does, by a learned share. At first every other network has
        half of its mass there and moves all others: it need not learn what Gaussians
        know. The rest have little there and are not held up by it.
    """

    network: EoNADE
    shares: nn.Parameter  # (E, 1, R, K - J), where components move
    logits: nn.Parameter  # (E, 1, R, J), of the others
    alone: Tensor  # (2, R), mean and log-spread of the first given nothing
    contraction: Tensor  # (), the s of the class; 0 until they are trained
    has_missing: bool = False  # whether training and validation rows have any
    without: Gaussians | None  # sets that have not seen the rows to train on

    def __init__(
        self,
        network: EoNADE,
        blocks: Sequence[tuple[Conditional, Sequence[int]]],
        gaussians: Gaussians,
    ):
        super().__init__(network, blocks)
        self.gaussians, self.without = gaussians, None
        self.register_buffer("contraction", network.c.new_zeros(()).detach())
        place = {d: i for i, d in enumerate(gaussians.columns)}
        self.predicted = [  # blocks, and where their columns are in the Gaussians
            (b, [place[d] for d in columns])
            for b, columns in enumerate(self.columns)
            if place.keys() >= set(columns)
        ]
        if not self.predicted:
            return
        conditional = self.conditionals[self.predicted[0][0]]
        K, J = conditional.n_components, conditional.n_predicted
        device = network.ordering.device
        shape = (*network.members, 1, len(place))
        share = torch.ones((*shape, K - J), dtype=network.dtype, device=device)
        share[1::2] = 0.0
        self.shares = nn.Parameter(share)
        logits = torch.full((*shape, J), _LOGITS[0], dtype=network.dtype, device=device)
        logits[1::2] = _LOGITS[1]
        self.logits = nn.Parameter(logits)
        self.register_buffer("alone", gaussians.alone())

    @property
    def n_members(self) -> int:
        return self.network.members[0]

    @property
    def past_best(self) -> float:
        """As in `train`."""
        return _PAST_BEST if self.n_members > 1 else 1.0

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
        which: Tensor | None = None,
    ) -> Tensor:
        """Estimate of -log p(x), (E, n, D) -> (E, n), by what `draw_noise` drew.

        `which` (E, n) are the sets of `without` that have not seen the rows.
        """
        ranks, share, *masks = noise
        cells = self._hiding(x, ranks, share, which)
        return -self._scored(cells, context, tuple(masks))

    def _hiding(
        self, x: Tensor, ranks: Tensor, share: Tensor, which: Tensor | None
    ) -> _Hiding:
        """Rows of which the first such share of the ranks is visible."""
        known = known_cells(x) if self.has_missing else None
        n_known: Tensor | int = x.shape[-1]
        if known is not None:
            x, n_known = x.nan_to_num(nan=0.0), known.sum(-1)
        visible = visible_columns(ranks, share, known).to(x)
        hidden = 1.0 - visible if known is None else known.to(x) - visible
        weight = n_known / hidden.sum(-1).clamp(min=1.0)
        said = self._said(x, visible, which)
        return _Hiding(x, visible, hidden, weight, said)

    def _scored(
        self, cells: _Hiding, context: Tensor | None, noise: tuple[Tensor, ...] = ()
    ) -> Tensor:
        """D times the mean log p(x_d | visible columns) over the others."""
        params = self._params(cells.x, cells.visible, context, noise, cells.said)
        log_p = (self.log_conditionals(params, cells.x) * cells.hidden).sum(-1)
        return log_p * cells.weight

    def validation(
        self,
        x: Tensor,
        context: Tensor | None = None,
        which: Tensor | None = None,
    ) -> Callable[[], Tensor]:
        """As in `DensityModule`. What Gaussians say of the rows is found once."""
        hidings = list(self._hidings(x, which))
        return lambda: self._mean_score(hidings, context)

    def validation_score(
        self,
        x: Tensor,
        context: Tensor | None = None,
        which: Tensor | None = None,
    ) -> Tensor:
        """Estimate of log p(x), (E, n, D) -> (E, n), by the same prefixes each time."""
        return self._mean_score(self._hidings(x, which), context)

    def _hidings(self, x: Tensor, which: Tensor | None) -> Iterator[_Hiding]:
        """The rows once for each prefix that validation takes, one at a time."""
        D = x.shape[-1]
        generator = torch.Generator(x.device).manual_seed(0)
        for i in range(_N_PREFIXES):
            ranks, share = _prefixes(x.shape, i * D / _N_PREFIXES, generator)
            yield self._hiding(x, ranks, share, which)

    def _mean_score(self, hidings: Iterable[_Hiding], context: Tensor | None) -> Tensor:
        scores = (self._scored(cells, context).double() for cells in hidings)
        return reduce(torch.add, scores) / _N_PREFIXES

    @torch.no_grad()
    def contract(
        self, x: Tensor, context: Tensor | None = None, weights: Tensor | None = None
    ) -> None:
        """Choose how near networks come to each other, see the class.

        By rows (n, D) that they have been trained on, each as often as it weighs.
        """
        if self.n_members > 1:
            scores = self._scores_nearer(x, context, weights)
            best = scores.nan_to_num(nan=-torch.inf).argmax().item()
            self.contraction.fill_(_OF_BEST * _TRIED[int(best)])

    def _scores_nearer(
        self, x: Tensor, context: Tensor | None, weights: Tensor | None
    ) -> Tensor:
        """Estimates of Σ log p(x) over rows (n, D), by each of the shares tried.

        Of many rows some are drawn.
        """
        n, device, by = len(x), x.device, weights
        rows = torch.arange(n, device=device)
        if n > _MOST_ROWS:
            each = x.new_ones(n).double() if by is None else by.double()
            rows, by = _drawn_evenly(each, _MOST_ROWS), None
        total = torch.zeros(len(_TRIED), dtype=torch.float64, device=device)
        for part in rows.split(_AT_A_TIME):
            outside = None if context is None else context[part]
            for cells in self._hidings(x[part].unsqueeze(0), None):
                params = self._params(cells.x, cells.visible, outside, (), cells.said)
                weight = cells.weight[0].double()
                if by is not None:
                    weight = weight * by[part]
                for i, share in enumerate(_TRIED):
                    nearer = _nearer(params, share)
                    log_p = _average(self.log_conditionals(nearer, cells.x).double())
                    total[i] += (log_p * cells.hidden[0]).sum(-1) @ weight
        return total / _N_PREFIXES

    def member_log_prob(
        self,
        x: Tensor,
        context: Tensor | None = None,
        *,
        known: Tensor | None = None,
        given: Tensor | None = None,
    ) -> Tensor:
        """log p of every ordering, (n, D) -> (k, n).

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
        """log p(x_d | x_<d) by every ordering, (k, n, D); 0 for what is not asked."""
        asked = known
        if known is not None:
            x = x.masked_fill(~known, 0.0)
            asked = known if given is None else known & ~given
        return torch.stack(
            [
                self._scored_by(o, x, context, given, asked)
                for o in range(self.n_orderings)
            ]
        )

    def _scored_by(
        self,
        o: int,
        x: Tensor,
        context: Tensor | None,
        given: Tensor | None,
        asked: Tensor | None,
    ) -> Tensor:
        columns = list(torch.zeros_like(x).unbind(-1))

        def score(d: int, rows: Rows, conditional: Conditional, params: Tensor):
            x_d = x[:, [d]] if rows is None else x[rows][:, [d]]
            log_p = _average(conditional.log_prob(params, x_d)).squeeze(-1)
            columns[d] = log_p if rows is None else columns[d].index_add(0, rows, log_p)
            return x_d

        self._walk(o, x, context, given, asked, score)
        return torch.stack(columns, -1)

    def conditional_log_prob(
        self, x: Tensor, given: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """log p(others | columns given (D,)), of what is known of x (n, D): (n,)."""
        known = known_cells(x)
        return self.log_prob(x, context, known=known, given=known & given)

    def cell_log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x_d | all other known cells), float64, (n, D); 0 for missing ones.

        As `conditional_log_prob` has it with all columns but d given, whose own order
        does not matter.
        """
        known = known_cells(x)
        x = x.masked_fill(~known, 0.0)
        u, network = self.encode(x), self.network.along(0)
        position = network.ordering.argsort().tolist()
        columns = []
        for d, conditional in enumerate(self._column_conditionals()):
            others = known.clone()
            others[:, d] = False
            state = network.start(len(x), context, u=u, given=others)
            params = network.step(state, position[d]).unsqueeze(-2)
            i = self.gaussians.place(d)
            if i is not None:
                prediction = Prediction(*(v[:, i] for v in self.gaussians(x, others)))
                params = self._moved(i, conditional, params, prediction)
            params = _nearer(params, self.contraction)
            log_p = conditional.log_prob(params, x[:, [d]]).double()
            columns.append(_average(log_p).squeeze(-1))
        return torch.stack(columns, -1).masked_fill(~known, 0.0)

    def cell_log_odds(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """log p(x_d | others) - log r_d(x_d), float64, (n, D); 0 for missing cells.

        r_d is what a wrong cell may hold: half of it p(x_d), the value of another row,
        half of it vague.
        """
        known = known_cells(x)
        there = x.masked_fill(~known, 0.0)
        # Given nothing one pass has all columns.
        params = self.cell_params(there, torch.zeros_like(known), context)
        of_rows = _average(self.log_conditionals(params, there).double())
        column = self._column_conditionals()
        vague = [c.log_vague(there[:, [d]]).double() for d, c in enumerate(column)]
        wrong = torch.logaddexp(of_rows, torch.cat(vague, -1)) - math.log(2.0)
        log_odds = self.cell_log_prob(x, context) - wrong
        return log_odds.masked_fill(~known, 0.0)

    def predictive(
        self, x: Tensor, d: int, context: Tensor | None = None
    ) -> Predictive:
        """p(x_d | all others that are known), NaN where they are not; float64."""
        known = known_cells(x)
        known[:, d] = False
        params = self.cell_params(x, known, context)
        conditional, params = self.of_column(params, d)
        params = params.double()
        weights = params.new_full(params.shape[:-1], 1.0 / len(params))
        return Predictive([conditional] * len(params), params, weights)

    def cell_params(
        self, x: Tensor, known: Tensor, context: Tensor | None = None
    ) -> Tensor:
        """Parameters of every cell given those known (n, D), by network, (E, n, P).

        In one pass: cells that are not known do not see each other.
        """
        x = x.masked_fill(~known, 0.0)
        params = self._params(x, known, context, (), self._said(x, known))
        return _nearer(params, self.contraction)

    def _said(
        self, x: Tensor, visible: Tensor, which: Tensor | None = None
    ) -> Prediction | None:
        """What the Gaussians say given the columns visible (..., n, D)."""
        if not self.predicted:
            return None
        gaussians = self.gaussians if which is None else self.without
        assert gaussians is not None
        return gaussians(x, visible, which).to(x)

    def _params(
        self,
        x: Tensor,
        visible: Tensor,
        context: Tensor | None,
        noise: tuple[Tensor, ...],
        said: Prediction | None,
    ) -> Tensor:
        """Parameters given the columns visible (..., n, D), by network, (E, n, P)."""
        params = self.network(self.encode(x), context, visible=visible, noise=noise)
        if said is None:
            return params
        alone, parts = self.alone.to(params), []
        for b, place in self.predicted:
            units = getattr(self, f"out{b}")
            of_block = params if units is None else params[..., units]
            moved = self.conditionals[b].moved(
                of_block.unflatten(-1, (len(place), -1)),
                Prediction(*(v[..., place, :] for v in said)),
                alone[:, place],
                self.shares[..., place, :],
                self.logits[..., place, :],
            )
            parts.append((units, moved.flatten(-2)))
        for units, moved in parts:
            params = moved if units is None else params.index_copy(-1, units, moved)
        return params

    def _walk(
        self,
        o: int,
        x: Tensor,
        context: Tensor | None,
        given: Tensor | None,
        asked: Tensor | None,
        visit: Visit,
    ) -> None:
        """Go through the columns in the o-th ordering, all networks side by side.

        The cells `given` (n, D) of x are known from the start. Those `asked` (n, D), or
        all, are visited: `visit` gets a column, the rows, None for all, the conditional
        and its parameters by network (E, n, 1, P_d), and says what is there, (n, 1).
        """
        network, column = self.network.along(o), self._column_conditionals()
        u = None if given is None else self.encode(x)
        state = network.start(len(x), context, u=u, given=given)
        beside = self.gaussians.start(x, given)
        for t, d in enumerate(network.ordering.tolist()):
            rows = None if asked is None else asked[:, d].nonzero().squeeze(-1)
            if rows is not None and len(rows) == 0:
                continue
            params = network.step(state, t, rows).unsqueeze(-2)
            i = self.gaussians.place(d)
            if i is not None:
                prediction = self.gaussians.step(beside, i, rows)
                params = self._moved(i, column[d], params, prediction)
            params = _nearer(params, self.contraction)
            x_d = visit(d, rows, column[d], params)
            u_d = column[d].encode(x_d).squeeze(-2)
            state = network.observe(state, t, u_d, rows)
            if i is not None:
                beside = self.gaussians.observe(beside, i, x_d.squeeze(-1), rows)

    def _moved(
        self, i: int, conditional: Any, params: Tensor, prediction: Prediction
    ) -> Tensor:
        """Parameters (E, n, 1, P_d) of the i-th column that the Gaussians have."""
        return conditional.moved(
            params,
            Prediction(*(v.unsqueeze(-2) for v in prediction.to(params))),
            self.alone[:, [i]].to(params),
            self.shares[..., [i], :],
            self.logits[..., [i], :],
        )

    def sampler(self, o: int) -> Callable[..., Tensor]:
        """The draw(n, generator, context=None) -> (n, D) of the o-th ordering."""

        @torch.no_grad()
        def draw(
            n: int, generator: torch.Generator, context: Tensor | None = None
        ) -> Tensor:
            shape = n, len(self.network.n_inputs)
            x = torch.empty(shape, dtype=self.network.dtype, device=generator.device)
            return self._completed(o, x, None, generator, context)

        return draw

    @torch.no_grad()
    def complete(
        self,
        x: Tensor,
        known: Tensor,
        generator: torch.Generator,
        context: Tensor | None = None,
    ) -> Tensor:
        """Draw the cells of x (n, D) that are not known (n, D), given the others.

        Each row by an ordering drawn for it.
        """
        n, device = len(x), generator.device
        x = x.masked_fill(~known, 0.0)
        drawn = torch.randint(
            self.n_orderings, (n,), generator=generator, device=device
        )
        for o in range(self.n_orderings):
            rows = (drawn == o).nonzero().squeeze(-1)
            if len(rows) > 0:
                given = None if context is None else context[rows]
                x[rows] = self._completed(o, x[rows], known[rows], generator, given)
        return x

    def _completed(
        self,
        o: int,
        x: Tensor,
        known: Tensor | None,
        generator: torch.Generator,
        context: Tensor | None,
    ) -> Tensor:
        """Draw all cells of x, or those not known, by the o-th ordering."""
        device = x.device

        def draw(d: int, rows: Rows, conditional: Conditional, params: Tensor):
            E, n = params.shape[:2]
            by_one = params[0]
            if E > 1:
                e = torch.randint(E, (n,), generator=generator, device=device)
                by_one = params[e, torch.arange(n, device=device)]
            x_d = conditional.sample(by_one, generator)
            x[slice(None) if rows is None else rows, d] = x_d.squeeze(-1)
            return x_d

        self._walk(o, x, context, known, None if known is None else ~known, draw)
        return x


@dataclass
class _Hiding:
    """Rows of which some columns are predicted by others.

    Rows x (E, n, D), 1 for each column that is visible (E, n, D) and for each that is
    predicted, hidden (E, n, D), by which their sum is multiplied, (E, n), and what the
    Gaussians say.
    """

    x: Tensor
    visible: Tensor
    hidden: Tensor
    weight: Tensor
    said: Prediction | None


def _average(log_p: Tensor) -> Tensor:
    """Logarithm of the mean density of the networks, (E, ...) -> (...)."""
    return log_p.logsumexp(0) - math.log(len(log_p))


def _nearer(params: Tensor, share: Tensor | float) -> Tensor:
    """Parameters by network (E, ..., P), a share of the way to their mean."""
    return params.lerp(params.mean(0, keepdim=True), share)


def _drawn_evenly(weights: Tensor, n: int) -> Tensor:
    """Index (n,) of rows, one drawn by weight from every n-th part of all weights."""
    generator = torch.Generator(weights.device).manual_seed(0)
    inside = torch.rand(
        n, generator=generator, dtype=torch.float64, device=weights.device
    )
    ends = weights.cumsum(0)
    place = (torch.arange(n, device=weights.device) + inside) / n * ends[-1]
    return torch.searchsorted(ends, place, right=True).clamp(max=len(weights) - 1)


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
