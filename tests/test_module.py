"""Network × conditionals = density: masses of one, samples, members, blocks."""

import numpy as np
import pytest
import torch

from skdensity_ar._module import DensityModule, initial_bias
from skdensity_ar.conditionals import Bernoulli, Categorical, GaussianMixture, PointMass
from tests import properties, reference
from tests.properties import (
    MIXTURES,
    NETWORKS,
    ORDERINGS,
    discrete_blocks,
    generator,
    make_module,
    mixture_block,
)

every_network = pytest.mark.parametrize("name", NETWORKS)
every_ordering = pytest.mark.parametrize("ordering", ORDERINGS)
every_mixture = pytest.mark.parametrize("kind", MIXTURES)
every_discrete = pytest.mark.parametrize("table", ["bernoulli", "categorical", "both"])
not_tied = pytest.mark.parametrize("name", [n for n in NETWORKS if n != "tied NADE"])


def real_blocks(kind: str, n_columns: int = 4):
    return [mixture_block(kind, range(n_columns))]


def mixed_blocks():
    """Every kind of column in one table, those of a kind not side by side."""
    return [
        mixture_block("gaussian_mixture", [4, 1], n_frequencies=2),
        (Bernoulli(), [2]),
        (PointMass(), [0]),
        (Categorical(3), [5, 3]),
        mixture_block("laplace_mixture", [6]),
    ]


def mixed_rows(n: int) -> torch.Tensor:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 7))
    x[:, 0] = 0.0
    x[:, 2] = rng.integers(0, 2, n)
    x[:, [3, 5]] = rng.integers(0, 4, (n, 2))
    return torch.from_numpy(x)


# Probabilities sum to one ------------------------------------------------------------


@every_network
@every_discrete
@every_ordering
@pytest.mark.parametrize("n_members", [1, 3])
def test_probabilities_of_all_rows_sum_to_one(name, table, ordering, n_members):
    blocks = discrete_blocks(table)
    module = make_module(
        name, blocks, ordering, n_members=n_members, dtype=torch.float32, scale=2.0
    )
    properties.check_table_sums_to_one(module, blocks)


@every_network
@every_discrete
def test_probabilities_of_all_rows_sum_to_one_exactly_in_float64(name, table):
    blocks = discrete_blocks(table)
    module = make_module(name, blocks, n_members=3, scale=2.0)
    properties.check_table_sums_to_one(module, blocks, atol=1e-13)


@pytest.mark.parametrize("name", ["MADE", "NADE"])
def test_ten_columns_sum_to_one(name):
    blocks = [(Bernoulli(), list(range(10)))]
    module = make_module(name, blocks, n_members=2, dtype=torch.float32)
    properties.check_table_sums_to_one(module, blocks)


@not_tied
@every_mixture
def test_a_joint_density_of_two_columns_integrates_to_one(name, kind):
    # Components wide enough for the grid, which is dense near 0 and reaches far.
    block = mixture_block(kind, range(2), scale_floor=torch.full((2,), 0.2))
    module = make_module(name, [block], n_members=2, scale=0.5)
    t = torch.linspace(-9.0, 9.0, 301, dtype=torch.float64)
    x, weight = t.sinh(), t.cosh() * (t[1] - t[0])
    with torch.no_grad():
        log_p = module.log_prob(torch.cartesian_prod(x, x)).reshape(301, 301)
    total = weight @ log_p.exp() @ weight
    assert total.item() == pytest.approx(1.0, abs=1e-3)


