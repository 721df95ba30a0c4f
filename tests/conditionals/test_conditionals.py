"""Every conditional: one of mass, samples that follow it, gradients, bad numbers."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate

from skdensity_ar.conditionals import (
    CONDITIONALS,
    UNSEEN_MASS,
    Bernoulli,
    Categorical,
    ColumnSpec,
    PointMass,
    _mixture_kernel,
    _mixture_start,
)
from skdensity_ar.conditionals._mixtures import _fits
from tests import properties, reference
from tests.properties import MIXTURES, generator

D, K = 3, 3

DISCRETE = {
    "bernoulli": (Bernoulli(), [0.0, 1.0]),
    "categorical, K = 1": (Categorical(1), [0.0, 1.0]),
    "categorical, K = 4": (Categorical(4), [0.0, 1.0, 2.0, 3.0, 4.0]),
}

every_mixture = pytest.mark.parametrize("kind", MIXTURES)
every_discrete = pytest.mark.parametrize("name", DISCRETE)


def draw(*shape: int, seed: int = 0, scale: float = 1.5) -> torch.Tensor:
    rng = generator(seed)
    return scale * torch.randn(shape, generator=rng, dtype=torch.float64)


def mixture(kind: str, *, background: float = 1e-4, floor: float = 1e-3):
    return MIXTURES[kind](
        K, torch.tensor([floor, 2 * floor, 0.0], dtype=torch.float64), background
    )


def test_the_registry_builds_every_family():
    specs = [ColumnSpec(n_categories=3, scale_floor=0.01)] * 2
    for conditional_class in CONDITIONALS.values():
        conditional = conditional_class.for_columns(specs, n_components=K)
        x = torch.zeros((4, 2), dtype=torch.float64)
        params = draw(4, 2, conditional.n_params)
        assert conditional.encode(x).shape == (4, 2, conditional.n_inputs)
        assert conditional.log_prob(params, x).shape == (4, 2)
        assert conditional.sample(params, generator()).shape == (4, 2)
        assert conditional.initial_bias(x).shape == (2, conditional.n_params)


# Mass and density --------------------------------------------------------------------


@every_discrete
@pytest.mark.parametrize("scale", [1.0, 30.0])
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-13), (torch.float32, 1e-6)]
)
def test_masses_sum_to_one(name, scale, dtype, atol):
    conditional, outcomes = DISCRETE[name]
    params = draw(50, D, conditional.n_params, scale=scale).to(dtype)
    properties.check_masses_sum_to_one(conditional, params, outcomes, atol=atol)


@every_mixture
@pytest.mark.parametrize("background", [0.0, 1e-4])
@pytest.mark.parametrize("seed", range(2))
def test_densities_integrate_to_one(kind, background, seed):
    conditional = mixture(kind, background=background)
    for d, params in enumerate(draw(D, 3 * K, seed=seed)):
        properties.check_integrates_to_one(conditional.select(d), params)


@every_mixture
def test_narrow_and_wide_components_integrate_to_one(kind):
    conditional = mixture(kind, floor=1e-4).select(0)
    narrow, wide = -12.0, 4.0  # exp of the first is below the floor
    params = torch.tensor([0.0, 0.0, 0.0, -2.0, 0.0, 3.0, narrow, 0.0, wide])
    properties.check_integrates_to_one(conditional, params.double())


@every_mixture
def test_the_cdf_is_the_integral_of_the_density(kind):
    conditional = mixture(kind, background=0.05).select(0)
    properties.check_cdf_is_integral(conditional, draw(3 * K, seed=1))


@every_mixture
@pytest.mark.parametrize("background", [0.0, 1e-4])
def test_mixtures_equal_the_paper(kind, background):
    conditional = mixture(kind, background=background)
    params, x = draw(20, D, 3 * K), draw(20, D, seed=1, scale=3.0)
    fast = conditional.log_prob(params, x).numpy()
    kernel = reference.KERNELS[kind.removesuffix("_mixture")]
    for n in range(20):
        for d in range(D):
            slow = reference.mixture_log_density(
                x[n, d].item(),
                params[n, d].numpy(),
                kernel,
                floor=conditional.scale_floor[d].item(),
                background=background,
            )
            assert fast[n, d] == pytest.approx(slow, abs=1e-12, rel=1e-12)


def test_discrete_masses_equal_the_papers():
    logits, x = draw(20, 1), torch.arange(20.0).remainder(2).double()
    fast = Bernoulli().log_prob(logits[:, None], x[:, None]).squeeze(-1)
    slow = [
        reference.bernoulli_log_mass(p.item(), v.item())
        for p, v in zip(logits, x, strict=True)
    ]
    np.testing.assert_allclose(fast, slow, atol=1e-12)
    logits, x = draw(20, 4), torch.arange(20.0).remainder(5).double()
    fast = Categorical(4).log_prob(logits[:, None], x[:, None]).squeeze(-1)
    slow = [
        reference.categorical_log_mass(p.numpy(), v.item(), UNSEEN_MASS)
        for p, v in zip(logits, x, strict=True)
    ]
    np.testing.assert_allclose(fast, slow, atol=1e-12)


def test_unseen_category_keeps_its_mass_whatever_the_logits():
    x = torch.full((10, 1), 4.0, dtype=torch.float64)
    log_p = Categorical(4).log_prob(draw(10, 1, 4, scale=20.0), x)
    torch.testing.assert_close(log_p.exp(), torch.full_like(log_p, UNSEEN_MASS))


def test_point_mass_is_all_on_one_value():
    x = torch.tensor([[0.0, 1.0], [1.0, 0.0]])
    log_p = PointMass().log_prob(x.new_empty((2, 2, 0)), x)
    assert log_p.tolist() == [[0.0, -math.inf], [-math.inf, 0.0]]
    assert PointMass().encode(x).shape == (2, 2, 0)
    drawn = PointMass().sample(x.new_empty((5, 2, 0)), generator())
    assert (drawn == 0.0).all()


# Samples -----------------------------------------------------------------------------


@every_discrete
@pytest.mark.parametrize("seed", range(2))
def test_samples_follow_the_masses(name, seed):
    conditional, outcomes = DISCRETE[name]
    if isinstance(conditional, Categorical):
        outcomes = outcomes[:-1]  # seen categories only
    params = draw(conditional.n_params, seed=seed)
    properties.check_samples_follow_masses(conditional, params, outcomes)


@every_mixture
@pytest.mark.parametrize("background", [0.0, 1e-4, 0.3])
def test_samples_follow_the_cdf(kind, background):
    conditional = mixture(kind, background=background)
    properties.check_samples_follow_cdf(conditional, draw(D, 3 * K))


@every_mixture
@pytest.mark.parametrize("background", [0.0, 1e-4])
def test_samples_are_finite_at_the_ends_of_the_uniforms(kind, background, monkeypatch):
    conditional, params = mixture(kind, background=background), draw(4, D, 3 * K)
    largest = 1.0 - 2.0**-53  # the largest number that torch.rand gives
    for u in (0.0, 2.0**-53, 0.5, largest):
        monkeypatch.setattr(
            torch,
            "rand",
            lambda *shape, u=u, generator, dtype, device: torch.full(
                *shape, u, dtype=dtype
            ),
        )
        drawn = conditional.sample(params, generator())
        assert drawn.isfinite().all()


@pytest.mark.parametrize("name", CONDITIONALS)
def test_samples_depend_on_the_generator_alone(name):
    specs = [ColumnSpec(n_categories=3)] * 2
    conditional = CONDITIONALS[name].for_columns(specs, n_components=K)
    params = draw(50, 2, conditional.n_params)
    state = torch.random.get_rng_state()
    first = conditional.sample(params, generator(1))
    assert torch.equal(conditional.sample(params, generator(1)), first)
    assert not torch.equal(conditional.sample(params, generator(2)), first)
    assert torch.equal(torch.random.get_rng_state(), state)


# Blocks ------------------------------------------------------------------------------


@every_mixture
def test_a_mixture_column_alone_is_the_column_of_the_block(kind):
    x = draw(7, D, seed=2)
    properties.check_select(mixture(kind), draw(7, D, 3 * K), x)


@every_discrete
def test_a_discrete_column_alone_is_the_column_of_the_block(name):
    conditional, outcomes = DISCRETE[name]
    codes = torch.randint(len(outcomes), (7, D), generator=generator())
    properties.check_select(
        conditional, draw(7, D, conditional.n_params), codes.double()
    )


@every_mixture
def test_any_axes_may_lead(kind):
    conditional, params, x = mixture(kind), draw(2, 5, D, 3 * K), draw(5, D)
    log_p = conditional.log_prob(params, x)
    for e in range(2):
        alone = conditional.log_prob(params[e], x)
        torch.testing.assert_close(log_p[e], alone, atol=1e-13, rtol=1e-13)


@every_discrete
def test_any_axes_may_lead_discrete(name):
    conditional, outcomes = DISCRETE[name]
    x = torch.randint(len(outcomes), (5, D), generator=generator()).double()
    params = draw(2, 5, D, conditional.n_params)
    log_p = conditional.log_prob(params, x)
    for e in range(2):
        alone = conditional.log_prob(params[e], x)
        torch.testing.assert_close(log_p[e], alone, atol=1e-13, rtol=1e-13)


def test_encodings_are_those_of_the_twins():
    codes = torch.tensor([[0.0], [2.0], [3.0]])
    one_hot = [reference.one_hot(k, 3).tolist() for k in (0, 2, 3)]
    assert Categorical(3).encode(codes).squeeze(-2).tolist() == one_hot
    x = torch.tensor([[-1e14], [-6.0], [-5.0], [0.3], [5.0], [5.1], [1e6]]).double()
    near = mixture("gaussian_mixture").encode(x).flatten()
    slow = [reference.compress(v) for v in x.flatten().tolist()]
    np.testing.assert_allclose(near, slow, rtol=1e-12)
    assert (near.diff() > 0).all()
    waving = mixture("gaussian_mixture").with_frequencies(3)
    for value, seen in zip(slow, waving.encode(x).squeeze(-2), strict=True):
        np.testing.assert_allclose(seen, [value, *reference.waves(value, 3)])


@every_mixture
def test_frequencies_stay_and_change_nothing_but_the_inputs(kind):
    plain, x = mixture(kind), draw(9, D)
    waving = plain.with_frequencies(2)
    for before, after in (
        (plain, waving),
        (plain.adapted(x), waving.adapted(x)),
        (plain.divided(torch.ones(1, D)), waving.divided(torch.ones(1, D))),
        (plain.select(1), waving.select(1)),
    ):
        assert type(after) is type(before)
        assert (before.n_inputs, after.n_inputs) == (1, 5)
        assert (before.n_direct, after.n_direct) == (1, 1)
        n = before.scale_floor.shape[-1]
        params = draw(9, n, before.n_params, seed=1)
        x_n = x[:, :n]
        assert torch.equal(before.log_prob(params, x_n), after.log_prob(params, x_n))
        assert torch.equal(after.encode(x_n)[..., :1], before.encode(x_n))


@pytest.mark.parametrize(
    "shape", [(), (1,), (3,), (2, 1), (4, 1, 3), (4, 2, 3), (2,), (1, 4, 2, 3), (3, 2)]
)
def test_what_fits_broadcasts_to_the_shape_as_it_is(shape):
    into = (4, 2, 3)
    try:
        fits = torch.broadcast_shapes(shape, into) == into
    except RuntimeError:
        fits = False
    assert _fits(shape, into) == fits


def test_only_numbers_have_waves():
    for conditional in (Bernoulli(), Categorical(3)):
        assert conditional.with_frequencies(2).n_inputs == conditional.n_inputs


# Initial bias ------------------------------------------------------------------------


def test_initial_logits_fit_the_frequencies():
    n = 1000
    x = (torch.rand((n, D), generator=generator()) < 0.3).double()
    x[:, 2] = 1.0  # a column seen constant keeps a finite logit
    p = Bernoulli().initial_bias(x).squeeze(-1).sigmoid()
    assert ((p - x.mean(0)).abs() < 1.0 / n).all()
    assert (p < 1.0).all()


def test_initial_category_logits_fit_the_frequencies():
    n, conditional = 1000, Categorical(4)
    x = torch.randint(3, (n, D), generator=generator()).double()  # 3 is never seen
    p = conditional.initial_bias(x).softmax(-1)
    frequencies = conditional.encode(x).mean(0)
    assert ((p - frequencies).abs() < 2.0 / n).all()
    assert (p > 0.0).all()


@every_mixture
def test_initial_mixture_nears_the_marginal_as_components_join(kind):
    """Two clusters, one tail: the largest gap between the cdf and the data's falls."""
    rng, n = np.random.default_rng(0), 2000
    clusters = rng.choice([-1.0, 1.0], n) + rng.normal(scale=0.1, size=n)
    x = torch.from_numpy(np.column_stack([clusters, rng.exponential(size=n)]))
    ordered = x.sort(0).values
    empirical = (torch.arange(n, dtype=torch.float64)[:, None] + 0.5) / n
    gaps = []
    for n_components in (1, 3, 10, 30):
        conditional = MIXTURES[kind](n_components, torch.zeros(2, dtype=torch.float64))
        params = conditional.initial_bias(x)
        assert params.isfinite().all()
        gap = (conditional.cdf(params, ordered) - empirical).abs().amax(0)
        gaps.append(gap)
    assert (torch.stack(gaps).diff(dim=0) < 0.0).all()
    assert (gaps[0] < 0.5).all()
    assert (gaps[-1] < 0.15).all()


