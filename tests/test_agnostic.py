"""The density of a network that serves every ordering: loss, prefixes, orderings."""

import copy
import itertools
import math
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import kstest, multivariate_normal, norm
from sklearn.base import clone

from skdensity_ar import MADEDensity, NADEDensity, RNADEDensity, _agnostic
from skdensity_ar._agnostic import AgnosticModule, visible_columns
from skdensity_ar._gaussians import Gaussians
from skdensity_ar.conditionals import Bernoulli, GaussianMixture
from skdensity_ar.networks import EoNADE
from tests import properties
from tests.properties import generator, make_gaussians, make_module, mixture_block

TABLES = {
    "binary": [(Bernoulli(), [0, 1, 2])],
    "mixed": [mixture_block("gaussian_mixture", [2, 0]), (Bernoulli(), [1])],
}


def rows(n: int, seed: int = 0) -> torch.Tensor:
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 3)))
    return (x > 0.0).double()


def prefix(ordering: torch.Tensor, length: int, n: int) -> tuple[torch.Tensor, ...]:
    """What `draw_noise` gives if it draws so many columns of this ordering."""
    ranks = ordering.argsort().expand(1, n, -1)
    return ranks, torch.full((n, 1), length / len(ordering), dtype=torch.float64)


@pytest.mark.parametrize("table", TABLES)
def test_the_loss_is_in_the_mean_that_of_all_orderings(table):
    orderings = torch.tensor(list(itertools.permutations(range(3))))
    module = make_module("EoNADE", TABLES[table], orderings)
    x = rows(5)
    of_all = -module.member_log_prob(x).mean(0)
    losses = []
    for ordering, length in itertools.product(orderings, range(3)):
        losses.append(module.loss(x[None], noise=prefix(ordering, length, len(x)))[0])
    torch.testing.assert_close(torch.stack(losses).mean(0), of_all)


def test_every_prefix_of_every_ordering_is_drawn_equally_often():
    D, n = 4, 4000
    module = make_module("EoNADE", [(Bernoulli(), list(range(D)))], "natural")
    rng = generator(0)
    drawn = [module.draw_noise(n, rng) for _ in range(5)]
    drawn = torch.cat([visible_columns(*each, None) for each in drawn], 1)
    visible = drawn.squeeze(0).numpy().astype(int)
    assert set(np.unique(visible)) == {0, 1}
    subsets = [s for s in itertools.product([0, 1], repeat=D) if sum(s) < D]
    counts = [int((visible == s).all(1).sum()) for s in subsets]
    expected = np.array([1 / D / math.comb(D, sum(s)) for s in subsets])
    assert sum(counts) == len(visible), "a row from which nothing is left to predict"
    properties.check_frequencies(np.array(counts), expected)


def test_a_mini_batch_of_one_row_draws_every_length():
    module = make_module("EoNADE", TABLES["binary"], "natural")
    rng = generator(0)
    drawn = [module.draw_noise(1, rng) for _ in range(50)]
    lengths = {int(visible_columns(*each, None).sum()) for each in drawn}
    assert lengths == {0, 1, 2}


def test_dropout_comes_after_what_is_visible():
    module = make_module("EoNADE", TABLES["binary"], "natural", dropout=0.5)
    ranks, share, *masks = module.draw_noise(7, generator(0))
    assert ranks.shape == (1, 7, 3)
    assert share.shape == (7, 1)
    assert [m.shape for m in masks] == [(1, 7, 13), (1, 7, 11)]
    with_dropout = module.loss(rows(7)[None], noise=(ranks, share, *masks))
    assert not torch.allclose(
        with_dropout, module.loss(rows(7)[None], noise=(ranks, share))
    )


def test_the_validation_score_draws_nothing_anew_and_estimates_the_log_density():
    orderings = torch.tensor(list(itertools.permutations(range(3))))
    module = make_module("EoNADE", TABLES["binary"], orderings)
    x = rows(3000)
    first, second = module.validation_score(x[None]), module.validation_score(x[None])
    assert torch.equal(first, second)
    assert first.dtype == torch.float64
    assert first.shape == (1, len(x))
    of_all = module.member_log_prob(x).mean(0)
    error = (first[0] - of_all).std() / math.sqrt(len(x))
    assert abs(first.mean() - of_all.mean()) < 5.0 * error