# Input dropout -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["MADE", "NADE"])
def test_input_dropout_hides_columns_from_those_after_them_only(name):
    module = make_module(name, mixed_blocks(), n_members=2, dropout=0.3)
    module.input_dropout, x = 0.25, mixed_rows(400).expand(2, -1, -1)
    noise = module.draw_noise(400, generator(1))
    seen, rest = noise[0], noise[1:]
    # A column is hidden with all of its inputs, from each member's rows on their own.
    for d, width in enumerate(module.network.n_inputs):
        part = seen[..., module.column_of_input == d]
        assert part.shape[-1] == width
        if width:
            assert (part == part[..., :1]).all()
            assert part.unique().tolist() == pytest.approx([0.0, 1.0 / 0.75])
            assert part[..., 0].mean() == pytest.approx(1.0, abs=0.1)
    assert (seen[0] != seen[1]).any()
    # The network sees less, the conditionals all.
    params = module.network(module.encode(x) * seen, noise=rest)
    expected = -module.log_conditionals(params, x).sum(-1)
    assert torch.equal(module.loss(x, noise=noise), expected)
    assert torch.equal(module.loss(x), -module.member_log_prob(x))


def test_without_input_dropout_nothing_is_drawn_for_it():
    module = make_module("MADE", mixed_blocks(), n_members=2, dropout=0.3)
    masks = module.network.draw_noise(9, generator(1))
    for mask, same in zip(masks, module.draw_noise(9, generator(1)), strict=True):
        assert torch.equal(mask, same)


# Samples follow the density ----------------------------------------------------------


@every_network
@every_discrete
def test_samples_of_discrete_tables_follow_the_density(name, table):
    """Members with orderings of their own; every outcome counted."""
    blocks = {
        "bernoulli": [(Bernoulli(), list(range(5)))],
        "categorical": [(Categorical(3), list(range(3)))],
        "both": [(Categorical(3), [2, 0]), (Bernoulli(), [1, 3])],
    }[table]
    module = make_module(name, blocks, n_members=3, scale=2.0)
    properties.check_samples_follow_table(module, blocks)


@not_tied
@every_mixture
def test_samples_of_real_tables_follow_the_density(name, kind):
    module = make_module(name, real_blocks(kind))
    properties.check_samples_follow_density(module)


@pytest.mark.parametrize("name", ["MADE", "deep NADE"])
@every_ordering
def test_samples_of_mixed_tables_follow_the_density(name, ordering):
    blocks = [block for block in mixed_blocks() if not isinstance(block[0], PointMass)]
    blocks = [
        (conditional, [d - 1 for d in columns]) for conditional, columns in blocks
    ]
    one = properties.make_orderings(ordering, 6, 1)
    module = make_module(name, blocks, one.expand(3, -1))
    properties.check_samples_follow_density(module)


@pytest.mark.parametrize("name", ["MADE", "deep NADE"])
def test_a_point_mass_is_sampled_on_its_point(name):
    module = make_module(name, mixed_blocks(), n_members=2)
    x = module.sample(200, generator())
    assert (x[:, 0] == 0.0).all()
    assert module.log_prob(x).isfinite().all()
    x[0, 0] = 1.0
    log_p = module.log_prob(x)
    assert log_p[0] == -torch.inf
    assert log_p[1:].isfinite().all()


@torch.no_grad()
def sample_by_forward(module: DensityModule, n: int, rng: torch.Generator):
    """The sampler without any state: `forward` on the row so far, once per column."""
    member = torch.randint(module.n_orderings, (n,), generator=rng)
    column = module._column_conditionals()
    outputs = reference.units_of(module.network.n_params)
    x = torch.zeros((n, len(column)), dtype=module.network.dtype)
    for e in range(module.n_orderings):
        rows = (member == e).nonzero().squeeze(-1)
        if len(rows) == 0:
            continue
        network, x_e = module.network.member(e), x[rows]
        for d in network.ordering.tolist():
            (params,) = properties.params_by_position(module, x_e, e)  # of one network
            params = params[:, outputs[d]].unsqueeze(-2)
            x_e[:, d] = column[d].sample(params, rng).squeeze(-1)
        x[rows] = x_e
    return x


@every_network
@pytest.mark.parametrize(("n_columns", "n_members"), [(5, 3), (64, 1)])
def test_sampling_by_steps_equals_sampling_by_forward(name, n_columns, n_members):
    """The same uniforms give the same rows."""
    module = make_module(
        name, [(Bernoulli(), list(range(n_columns)))], n_members=n_members, scale=2.0
    )
    fast = module.sample(40, generator(3))
    assert torch.equal(fast, sample_by_forward(module, 40, generator(3)))
    assert 0.1 < fast.mean() < 0.9


