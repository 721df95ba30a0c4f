"""The density of a network that serves every ordering: loss, prefixes, orderings."""

import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.base import clone

from skdensity_ar import MADEDensity, NADEDensity, RNADEDensity
from skdensity_ar._agnostic import AgnosticModule
from skdensity_ar.conditionals import Bernoulli
from skdensity_ar.networks import EoNADE
from tests import properties
from tests.properties import generator, make_module, mixture_block

TABLES = {
    "binary": [(Bernoulli(), [0, 1, 2])],
    "mixed": [mixture_block("gaussian_mixture", [2, 0]), (Bernoulli(), [1])],
}


def rows(n: int, seed: int = 0) -> torch.Tensor:
    x = torch.from_numpy(np.random.default_rng(seed).normal(size=(n, 3)))
    return (x > 0.0).double()


@pytest.mark.parametrize("table", TABLES)
def test_the_loss_is_in_the_mean_that_of_all_orderings(table):
    orderings = torch.tensor(list(itertools.permutations(range(3))))
    module = make_module("EoNADE", TABLES[table], orderings)
    x = rows(5)
    of_all = -module.member_log_prob(x).mean(0)
    losses = []
    for ordering, length in itertools.product(orderings.tolist(), range(3)):
        visible = torch.zeros((1, len(x), 3), dtype=x.dtype)
        visible[..., ordering[:length]] = 1.0
        losses.append(module.loss(x[None], noise=(visible,))[0])
    torch.testing.assert_close(torch.stack(losses).mean(0), of_all)


def test_every_prefix_of_every_ordering_is_drawn_equally_often():
    D, n = 4, 4000
    module = make_module("EoNADE", [(Bernoulli(), list(range(D)))], "natural")
    rng = generator(0)
    drawn = torch.cat([module.draw_noise(n, rng)[0] for _ in range(5)], 1)
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
    lengths = {int(module.draw_noise(1, rng)[0].sum()) for _ in range(50)}
    assert lengths == {0, 1, 2}


def test_dropout_comes_after_what_is_visible():
    module = make_module("EoNADE", TABLES["binary"], "natural", dropout=0.5)
    visible, *masks = module.draw_noise(7, generator(0))
    assert visible.shape == (1, 7, 3)
    assert [m.shape for m in masks] == [(1, 7, 13), (1, 7, 11)]
    with_dropout = module.loss(rows(7)[None], noise=(visible, *masks))
    assert not torch.allclose(
        with_dropout, module.loss(rows(7)[None], noise=(visible,))
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


def test_one_set_of_weights_scores_by_the_average_over_its_orderings():
    module = make_module("EoNADE", TABLES["mixed"], "random", n_members=4)
    assert isinstance(module, AgnosticModule)
    assert (module.n_members, module.n_orderings) == (1, 4)
    assert all(len(p) == 1 for p in module.parameters())
    x = rows(6)
    each = module.member_log_prob(x)
    assert each.shape == (4, 6)
    torch.testing.assert_close(module.log_prob(x).exp(), each.exp().mean(0))


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
        NADEDensity(ordering="agnostic", n_orderings=k, max_iter=2, random_state=0)
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
    with pytest.raises(ValueError, match="ordering='one per network', got 'agnostic'"):
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
