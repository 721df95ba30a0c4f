"""What every network, every conditional and every density must satisfy.

Each `check_*` states one property and raises AssertionError where it does not hold. A
new network or conditional is tested by handing it to all of them; the first section
builds small ones.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from scipy import integrate, stats
from torch import Tensor

from skdensity_ar._agnostic import AgnosticModule
from skdensity_ar._gaussians import Gaussians
from skdensity_ar._innovations import Innovations
from skdensity_ar._module import DensityModule
from skdensity_ar._sequences import Frames, SequenceModule, SequenceRows, Table
from skdensity_ar.conditionals import (
    UNSEEN_MASS,
    Bernoulli,
    Categorical,
    Conditional,
    GaussianMixture,
    LaplaceMixture,
    LogisticMixture,
    Mixture,
    PointMass,
)
from skdensity_ar.estimators._build import (
    column_widths,
    mixture_columns,
    with_predictions,
)
from skdensity_ar.networks import MADE, NADE, EoNADE, Network, Recurrent
from skdensity_ar.networks._base import Members
from tests import reference

# A test of chance fails by chance once in a million runs.
P_VALUE = 1e-6

FLOAT64 = torch.float64

# Small networks and modules -----------------------------------------------------------

NETWORKS: dict[str, Callable[..., Network]] = {
    "MADE": partial(MADE, hidden_layer_sizes=(13, 11), activation="relu"),
    "MADE, not direct": partial(
        MADE, hidden_layer_sizes=(13,), activation="tanh", direct=False
    ),
    "belief network": partial(MADE, hidden_layer_sizes=()),
    "NADE": partial(NADE, hidden_layer_sizes=(7,), activation="logistic"),
    "tied NADE": partial(
        NADE, hidden_layer_sizes=(7,), activation="logistic", tied=True
    ),
    "deep NADE": partial(NADE, hidden_layer_sizes=(7, 6, 5), activation="tanh"),
    "RNADE, sigmoid": partial(
        NADE, hidden_layer_sizes=(7,), activation="logistic", rescale=True
    ),
    "RNADE, ReLU": partial(
        NADE, hidden_layer_sizes=(7,), activation="relu", rescale=True
    ),
    "EoNADE": partial(EoNADE, hidden_layer_sizes=(13, 11), activation="tanh"),
    "EoNADE, not direct": partial(
        EoNADE, hidden_layer_sizes=(13,), activation="relu", direct=False
    ),
    "agnostic belief network": partial(EoNADE, hidden_layer_sizes=()),
}

MIXTURES: dict[str, type[Mixture]] = {
    "gaussian_mixture": GaussianMixture,
    "laplace_mixture": LaplaceMixture,
    "logistic_mixture": LogisticMixture,
}

ORDERINGS = ("natural", "reversed", "random")

Block = tuple[Conditional, list[int]]
M = TypeVar("M", bound=Members)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


def make_orderings(kind: str, n_columns: int, n_members: int, seed: int = 0) -> Tensor:
    """Orderings (members, D): the first of the kind, the others drawn."""
    rng = generator(seed)
    drawn = [torch.randperm(n_columns, generator=rng) for _ in range(n_members)]
    natural = torch.arange(n_columns)
    drawn[0] = {"natural": natural, "reversed": natural.flip(0)}.get(kind, drawn[0])
    return torch.stack(drawn)


def randomise(network: M, seed: int = 0, scale: float = 1.0) -> M:
    """Set every parameter to a draw; a weight that is zero hides mistakes."""
    rng = generator(seed)
    with torch.no_grad():
        for name, p in network.named_parameters():
            fan_in = p.shape[-1] if name[0] in "WVACP" else 1
            p.normal_(std=scale / math.sqrt(fan_in), generator=rng)
            if name == "rho":
                p.copy_(0.5 + p.abs())
    return network


def make_network(
    name: str,
    n_inputs: Sequence[int],
    n_params: Sequence[int],
    ordering: str | Tensor = "random",
    *,
    n_members: int = 2,
    dtype: torch.dtype = FLOAT64,
    seed: int = 0,
    scale: float = 1.0,
    **kwargs,
) -> Network:
    """A network of `NETWORKS` with random weights."""
    if isinstance(ordering, str):
        ordering = make_orderings(ordering, len(n_inputs), n_members, seed)
    network = NETWORKS[name](n_inputs, n_params, ordering, dtype=dtype, **kwargs)
    return randomise(network, seed, scale)


def make_module(
    name: str,
    blocks: Sequence[Block],
    ordering: str | Tensor = "random",
    *,
    n_members: int = 1,
    dtype: torch.dtype = FLOAT64,
    **kwargs,
) -> DensityModule:
    """A network of `NETWORKS` with random weights, times the conditionals."""
    is_agnostic = getattr(NETWORKS[name], "func", None) is EoNADE
    if is_agnostic:
        blocks = with_predictions(blocks, J := 2)
    n_inputs, n_params, n_direct = column_widths(blocks)
    kwargs = {"n_direct": n_direct, "n_members": n_members, "dtype": dtype, **kwargs}
    network = make_network(name, n_inputs, n_params, ordering, **kwargs)
    if not is_agnostic:
        return DensityModule(network, blocks)
    columns = mixture_columns(blocks)
    module = AgnosticModule(network, blocks, make_gaussians(columns, J))
    for parameter in (module.shares, module.logits) if module.predicted else ():
        torch.nn.init.uniform_(parameter, generator=generator(7))
    return module


def make_gaussians(columns: Sequence[int], J: int = 1, seed: int = 0) -> Gaussians:
    """Gaussians of these columns that know of relations between them."""
    rng, R = np.random.default_rng([len(columns), seed]), len(columns)
    factors = torch.from_numpy(rng.normal(size=(J, R, R)))
    means = torch.from_numpy(rng.normal(size=(J, R)))
    log_weights = torch.from_numpy(rng.normal(size=J)).log_softmax(0)
    covariances = factors @ factors.mT + 0.1 * torch.eye(R)
    return Gaussians(columns, log_weights, means, covariances)


def mixture_block(
    kind: str, columns: Sequence[int], n_components: int = 3, **kwargs
) -> Block:
    """A mixture of real columns with small scale floors."""
    kwargs = {"scale_floor": torch.full((len(columns),), 1e-3), **kwargs}
    return MIXTURES[kind](n_components, **kwargs), list(columns)


def discrete_blocks(kind: str) -> list[Block]:
    """Columns few enough that all rows can be enumerated."""
    return {
        "bernoulli": [(Bernoulli(), list(range(8)))],
        "categorical": [(Categorical(3), list(range(5)))],
        "both": [
            (Categorical(4), [3]),
            (Bernoulli(), [0, 4, 2]),
            (Categorical(2), [1, 5]),
        ],
    }[kind]


def all_rows(blocks: Sequence[Block], *, unseen: bool = True) -> Tensor:
    """Every row of a discrete table; `unseen` counts the outcome never seen too."""
    outcomes: dict[int, range] = {}
    for conditional, columns in blocks:
        n = 2
        if isinstance(conditional, Categorical):
            n = conditional.n_params + unseen
        outcomes.update(dict.fromkeys(columns, range(n)))
    rows = itertools.product(*(outcomes[d] for d in range(len(outcomes))))
    return torch.tensor(list(rows), dtype=FLOAT64)


def one_member(module: DensityModule, e: int) -> DensityModule:
    """A module of member e alone, with weights of its own."""
    network = module.network
    alone = type(network).__new__(type(network))
    alone.__dict__ = {**network.__dict__, "members": (1,)}
    alone._parameters = {
        name: None if p is None else torch.nn.Parameter(p.detach()[e : e + 1].clone())
        for name, p in network._parameters.items()
    }
    alone._buffers = {
        name: None if b is None else b[e : e + 1].clone()
        for name, b in network._buffers.items()
    }
    return DensityModule(
        alone, list(zip(module.conditionals, module.columns, strict=True))
    )


# Networks -----------------------------------------------------------------------------


def positions_of_units(ordering: Tensor, widths: Sequence[int]) -> Tensor:
    """The position at which the column of every flat unit is visited."""
    position = {d: t for t, d in enumerate(ordering.tolist())}
    return torch.tensor(
        [position[d] for d, width in enumerate(widths) for _ in range(width)]
    )


def unrolled(network: Network, u: Tensor, context: Tensor | None = None) -> Tensor:
    """The parameters of one member, position after position by start, step, observe."""
    inputs = reference.units_of(network.n_inputs)
    outputs = reference.units_of(network.n_params)
    params = u.new_full((len(u), sum(network.n_params)), torch.nan)
    state = network.start(len(u), context)
    for t, d in enumerate(network.ordering.tolist()):
        params[:, outputs[d]] = network.step(state, t)
        state = network.observe(state, t, u[:, inputs[d]])
    return params


def members(network: M) -> list[M]:
    n = len(network.ordering) if isinstance(network, Network) else network.members[0]
    return [network.member(e) for e in range(n)]


@torch.no_grad()
def check_forward_equals_steps(
    network: Network, u: Tensor, context: Tensor | None = None, *, atol: float
) -> None:
    for member in members(network):
        torch.testing.assert_close(
            member(u, context), unrolled(member, u, context), atol=atol, rtol=atol
        )


def check_order(network: Network, u: Tensor, context: Tensor | None = None) -> None:
    """∂ params at position t / ∂ u at positions ≥ t is exactly 0.0, for each row."""
    for member in members(network):
        m_in = positions_of_units(member.ordering, member.n_inputs)
        m_out = positions_of_units(member.ordering, member.n_params)
        for row in range(len(u)):
            given = None if context is None else context[row : row + 1]
            jacobian = torch.autograd.functional.jacobian(
                lambda v, f=member, given=given: f(v[None], given)[0], u[row]
            )
            not_before = m_in[None, :] >= m_out[:, None]
            assert (jacobian[not_before] == 0.0).all(), "a later column is seen"


def check_reach(network: Network, u: Tensor) -> None:
    """Every column before position t does reach the parameters at position t."""
    for member in members(network):
        m_in = positions_of_units(member.ordering, member.n_inputs)
        m_out = positions_of_units(member.ordering, member.n_params)
        reached = torch.zeros((len(m_out), len(m_in)), dtype=torch.bool)
        for row in u:  # a ReLU may be off at one row
            jacobian = torch.autograd.functional.jacobian(
                lambda v, f=member: f(v[None])[0], row
            )
            reached |= jacobian != 0.0
        before = m_in[None, :] < m_out[:, None]
        if not member.hidden_layer_sizes:  # the others reach hidden units only
            direct = reference.direct_units(member.n_inputs, member.n_direct)
            before, reached = before[:, direct], reached[:, direct]
        assert reached[before].all(), "an earlier column is not seen"


@torch.no_grad()
def check_visible_equals_before(network: EoNADE, u: Tensor, *, atol: float) -> None:
    """Told to see the columns before position t, it says what it says at t."""
    D = len(network.n_inputs)
    outputs = reference.units_of(network.n_params)
    for e, member in enumerate(members(network)):
        params, ordering = member(u), member.ordering.tolist()
        for t, d in enumerate(ordering):
            visible = torch.zeros((len(u), D), dtype=u.dtype)
            visible[:, ordering[:t]] = 1.0
            told = network(u, visible=visible)[0]
            torch.testing.assert_close(
                told[:, outputs[d]], params[:, outputs[d]], atol=atol, rtol=atol
            )
            hidden = positions_of_units(network.ordering[e], network.n_inputs) >= t
            other = u.where(~hidden, u.roll(1, 0))
            assert torch.equal(network(other, visible=visible)[0], told)


@torch.no_grad()
def check_members_stand_alone(network: Network, u: Tensor, *, atol: float) -> None:
    """Stacked members give what each gives alone, on shared rows and on its own."""
    n_members = network.ordering.shape[0]
    own = torch.stack([u.roll(e, 0) for e in range(n_members)])  # (E, n, U)
    shared_out, own_out = network(u), network(own)
    assert shared_out.shape == own_out.shape == (n_members, len(u), shared_out.shape[2])
    for e, member in enumerate(members(network)):
        close = partial(torch.testing.assert_close, atol=atol, rtol=atol)
        close(shared_out[e], member(u))
        close(own_out[e], member(own[e]))


@torch.no_grad()
def check_context_is_bias(network: Network, u: Tensor, *, atol: float) -> None:
    """A context adds C_hidden context to the first biases and C context to the last."""
    rng = generator(1)
    context = torch.randn(network.n_context, generator=rng, dtype=u.dtype)
    rows = context.expand(len(u), -1)
    names = dict(network.named_parameters())
    biases = {"b" if isinstance(network, NADE) else "c": "C"}
    if network.hidden_layer_sizes:
        biases["b0" if "b0" in names else "c"] = "C_hidden"
    for e, member in enumerate(members(network)):
        given = member(u, rows)
        torch.testing.assert_close(
            member(u, 0.0 * rows), member(u), atol=atol, rtol=atol
        )
        moved = network.member(e)
        for name, weights in biases.items():
            bias = getattr(moved, name) + getattr(moved, weights) @ context
            moved._parameters[name] = torch.nn.Parameter(bias)
        torch.testing.assert_close(given, moved(u), atol=atol, rtol=atol)
        assert not torch.allclose(given, member(u)), "the context is not seen"


def check_pure(network: Network, u: Tensor) -> None:
    """forward draws nothing, changes nothing and says the same each time."""
    before = {name: v.clone() for name, v in network.state_dict().items()}
    inputs, random_state = u.clone(), torch.random.get_rng_state()
    first, second = network(u), network(u)
    assert torch.equal(first, second)
    assert torch.equal(u, inputs)
    assert torch.equal(torch.random.get_rng_state(), random_state)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def check_gradients(network: Network, u: Tensor, context: Tensor | None = None) -> None:
    """autograd equals finite differences, by the inputs and by every parameter."""
    names, values = zip(*network.named_parameters(), strict=True)
    inputs = (u, *(() if context is None else (context,)))
    inputs = tuple(v.detach().clone().requires_grad_() for v in inputs)

    def call(*args: Tensor) -> Tensor:
        given, weights = args[: len(inputs)], args[len(inputs) :]
        params = dict(zip(names, weights, strict=True))
        out = torch.func.functional_call(network, params, given)
        # Reaches a parameter that has no part in the output (its gradient is zero).
        return out + 0.0 * sum(w.sum() for w in weights)

    weights = tuple(v.detach().clone().requires_grad_() for v in values)
    # Along random directions: every entry alone takes a minute over all networks.
    assert torch.autograd.gradcheck(call, (*inputs, *weights), fast_mode=True)


# Conditionals -------------------------------------------------------------------------


@torch.no_grad()
def check_masses_sum_to_one(
    conditional: Conditional, params: Tensor, outcomes: Iterable[float], *, atol: float
) -> None:
    """Σ_x p(x | params) = 1, for params (..., D, P)."""
    total = sum(
        conditional.log_prob(params, params.new_full(params.shape[:-1], x)).exp()
        for x in outcomes
    )
    torch.testing.assert_close(total, torch.ones_like(total), atol=atol, rtol=0.0)


def break_points(conditional: Mixture, params: Tensor) -> list[float]:
    """Where the density of one column, params (P,), bends, in rising order."""
    _, mu, sigma = conditional.split(params.detach()[None])
    points = {-50.0, -1.0, 0.0, 1.0, 50.0}
    for k in range(conditional.n_components):
        points |= {float(mu[0, k] + s * sigma[0, k]) for s in (-30, -6, 0, 6, 30)}
    return sorted(points)


def integral(
    f: Callable[[float], float], points: Sequence[float], upper: float = math.inf
) -> float:
    """∫_{-∞}^{upper} f by quadrature between break points."""
    ends = [-math.inf, *(p for p in points if p < upper), upper]
    pieces = [
        integrate.quad(f, low, high, epsabs=1e-10, epsrel=1e-9, limit=200)[0]
        for low, high in itertools.pairwise(ends)
    ]
    return sum(pieces)


def density_of(conditional: Conditional, params: Tensor) -> Callable[[float], float]:
    """x -> p(x | params) of one column, params (P,)."""

    def density(x: float) -> float:
        with torch.no_grad():
            log_p = conditional.log_prob(params[None], params.new_tensor([x]))
        return math.exp(log_p.item())

    return density


def check_integrates_to_one(
    conditional: Mixture, params: Tensor, *, atol: float = 1e-6
) -> None:
    """∫ p(x | params) dx = 1 over the whole line, for one column, params (P,)."""
    points = break_points(conditional, params)
    total = integral(density_of(conditional, params), points)
    assert abs(total - 1.0) < atol, f"the density integrates to {total}"


def check_cdf_is_integral(
    conditional: Mixture, params: Tensor, *, atol: float = 1e-6
) -> None:
    """cdf(x) = ∫_{-∞}^x p, for one column, params (P,)."""
    points, density = break_points(conditional, params), density_of(conditional, params)
    for x in points[:: len(points) // 5]:
        cdf = conditional.cdf(params[None], params.new_tensor([x])).item()
        assert abs(cdf - integral(density, points, x)) < atol


def check_frequencies(counts, probabilities) -> None:
    """Chi-square: counts come from the distribution with these probabilities."""
    counts, expected = np.asarray(counts, float), np.asarray(probabilities, float)
    assert abs(expected.sum() - 1.0) < 1e-5
    expected = expected / expected.sum() * counts.sum()
    assert counts[expected == 0.0].sum() == 0, "an impossible outcome was drawn"
    rare = expected < 5.0  # together they make one cell
    counts = np.append(counts[~rare], counts[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    if expected[-1] < 5.0 and len(expected) > 1:
        counts = np.append(counts[:-2], counts[-2:].sum())
        expected = np.append(expected[:-2], expected[-2:].sum())
    p_value = stats.chisquare(counts, expected).pvalue if len(counts) > 1 else 1.0
    assert p_value > P_VALUE, f"samples do not follow the density: p = {p_value:.1e}"


def check_uniform(u, n_bins: int = 20) -> None:
    """Columns (n, D) are uniform on [0, 1], and neighbours are independent."""
    u = np.asarray(u)
    assert ((u >= 0.0) & (u <= 1.0)).all()
    for d in range(u.shape[1]):
        counts = np.histogram(u[:, d], n_bins, (0.0, 1.0))[0]
        check_frequencies(counts, np.full(n_bins, 1.0 / n_bins))
    for d in range(1, u.shape[1]):
        pairs = np.histogram2d(u[:, d - 1], u[:, d], 6, [(0.0, 1.0), (0.0, 1.0)])[0]
        check_frequencies(pairs.ravel(), np.full(36, 1.0 / 36.0))


@torch.no_grad()
def check_samples_follow_masses(
    conditional: Conditional, params: Tensor, outcomes: Sequence[float], n: int = 20000
) -> None:
    """Draws of one column, params (P,), have the frequencies that log_prob says."""
    rows = params.expand(n, 1, -1)
    drawn = conditional.sample(rows, generator(5)).squeeze(-1)
    x = params.new_tensor(outcomes)
    p = conditional.log_prob(params.expand(len(x), 1, -1), x[:, None]).exp().squeeze(-1)
    counts = [(drawn == value).sum().item() for value in outcomes]
    assert sum(counts) == n
    check_frequencies(counts, p / p.sum())


@torch.no_grad()
def check_samples_follow_cdf(
    conditional: Mixture, params: Tensor, n: int = 20000
) -> None:
    """cdf(draws) is uniform, for params (D, P)."""
    rows = params.expand(n, -1, -1)
    x = conditional.sample(rows, generator(6))
    assert x.shape == rows.shape[:-1]
    assert x.isfinite().all()
    check_uniform(conditional.cdf(rows, x))


@torch.no_grad()
def check_select(conditional: Conditional, params: Tensor, x: Tensor) -> None:
    """A column of the block alone says what it says within the block."""
    whole = conditional.log_prob(params, x)
    inputs = conditional.encode(x)
    for d in range(x.shape[-1]):
        one, columns = conditional.select(d), slice(d, d + 1)
        alone = one.log_prob(params[..., columns, :], x[..., columns])
        # A vector instruction may round the last bit otherwise than a scalar one.
        torch.testing.assert_close(alone, whole[..., columns], atol=1e-13, rtol=1e-13)
        assert torch.equal(one.encode(x[..., columns]), inputs[..., columns, :])


# Densities ----------------------------------------------------------------------------


def check_sums_to_one(log_p, *, atol: float = 1e-6) -> None:
    """Σ p(x) = 1, given log p of all rows there are."""
    total = np.exp(np.asarray(log_p, dtype=np.float64)).sum()
    assert abs(total - 1.0) < atol, f"probabilities sum to {total:.9f}"


@torch.no_grad()
def check_table_sums_to_one(
    module: DensityModule, blocks: Sequence[Block], *, atol: float = 1e-6
) -> None:
    """The probabilities of all rows of a discrete table sum to one."""
    rows = all_rows(blocks).to(module.network.dtype)
    check_sums_to_one(module.log_prob(rows), atol=atol)


@torch.no_grad()
def check_samples_follow_table(
    module: DensityModule, blocks: Sequence[Block], n: int = 20000
) -> None:
    """Draws of a discrete table have the frequencies that log_prob says."""
    rows = all_rows(blocks, unseen=False).to(module.network.dtype)
    n_categorical = sum(len(cs) for c, cs in blocks if isinstance(c, Categorical))
    p = module.log_prob(rows).exp() / (1.0 - UNSEEN_MASS) ** n_categorical
    check_frequencies(count_rows(module.sample(n, generator(7)), rows), p)


def count_rows(drawn, rows) -> np.ndarray:
    """How often each of `rows` was drawn; every draw must be one of them."""
    where = {tuple(row): i for i, row in enumerate(np.asarray(rows).tolist())}
    counts = np.zeros(len(where))
    for row in np.asarray(drawn).tolist():
        counts[where[tuple(row)]] += 1
    return counts


def params_by_position(module: DensityModule, x: Tensor, e: int) -> Tensor:
    """Parameters of every column given those before it, by the e-th member, (1, n, P).

    Of an agnostic module in the e-th ordering, by each network, (E, n, P).
    """
    if not isinstance(module, AgnosticModule):
        return module.network.member(e)(module.encode(x)).unsqueeze(0)
    of_column = {}

    def visit(d, rows, conditional, params):
        of_column[d] = params.squeeze(-2)
        return x[:, [d]]

    module._walk(e, x, None, None, None, visit)
    return torch.cat([of_column[d] for d in range(x.shape[-1])], -1)


@torch.no_grad()
def integral_transform(module: DensityModule, x: Tensor) -> np.ndarray:
    """F(x_d | x_<d) of every column (n, D) in the order of the visit.

    Uniform and independent if x follows the density. The members must visit the
    columns in one order; each counts by how well it has predicted x_<d. Within a
    discrete outcome the place is drawn.
    """
    ordering = module.network.ordering[0]
    assert (module.network.ordering == ordering).all()
    each = [params_by_position(module, x, e) for e in range(module.n_orderings)]
    params = torch.stack(each)  # by ordering, and by network
    of_each = module.log_conditionals(params, x).double().exp()
    log_p = of_each.mean(1).log()[..., ordering]  # (k, n, D)
    log_weights = log_p.cumsum(-1).roll(1, -1)
    log_weights[..., 0] = 0.0
    weights = log_weights.softmax(0)  # (k, n, D)
    cdf = torch.empty_like(log_p)
    position = ordering.argsort()
    outputs = reference.units_of(module.network.n_params)
    column = module._column_conditionals()
    place = torch.rand(x.shape, generator=generator(8), dtype=torch.float64)
    for d, units in enumerate(outputs):
        params_d = params[..., units].unsqueeze(-2)  # (k, E, n, 1, P_d)
        x_d = x[:, d : d + 1].expand(*params.shape[:-1], 1)
        if isinstance(column[d], Mixture):
            cdf_d = column[d].cdf(params_d, x_d)
        else:
            n = 2 if isinstance(column[d], Bernoulli) else column[d].n_params
            cdf_d = sum(
                column[d].log_prob(params_d, torch.full_like(x_d, k)).exp()
                * ((k < x_d) + (k == x_d) * place[:, d : d + 1])
                for k in range(n)
            )
            if isinstance(column[d], Categorical):
                cdf_d = cdf_d / (1.0 - UNSEEN_MASS)
        cdf[..., position[d]] = cdf_d.squeeze(-1).double().mean(1)
    return (weights * cdf).sum(0).clamp(0.0, 1.0).numpy()


def check_samples_follow_density(module: DensityModule, n: int = 20000) -> None:
    """The probability integral transform of draws is uniform."""
    x = module.sample(n, generator(9))
    assert x.isfinite().all()
    check_uniform(integral_transform(module, x))


def _kernel(conditional: Mixture):
    kinds = {
        GaussianMixture: reference.gaussian,
        LaplaceMixture: reference.laplace,
        LogisticMixture: reference.logistic,
    }
    return kinds[type(conditional)]


def _twin_conditional(conditional: Conditional, params: np.ndarray, x: float) -> float:
    if isinstance(conditional, Bernoulli):
        return reference.bernoulli_log_mass(params[0], x)
    if isinstance(conditional, Categorical):
        return reference.categorical_log_mass(params, x, UNSEEN_MASS)
    if isinstance(conditional, PointMass):
        return 0.0 if x == 0.0 else -math.inf
    return reference.mixture_log_density(
        x,
        params,
        _kernel(conditional),
        floor=float(conditional.scale_floor[0]),
        background=conditional.background,
    )


def _twin_encode(conditional: Conditional, x: float) -> list[float]:
    if isinstance(conditional, Categorical):
        return reference.one_hot(x, conditional.n_params).tolist()
    if isinstance(conditional, Mixture):
        seen = reference.compress(x)
        return [seen, *reference.waves(seen, conditional.n_frequencies)]
    return [x][: conditional.n_inputs]


def twin_params(
    network: Network,
    u: np.ndarray,
    context: np.ndarray | None = None,
    weights: dict[str, Tensor] | None = None,
) -> list[np.ndarray]:
    """Parameters by column of one row u (U,) by the slow twin of one member."""
    weights = weights or dict(network.named_parameters())
    w = {name: p.detach().numpy() for name, p in weights.items()}
    depth = len(network.hidden_layer_sizes)
    shared = {
        "n_inputs": network.n_inputs,
        "n_params": network.n_params,
        "g": reference.ACTIVATIONS[network.activation],
        "context": context,
        "C": w.get("C"),
        "C_hidden": w.get("C_hidden"),
    }
    ordering = network.ordering.tolist()
    if isinstance(network, MADE | EoNADE):
        layers = [(w[f"W{layer}"], w[f"b{layer}"]) for layer in range(depth)]
        made = isinstance(network, MADE)
        params = reference.made_params if made else reference.eonade_params
        shared["n_direct"] = network.n_direct
        if made:
            shared["first"] = network.first_degree
        return params(u, ordering, layers, w.get("V"), w["c"], w.get("A"), **shared)
    return reference.nade_params(
        u,
        ordering,
        w["W"].T,
        w["c"],
        w["W"] if network.tied else w["V"],
        w["b"],
        rho=w.get("rho"),
        deeper=[(w[f"W{layer}"], w[f"c{layer}"]) for layer in range(1, depth)],
        **shared,
    )


def twin_inputs(module: DensityModule, row: Sequence[float]) -> np.ndarray:
    """What the network sees of a row, (U,)."""
    column = module._column_conditionals()
    terms = zip(column, row, strict=True)
    return np.array([v for c, x_d in terms for v in _twin_encode(c, x_d)])


def twin_member_log_prob(
    module: DensityModule,
    e: int,
    row: Sequence[float],
    context: np.ndarray | None = None,
) -> float:
    """log p_e(row), given a context: of an agnostic module by the e-th ordering."""
    if isinstance(module, AgnosticModule):
        each = [
            _twin_log_conditionals(module, params, row)
            for params in _twin_agnostic_params(module, e, row, context)
        ]
        return np.log(np.mean(np.exp(each), axis=0)).sum()
    params = twin_params(module.network.member(e), twin_inputs(module, row), context)
    return sum(_twin_log_conditionals(module, params, row))


def check_cells_are_given_all_others(module: AgnosticModule, x: Tensor) -> None:
    """The last column of an ordering is scored as a cell is, by either way."""
    columns = module.member_log_conditionals(x)
    found = module.cell_log_prob(x)
    for o, last in enumerate(module.network.ordering[:, -1].tolist()):
        torch.testing.assert_close(found[:, last], columns[o, :, last])
    for d in range(x.shape[1]):
        others = torch.ones(x.shape, dtype=torch.bool)
        others[:, d] = False
        each = module.log_conditionals(module.cell_params(x, others), x)[:, :, d]
        torch.testing.assert_close(found[:, d], each.exp().mean(0).log())


def _twin_log_conditionals(
    module: DensityModule, params: list[np.ndarray], row: Sequence[float]
) -> list[float]:
    terms = zip(module._column_conditionals(), params, row, strict=True)
    return [_twin_conditional(c, p, x_d) for c, p, x_d in terms]


def _twin_agnostic_params(
    module: AgnosticModule,
    e: int,
    row: Sequence[float],
    context: np.ndarray | None,
) -> list[list[np.ndarray]]:
    """Parameters of every column by every network, as near as they come."""
    each = [
        _twin_network_params(module, e, i, row, context)
        for i in range(module.n_members)
    ]
    mean = [sum(column) / len(each) for column in zip(*each, strict=True)]
    s = module.contraction.item()
    return [
        [p + s * (m - p) for p, m in zip(params, mean, strict=True)] for params in each
    ]


def _twin_network_params(
    module: AgnosticModule,
    e: int,
    i: int,
    row: Sequence[float],
    context: np.ndarray | None,
) -> list[np.ndarray]:
    """Parameters of every column by the i-th network in the e-th ordering.

    Those of mixtures by what the Gaussians say.
    """
    network = copy.copy(module.network)
    network._buffers = {**network._buffers, "ordering": network.ordering[e]}
    weights = {name: p.detach()[i] for name, p in network.named_parameters()}
    ordering = network.ordering.tolist()
    params = twin_params(network, twin_inputs(module, row), context, weights)
    return _twin_predicted(module, i, ordering, params, row)


def _twin_predicted(
    module: AgnosticModule,
    i: int,
    ordering: list[int],
    params: list[np.ndarray],
    row: Sequence[float],
) -> list[np.ndarray]:
    columns = module.gaussians.columns
    gaussians = module.gaussians
    weights = gaussians.log_weights.exp().numpy()
    means, S = gaussians.means.numpy(), gaussians.covariances.numpy()
    x = np.array([reference.compress(row[d]) for d in columns])
    params = list(params)
    for r, d in enumerate(columns):
        before = ordering[: ordering.index(d)]
        seen = [j for j, c in enumerate(columns) if c in before]
        share, logits = (
            p.detach().numpy()[i, 0, r] for p in (module.shares, module.logits)
        )
        params[d] = reference.predicted_mixture(
            params[d],
            (means[0, r], np.sqrt(S[0, r, r])),
            reference.gaussians_given(r, seen, x, weights, means, S),
            share,
            logits,
        )
    return params


def twin_log_prob(module: DensityModule, x) -> np.ndarray:
    """log p(x) of every row by the slow twins, from the weights of the module."""
    out = []
    for row in np.asarray(x, dtype=np.float64).tolist():
        log_p = [
            twin_member_log_prob(module, e, row) for e in range(module.n_orderings)
        ]
        out.append(reference.ensemble_log_density(log_p))
    return np.array(out)


@torch.no_grad()
def check_scores_equal_twin(module: DensityModule, x: Tensor, *, atol: float) -> None:
    np.testing.assert_allclose(
        module.log_prob(x).numpy(), twin_log_prob(module, x), atol=atol, rtol=atol
    )


def sinh_grid(
    center: float, scale: float, n: int = 301, reach: float = 9.0
) -> tuple[np.ndarray, np.ndarray]:
    """Points of the line, dense around `center`, and their weights in an integral."""
    t = np.linspace(-reach, reach, n)
    return center + scale * np.sinh(t), scale * np.cosh(t) * (t[1] - t[0])


def check_plane_integrates_to_one(
    score_samples,
    center: Sequence[float],
    scale: Sequence[float],
    *,
    atol: float = 1e-3,
) -> None:
    """∫∫ exp(score_samples) = 1 over the plane, in the units of the caller."""
    (x, wx), (y, wy) = (sinh_grid(c, s) for c, s in zip(center, scale, strict=True))
    rows = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(score_samples(rows)).reshape(len(x), len(y))
    total = wx @ density @ wy
    assert abs(total - 1.0) < atol, f"the density integrates to {total}"


# Sequences ----------------------------------------------------------------------------

BITS: list[Block] = [(Bernoulli(), [0, 1])]
REALS: list[Block] = [mixture_block("gaussian_mixture", range(2), 2)]


def make_recurrent(
    cell: str,
    n_inputs: int,
    *,
    layer_sizes: Sequence[int] = (3,),
    n_members: int = 2,
    dtype: torch.dtype = FLOAT64,
    seed: int = 0,
    scale: float = 1.0,
    **kwargs,
) -> Recurrent:
    """A recurrent network with random weights and states before the first frame."""
    kwargs = {"layer_sizes": layer_sizes, "cell": cell, "dtype": dtype, **kwargs}
    return randomise(Recurrent(n_inputs, (n_members,), **kwargs), seed, scale)


def make_innovations(
    real: Sequence[int], ordering: Tensor, n_lags: int, seed: int = 0
) -> Innovations:
    """Random predictions from n_lags frames, a triangle L for every ordering."""
    rng, n_real = generator(seed), len(real)

    def draw(*shape: int) -> Tensor:
        return 0.3 * torch.randn(shape, generator=rng, dtype=FLOAT64)

    L = torch.zeros((n_lags + 1, len(ordering), n_real, n_real), dtype=FLOAT64)
    for k, (e, visited) in itertools.product(
        range(n_lags + 1), enumerate(ordering.tolist())
    ):
        order = torch.tensor([list(real).index(d) for d in visited if d in real])
        diagonal = 0.5 + torch.rand(n_real, generator=rng, dtype=FLOAT64)
        triangle = draw(n_real, n_real).tril(-1) + diagonal.diag()
        L[k, e][order[:, None], order] = triangle
    A, m = draw(n_lags + 1, n_real, n_lags * n_real), draw(n_lags + 1, n_real)
    return Innovations(torch.tensor(real), A, m, L)


def make_sequence_module(
    cell: str,
    name: str = "NADE",
    blocks: Sequence[Block] = BITS,
    ordering: str | Tensor = "random",
    *,
    layer_sizes: Sequence[int] = (3,),
    n_lags: int = 0,
    context_to: str = "both",
    n_members: int = 2,
    seed: int = 0,
    **kwargs,
) -> SequenceModule:
    """A recurrent network before a module of `make_module`, with random weights.

    Innovations are there if there are lags and real columns.
    """
    shared = {"seed": seed, "n_members": n_members, **kwargs}
    own = {"n_context": layer_sizes[-1], "context_to": context_to}
    if "hidden_layer_sizes" in shared:
        own["hidden_layer_sizes"] = shared.pop("hidden_layer_sizes")
    frame = make_module(name, blocks, ordering, **own, **shared)
    real = sorted(d for c, columns in blocks if isinstance(c, Mixture) for d in columns)
    n_inputs, innovations = sum(frame.network.n_inputs), None
    if n_lags and real:
        innovations = make_innovations(real, frame.network.ordering, n_lags, seed)
        n_inputs += len(real)
    recurrent = make_recurrent(cell, n_inputs, layer_sizes=layer_sizes, **shared)
    return SequenceModule(recurrent, frame, innovations)


def draw_sequences(
    module: SequenceModule, lengths: Sequence[int], seed: int = 0
) -> list[Tensor]:
    """Sequences (T, D) of these lengths: normal, or fair bits, as the module takes."""
    rng, D = generator(seed), len(module.network.n_inputs)
    real = isinstance(module.frame.conditionals[0], Mixture)
    out = []
    for T in lengths:
        x = torch.randn((T, D), generator=rng, dtype=FLOAT64)
        out.append((x if real else x.gt(0.0)).to(module.network.dtype))
    return out


def all_sequences(n_frames: int, n_columns: int) -> Tensor:
    """Every binary sequence: (2^(T D), T, D)."""
    bits = itertools.product((0.0, 1.0), repeat=n_frames * n_columns)
    return torch.tensor(list(bits), dtype=FLOAT64).reshape(-1, n_frames, n_columns)


def frame_scores(
    module: SequenceModule, sequences: Sequence[Tensor], block: int = 32
) -> list[Tensor]:
    """log p_e(x_t | x_<t), (E, T) of every sequence, as the estimator asks for it."""
    lengths = [len(x) for x in sequences]
    x = torch.cat(list(sequences))
    return list(module.frame_log_prob(x, np.array(lengths), block).split(lengths, 1))


def sequence_log_prob(module: SequenceModule, x: Tensor) -> Tensor:
    """log (1/E) Σ_e Π_t p_e(x_t | x_<t) of equally long sequences (n, T, D)."""
    n, T, _ = x.shape
    log_p = module.frame_log_prob(x.flatten(0, 1), np.full(n, T), 4096)
    log_p = log_p.unflatten(1, (n, T))
    return log_p.sum(-1).logsumexp(0) - math.log(module.n_members)


def examples(table: Table, lengths: Sequence[int], window: int, skips=None):
    """The sequences of a table as examples for training."""
    n_frames = np.array(lengths)
    skips = np.zeros_like(n_frames) if skips is None else np.array(skips)
    begins = np.cumsum(n_frames) - n_frames
    return SequenceRows(table, begins, n_frames, skips, np.ones(len(n_frames)), window)


def rows_of(
    module: SequenceModule, sequences: Sequence[Tensor], window: int, skips=None
) -> SequenceRows:
    """The sequences as examples for training."""
    lengths = [len(x) for x in sequences]
    table = module.table(torch.cat(list(sequences)), np.array(lengths))
    return examples(table, lengths, window, skips)


def every_example(rows: SequenceRows, n_members: int) -> Tensor:
    """All examples for every member, in an order of its own: (members, n)."""
    n = len(rows.lengths)
    return torch.stack([torch.arange(n).roll(e) for e in range(n_members)])


def whole(module: SequenceModule, sequences: Sequence[Tensor]) -> Frames:
    """The same sequences for every member, in one window, the longest first."""
    sequences = sorted(sequences, key=len, reverse=True)
    rows = rows_of(module, sequences, max(len(x) for x in sequences))
    index = torch.arange(len(sequences)).expand(module.n_members, -1)
    (window,) = rows.batches(index, len(sequences))
    return window.take()


def places(sizes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Lane and step of every packed frame."""
    lane = torch.cat([torch.arange(n) for n in sizes])
    return lane, torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))