@every_mixture
def test_many_components_start_as_kernels_that_values_left_out_ask_for(kind):
    """Near the truth on clusters, on one smooth bump and on two bumps of two widths."""
    rng, n = np.random.default_rng(0), 500
    bump = rng.normal(size=2 * n)
    clusters = rng.integers(-1, 2, 2 * n) + 0.02 * rng.normal(size=2 * n)
    is_narrow = rng.random(2 * n) < 0.5
    both = np.where(is_narrow, 1.0 + 0.01 * bump, bump)
    x = torch.from_numpy(np.column_stack([clusters, bump, both]))
    narrow = torch.tensor([-1.0, 0.0, 1.0]).double()
    truth = [
        (x[:, :1] - narrow, torch.full((3,), 0.02).double(), torch.ones(3) / 3),
        (x[:, 1:2], torch.ones(1).double(), torch.ones(1)),
        (
            x[:, 2:] - torch.tensor([1.0, 0.0]).double(),
            torch.tensor([0.01, 1.0]).double(),
            torch.ones(2) / 2,
        ),
    ]
    log_truth = [
        (w.log() - s.log() + MIXTURES["gaussian_mixture"].kernel.log_prob(z / s))
        .logsumexp(-1)[n:]
        .mean()
        for z, s, w in truth
    ]
    conditional = MIXTURES[kind](4 * n, torch.zeros(3, dtype=torch.float64))
    start = conditional.initial_bias(x[:n])
    lost = torch.stack(log_truth) - conditional.log_prob(start, x[n:]).mean(0)
    assert (lost < (0.12 if kind == "gaussian_mixture" else 0.25)).all()