@pytest.mark.parametrize("has_missing", [False, True])
def test_what_is_kept_of_validation_rows_follows_the_weights(has_missing):
    module = make_module("EoNADE", TABLES["mixed"], "random", n_members=2)
    module.has_missing = has_missing
    x = torch.stack([rows(9), rows(9).flip(0)])
    if has_missing:
        x[0, ::2, 0] = torch.nan
        x[1, 1::3, 2] = torch.nan
    kept = module.validation(x)
    before = kept()
    assert torch.equal(before, module.validation_score(x))
    for p in module.parameters():
        p.data.mul_(1.5)
    assert torch.equal(kept(), module.validation_score(x))
    assert not torch.allclose(kept(), before)


def test_one_set_of_weights_scores_by_the_average_over_its_orderings():
    module = make_module("EoNADE", TABLES["mixed"], "random", n_members=4)
    assert isinstance(module, AgnosticModule)
    assert (module.n_members, module.n_orderings) == (1, 4)
    assert all(len(p) == 1 for p in module.parameters())
    x = rows(6)
    each = module.member_log_prob(x)
    assert each.shape == (4, 6)
    torch.testing.assert_close(module.log_prob(x).exp(), each.exp().mean(0))


@pytest.mark.parametrize("table", TABLES)
def test_every_conditional_is_the_average_over_networks(table):
    module = make_module("EoNADE", TABLES[table], "random", n_members=2, n_networks=3)
    module.contraction.fill_(0.4)
    assert (module.n_members, module.n_orderings) == (3, 2)
    x = rows(5) + 0.1
    x[:, 1] = x[:, 1].round()
    if table == "binary":
        x = x.round()
    each = module.member_log_prob(x)
    twin = [
        [properties.twin_member_log_prob(module, o, row) for row in x.tolist()]
        for o in range(2)
    ]
    np.testing.assert_allclose(each.detach(), twin, rtol=1e-9)
    torch.testing.assert_close(module.log_prob(x).exp(), each.exp().mean(0))
    properties.check_cells_are_given_all_others(module, x)


@pytest.mark.parametrize("table", TABLES)
def test_draws_of_several_networks_follow_the_density(table):
    module = make_module("EoNADE", TABLES[table], "natural", n_networks=3)
    module.contraction.fill_(0.4)
    check = {
        "binary": lambda: properties.check_samples_follow_table(module, TABLES[table]),
        "mixed": lambda: properties.check_samples_follow_density(module),
    }
    check[table]()


# Networks that come nearer to each other ----------------------------------------------


def apart(*means: float, n_components: int = 1) -> AgnosticModule:
    """Networks that say of two columns Gaussians of these means, whatever they see.

    Of several components those of each network come in another order.
    """
    K = n_components
    blocks = [(GaussianMixture(K, torch.zeros(2), background=0.0), [0, 1])]
    network = EoNADE(
        [1, 1],
        [3 * K, 3 * K],
        torch.tensor([[0, 1]]),
        n_networks=len(means),
        hidden_layer_sizes=(),
        dtype=torch.float64,
    )
    for p in network.parameters():
        torch.nn.init.zeros_(p)
    params = network.c.data.view(len(means), 2, 3, K)
    for e, mean in enumerate(means):
        params[e, :, 1] = mean + 6.0 * ((torch.arange(K) + e) % K)
    return AgnosticModule(network, blocks, make_gaussians([]))


def log_average(x: np.ndarray, *means: float, share: float = 0.0) -> np.ndarray:
    """Of Gaussians of these means, which go a share of the way to their mean."""
    m = np.asarray(means)
    m = (1.0 - share) * m + share * m.mean()
    return logsumexp(norm.logpdf(x, m[:, None]), axis=0) - math.log(len(m))


TRIED = np.linspace(0.0, 0.6, 7)


def scores(x: np.ndarray, weights: np.ndarray, *means: float) -> np.ndarray:
    """Of a row with the same in both columns, which do not depend on each other."""
    by_share = [log_average(x, *means, share=share) for share in TRIED]
    return 2.0 * np.asarray(by_share) @ weights


def same_in_both(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack([x, x], 1))