def twin_layers(recurrent: Recurrent) -> list[reference.Layer]:
    """The layers of one member as the slow twins take them."""
    w = {name: p.detach().double().numpy() for name, p in recurrent.named_parameters()}
    names = ("h", "c") if recurrent.cell == "lstm" else ("h",)
    return [
        (
            w[f"W_in{i}"],
            w[f"W_rec{i}"],
            w[f"b_h{i}"],
            tuple(w[f"{name}_0{i}"] for name in names),
        )
        for i in range(len(recurrent.layer_sizes))
    ]


def twin_frame_scores(module: SequenceModule, x: Tensor) -> np.ndarray:
    """log p_e(x_t | x_<t) of one sequence x (T, D) by the slow twins: (E, T)."""
    values, out = x.double().numpy(), []
    given = module.innovations
    for e, recurrent in enumerate(members(module.recurrent)):
        u = np.array([twin_inputs(module.frame, row) for row in values.tolist()])
        z, log_det = values, np.zeros(len(values))
        if given is not None:
            real = given.real.tolist()
            A, m, L = (v.numpy() for v in (given.A, given.m, given.L[:, e]))
            z, log_det = reference.innovations(values, real, A, m, L)
            left = [[reference.compress(row[d]) for d in real] for row in z]
            u = np.concatenate([u, np.array(left)], 1)
        scores = reference.sequence_log_prob(
            z,
            u,
            twin_layers(recurrent),
            reference.STEPS[recurrent.cell],
            partial(twin_member_log_prob, module.frame, e),
        )
        out.append(np.array(scores) - log_det)
    return np.array(out)