def test_kernels_stand_beside_heaps():
    x = torch.cat([torch.zeros(200).double(), draw(30, 1, scale=1.0).flatten()])
    plain = MIXTURES["gaussian_mixture"](887, torch.zeros(1, dtype=torch.float64))
    conditional = plain.adapted(x[:, None])
    params = conditional.initial_bias(x[:, None])
    alpha, mu, _ = (part.flatten() for part in conditional.split(params))
    assert alpha.exp().sum().item() == pytest.approx(1.0)
    assert (mu[0], alpha[0].exp().item()) == (0.0, pytest.approx(200 / 230))
    assert torch.isin(mu[1:].float(), x[200:].float()).all()
    # Every value has the same weight, however many of the kernels stand on it.
    weights = [alpha[1:][mu[1:] == v].exp().sum().item() for v in mu[1:].unique()]
    assert weights == pytest.approx([1 / 230] * 30)
    assert conditional.unit.flatten()[1:].eq(1.0).all()


@pytest.mark.parametrize("n_neighbours", [1, 3, 9, 30])
def test_kernels_reach_to_a_neighbour(n_neighbours):
    ordered = draw(20, 1, scale=1.0).flatten().sort().values
    ordered[3] = ordered[4]
    found = _mixture_start._distance(ordered, n_neighbours)
    gaps = (ordered - ordered.unsqueeze(-1)).abs().sort(-1).values
    assert torch.equal(found, gaps[:, min(n_neighbours, 19)])