def test_networks_come_nearer_as_suits_rows():
    middle = norm.ppf((np.arange(1001) + 0.5) / 1001)
    means = -0.8, 0.8
    wide = np.concatenate([middle + m for m in means])
    for x, expected in ((middle, 0.45), (wide, 0.0)):
        module = apart(*means)
        module.contract(same_in_both(x))
        # Three quarters of the most that is tried, and nothing.
        assert module.contraction.item() == pytest.approx(expected)
    module.contract(same_in_both(middle))
    # Scored so, drawn so, and still a density.
    grid = np.linspace(-12.0, 12.0, 4001)
    of_first = torch.zeros((4001, 2), dtype=torch.bool)
    of_first[:, 0] = True
    log_p = module.log_prob(same_in_both(grid), known=of_first).detach().numpy()
    np.testing.assert_allclose(log_p, log_average(grid, *means, share=0.45))
    assert np.trapezoid(np.exp(log_p), grid) == pytest.approx(1.0)
    drawn = module.sample(20000, generator(0))[:, 0].numpy()
    at = 0.55 * np.reshape(means, (-1, 1))
    assert kstest(drawn, lambda v: norm.cdf(v, at).mean(0)).pvalue > 1e-3


@pytest.mark.parametrize(("n_components", "expected"), [(1, 0.45), (2, 0.0)])
def test_components_that_have_parted_ways_stay_where_they_are(n_components, expected):
    module = apart(-0.5, 0.5, n_components=n_components)
    x = norm.ppf((np.arange(400) + 0.5) / 400)
    # In another order each would go to where the other network has none.
    x = np.concatenate([x + 6.0 * k for k in range(n_components)])
    module.contract(same_in_both(x))
    assert module.contraction.item() == pytest.approx(expected)


def test_rows_try_the_log_density_each_as_often_as_it_weighs(monkeypatch):
    monkeypatch.setattr(_agnostic, "_AT_A_TIME", 7)
    rng = np.random.default_rng(0)
    x, means = rng.normal(size=40), (-1.0, 1.5, 0.3)
    module = apart(*means)
    for weights in (None, rng.uniform(0.1, 5.0, 40)):
        by = None if weights is None else torch.from_numpy(weights)
        found = module._scores_nearer(same_in_both(x), None, by).detach()
        by_hand = scores(x, np.ones(40) if weights is None else weights, *means)
        np.testing.assert_allclose(found, by_hand)


@pytest.mark.parametrize("weights", [None, [1.0, 1.0], [1.0, 1e9], [1e9, 1.0]])
def test_of_many_rows_some_are_drawn_by_their_weights(weights):
    values, means = np.array([0.0, 2.0]), (-1.0, 1.5)
    by = None if weights is None else torch.tensor(weights * 3000).double()
    x = same_in_both(np.tile(values, 3000))
    found = apart(*means)._scores_nearer(x, None, by).detach()
    share = np.ones(2) if weights is None else np.asarray(weights)
    expected = scores(values, 2048 * share / share.sum(), *means)
    # Of equal weights about as many are drawn of each.
    exact = weights is not None and max(weights) > 1.0
    np.testing.assert_allclose(found, expected, rtol=1e-6 if exact else 0.05)


def test_a_share_that_cannot_be_scored_is_not_taken(monkeypatch):
    scored = torch.tensor([-3.0, -2.0, -1.0, torch.nan, -2.0, torch.nan, -torch.inf])
    monkeypatch.setattr(AgnosticModule, "_scores_nearer", lambda *args: scored)
    module = apart(-1.0, 1.0)
    module.contract(rows(4))
    assert module.contraction.item() == pytest.approx(0.15)
    scored[:] = torch.nan
    module.contract(rows(4))
    assert module.contraction.item() == 0.0


def test_a_fit_of_few_rows_brings_its_networks_nearer():
    X = correlated(80)
    density = MADEDensity(ordering="agnostic", max_iter=20, random_state=0).fit(X)
    share = density.module_.contraction
    assert 0.0 < share < 0.46
    again = pickle.loads(pickle.dumps(density))
    assert torch.equal(again.module_.contraction, share)
    alone = clone(density).set_params(n_networks=1).fit(X)
    assert alone.module_.contraction == 0.0