def check_frames_equal_twin(
    module: SequenceModule, sequences: Sequence[Tensor], *, atol: float
) -> None:
    """Scores of every frame are those of the slow twins."""
    for x, scores in zip(sequences, frame_scores(module, sequences), strict=True):
        twin = twin_frame_scores(module, x)
        np.testing.assert_allclose(scores, twin, atol=atol, rtol=atol)


def check_sequences_sum_to_one(
    module: SequenceModule, n_frames: int, *, atol: float = 1e-12
) -> None:
    """The probabilities of all binary sequences of one length sum to one."""
    x = all_sequences(n_frames, len(module.network.n_inputs))
    total = sequence_log_prob(module, x).exp().sum().item()
    assert abs(total - 1.0) < atol, f"probabilities sum to {total:.15f}"


def check_order_of_frames(module: SequenceModule, x: Tensor) -> None:
    """∂ params of (t, column) / ∂ u: 0.0 for itself, later columns, later frames.

    Every earlier frame is seen; x (T, D) is one sequence.
    """
    T = len(x)
    for e in range(module.n_members):
        recurrent, network = module.recurrent.member(e), module.network.member(e)

        def params(u, recurrent=recurrent, network=network):
            contexts, _ = recurrent(u, [1] * T, recurrent.start(1))
            return network(u, contexts)

        jacobian = torch.autograd.functional.jacobian(params, module.frame.encode(x))
        m_in = positions_of_units(network.ordering, network.n_inputs)
        m_out = positions_of_units(network.ordering, network.n_params)
        for t, s in itertools.product(range(T), repeat=2):
            seen = jacobian[t, :, s] != 0.0  # (P, U)
            if s < t:
                assert seen.all(), "an earlier frame is not seen"
            if s == t:
                before = m_in[None, :] < m_out[:, None]
                assert not seen[~before].any(), "a later column is seen"
                assert seen[before].any(), "no earlier column is seen"
            if s > t:
                assert not seen.any(), "a later frame is seen"


