"""What is known of a row in a fixed ordering: the estimate, its error, completion."""

import itertools
import math

import numpy as np
import pytest
import torch

from skdensity_ar._completed import CompletedRows
from skdensity_ar._estimate import EstimateModule, log_mean
from skdensity_ar._residuals import Residuals
from skdensity_ar.conditionals import Bernoulli, Categorical, GaussianMixture
from skdensity_ar.estimators._build import column_widths
from tests import properties
from tests.properties import discrete_blocks, generator, make_network, mixture_block

NETWORKS = ["MADE", "NADE"]
NAN = math.nan


def estimating(name="MADE", blocks="both", residuals=None, ordering="random", **kwargs):
    """A module with random weights, in two orderings."""
    blocks = discrete_blocks(blocks) if isinstance(blocks, str) else blocks
    n_inputs, n_params, n_direct = column_widths(blocks)
    kwargs = {"n_direct": n_direct, "scale": 2.0, **kwargs}
    network = make_network(name, n_inputs, n_params, ordering, **kwargs)
    return EstimateModule(network, blocks, residuals)


def patterns(D, n=24, seed=0):
    """Rows that know some cells; of the first no cell, of the second all of them."""
    missing = torch.rand(n, D, generator=generator(seed)) < 0.5
    missing[0], missing[1] = True, False
    return missing


def with_holes(table, missing):
    rows = torch.arange(len(missing)) * 7 % len(table)
    return table[rows].masked_fill(missing, NAN)


def members_by_enumeration(module, table, x):
    """log p_e of what is known of the rows x (n, D), by summing over the table."""
    log_p = module.member_log_prob(table)  # (E, rows)
    same = ((table == x[:, None]) | x[:, None].isnan()).all(-1)  # (n, rows)
    each = log_p[:, None].masked_fill(~same, -torch.inf)
    return each.logsumexp(-1)


def by_enumeration(module, table, x):
    members = members_by_enumeration(module, table, x)
    return members.logsumexp(0) - math.log(len(members))


# The estimate -------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_many_draws_come_to_the_sum_over_what_is_missing(name):
    module = estimating(name)
    # The outcome never seen is never drawn: its mass, 1e-6, is left out.
    table = properties.all_rows(discrete_blocks("both"), unseen=False)
    x = with_holes(table, patterns(6))
    found, std = module.estimate(x, n_draws=20000, seed=0)
    exact = by_enumeration(module, table, x)
    assert ((found - exact).abs() < 5.0 * std + 1e-4).all()
    assert std.max() < 0.05
    assert found[0] == 0.0
    torch.testing.assert_close(found[1], module.log_prob(x[1:2])[0])