@not_tied
def test_sampling_mixed_tables_by_steps_equals_sampling_by_forward(name):
    module = make_module(name, mixed_blocks(), n_members=2)
    fast = module.sample(40, generator(3))
    slow = sample_by_forward(module, 40, generator(3))
    torch.testing.assert_close(fast, slow, atol=1e-9, rtol=1e-9)
    discrete = [0, 2, 3, 5]
    assert torch.equal(fast[:, discrete], slow[:, discrete])


@every_network
def test_sampling_depends_on_the_generator_alone(name):
    module = make_module(name, [(Bernoulli(), list(range(6)))], n_members=2)
    state = torch.random.get_rng_state()
    first = module.sample(50, generator(1))
    assert torch.equal(module.sample(50, generator(1)), first)
    assert not torch.equal(module.sample(50, generator(2)), first)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_sample_given_a_context_follows_the_density_given_it():
    blocks = [(Bernoulli(), list(range(4)))]
    module = make_module("NADE", blocks, n_members=2, n_context=2, scale=3.0)
    rows = properties.all_rows(blocks)
    n = 8000
    for value in (-1.0, 1.0):
        context = torch.full((n, 2), value, dtype=torch.float64)
        drawn = module.sample(n, generator(3), context)
        p = module.log_prob(rows, context[: len(rows)]).exp().detach()
        assert p.sum().item() == pytest.approx(1.0, abs=1e-12)
        properties.check_frequencies(properties.count_rows(drawn, rows), p)


# One value, many ways ----------------------------------------------------------------


@not_tied
@pytest.mark.parametrize("n_members", [1, 3])
def test_scores_of_mixed_tables_equal_the_slow_twins(name, n_members):
    module = make_module(name, mixed_blocks(), n_members=n_members)
    properties.check_scores_equal_twin(module, mixed_rows(20), atol=1e-11)


@every_network
@every_discrete
def test_scores_of_discrete_tables_equal_the_slow_twins(name, table):
    blocks = discrete_blocks(table)
    module = make_module(name, blocks, n_members=2)
    rows = properties.all_rows(blocks)[::97]
    properties.check_scores_equal_twin(module, rows, atol=1e-11)


def test_the_density_of_an_ensemble_is_the_average_of_densities():
    module = make_module("MADE", mixed_blocks(), n_members=4)
    x = mixed_rows(30)
    alone = torch.stack(
        [properties.one_member(module, e).log_prob(x) for e in range(4)]
    )
    torch.testing.assert_close(module.log_prob(x).exp(), alone.exp().mean(0))
    own = torch.stack([x.roll(e, 0) for e in range(4)])
    for e in range(4):
        torch.testing.assert_close(module.member_log_prob(own)[e], alone[e].roll(e, 0))
        torch.testing.assert_close(-module.loss(own)[e], alone[e].roll(e, 0))


def test_columns_evaluated_together_equal_columns_alone():
    x = mixed_rows(30)
    module = make_module("MADE", mixed_blocks(), n_members=2)
    params = module.network(module.encode(x))
    together = module.log_conditionals(params, x)
    outputs = reference.units_of(module.network.n_params)
    inputs = reference.units_of(module.network.n_inputs)
    for d, conditional in enumerate(module._column_conditionals()):
        x_d, params_d = x[:, d : d + 1], params[..., outputs[d]].unsqueeze(-2)
        torch.testing.assert_close(
            together[..., d : d + 1], conditional.log_prob(params_d, x_d)
        )
        u_d = conditional.encode(x_d).squeeze(-2)
        assert torch.equal(module.encode(x)[:, inputs[d]], u_d)


def test_one_block_of_all_columns_equals_many_blocks():
    """The road without gathering is the road with it."""
    D = 4
    one = make_module("MADE", [(Categorical(3), list(range(D)))], n_members=2)
    blocks = [(Categorical(3), [2, 0]), (Categorical(3), [3, 1])]
    many = DensityModule(one.network, blocks)
    x = properties.all_rows([(Categorical(3), list(range(D)))])
    torch.testing.assert_close(one.log_prob(x), many.log_prob(x))
    assert torch.equal(one.sample(99, generator()), many.sample(99, generator()))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("n_members", [1, 2])