def test_training_rows_try_with_their_contexts_and_holes(monkeypatch):
    X, label = holes(correlated(80)), np.random.default_rng(1).choice(["a", "b"], 80)
    tried, contract = [], AgnosticModule.contract

    def recorded(self, *data):
        tried.append((self.contraction.item(), data))
        contract(self, *data)

    monkeypatch.setattr(AgnosticModule, "contract", recorded)
    density = MADEDensity(
        ordering="agnostic", n_orderings=3, max_iter=20, warm_start=True, random_state=0
    )
    for _ in range(2):
        density.fit(
            X,
            sample_weight=np.repeat([1.0, 2.0], 40),
            context=label,
            X_val=X[:20] + 9.0,
            context_val=label[:20],
        )
        before, (x, c, weights) = tried[-1]
        assert before == 0.0  # while it trains, a second time too
        codes = density.columns_.transform(X, with_missing=True)
        np.testing.assert_allclose(x, codes, rtol=1e-6)
        assert torch.equal(c, density.context_.encode(label.astype(object)[:, None]))
        np.testing.assert_allclose(weights, np.repeat([2.0, 4.0], 40) / 3.0)
        module = copy.deepcopy(density.module_)
        scored = module._scores_nearer(x, c, weights)
        with monkeypatch.context() as patch:
            patch.setattr(_agnostic, "_AT_A_TIME", 7)
            in_parts = module._scores_nearer(x, c, weights)
        # Prefixes are drawn for parts by themselves.
        torch.testing.assert_close(in_parts, scored, rtol=0.05, atol=0.0)
        assert module.contraction == 0.75 * TRIED[scored.argmax()]
        assert module.contraction > 0.0


def test_averaged_networks_train_twice_as_long_as_is_best_for_each():
    X = correlated(80)
    density = MADEDensity(ordering="agnostic", learning_rate_init=0.02, random_state=0)
    history = density.fit(X).history_
    pairs = list(zip(history.best_iter, history.kept_iter, strict=True))
    assert all(best <= kept <= min(2 * best, history.n_iter) for best, kept in pairs)
    assert any(best < kept == 2 * best for best, kept in pairs)
    # One network is not averaged, nor are members that have orderings of their own.
    alone = clone(density).set_params(n_networks=1, max_iter=20).fit(X).history_
    fixed = MADEDensity(max_iter=20, random_state=0).fit(X).history_
    for other in (alone, fixed):
        assert other.kept_iter == other.best_iter


def two_coins(n: int = 400) -> np.ndarray:
    """The last column is the exclusive or of the first two."""
    X = np.random.default_rng(0).integers(0, 2, (n, 4))
    X[:, 3] = X[:, 0] ^ X[:, 1]
    return X


@pytest.mark.parametrize("cls", [NADEDensity, MADEDensity])
def test_a_fit_finds_what_no_ordering_shows_in_pairs(cls):
    X = two_coins()
    density = cls(ordering="agnostic", max_iter=150, random_state=0).fit(X)
    assert isinstance(density.module_.network, EoNADE)
    assert density.score_kind_ == "exact"
    assert density.score(X) > -3 * math.log(2.0) - 0.1
    drawn = density.sample(500, random_state=0)
    assert np.mean(drawn[:, 3] == (drawn[:, 0] != drawn[:, 1])) > 0.9


def test_more_orderings_are_averaged_without_more_weights():
    X = two_coins(100)
    few, many = (
        NADEDensity(
            ordering="agnostic",
            n_orderings=k,
            n_networks=1,
            max_iter=2,
            random_state=0,
        )
        for k in (1, 6)
    )
    n_weights = [d.fit(X).module_.n_weights for d in (few, many)]
    assert n_weights[0] == n_weights[1]
    assert many.ordering_.shape == (6, 4)
    assert len({tuple(ordering) for ordering in many.ordering_}) > 1


def test_real_columns_are_not_replaced_by_what_one_ordering_leaves_of_them():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 1))
    X = x + 1e-3 * rng.normal(size=(200, 3))
    density = RNADEDensity(ordering="agnostic", max_iter=2, random_state=0).fit(X)
    assert density.module_.residuals is None


def test_warm_start_does_not_change_between_one_network_and_one_per_ordering():
    X = two_coins(60)
    density = MADEDensity(max_iter=1, warm_start=True, random_state=0).fit(X)
    density.set_params(ordering="agnostic")
    with pytest.raises(ValueError, match="ordering='natural', got 'agnostic'"):
        density.fit(X)
    agnostic = MADEDensity(ordering="agnostic", max_iter=1, warm_start=True)
    n_before = len(agnostic.fit(X).loss_curve_)
    assert len(agnostic.fit(X).loss_curve_) == n_before