def test_the_estimate_is_unbiased_and_its_logarithm_low_by_half_its_variance():
    module = estimating(blocks="bernoulli")
    table = properties.all_rows(discrete_blocks("bernoulli"))
    x = with_holes(table, patterns(8))
    exact = by_enumeration(module, table, x)
    n_seeds, J = 1000, 20
    of_seeds = [module.estimate(x, n_draws=J, seed=s) for s in range(n_seeds)]
    log_p = torch.stack([log_p for log_p, _ in of_seeds])
    ratio = (log_p - exact).exp()
    error = ratio.std(0) / math.sqrt(n_seeds)
    assert ((ratio.mean(0) - 1.0).abs() < 5.0 * error + 1e-5).all()
    # E log p̂ ≈ log p - var / 2, and `std` is the spread of log p̂ over seeds.
    drawn = log_p.std(0) > 1e-6
    bias, spread = (log_p - exact).mean(0)[drawn], log_p.std(0)[drawn]
    assert bias.mean() < 0.0
    few = spread < 0.3
    error = 5.0 * spread / math.sqrt(n_seeds) + spread**3
    assert ((bias + spread.square() / 2).abs() < error)[few].all()
    std = torch.stack([std for _, std in of_seeds]).square().mean(0).sqrt()[drawn]
    torch.testing.assert_close(std[few], spread[few], rtol=0.15, atol=0.0)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_missing_after_all_that_is_known_costs_nothing(name):
    module = estimating(name, "bernoulli", ordering="natural", n_members=1)
    table = properties.all_rows(discrete_blocks("bernoulli"))
    missing = torch.arange(8) >= torch.arange(9)[:, None]
    x = with_holes(table, missing)
    found, std = module.estimate(x, n_draws=3, seed=0)
    assert (std == 0.0).all()
    torch.testing.assert_close(found, by_enumeration(module, table, x))
    _, std = module.estimate(x.flip(-1), n_draws=3, seed=0)
    assert (std[1:-1] > 0.0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_row_scores_the_same_whatever_comes_with_it(name, dtype):
    blocks = [mixture_block("gaussian_mixture", [2, 0]), (Categorical(3), [1, 3])]
    module = estimating(name, blocks, dtype=dtype)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(96, 4))).to(dtype)
    x[:, [1, 3]] = (x[:, [1, 3]] > 0.0).to(dtype)
    x = x.masked_fill(patterns(4, 96), NAN)
    together = module.estimate(x, n_draws=70, seed=3)
    order = torch.from_numpy(rng.permutation(96))
    shuffled = module.estimate(x[order], n_draws=70, seed=3)
    # On some processors a product rounds by the place that a row has in it.
    rounding = {"rtol": 0.0, "atol": 2e-5 if dtype == torch.float32 else 1e-12}
    for a, b in zip(together, shuffled, strict=True):
        torch.testing.assert_close(a[order], b, **rounding)
    for i in range(2, 96, 9):
        # Complete rows are scored in blocks whose size the estimator keeps.
        if x[i].isnan().any():
            alone = module.estimate(x[i : i + 1], n_draws=70, seed=3)
            for a, b in zip(together, alone, strict=True):
                torch.testing.assert_close(a[i : i + 1], b, **rounding)
    other, std = module.estimate(x, n_draws=70, seed=4)
    moved = other != together[0]
    assert moved.any()
    assert (torch.maximum(std, together[1])[moved] > 0.0).all()


def residuals_of(ordering):
    """A linear prediction of the column visited last, by member."""
    E, D = ordering.shape
    a, s, B = torch.zeros(E, D), torch.ones(E, D), torch.zeros(E, D, D)
    for e, visited in enumerate(ordering.tolist()):
        d, before = visited[-1], visited[:-1]
        a[e, d], s[e, d] = 0.3, 0.2
        B[e, d, before] = torch.linspace(0.5, 1.0, len(before))
    C = B.new_zeros((*a.shape, 0)).double()
    return Residuals(a.double(), B.double(), C, s.double(), ordering)


@pytest.mark.parametrize("name", NETWORKS)
def test_residuals_and_quadrature_agree(name):
    ordering = torch.tensor([[0, 1, 2], [2, 0, 1]])
    floors = torch.full((3,), 0.3)
    blocks = [(GaussianMixture(2, floors, background=0.0), [0, 1, 2])]
    module = estimating(name, blocks, residuals_of(ordering), ordering, scale=0.7)
    grid = torch.linspace(-14.0, 14.0, 2801, dtype=torch.float64)
    known = torch.tensor([[0.4, -0.3], [1.0, 2.0], [-0.5, 0.1]], dtype=torch.float64)
    for d in range(3):
        others = [c for c in range(3) if c != d]
        x = known.new_full((3, 3), NAN)
        x[:, others] = known
        found, std = module.estimate(x, n_draws=8000, seed=0)
        for i in range(3):
            line = x[i].repeat(len(grid), 1)
            line[:, d] = grid
            exact = torch.trapezoid(module.log_prob(line).exp(), grid).log()
            assert abs(found[i] - exact) < 5.0 * std[i] + 1e-5
            assert 0.0 < std[i] < 0.2