def check_reach_of_frames(module: SequenceModule, sequences: Sequence[Tensor]) -> None:
    """A frame's loss moves with the frames of its own sequence up to itself alone.

    The members have different sequences, the longest first.
    """
    index = torch.arange(len(sequences)).unflatten(0, (module.n_members, -1))
    lengths = [len(x) for x in sequences]
    sequence = torch.arange(len(sequences)).repeat_interleave(torch.tensor(lengths))
    step = torch.cat([torch.arange(T) for T in lengths])

    def frames(x):
        rows = rows_of(module, x.split(lengths), max(lengths))
        (window,) = rows.batches(index, index.shape[1])
        return window.take()

    x = torch.cat(list(sequences))
    jacobian = torch.autograd.functional.jacobian(lambda x: module.loss(frames(x)), x)
    seen = (jacobian != 0.0).any(-1)  # of packed frames (E, N), by frames of the table
    lane, t = places(frames(x).sizes)
    for e in range(module.n_members):
        mine = index[e, lane]
        counts = t < torch.tensor(lengths)[mine]
        visible = (sequence == mine[:, None]) & (step <= t[:, None]) & counts[:, None]
        assert torch.equal(seen[e], visible), "a frame moves with others than its past"


@torch.no_grad()
def check_contexts_equal_steps(
    recurrent: Recurrent, u: Tensor, sizes: Sequence[int], *, atol: float
) -> None:
    """Packed sequences all at once, step by step, and each alone: the same contexts.

    u (members, N, U), packed by `sizes`.
    """
    close = partial(torch.testing.assert_close, atol=atol, rtol=atol)
    contexts, after = recurrent(u, sizes, recurrent.start(sizes[0]))
    state = recurrent.start(sizes[0])
    for u_t, expected in zip(
        u.split(sizes, -2), contexts.split(sizes, -2), strict=True
    ):
        n = u_t.shape[-2]
        close(recurrent.context(state)[..., :n, :], expected)
        given, state = recurrent(u_t, [n], state)
        close(given, expected)
    close(state, after)

    lane, _ = places(sizes)
    for i in range(sizes[0]):
        mine = lane == i
        alone, _ = recurrent(u[:, mine], [1] * int(mine.sum()), recurrent.start(1))
        close(alone, contexts[:, mine])
    for e, member in enumerate(members(recurrent)):
        own, _ = member(u[e], sizes, member.start(sizes[0]))
        close(own, contexts[e])


