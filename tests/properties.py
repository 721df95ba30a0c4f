"""What every network, every conditional and every density must satisfy.

Each `check_*` states one property and raises AssertionError where it does not hold. A
new network or conditional is tested by handing it to all of them; the first section
builds small ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import numpy as np
import torch
from scipy import integrate, stats
from torch import Tensor

from skdensity_ar._module import DensityModule
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
from skdensity_ar.networks import MADE, NADE, Network
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
}

MIXTURES: dict[str, type[Mixture]] = {
    "gaussian_mixture": GaussianMixture,
    "laplace_mixture": LaplaceMixture,
    "logistic_mixture": LogisticMixture,
}

ORDERINGS = ("natural", "reversed", "random")

Block = tuple[Conditional, list[int]]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator("cpu").manual_seed(seed)


def make_orderings(kind: str, n_columns: int, n_members: int, seed: int = 0) -> Tensor:
    """Orderings (members, D): the first of the kind, the others drawn."""
    rng = generator(seed)
    drawn = [torch.randperm(n_columns, generator=rng) for _ in range(n_members)]
    natural = torch.arange(n_columns)
    drawn[0] = {"natural": natural, "reversed": natural.flip(0)}.get(kind, drawn[0])
    return torch.stack(drawn)


def randomise(network: Network, seed: int = 0, scale: float = 1.0) -> Network:
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
    by_column = {d: conditional for conditional, columns in blocks for d in columns}
    n_inputs = [by_column[d].n_inputs for d in range(len(by_column))]
    n_params = [by_column[d].n_params for d in range(len(by_column))]
    network = make_network(
        name, n_inputs, n_params, ordering, n_members=n_members, dtype=dtype, **kwargs
    )
    return DensityModule(network, blocks)


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
    alone.__dict__ = {**network.__dict__}
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


def members(network: Network) -> list[Network]:
    return [network.member(e) for e in range(network.ordering.shape[0])]


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
        assert reached[before].all(), "an earlier column is not seen"


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
    biases = {"c" if isinstance(network, MADE) else "b": "C"}
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


@torch.no_grad()
def integral_transform(module: DensityModule, x: Tensor) -> np.ndarray:
    """F(x_d | x_<d) of every column (n, D) in the order of the visit.

    Uniform and independent if x follows the density. The members must visit the
    columns in one order; each counts by how well it has predicted x_<d. Within a
    discrete outcome the place is drawn.
    """
    ordering = module.network.ordering[0]
    assert (module.network.ordering == ordering).all()
    params = module.network(module.encode(x))  # (E, n, P)
    log_p = module.log_conditionals(params, x).double()[..., ordering]
    log_weights = log_p.cumsum(-1).roll(1, -1)
    log_weights[..., 0] = 0.0
    weights = log_weights.softmax(0)  # (E, n, D)
    cdf = torch.empty_like(log_p)
    position = ordering.argsort()
    outputs = reference.units_of(module.network.n_params)
    column = module._column_conditionals()
    place = torch.rand(x.shape, generator=generator(8), dtype=torch.float64)
    for d, units in enumerate(outputs):
        params_d = params[..., units].unsqueeze(-2)  # (E, n, 1, P_d)
        x_d = x[:, d : d + 1].expand(*params.shape[:2], 1)
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
        cdf[..., position[d]] = cdf_d.squeeze(-1).double()
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
        return [reference.compress(x)]
    return [x][: conditional.n_inputs]


def twin_params(network: Network, u: np.ndarray) -> list[np.ndarray]:
    """Parameters by column of one row u (U,) by the slow twin of one member."""
    w = {name: p.detach().numpy() for name, p in network.named_parameters()}
    depth = len(network.hidden_layer_sizes)
    shared = {
        "n_inputs": network.n_inputs,
        "n_params": network.n_params,
        "g": reference.ACTIVATIONS[network.activation],
    }
    ordering = network.ordering.tolist()
    if isinstance(network, MADE):
        layers = [(w[f"W{layer}"], w[f"b{layer}"]) for layer in range(depth)]
        return reference.made_params(
            u, ordering, layers, w.get("V"), w["c"], w.get("A"), **shared
        )
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


def twin_log_prob(module: DensityModule, x) -> np.ndarray:
    """log p(x) of every row by the slow twins, from the weights of the module."""
    column = module._column_conditionals()
    out = []
    for row in np.asarray(x, dtype=np.float64).tolist():
        u = np.array(
            [
                v
                for c, x_d in zip(column, row, strict=True)
                for v in _twin_encode(c, x_d)
            ]
        )
        log_p = []
        for member in members(module.network):
            params = twin_params(member, u)
            terms = zip(column, params, row, strict=True)
            log_p.append(sum(_twin_conditional(c, p, x_d) for c, p, x_d in terms))
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