def test_the_mean_of_weights_and_its_deviation():
    w = torch.rand(3, 50, 4, generator=generator(0), dtype=torch.float64)
    log_p, std = log_mean(w.log())
    torch.testing.assert_close(log_p.exp(), w.mean((0, 1)))
    by_member = w.var(1) / 50
    torch.testing.assert_close(std * log_p.exp(), by_member.sum(0).sqrt() / 3)
    impossible = torch.full((2, 5, 1), -torch.inf, dtype=torch.float64)
    log_p, std = log_mean(impossible)
    assert (log_p.item(), std.item()) == (-math.inf, 0.0)


def test_the_validation_score_is_that_of_members_by_the_same_draws():
    module = estimating(blocks="bernoulli")
    table = properties.all_rows(discrete_blocks("bernoulli"))
    x = torch.stack([with_holes(table, patterns(8, 200, seed)) for seed in (0, 1)])
    first = module.validation_score(x)
    assert torch.equal(first, module.validation_score(x))
    for e in range(2):
        exact = members_by_enumeration(module, table, x[e])[e]
        whole = ~x[e].isnan().any(-1)
        torch.testing.assert_close(first[e][whole], exact[whole])
        assert -0.2 < (first[e] - exact).mean() < 0.05
    context = module.validation_score(x, None)
    assert torch.equal(first, context)


# Completion ---------------------------------------------------------------------------


def test_redrawn_cells_come_from_what_the_others_leave():
    blocks = [(Bernoulli(), [0, 1, 2, 3])]
    module = estimating(blocks=blocks, n_members=1)
    table = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).double()
    row = torch.tensor([NAN, 1.0, NAN, 0.0], dtype=torch.float64)
    possible = table[((table == row) | row.isnan()).all(-1)]
    p = module.log_prob(possible).softmax(0)
    n, rng = 20000, generator(0)
    # Rows that have this distribution keep it, and rows of any other come to it.
    filled = possible[torch.multinomial(p, n, replacement=True, generator=rng)]
    kept = module.redrawn(0, row.expand(n, -1), filled, rng)
    far = possible[:1].expand(n, -1)
    for _ in range(12):
        far = module.redrawn(0, row.expand(n, -1), far, rng)
    for drawn in (kept, far):
        counts = [(drawn == r).all(-1).sum().item() for r in possible]
        assert sum(counts) == n
        properties.check_frequencies(counts, p.detach())
    assert not torch.equal(kept, filled)


def test_members_learn_from_rows_that_they_completed_themselves():
    blocks = [(Bernoulli(), [0, 1, 2])]
    module = estimating(blocks=blocks)
    x = torch.tensor([[NAN, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, NAN, NAN]] * 30).double()
    train, valid = torch.arange(80).expand(2, -1), torch.arange(80, 90).expand(2, -1)
    start = x.nan_to_num(nan=1.0)
    rows = CompletedRows(x, None, None, module=module, start=start, train_index=train)
    assert torch.equal(rows.take(train), start[train])
    for batch in rows.batches(train, 16, generator(0)):
        assert batch.loss(module, ()).isfinite().all()
    known = ~x[train].isnan()
    after = rows.take(train)
    assert torch.equal(after[known], x[train][known])
    assert set(after.unique().tolist()) == {0.0, 1.0}
    assert not torch.equal(after[0], after[1])
    (held,) = rows.batches(valid)
    torch.testing.assert_close(held.take(), x[valid], equal_nan=True)
    assert held.scorer(module, keep=False)().isfinite().all()


def test_completed_rows_are_nearly_those_of_the_mixture_given_what_is_known():
    blocks = [(Bernoulli(), [0, 1, 2, 3])]
    module = estimating(blocks=blocks)
    table = torch.tensor(list(itertools.product([0.0, 1.0], repeat=4))).double()
    row = torch.tensor([NAN, 1.0, NAN, 0.0], dtype=torch.float64)
    possible = table[((table == row) | row.isnan()).all(-1)]
    p = module.log_prob(possible).softmax(0).detach()
    x = row.expand(4000, -1)
    drawn = module.complete(x, ~x.isnan(), generator(0), n_draws=300)
    counts = [(drawn == r).all(-1).sum().item() for r in possible]
    assert sum(counts) == 4000
    properties.check_frequencies(counts, p)