def test_weights_of_densities_are_those_of_the_largest_likelihood():
    log_p = draw(3, 200, scale=1.0)
    weights = _mixture_start._weights(log_p)
    gradient = (log_p - torch.logsumexp(log_p + weights.log()[:, None], 0)).exp()
    # Lagrange: the mean is 1 where the weight is not at its bound, else less.
    mean = gradient.mean(-1)
    assert weights.sum() == pytest.approx(1.0)
    assert mean[weights > 1e-3].numpy() == pytest.approx(1.0, abs=1e-3)
    assert (mean < 1.0 + 1e-3).all()


@every_mixture
@pytest.mark.parametrize(
    ("n", "n_components"), [(1, 4), (2, 4), (5, 4), (5, 200), (12, 60), (30, 203)]
)
def test_initial_mixture_takes_few_rows_and_ties(kind, n, n_components):
    conditional = MIXTURES[kind](n_components, torch.zeros(2, dtype=torch.float64))
    params = conditional.initial_bias(torch.zeros((n, 2), dtype=torch.float64))
    assert params.isfinite().all()
    properties.check_integrates_to_one(conditional.select(0), params[0])


# Gradients and extremes --------------------------------------------------------------


@every_mixture
@pytest.mark.parametrize("background", [0.0, 1e-4, 0.3])
def test_mixture_gradients_equal_finite_differences(kind, background):
    conditional = mixture(kind, background=background)
    params = draw(4, D, 3 * K, scale=0.7).requires_grad_()
    x = draw(4, D, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(conditional.log_prob, (params, x))
    assert torch.autograd.gradcheck(conditional.encode, (x,))


@every_discrete
def test_discrete_gradients_equal_finite_differences(name):
    conditional, outcomes = DISCRETE[name]
    params = draw(len(outcomes), D, conditional.n_params).requires_grad_()
    x = torch.tensor(outcomes, dtype=torch.float64)[:, None].expand(-1, D)
    assert torch.autograd.gradcheck(lambda p: conditional.log_prob(p, x), (params,))


@every_mixture
def test_far_values_score_low_and_finite_with_bounded_gradients(kind):
    conditional = mixture(kind)
    x = torch.tensor([[1e14], [-1e14], [1e6], [0.0]]).expand(-1, D)
    params = draw(1, D, 3 * K).float().expand(4, -1, -1).clone().requires_grad_()
    log_p = conditional.log_prob(params, x)
    assert log_p.isfinite().all()
    assert (log_p[:3] < log_p[3]).all()
    (grad,) = torch.autograd.grad(log_p.sum(), params)
    assert grad.isfinite().all()


def test_extreme_logits_stay_finite():
    logits = torch.tensor([1e4, -1e4]).reshape(2, 1, 1)
    for x in (0.0, 1.0):
        log_p = Bernoulli().log_prob(logits, torch.full((2, 1), x))
        assert log_p.isfinite().all()
    log_p = Categorical(3).log_prob(
        torch.tensor([[[1e4, 0.0, -1e4]]]), torch.tensor([[2.0]])
    )
    assert log_p.isfinite().all()


@every_mixture
@pytest.mark.parametrize("background", [0.0, 1e-4, 0.3])
@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (2, 5, 3)])
@pytest.mark.parametrize("heaps", [False, True])
def test_the_kernel_of_mixtures_equals_autograd(kind, background, shape, heaps):
    floor = torch.full(shape[-1:], 0.1, dtype=torch.float64)
    conditional = MIXTURES[kind](K, floor, background)
    x = draw(*shape, scale=4.0)
    if heaps and len(shape) == 3:
        conditional = conditional.adapted(torch.zeros((2, 9, 3)).double())
        conditional.unit.copy_(draw(2, 1, K, 3, seed=3).exp())
    params = draw(*shape, conditional.n_params, seed=1, scale=2.0)
    params[..., -1] = 41.0  # a scale that is held
    plain, fast = params.clone().requires_grad_(), params.clone().requires_grad_()
    # Values that ask for gradients themselves take the plain way.
    expected = conditional.log_prob(plain, x.clone().requires_grad_())
    found = conditional.log_prob(fast, x)
    weight = draw(*shape, seed=2)
    (expected * weight).sum().backward()
    (found * weight).sum().backward()
    assert type(found.grad_fn).__name__ == "MixtureLogProbBackward"
    assert torch.allclose(found, expected, rtol=1e-12, atol=1e-12)
    assert torch.allclose(fast.grad, plain.grad, rtol=1e-10, atol=1e-12)
    assert torch.equal(fast, params)


