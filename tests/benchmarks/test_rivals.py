"""The benchmark's rivals are proper densities, tuned as they say."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import rivals
from rivals import COMPONENTS, ChowLiuTree, MixedMixture, climb
from scipy.integrate import trapezoid
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity
from tables import distinct, rounding_width

from skdensity_ar._baselines import BernoulliMixture, IndependentColumns


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def markov_bits(rng, n):
    """A tree: 0 - 1 - 2 and 1 - 3 - 4, each edge a copy that fails one time in ten."""
    X = np.empty((n, 5), dtype=np.uint8)
    X[:, 0] = rng.random(n) < 0.4
    for d, parent in [(1, 0), (2, 1), (3, 1), (4, 3)]:
        X[:, d] = X[:, parent] ^ (rng.random(n) < 0.1)
    return X


def mixed_frame(rng, n):
    kind = rng.choice(["a", "b", "c"], size=n, p=[0.5, 0.3, 0.2])
    flag = (kind == "a") ^ (rng.random(n) < 0.1)
    length = 40 + pd.Series(kind).map({"a": 0, "b": 9, "c": -9}) + rng.normal(size=n)
    return pd.DataFrame({"kind": kind, "length": length, "flag": flag}).assign(
        mass=lambda frame: 2 * frame["length"] + rng.normal(size=n)
    )


def test_climb_finds_the_top_and_leaves_a_direction_after_two_falls():
    asked = []

    def score(a, b):
        asked.append((a, b))
        return -((a - 6) ** 2) - (b - a) ** 2 / 2

    grid = {"a": list(range(20)), "b": list(range(20))}
    settings, best = climb(score, grid, {"a": 1, "b": 1})
    assert settings == {"a": 6, "b": 6} and best == 0
    assert len(asked) == len(set(asked)) < 60
    values = [0.0, -1.0, 3.0, 2.0, 1.0, 9.0]
    assert climb(lambda i: values[i], {"i": list(range(6))}, {"i": 0})[0] == {"i": 2}


def test_gmm_and_kde_are_those_of_scikit_learn_with_the_chosen_settings(rng):
    X = np.concatenate([rng.normal(size=(80, 2)), rng.normal(4, 0.5, size=(80, 2))])
    X = (X - X.mean(0)) / X.std(0)
    test = rng.normal(size=(20, 2))

    model = rivals.gaussian_mixture(len(X), quick=True).fit(X).estimator_.estimator_
    same = GaussianMixture(**model.get_params()).fit(X)
    tuned = rivals.gaussian_mixture(len(X), quick=True).fit(X)
    np.testing.assert_allclose(tuned.score_samples(test), same.score_samples(test))
    assert model.n_components > 1 and "n_components" in tuned.note_

    tuned = rivals.kernel_density(quick=True)
    del tuned.candidates["whitened"]
    bandwidth = tuned.fit(X).estimator_.estimator_.bandwidth
    same = KernelDensity(bandwidth=bandwidth, leaf_size=1000).fit(X)
    np.testing.assert_allclose(tuned.score_samples(test), same.score_samples(test))


def test_validation_rows_choose_and_are_not_fitted(rng):
    X = np.hstack([markov_bits(rng, 400), markov_bits(rng, 400)])
    X, X_val = X[:300], X[300:]
    model = rivals.bernoulli_mixture(quick=True).fit(X, X_val=X_val).estimator_
    grid = [8, 16, 32]
    fits = [BernoulliMixture(k, random_state=0).fit(X) for k in grid]
    best = max(fits, key=lambda fit: fit.score(X_val))
    np.testing.assert_array_equal(model.score_samples(X), best.score_samples(X))


def test_the_full_gaussian_has_the_moments_of_the_rows(rng):
    X = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 3)) + 1
    exact = multivariate_normal(X.mean(0), np.cov(X.T, bias=True)).logpdf(X)
    log_p = rivals.full_gaussian().fit(X).score_samples(X)
    np.testing.assert_allclose(log_p, exact, atol=1e-3)


@pytest.mark.parametrize("smoothing", [1e-3, 1.0, 30.0])
def test_chow_liu_tree_sums_to_one(rng, smoothing):
    X = np.hstack([markov_bits(rng, 50), np.ones((50, 1), dtype=np.uint8)])
    model = ChowLiuTree(smoothing).fit(X)
    every_row = np.array(list(product([0, 1], repeat=6)))
    assert logsumexp(model.score_samples(every_row)) == pytest.approx(0.0, abs=1e-12)


def test_chow_liu_tree_recovers_a_tree(rng):
    model = ChowLiuTree().fit(markov_bits(rng, 20_000))
    edges = {frozenset((d, int(p))) for d, p in enumerate(model.parents_) if d != p}
    assert edges == {frozenset(edge) for edge in [(0, 1), (1, 2), (1, 3), (3, 4)]}
    row = np.array([[1, 1, 0, 1, 1]])
    assert model.score(row) == pytest.approx(np.log(0.4 * 0.9**3 * 0.1), abs=0.05)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_mixed_mixture_integrates_to_one(rng, covariance_type):
    X = mixed_frame(rng, 100)
    model = MixedMixture(3, covariance_type=covariance_type, random_state=0).fit(X)
    length, mass = np.linspace(0, 80, 161), np.linspace(0, 160, 161)
    numbers = pd.DataFrame(product(length, mass), columns=["length", "mass"])
    total = 0.0
    for kind, flag in product(["a", "b", "c", "unseen"], [False, True, "unseen"]):
        rows = numbers.assign(kind=kind, flag=flag).astype({"flag": object})
        p = np.exp(model.score_samples(rows[X.columns])).reshape(161, 161)
        total += trapezoid(trapezoid(p, x=mass), x=length)
    assert total == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_mixed_em_never_lowers_the_posterior(rng, covariance_type):
    X = mixed_frame(rng, 100)
    for prior_variance, smoothing in [(1e-4, 0.1), (0.1, 1.0), (1.0, 10.0)]:
        model = MixedMixture(
            8,
            covariance_type=covariance_type,
            prior_variance=prior_variance,
            smoothing=smoothing,
            tol=0,
            max_iter=50,
            random_state=0,
        ).fit(X)
        assert len(model.objective_curve_) > 10
        assert (np.diff(model.objective_curve_) >= -1e-10).all()


def test_mixed_mixture_beats_independence(rng):
    X, test = mixed_frame(rng, 200), mixed_frame(rng, 200)
    joint = rivals.mixed_mixture(300, quick=True).fit(X)
    independent = IndependentColumns(random_state=0).fit(X)
    assert joint.score(test) > independent.score(test) + 1
    category = X.astype({"kind": "category", "flag": "category"})
    again = MixedMixture(4, random_state=0).fit(category).score_samples(test)
    np.testing.assert_array_equal(
        again, MixedMixture(4, random_state=0).fit(X).score_samples(test)
    )


@pytest.mark.parametrize("columns", [["kind", "flag"], ["length", "mass"]])
def test_mixed_mixture_takes_columns_of_one_kind(rng, columns):
    X = mixed_frame(rng, 50)[columns]
    assert np.isfinite(MixedMixture(2, random_state=0).fit(X).score_samples(X)).all()


def test_searches_start_inside_their_grids():
    for n, quick in [(100, False), (10_000, False), (100, True)]:
        for tuned in (
            rivals.gaussian_mixture(n, quick=quick),
            rivals.kernel_density(quick=quick),
            rivals.chow_liu_tree(),
            rivals.mixed_mixture(n, quick=quick),
        ):
            for estimator, grid in tuned.candidates.values():
                for name, values in grid.items():
                    assert estimator.get_params()[name] in values
    assert sorted(COMPONENTS) == COMPONENTS


@pytest.mark.parametrize("width", [0.0001, 0.01, 0.25, 0.5, 1.0, 20.0])
def test_rounding_width_is_found(rng, width):
    x = width * np.round(rng.normal(100, 30, size=500))
    assert rounding_width(x) == pytest.approx(width)
    mostly_none = np.where(rng.random(500) < 0.9, 0.0, x)
    assert rounding_width(mostly_none) == pytest.approx(width)
    x[:10] += 0.3 * width * rng.random(10)  # as 9.5333 among alcohols of one decimal
    assert rounding_width(x) == pytest.approx(width)


def test_columns_that_are_not_rounded_have_width_zero(rng):
    assert rounding_width(rng.normal(size=500)) == 0.0
    assert rounding_width(np.full(500, 3.0)) == 0.0
    single = np.float32(np.round(rng.normal(size=500), 3))
    assert rounding_width(single.astype(str).astype(float)) == 0.001


def test_few_values_repeated_columns_and_repeated_rows_go(rng):
    x, y = rng.normal(size=(2, 60))
    X = np.column_stack([x, np.arange(60) % 20, y, x, np.ones(60)])
    X = X[np.r_[0:60, 5, 7]]
    kept, rows = distinct(X)
    np.testing.assert_array_equal(kept, np.column_stack([x, y]))
    np.testing.assert_array_equal(rows, np.arange(60))