def test_tied_weights_have_no_agnostic_form():
    density = NADEDensity(ordering="agnostic", tied=True)
    with pytest.raises(ValueError, match="set tied=False"):
        density.fit(two_coins(60))


def test_columns_are_hidden_one_way():
    density = MADEDensity(ordering="agnostic", max_iter=1, warm_start=True)
    for fitted in (density, clone(density).fit(np.eye(12))):
        fitted.set_params(input_dropout=0.2)
        message = r"input_dropout=0\.2 hides columns, which"
        with pytest.raises(ValueError, match=message):
            fitted.fit(np.eye(12))


@pytest.mark.parametrize(("k", "n_networks"), [(1, 1), (8, 8), (12, 8)])
def test_all_networks_take_any_ordering(k, n_networks):
    density = MADEDensity(ordering="agnostic", n_orderings=k, max_iter=1)
    density.fit(two_coins(60))
    network = density.module_.network
    assert network.ordering.shape == (k, 4)
    assert all(len(p) == n_networks for p in network.parameters())
    for e in range(k):
        every, one = network.along(e), network.member(e)
        assert torch.equal(every.ordering, network.ordering[e])
        assert every.W0 is network.W0
        assert torch.equal(one.ordering, network.ordering[e])
        assert torch.equal(one.W0, network.W0[e % n_networks])
    assert np.isfinite(density.score(two_coins(60)))


def test_networks_may_be_more_than_orderings():
    X = two_coins(60)
    density = MADEDensity(
        ordering="agnostic", n_orderings=1, n_networks=3, max_iter=1, random_state=0
    ).fit(X)
    assert density.module_.network.W0.shape[0] == 3
    assert density.ordering_.shape == (1, 4)
    rows = np.array(list(itertools.product([0, 1], repeat=4)))
    assert np.exp(density.score_samples(rows)).sum() == pytest.approx(1.0, abs=1e-5)


def test_other_orderings_have_a_network_each():
    with pytest.raises(ValueError, match="n_networks=2 is for ordering='agnostic'"):
        MADEDensity(n_networks=2).fit(two_coins(60))


# Missing cells ------------------------------------------------------------------------

EVERY_ROW = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3))).double()


def binary_module(n_members: int = 3) -> AgnosticModule:
    blocks = [(Bernoulli(), [0, 1, 2])]
    return make_module("EoNADE", blocks, "random", n_members=n_members)


def only(*columns: int, n: int) -> torch.Tensor:
    cells = torch.zeros((n, 3), dtype=torch.bool)
    cells[:, list(columns)] = True
    return cells


PATTERNS = [c for k in range(4) for c in itertools.combinations(range(3), k)]


@pytest.mark.parametrize("known", PATTERNS)
def test_what_is_known_has_probabilities_that_sum_to_one(known):
    module = binary_module()
    x = torch.unique(
        EVERY_ROW.where(only(*known, n=8), torch.nan).nan_to_num(7.0), dim=0
    )
    log_p = module.log_prob(x, known=only(*known, n=len(x)))
    assert len(x) == 2 ** len(known)
    torch.testing.assert_close(log_p.exp().sum(), torch.tensor(1.0).double())


@pytest.mark.parametrize("given", PATTERNS)
def test_a_conditional_sums_to_one_for_whatever_is_given(given):
    module = binary_module()
    cells = only(*given, n=8)
    p = module.log_prob(EVERY_ROW, known=only(0, 1, 2, n=8), given=cells).exp()
    sums = {}
    for row, p_row in zip(EVERY_ROW[:, list(given)].tolist(), p.tolist(), strict=True):
        sums[tuple(row)] = sums.get(tuple(row), 0.0) + p_row
    np.testing.assert_allclose(list(sums.values()), 1.0)


@pytest.mark.parametrize("given", PATTERNS)
def test_marginal_times_conditional_is_the_density_in_an_order_with_these_first(given):
    """With one ordering; others average the two factors by themselves."""
    rest = [d for d in range(3) if d not in given]
    ordering = torch.tensor([[*given, *rest]])
    module = make_module("EoNADE", [(Bernoulli(), [0, 1, 2])], ordering)
    every, cells = only(0, 1, 2, n=8), only(*given, n=8)
    product = module.log_prob(EVERY_ROW, known=cells)
    product = product + module.log_prob(EVERY_ROW, known=every, given=cells)
    torch.testing.assert_close(product, module.log_prob(EVERY_ROW))
    torch.testing.assert_close(
        module.log_prob(EVERY_ROW, known=every), module.log_prob(EVERY_ROW)
    )