# What stands for a value --------------------------------------------------------------


@every_mixture
@pytest.mark.parametrize("q", [1e-7, 1e-3, 0.05, 0.5, 0.9, 1.0 - 1e-6])
def test_the_average_of_densities_has_that_share_below_its_quantile(kind, q):
    conditional, params = mixture(kind), draw(4, 7, D, 3 * K)
    quantile = conditional.quantile(params, q)
    assert quantile.shape == (7, D)
    below = conditional.cdf(params, quantile.expand(4, 7, D)).mean(0)
    torch.testing.assert_close(below, torch.full_like(below, q), rtol=1e-6, atol=1e-12)


@every_mixture
def test_mean_and_mode_are_those_of_the_components(kind):
    conditional = mixture(kind, background=0.0)
    params = draw(2, 1, D, 3 * K, scale=0.5)
    grid = torch.linspace(-40.0, 40.0, 160001, dtype=torch.float64)
    x = grid.view(-1, 1).expand(-1, D)
    p = conditional.log_prob(params.expand(2, len(grid), D, -1), x).exp().mean(0)
    mean = torch.trapezoid(x * p, grid, dim=0)
    torch.testing.assert_close(
        conditional.center(params, "mean")[0], mean, atol=1e-3, rtol=0
    )
    mode = conditional.center(params, "mode")
    at_mode = conditional.log_prob(params, mode.expand(2, 1, D)).exp().mean(0)[0]
    means = conditional.split(params)[1]
    assert all((means[..., d, :] == mode[0, d]).any() for d in range(D))
    assert (at_mode > 0.9 * p.amax(0)).all()
    median = conditional.center(params, "median")
    torch.testing.assert_close(median, conditional.quantile(params, 0.5))