@torch.no_grad()
def check_windows_equal_scores(
    module: SequenceModule,
    sequences: Sequence[Tensor],
    window: int,
    size: int,
    *,
    atol: float = 1e-10,
) -> None:
    """Windows with the state carried on make up the whole sequences."""
    rows = rows_of(module, sequences, window)
    index = every_example(rows, module.n_members)
    total = torch.zeros(module.n_members, dtype=FLOAT64)
    for batch in rows.batches(index, size):
        total += module.validation_score(batch.take()).sum(-1)
    expected = sum(s.sum(1) for s in frame_scores(module, sequences))
    torch.testing.assert_close(total, expected, atol=atol, rtol=atol)


def check_scores_stand_alone(
    module: SequenceModule, sequences: Sequence[Tensor], *, atol: float
) -> None:
    """A sequence's scores are the same alone, in any batch and in any order."""
    batch = frame_scores(module, sequences)
    backwards = frame_scores(module, sequences[::-1])[::-1]
    doubled = frame_scores(module, [*sequences, *sequences])[len(sequences) :]
    for i, x in enumerate(sequences):
        (alone,) = frame_scores(module, [x])
        for other in (batch[i], backwards[i], doubled[i]):
            torch.testing.assert_close(other, alone, atol=atol, rtol=0.0)