def test_patterns_of_rows_may_differ():
    module, rng = binary_module(), generator(0)
    known = torch.rand((8, 3), generator=rng) < 0.6
    given = known & (torch.rand((8, 3), generator=rng) < 0.5)
    together = module.log_prob(EVERY_ROW, known=known, given=given)
    for i in range(8):
        row = slice(i, i + 1)
        alone = module.log_prob(EVERY_ROW[row], known=known[row], given=given[row])
        torch.testing.assert_close(together[row], alone)
    hidden = EVERY_ROW.where(known, torch.nan)
    torch.testing.assert_close(
        module.log_prob(hidden, known=known, given=given), together
    )


@pytest.mark.parametrize("given", PATTERNS[:-1])
def test_draws_have_the_conditional_probabilities(given):
    module, n = binary_module(), 20000
    start = torch.tensor([1.0, 0.0, 1.0]).double()
    known = only(*given, n=n)
    drawn = module.complete(start.expand(n, -1), known, generator(0))
    assert torch.equal(drawn[known], start.expand(n, -1)[known])
    agrees = (EVERY_ROW == start)[:, list(given)].all(1)
    x = EVERY_ROW[agrees]
    every, cells = only(0, 1, 2, n=len(x)), only(*given, n=len(x))
    p = module.log_prob(x, known=every, given=cells).exp().detach().numpy()
    counts = (drawn[:, None] == x).all(-1).sum(0).numpy()
    properties.check_frequencies(counts, p)


def test_the_loss_of_rows_with_holes_is_in_the_mean_that_of_what_is_known():
    orderings = torch.tensor(list(itertools.permutations(range(3))))
    module = make_module("EoNADE", [(Bernoulli(), [0, 1, 2])], orderings)
    module.has_missing = True
    x, known = rows(5), torch.rand((5, 3), generator=generator(1)) < 0.6
    known[0] = False  # a row of which nothing is known
    of_all = -module.member_log_prob(x, known=known).mean(0)
    x = x.where(known, torch.nan)[None]
    losses = []
    shares = (torch.arange(6) + 0.5) / 6  # of 1, 2 and 3 columns every length alike
    for ordering, share in itertools.product(orderings, shares):
        ranks = ordering.argsort().expand(1, 5, -1)
        noise = (ranks, share.double().expand(5, 1))
        losses.append(module.loss(x, noise=noise)[0])
    torch.testing.assert_close(torch.stack(losses).mean(0), of_all)
    assert torch.equal(of_all[:1], torch.zeros(1).double())


def holes(X: np.ndarray, share: float = 0.3, seed: int = 0) -> np.ndarray:
    X = np.array(X, dtype=float)
    X[np.random.default_rng(seed).random(X.shape) < share] = np.nan
    return X


def correlated(n: int, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return 10.0 + 5.0 * (x @ np.array([[1.0, 0.9, 0.0], [0.0, 0.4, 0.5], [0, 0, 1.0]]))


def gaussian_log_density(X: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """Of what is known of the rows `cut`, by the mean and covariance of X."""
    mean, S, out = X.mean(0), np.cov(X.T), np.zeros(len(cut))
    for i, row in enumerate(cut):
        there = ~np.isnan(row)
        if there.any():
            marginal = multivariate_normal(mean[there], S[np.ix_(there, there)])
            out[i] = marginal.logpdf(row[there])
    return out


@pytest.mark.parametrize("cls", [MADEDensity, RNADEDensity])
def test_a_fit_with_holes_scores_what_is_known(cls):
    X, test = correlated(600), correlated(400, 1)
    density = cls(ordering="agnostic", n_orderings=2, max_iter=60, random_state=0)
    density.fit(holes(X), X_val=holes(correlated(100, 2)))
    cut = holes(test)
    scores = density.score_samples(cut)
    exact = gaussian_log_density(X, cut)
    # Independent columns would differ by 0.63 in the mean.
    assert np.abs(scores - exact).mean() < 0.4
    assert (scores[np.isnan(cut).all(1)] == 0.0).all()
    # A row's score does not depend on those that come with it.
    np.testing.assert_allclose(density.score_samples(cut[7:8]), scores[7:8], rtol=1e-6)
    of_a_share = clone(density).fit(holes(X))  # validation rows of its own
    assert np.abs(of_a_share.score_samples(cut) - exact).mean() < 0.4


def test_other_orderings_say_what_takes_missing_cells():
    X = holes(correlated(50))
    message = r"NaN \(missing values\) in column 0.*ordering='agnostic'.*sklearn.impute"
    density = MADEDensity(max_iter=1)
    with pytest.raises(ValueError, match=message):
        density.fit(X)
    with pytest.raises(ValueError, match=message):
        density.fit(correlated(50)).score_samples(X)


def test_a_column_without_a_value_is_refused():
    X = correlated(50)
    X[:, 1] = np.nan
    with pytest.raises(ValueError, match="Column 1 holds no value"):
        MADEDensity(ordering="agnostic").fit(X)


def mixed_frame(n: int = 120):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "length": rng.normal(size=n),
            "count": pd.array(rng.integers(0, 9, n), dtype="Int64"),
            "kind": pd.Categorical(rng.choice(list("abc"), n)),
            "name": rng.choice(["x", "y"], n).astype(object),
            "flag": pd.array(rng.random(n) < 0.3, dtype="boolean"),
        }
    )