@pytest.mark.parametrize("kind", ["mean", "median", "mode"])
def test_a_category_is_stood_for_by_the_likeliest_in_the_average(kind):
    logits = torch.tensor([[2.0, 1.9, -9.0], [-9.0, 1.9, 2.0]]).double()
    params = logits[:, None, None, :]  # (E, n, D, K)
    assert Categorical(3).center(params, kind).tolist() == [[1.0]]
    surer = torch.tensor([5.0, -1.0]).double()[:, None, None, None]
    assert Bernoulli().center(surer, kind).tolist() == [[1.0]]
    assert Bernoulli().center(-surer, kind).tolist() == [[0.0]]
    assert PointMass().center(draw(2, 5, 1, 0), kind).tolist() == [[0.0]] * 5


def heaped(n: int = 1000) -> torch.Tensor:
    """Columns: a fifth at 0.7 and a tenth at -1, the same elsewhere, none."""
    x = draw(n, D, scale=1.0)
    x[: n // 5, :2] = torch.tensor([0.7, -0.2]).double()
    x[n // 5 : 3 * n // 10, :2] = torch.tensor([-1.0, 2.0]).double()
    return x


@every_mixture
def test_training_starts_with_narrow_components_on_heaps(kind):
    x = heaped()
    plain = MIXTURES[kind](5, torch.full((D,), 1e-4, dtype=torch.float64))
    conditional = plain.adapted(x)
    params = conditional.initial_bias(x)
    alpha, mu, sigma = conditional.split(params)
    for d, heaps in enumerate([[0.7, -1.0], [-0.2, 2.0]]):
        assert mu[..., d, :2].flatten().tolist() == pytest.approx(heaps)
        assert alpha[..., d, :2].exp().flatten().tolist() == pytest.approx([0.2, 0.1])
        assert (sigma[..., d, :2] < 0.01).all()
        assert (sigma[..., d, 2:] >= 0.1).all()
    assert (sigma[..., 2, :] >= 0.1).all()
    # Their means take steps in their own scale, those of the others in that of x.
    assert (conditional.unit < 0.01).sum() == 4
    assert (conditional.unit == 1.0).sum() == 11
    # The same density, whatever the units: before training and at one column.
    expected = plain.log_prob(plain.initial_bias(x), x)
    found = conditional.log_prob(params, x)
    assert torch.allclose(found, expected)
    one = conditional.select(1)
    assert torch.allclose(one.log_prob(params[1:2], x[:, 1:2]), expected[:, 1:2])


def test_members_have_heaps_of_their_own():
    x = heaped()
    x = torch.stack([x, x.flip(1)])
    conditional = MIXTURES["gaussian_mixture"](5, torch.full((D,), 1e-4).double())
    conditional = conditional.adapted(x)
    assert torch.equal(conditional.unit[0], conditional.unit[1].flip(-1))
    params = torch.stack([conditional.initial_bias(x_e) for x_e in x]).unsqueeze(1)
    log_p = conditional.log_prob(params, x)
    assert torch.allclose(log_p[0], log_p[1].flip(-1))


@pytest.mark.parametrize("n_components", [1, 2, 3])
def test_heaps_leave_components_for_the_rest(n_components):
    conditional = MIXTURES["gaussian_mixture"](
        n_components, torch.full((D,), 1e-4).double()
    ).adapted(heaped())
    wide = (conditional.unit == 1.0).sum(-2)
    assert (wide >= min(n_components, 2)).all()
    assert torch.isfinite(conditional.initial_bias(heaped())).all()


@pytest.mark.parametrize("units", [False, True])
def test_members_in_parts_score_as_all_at_once(units, monkeypatch):
    rng = torch.Generator().manual_seed(0)
    floor = torch.rand((5, 1, 3), generator=rng, dtype=torch.float64)
    mixture = MIXTURES["gaussian_mixture"](4, floor)
    if units:
        mixture.unit = 1.0 + torch.rand((5, 1, 4, 3), generator=rng)
    params = torch.randn((5, 36, 7), generator=rng).mT.unflatten(-1, (3, 12))
    params.requires_grad_()
    for shape in ((5, 7, 3), (7, 3)):
        x, found = torch.randn(shape, generator=rng), []
        for part in (2**19, 1, 180):
            monkeypatch.setattr(_mixture_kernel, "_PART", part)
            log_p = mixture.log_prob(params, x)
            found.append((log_p, *torch.autograd.grad(log_p.sum(), params)))
        for others in found[1:]:
            for one, other in zip(found[0], others, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-6)


# Shares below, of averages by weights -------------------------------------------------


@every_mixture
def test_a_quantile_by_weights_has_its_share_below_in_their_average(kind):
    conditional, params = mixture(kind), draw(4, 7, D, 3 * K)
    weights = draw(4, 7, D, seed=1).softmax(0)
    q = draw(7, D, seed=2).sigmoid()
    quantile = conditional.quantile(params, q, weights)
    below = (weights * conditional.cdf(params, quantile.expand(4, 7, D))).sum(0)
    torch.testing.assert_close(below, q, rtol=1e-6, atol=1e-12)


def test_shares_below_of_bits_and_points():
    params = draw(3, 7, D, 1)
    x = torch.tensor([-0.5, 0.0, 0.5, 1.0, 2.0], dtype=torch.float64)
    p_0 = Bernoulli().log_prob(params, torch.zeros(D).double()).exp()
    for value, expected in zip(x, (0.0, p_0, p_0, 1.0, 1.0), strict=True):
        found = Bernoulli().cdf(params, value.expand(3, 7, D))
        torch.testing.assert_close(found, torch.zeros_like(p_0) + expected)
    mean = p_0.mean(0)
    for q in (0.1, 0.5, 0.9):
        assert torch.equal(Bernoulli().quantile(params, q), (mean < q).double())
    nothing = torch.empty(2, 3, D, 0).double()
    codes = torch.tensor([-1.0, 0.0, 1.0]).double()[:, None].expand(3, D)
    assert torch.equal(PointMass().cdf(nothing[0], codes), (codes >= 0.0).double())
    assert (PointMass().quantile(nothing, 0.3) == 0.0).all()


def test_what_knows_nothing_has_mass_one():
    for conditional, outcomes in [
        (Bernoulli(), [0.0, 1.0]),
        (Categorical(3), [0.0, 1.0, 2.0, 3.0]),
        (PointMass(), [0.0]),
    ]:
        log_p = conditional.log_vague(torch.tensor(outcomes)[:, None])
        assert log_p.exp().sum() == pytest.approx(1.0)
    for kind in MIXTURES:
        conditional, _ = properties.mixture_block(kind, [0])
        total, _ = integrate.quad(
            lambda x, c=conditional: c.log_vague(torch.tensor([x])).exp().item(),
            -np.inf,
            np.inf,
        )
        assert total == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("kind", ["mean", "median", "mode"])
@pytest.mark.parametrize("name", ["gaussian_mixture", "categorical", "bernoulli"])
def test_weights_of_densities_are_as_repeated_ones(name, kind):
    conditional = {
        "gaussian_mixture": lambda: mixture("gaussian_mixture"),
        "categorical": lambda: Categorical(3),
        "bernoulli": Bernoulli,
    }[name]()
    params = draw(2, 50, D, conditional.n_params)
    weights = torch.tensor([2.0, 1.0]).double()[:, None, None].expand(2, 50, D) / 3.0
    found = conditional.center(params, kind, weights)
    expected = conditional.center(params[[0, 0, 1]], kind)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, conditional.center(params, kind))