def check_every_frame_counts_once(
    lengths: Sequence[int],
    skips: Sequence[int],
    window: int,
    size: int,
    *,
    n_members: int = 3,
    n_examples: int | None = None,
    seed: int = 0,
) -> None:
    """The windows of an epoch hold each member's frames once, and no others."""
    frames = torch.arange(float(sum(lengths)), dtype=FLOAT64)[:, None]
    nothing = torch.zeros((n_members, len(frames)), dtype=FLOAT64)
    table = Table(frames, frames.expand(n_members, -1, -1), nothing)
    rows = examples(table, lengths, window, skips)
    rng = generator(seed)
    drawn = [torch.randperm(len(lengths), generator=rng) for _ in range(n_members)]
    index = torch.stack(drawn)[:, :n_examples]
    counted, read = torch.zeros((2, n_members, len(frames)), dtype=torch.long)
    batches = rows.batches(index, size, generator(seed))
    for batch in batches:
        taken = batch.take()
        assert taken.weight.shape == (n_members, batch.n)
        assert taken.x.shape == (n_members, batch.n, 1)
        assert torch.equal(taken.z, taken.x)
        assert sum(taken.sizes) == batch.n
        assert 1 <= len(taken.sizes) <= window
        assert all(a >= b >= 1 for a, b in itertools.pairwise([*taken.sizes, 1]))
        assert set(taken.weight.unique().tolist()) <= {0.0, 1.0}
        assert taken.any_counts == bool(taken.weight.any())
        for e in range(n_members):
            ids = taken.x[e, :, 0].long()
            read[e].index_add_(0, ids, torch.ones_like(ids))
            counted[e].index_add_(0, ids, taken.weight[e].long())
    expected = torch.zeros_like(counted)
    for e, example in itertools.product(range(n_members), range(index.shape[1])):
        i = index[e, example]
        expected[e, rows.begins[i] + skips[i] : rows.begins[i] + lengths[i]] = 1
    assert torch.equal(counted, expected)
    for e in range(n_members):  # those that do not count are read all the same
        for i in index[e]:
            assert (read[e, rows.begins[i] : rows.begins[i] + lengths[i]] >= 1).all()
    assert torch.equal(rows.n_rows(index), expected.sum(1).double())
    share = rows.n_rows(index).clamp(min=1.0) / len(batches)
    assert all(torch.equal(batch.share, share) for batch in batches)


def check_samples_follow_sequences(
    module: SequenceModule, n_frames: int, n: int = 20000
) -> None:
    """Draws of binary sequences have the frequencies that the scores say."""
    x = all_sequences(n_frames, len(module.network.n_inputs))
    p = sequence_log_prob(module, x).exp()
    drawn = torch.stack(module.sample([n_frames] * n, generator(7)))
    check_frequencies(count_rows(drawn.flatten(1), x.flatten(1)), p)


def check_window_keeps_its_gradient(module: SequenceModule, x: Tensor) -> None:
    """A window's loss moves with the frames before it; its gradient stops there."""
    rows = rows_of(module, [x], 3)
    first, second = rows.batches(every_example(rows, module.n_members))[:2]
    before = first.take().x.requires_grad_()

    def losses(x_before):
        first.carry.state = None
        module.loss(replace(first.take(), x=x_before, z=x_before))
        return module.loss(second.take())

    loss = losses(before)
    (gradient,) = torch.autograd.grad(loss.sum(), before, allow_unused=True)
    assert gradient is None, "the gradient reaches into the window before"
    with torch.no_grad():
        assert (losses(before + 0.5) != loss).any(1).all(), "the state is not carried"