@pytest.mark.parametrize("conditional", [Bernoulli(), Categorical(2)])
def test_one_column_is_a_density_too(name, conditional, n_members):
    blocks = [(conditional, [0])]
    module = make_module(name, blocks, n_members=n_members)
    properties.check_table_sums_to_one(module, blocks)
    properties.check_samples_follow_table(module, blocks)
    rows = properties.all_rows(blocks)
    assert module.log_prob(rows).shape == (len(rows),)
    own = rows.expand(module.n_members, -1, -1)
    loss = module.loss(own, noise=module.draw_noise(len(rows), generator()))
    assert loss.shape == module.validation_score(own).shape == own.shape[:2]


def test_scores_are_float64_and_the_sampled_rows_in_the_networks_dtype():
    module = make_module("MADE", mixed_blocks(), dtype=torch.float32)
    x = module.sample(9, generator())
    assert x.dtype == torch.float32
    assert module.log_prob(x).dtype == torch.float64


def test_nothing_depends_on_the_default_dtype():
    def results():
        module = make_module("MADE", mixed_blocks(), dtype=torch.float32, n_members=2)
        x = module.sample(20, generator())
        return x, module.log_prob(x)

    before = results()
    torch.set_default_dtype(torch.float64)
    try:
        after = results()
    finally:
        torch.set_default_dtype(torch.float32)
    for a, b in zip(before, after, strict=True):
        assert a.dtype == b.dtype
        assert torch.equal(a, b)


# The first epoch ---------------------------------------------------------------------


@not_tied
def test_initial_weights_score_as_independent_columns(name):
    blocks = discrete_blocks("both")
    rng, n = np.random.default_rng(0), 500
    x = torch.from_numpy(
        np.column_stack(
            [rng.integers(0, k, n) for k in (2, 2, 2, 4, 2, 2)],
        )
    ).double()
    module = make_module(name, blocks, n_members=2)
    n_params = module.network.n_params
    bias = initial_bias(blocks, n_params, x)
    module.network.reset_parameters(generator(), bias)
    independent = torch.zeros(n, dtype=torch.float64)
    for d, categories in enumerate((2, 2, 2, 4, 2, 2)):
        counts = x[:, d].long().bincount(minlength=categories)
        smoothed = (counts + 0.5) / (n + 0.5 * categories)
        independent += smoothed.log()[x[:, d].long()]
    log_p = module.log_prob(x)
    # Seen categories leave 1e-6 of their mass to the one never seen, in 3 columns.
    torch.testing.assert_close(log_p, independent, atol=4e-6, rtol=0.0)


@pytest.mark.parametrize("name", ["RNADE, sigmoid", "MADE", "belief network"])
def test_initial_weights_of_real_tables_know_nothing_of_other_columns(name):
    module = make_module(name, real_blocks("gaussian_mixture", 3), n_members=2)
    x = properties.generator(2)
    x = torch.randn((100, 3), generator=x, dtype=torch.float64)
    blocks = list(zip(module.conditionals, module.columns, strict=True))
    bias = initial_bias(blocks, module.network.n_params, x)
    module.network.reset_parameters(generator(), bias)
    columns = module.conditionals[0].log_prob(bias.reshape(3, -1), x)
    torch.testing.assert_close(module.log_prob(x), columns.sum(-1))


