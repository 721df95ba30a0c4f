"""Counts and ordered levels: masses, both tails, samples, where training starts."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from skdensity_ar.conditionals import UNSEEN_MASS, ColumnSpec, Count, Ordinal
from tests import properties
from tests.properties import generator

K = 3
COUNT = ColumnSpec(center=0.3, scale=2.0, scale_floor=0.0125, first=-4.0)
LEVELS = ColumnSpec(n_categories=5, center=1.7, scale=0.9, scale_floor=0.03)


def count(*specs):
    return Count.for_columns(specs or [COUNT], n_components=K)


def ordinal(*specs):
    return Ordinal.for_columns(specs or [LEVELS], n_components=K)


def draw(*shape, seed=0, scale=1.5):
    return scale * torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def of(conditional, params, outcomes):
    """log p of these values of one column, params (P,)."""
    x = params.new_tensor(outcomes)[:, None]
    return conditional.log_prob(params.expand(len(x), 1, -1), x).squeeze(-1)


@pytest.mark.parametrize("scale", [1.0, 5.0])
@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 2e-6)]
)
def test_masses_of_levels_sum_to_one(scale, dtype, atol):
    params = draw(50, 1, 3 * K, scale=scale).to(dtype)
    properties.check_masses_sum_to_one(ordinal(), params, range(6), atol=atol)


@pytest.mark.parametrize(
    ("dtype", "atol"), [(torch.float64, 1e-10), (torch.float32, 1e-4)]
)
def test_masses_of_counts_sum_to_what_the_cdf_says(dtype, atol):
    conditional = count()
    for params in draw(5, 3 * K).to(dtype):
        k = torch.arange(-4.0, 3000.0, dtype=dtype)
        total = of(conditional, params, k.tolist()).double().exp().cumsum(0)
        rows = params.double().expand(len(k), 1, -1)
        cdf = conditional.cdf(rows, k.double()[:, None])[:, 0]
        torch.testing.assert_close(total, cdf, atol=atol, rtol=0.0)
        # What lies further out is the background's.
        assert 1.0 - total[-1].item() < 1e-7 + atol


def test_one_level_has_all_mass():
    only = ordinal(ColumnSpec(n_categories=1, scale=0.5, scale_floor=0.05))
    log_p = of(only, draw(3 * K), [0.0, 1.0])
    assert log_p.exp().tolist() == pytest.approx([1.0 - UNSEEN_MASS, UNSEEN_MASS])


def test_float32_keeps_the_digits_of_both_tails():
    # A single component; the mass far out is f(k) itself, far below 1e-8.
    spec = ColumnSpec(scale=1.0, first=-1e6)
    conditional = Count.for_columns([spec], n_components=1)
    conditional.mixture.background = 0.0
    params = torch.tensor([0.0, 0.0, 0.0], dtype=torch.float64)
    for k in (-80.0, -20.0, 0.0, 20.0, 80.0):
        fast = of(conditional, params.float(), [k]).item()
        s = [math.exp(-abs(k) + h) for h in (0.5, -0.5)]
        slow = math.log(2.0 * math.tanh(0.25)) if k == 0 else math.log(s[0] - s[1])
        assert fast == pytest.approx(slow, rel=2e-6, abs=2e-6 + math.exp(-abs(k)))


@pytest.mark.parametrize("make", [count, ordinal])
def test_gradients(make):
    conditional = make()
    outcomes = [-4.0, 0.0, 3.0, 4.0] if make is count else [0.0, 2.0, 4.0, 5.0]
    x = torch.tensor(outcomes, dtype=torch.float64)[:, None]
    params = draw(4, 1, 3 * K, scale=0.7).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: conditional.log_prob(p, x), (params,))


@pytest.mark.parametrize("k", [-4.0, 0.0, 1e4, 1e9, 2.0**53])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_far_counts_score_finite_with_finite_gradients(k, scale):
    conditional = count()
    for shift in (-60.0, 0.0, 60.0):
        params = torch.zeros((1, 1, 3 * K))
        params[..., K : 2 * K] = shift
        params[..., 2 * K :] = math.log(scale)
        params.requires_grad_()
        log_p = conditional.log_prob(params, torch.tensor([[k]]))
        (grad,) = torch.autograd.grad(log_p.sum(), params)
        assert log_p.isfinite().all()
        assert (log_p <= 1e-6).all()
        assert grad.isfinite().all()
        assert grad.abs().max() < 1e3


@pytest.mark.parametrize("seed", range(2))
def test_samples_follow_the_masses(seed):
    params = draw(3 * K, seed=seed)
    properties.check_samples_follow_masses(ordinal(), params, [0.0, 1.0, 2.0, 3.0, 4.0])
    conditional, rows = count(), params.expand(20000, 1, -1)
    drawn = conditional.sample(rows, generator(1))
    assert torch.equal(drawn, drawn.round())
    k = np.arange(-4.0, 60.0)
    p = of(conditional, params, k.tolist()).exp().numpy()
    counts = [(drawn == v).sum().item() for v in k]
    far, beyond = len(drawn) - sum(counts), 1.0 - p.sum()
    properties.check_frequencies([*counts, far], [*p, beyond])


def test_a_column_alone_is_the_column_of_the_block():
    other = ColumnSpec(n_categories=5, center=3.0, scale=2.0, scale_floor=0.01)
    x = torch.randint(6, (7, 2), generator=generator()).double()
    for conditional in (ordinal(LEVELS, other), count(COUNT, other)):
        params = draw(7, 2, 3 * K)
        properties.check_select(conditional, params, x)
        waves = conditional.with_frequencies(2)
        assert waves.encode(x).shape == (7, 2, 5)
        assert torch.equal(waves.encode(x)[..., :1], conditional.encode(x))


def test_an_unseen_level_looks_like_the_middle():
    x = torch.tensor([[5.0], [1.7]], dtype=torch.float64)
    seen = ordinal().encode(x)
    assert torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("q", [0.01, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("make", [count, ordinal])
def test_the_quantile_is_the_first_with_so_much_mass_below(make, q):
    conditional, params = make(), draw(4, 9, 1, 3 * K)
    k = conditional.quantile(params, q)
    cdf = [conditional.cdf(params, (k - i).expand(4, 9, 1)).mean(0) for i in (0, 1)]
    assert (cdf[0] >= q - 1e-9).all()
    assert (cdf[1] < q).all()


def test_the_center_is_a_level():
    conditional, params = ordinal(), draw(2, 40, 1, 3 * K)
    p = [
        conditional.log_prob(params, torch.full((40, 1), float(k)).double()).exp()
        for k in range(5)
    ]
    p = torch.stack(p, -1).mean(0)
    for kind in ("mean", "median", "mode"):
        k = conditional.center(params, kind)
        assert k.shape == (40, 1)
        assert torch.isin(k, torch.arange(5.0).double()).all()
    median = conditional.center(params, "median")
    assert torch.equal(median, (p.cumsum(-1) < 0.5 * (1 - UNSEEN_MASS)).sum(-1) + 0.0)
    mode = conditional.center(params, "mode").long()
    at_mode = p.gather(-1, mode.unsqueeze(-1)).squeeze(-1)
    assert (at_mode == p.amax(-1)).all()


def test_training_starts_near_the_frequencies():
    rng = np.random.default_rng(0)
    k = torch.from_numpy(rng.poisson(4.0, (3000, 1)).astype(float))
    spec = ColumnSpec(center=4.0, scale=2.0, scale_floor=0.0125)
    p = np.bincount(k[:, 0].long().numpy()) / len(k)
    entropy = -(p[p > 0] * np.log(p[p > 0])).sum()
    for n_components, lost in ((1, 0.03), (10, 0.01)):
        conditional = Count.for_columns([spec], n_components=n_components)
        log_p = conditional.log_prob(conditional.initial_bias(k), k)
        assert -log_p.mean().item() < entropy + lost
    for n in (1, 2, 5):  # few rows, all alike
        few = torch.zeros((n, 1), dtype=torch.float64)
        assert conditional.initial_bias(few).isfinite().all()


@pytest.mark.parametrize("make", [count, ordinal])
@pytest.mark.parametrize("kind", ["mean", "median", "mode"])
def test_weights_of_densities_are_as_repeated_ones(make, kind):
    conditional, params = make(), draw(2, 60, 1, 3 * K)
    weights = torch.tensor([2.0, 1.0]).double()[:, None, None].expand(2, 60, 1) / 3.0
    found = conditional.center(params, kind, weights)
    assert torch.equal(found, conditional.center(params[[0, 0, 1]], kind))
    assert not torch.equal(found, conditional.center(params, kind))


@pytest.mark.parametrize("make", [count, ordinal])
def test_the_mean_is_that_of_the_masses(make):
    conditional, params = make(), draw(2, 60, 1, 3 * K)
    k = torch.arange(5.0) if make is ordinal else torch.arange(-4.0, 4000.0)
    k = k.double().view(-1, 1, 1, 1)
    p = conditional.log_prob(params, k.expand(-1, 2, 60, 1)).exp()
    mean = (k[:, 0] * p.mean(1)).sum(0)
    found = conditional.center(params, "mean")
    # Of counts the background, whose mean is infinite, has no part.
    close = 0.5 if make is ordinal else 1.0
    assert (found - mean).abs().max() <= close
    assert (found - mean).abs().mean() < 0.3


@pytest.mark.parametrize("first", [-1.7e12, 3e5])
def test_the_mean_of_counts_far_from_the_first_keeps_its_digits_in_float32(first):
    conditional, params = count(replace(COUNT, first=first)), draw(2, 60, 1, 3 * K)
    expected = conditional.center(params, "mean")
    assert (conditional.center(params.float(), "mean") - expected).abs().max() <= 1.0