def as_polars(frame):
    columns = {name: frame[name].astype(object).to_list() for name in frame}
    cells = {k: [None if pd.isna(v) else v for v in vs] for k, vs in columns.items()}
    return pl.DataFrame(cells, strict=False)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_cells_of_every_dtype_may_be_missing(container):
    frame = mixed_frame()
    missing = np.random.default_rng(1).random(frame.shape) < 0.25
    missing[:2] = [[False] * 5, [True] * 5]
    cut = frame.mask(missing)
    assert (cut.isna() == missing).all(axis=None)
    convert = as_polars if container == "polars" else lambda X: X
    density = MADEDensity(ordering="agnostic", max_iter=2, random_state=0)
    density.fit(convert(cut), X_val=convert(frame))
    scores = density.score_samples(convert(cut))
    assert np.isfinite(scores).all()
    assert scores[1] == 0.0
    np.testing.assert_allclose(
        scores[:1], density.score_samples(convert(frame))[:1], rtol=1e-5
    )
    drawn = density.sample(20, random_state=0)
    assert list(drawn.columns) == list(frame.columns)
    cells = np.array([drawn[name].to_list() for name in frame], dtype=object)
    assert not pd.isna(cells).any()
    with pytest.raises(ValueError, match=r"missing values.* in column 'length'"):
        MADEDensity().fit(convert(cut))


def test_rows_train_by_gaussians_that_have_not_seen_them_and_are_asked_by_all():
    module = make_module("EoNADE", TABLES["mixed"], "random")
    x = rows(6)
    x[:, [0, 2]] += torch.randn((6, 2), generator=generator(3), dtype=torch.float64)
    params = module.cell_params(x, x > 0.0)
    noise = module.draw_noise(6, generator(0))
    loss = module.loss(x[None], noise=noise)
    first = module.gaussians
    second = make_gaussians(first.columns, first.n_components, seed=1)
    buffers = zip(first.buffers(), second.buffers(), strict=True)
    module.without = Gaussians(first.columns, *map(torch.stack, buffers))
    which = torch.tensor([[0, 1, 0, 0, 1, 0]])
    by_sets = module.loss(x[None], noise=noise, which=which)
    torch.testing.assert_close(by_sets[which == 0], loss[which == 0])
    assert (by_sets[which == 1] != loss[which == 1]).all()
    assert torch.equal(module.cell_params(x, x > 0.0), params)


def test_further_training_watches_what_it_scores():
    X = np.random.default_rng(0).normal(size=(300, 3)) @ [
        [1, 0.8, 0],
        [0, 1, 0],
        [0, 0, 1],
    ]
    density = MADEDensity(
        ordering="agnostic", n_orderings=2, max_iter=10, warm_start=True, random_state=0
    )
    density.fit(X)
    assert density.module_.without is None
    shifted = X + np.array([2.0, 0.0, 0.0])
    density.fit(shifted, X_val=shifted)
    jacobian = density.columns_.log_jacobians(density.columns_.transform(shifted))
    watched = max(density.validation_scores_) + jacobian.sum(1).mean()
    assert density.score(shifted) == pytest.approx(watched, abs=0.3)