# The gradient of RNADE, by hand ------------------------------------------------------


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("seed", range(3))
def test_autograd_equals_the_corrected_algorithm_of_the_supplement(ordering, seed):
    D, K, H, n = 6, 3, 5, 8
    conditional = GaussianMixture(K, torch.zeros(D, dtype=torch.float64), 0.0)
    module = make_module(
        "RNADE, sigmoid",
        [(conditional, list(range(D)))],
        ordering,
        hidden_layer_sizes=(H,),
        seed=seed,
    )
    x = torch.randn((n, D), generator=generator(seed), dtype=torch.float64)
    log_p = module.log_prob(x)
    log_p.sum().backward()

    network = module.network
    order = network.ordering[0].numpy()
    w = {name: p.detach()[0].numpy() for name, p in network.named_parameters()}
    # (Σ P, H) -> (α, μ, σ) of (D, H, K), columns in the order of the visit.
    V = w["V"].reshape(D, 3, K, H)[order].transpose(1, 0, 3, 2)
    b = w["b"].reshape(D, 3, K)[order].transpose(1, 0, 2)
    by_hand: dict[str, np.ndarray] = {}
    for row, log_p_row in zip(x.numpy(), log_p.tolist(), strict=True):
        args = (row[order], w["W"].T[:, order], w["c"], w["rho"], tuple(V), tuple(b))
        slow, gradients = reference.rnade_gradients(*args)
        assert slow == pytest.approx(log_p_row, abs=1e-10)
        assert reference.rnade_log_density(*args) == pytest.approx(slow, abs=1e-10)
        for key, gradient in gradients.items():
            by_hand[key] = by_hand.get(key, 0.0) + gradient

    auto = {name: p.grad[0].numpy() for name, p in network.named_parameters()}
    V = auto["V"].reshape(D, 3, K, H)[order].transpose(1, 0, 3, 2)
    b = auto["b"].reshape(D, 3, K)[order].transpose(1, 0, 2)
    by_autograd = {"W": auto["W"].T[:, order], "c": auto["c"], "rho": auto["rho"]}
    for p, part in enumerate(("alpha", "mu", "sigma")):
        by_autograd |= {f"V_{part}": V[p], f"b_{part}": b[p]}
    assert by_hand.keys() == by_autograd.keys()
    for key, gradient in by_hand.items():
        np.testing.assert_allclose(by_autograd[key], gradient, atol=1e-8, err_msg=key)
        assert np.abs(gradient).max() > 1e-3


@pytest.mark.parametrize("kind", ["gaussian", "laplace"])
@pytest.mark.parametrize("activation", ["logistic", "relu"])
def test_rnade_is_uria_murray_and_larochelle(kind, activation):
    D, K = 5, 2
    conditional = MIXTURES[f"{kind}_mixture"](
        K, torch.zeros(D, dtype=torch.float64), 0.0
    )
    name = {"logistic": "RNADE, sigmoid", "relu": "RNADE, ReLU"}[activation]
    module = make_module(name, [(conditional, list(range(D)))], "natural")
    network = module.network
    w = {name: p.detach()[0].numpy() for name, p in network.named_parameters()}
    V = w["V"].reshape(D, 3, K, -1).transpose(1, 0, 3, 2)
    b = w["b"].reshape(D, 3, K).transpose(1, 0, 2)
    x = torch.randn((10, D), generator=generator(), dtype=torch.float64)
    slow = [
        reference.rnade_log_density(
            row,
            w["W"].T,
            w["c"],
            w["rho"],
            tuple(V),
            tuple(b),
            g=reference.ACTIVATIONS[activation],
            kernel=reference.KERNELS[kind],
        )
        for row in x.numpy()
    ]
    np.testing.assert_allclose(module.log_prob(x).detach(), slow, atol=1e-11)


@not_tied
def test_gradients_of_the_loss_equal_finite_differences(name):
    module = make_module(name, mixed_blocks(), n_members=2)
    x = mixed_rows(4).expand(module.n_members, -1, -1)
    x = torch.where(x == 3.0, 2.0, x)
    noise = module.draw_noise(4, generator())
    names, values = zip(*module.named_parameters(), strict=True)

    class Loss(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.module = module

        def forward(self):
            return self.module.loss(x, noise=noise)

    def loss(*weights):
        named = {f"module.{n}": w for n, w in zip(names, weights, strict=True)}
        return torch.func.functional_call(Loss(), named, ())

    weights = tuple(v.detach().clone().requires_grad_() for v in values)
    assert torch.autograd.gradcheck(loss, weights, fast_mode=True)
