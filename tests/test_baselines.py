"""The rivals are proper densities, and tuned on the rows they were given only."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import trapezoid
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

from skdensity_ar._baselines import (
    UNSEEN_MASS,
    BernoulliMixture,
    CategoryFrequencies,
    IndependentColumns,
    PerClassGaussian,
    StandardizedDensity,
    _ledoit_wolf,
    bernoulli_mixture_search,
    gaussian_mixture_search,
    kernel_density_search,
)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def correlated_bits(rng, n, D):
    walk = np.cumsum(rng.normal(size=(n, D)), axis=1)
    return (walk > 0).astype(float)


def mixed_frame(rng, n=150):
    kind = rng.choice(["a", "b", "c"], size=n, p=[0.5, 0.3, 0.2])
    flag = np.where(kind == "a", rng.choice(["no", "yes"], size=n), "yes")
    centre = pd.Series(kind).map({"a": 0.0, "b": 3.0, "c": -2.0}).to_numpy()
    length = 40 + 4 * (centre + rng.normal(size=n))
    weight = 3000 + 500 * (0.2 * length - 8 + rng.normal(size=n))
    return pd.DataFrame({"kind": kind, "length": length, "flag": flag, "mass": weight})


@pytest.mark.parametrize("smoothing", [1e-3, 1.0, 20.0])
def test_bernoulli_mixture_sums_to_one(rng, smoothing):
    X = correlated_bits(rng, 80, 8)
    X[:, 3] = 1.0  # a constant column is no exception
    model = BernoulliMixture(4, smoothing=smoothing, random_state=0).fit(X)
    every_row = np.array(list(product([0.0, 1.0], repeat=8)))
    assert logsumexp(model.score_samples(every_row)) == pytest.approx(0.0, abs=1e-12)
    assert model.score(X) == pytest.approx(model.score_samples(X).mean())


@pytest.mark.parametrize("seed", range(3))
def test_em_never_lowers_the_objective(rng, seed):
    X = correlated_bits(rng, 200, 12)
    model = BernoulliMixture(6, max_iter=100, tol=0.0, random_state=seed).fit(X)
    assert (np.diff(model.objective_curve_) >= -1e-12).all()
    assert len(model.objective_curve_) == model.n_iter_ + 1 > 10


def test_em_never_lowers_the_likelihood_when_the_prior_is_negligible(rng):
    X = correlated_bits(rng, 200, 12)
    X[0], X[1] = 0.0, 1.0
    scores = [
        BernoulliMixture(3, smoothing=1e-9, max_iter=m, tol=-1.0, random_state=0)
        .fit(X)
        .score(X)
        for m in range(1, 30, 4)
    ]
    assert (np.diff(scores) >= -1e-9).all()


def test_bernoulli_mixture_stops_at_tol_and_repeats_itself(rng):
    X = correlated_bits(rng, 200, 12)
    first, second = (BernoulliMixture(5, random_state=3).fit(X) for _ in range(2))
    assert first.converged_ and first.n_iter_ < first.max_iter
    np.testing.assert_array_equal(first.score_samples(X), second.score_samples(X))


def test_bernoulli_mixture_names_what_it_cannot_take(rng):
    X = correlated_bits(rng, 20, 3)
    with pytest.raises(ValueError, match=r"smoothing must be positive, got 0"):
        BernoulliMixture(2, smoothing=0).fit(X)
    with pytest.raises(ValueError, match=r"\{0, 1\}, got 0\.5"):
        BernoulliMixture(2).fit(0.5 * X[X[:, 0] == 1])


@pytest.mark.parametrize("whiten", [False, True])
def test_standardized_density_is_in_the_units_of_x(rng, whiten):
    X = rng.normal(size=(300, 2)) @ [[1.0, 0.8], [0.0, 0.5]] * [0.1, 50] + [1, -300]
    model = StandardizedDensity(GaussianMixture(reg_covar=0), whiten=whiten).fit(X)
    exact = multivariate_normal(X.mean(0), np.cov(X.T, bias=True)).logpdf(X)
    np.testing.assert_allclose(model.score_samples(X), exact, rtol=1e-9)


def test_kernel_density_is_exact_for_far_rows(rng):
    # scikit-learn's default tree is wrong by tens of nats here.
    X = rng.standard_t(3, size=(400, 11))
    far = 3 * rng.standard_t(3, size=(100, 11))
    search = kernel_density_search(n_splits=3, random_state=0).fit(X)
    model = search.best_estimator_
    h = model.estimator_.bandwidth
    z, z_far = ((rows - model.mean_) @ model.unmixing_ for rows in (X, far))
    log_kernels = -0.5 * cdist(z_far, z, "sqeuclidean") / h**2
    exact = logsumexp(log_kernels, axis=1) - np.log(len(X)) + model.log_jacobian_
    exact -= 11 * np.log(h * np.sqrt(2 * np.pi))
    np.testing.assert_allclose(search.score_samples(far), exact, rtol=1e-10)
    # So that nobody takes the one big leaf away: it is still needed.
    tree = KernelDensity(bandwidth=h).fit(z).score_samples(z_far) + model.log_jacobian_
    assert np.abs(tree - exact).max() > 1


def test_searches_beat_the_estimators_that_they_contain(rng):
    X = np.concatenate([rng.normal(size=(150, 2)), rng.normal(6, 0.3, size=(150, 2))])
    X = rng.permutation(X * [1, 100])
    train, test = X[:200], X[200:]
    single = StandardizedDensity(GaussianMixture()).fit(train).score(test)
    few = gaussian_mixture_search(n_components=(2, 3), n_splits=3, random_state=0)
    for search in (few, kernel_density_search(n_splits=3, random_state=0)):
        log_p = search.fit(train).score_samples(test)
        assert log_p.shape == (100,) and log_p.mean() > single + 0.3

    bits = correlated_bits(rng, 300, 10)
    search = bernoulli_mixture_search(n_components=(2, 8), n_splits=3, random_state=0)
    log_p = search.fit(bits[:200]).score_samples(bits[200:])
    independent = BernoulliMixture(1).fit(bits[:200]).score(bits[200:])
    assert log_p.mean() > independent + 0.5


def test_category_frequencies_keep_room_for_the_unseen():
    column = CategoryFrequencies(np.array(["u", "v", "u", "w"]), smoothing=0.5)
    log_p = column.log_prob(np.array(["u", "v", "w", "never"]))
    assert np.exp(log_p).sum() == pytest.approx(1.0, abs=1e-12)
    assert np.exp(log_p[-1]) == pytest.approx(UNSEEN_MASS)


def test_ledoit_wolf_equals_that_of_scikit_learn(rng):
    for n, R in [(5, 4), (40, 3), (30, 1)]:
        z = rng.normal(size=(n, R)) @ rng.normal(size=(R, R)) + 5
        expected = LedoitWolf().fit(z).covariance_
        np.testing.assert_allclose(_ledoit_wolf(z), expected, rtol=1e-10)


@pytest.mark.parametrize("model", [IndependentColumns, PerClassGaussian])
def test_mixed_rivals_integrate_to_one(rng, model):
    X = mixed_frame(rng)
    model = model(random_state=0).fit(X)
    length = np.linspace(-10, 90, 121)
    mass = np.linspace(-5000, 11000, 121)
    grid = pd.DataFrame(
        {"length": np.repeat(length, len(mass)), "mass": np.tile(mass, len(length))}
    )
    total = 0.0
    for kind, flag in product(["a", "b", "c", "unseen"], ["no", "yes", "unseen"]):
        rows = grid.assign(kind=kind, flag=flag)[X.columns]
        p = np.exp(model.score_samples(rows)).reshape(len(length), len(mass))
        total += trapezoid(trapezoid(p, x=mass), x=length)
    assert total == pytest.approx(1.0, abs=1e-6)


def test_the_table_of_categories_falls_back_to_the_marginals(rng):
    X = mixed_frame(rng)
    model = PerClassGaussian(random_state=0).fit(X)
    assert not ((X["kind"] == "b") & (X["flag"] == "no")).any()
    values = np.empty((1, 0))
    log_p = model.table_.log_prob(np.array([["b", "no"]], dtype=object), values)
    alone = [
        CategoryFrequencies(X[name].to_numpy(), 0.5).log_prob([value])[0]
        for name, value in [("kind", "b"), ("flag", "no")]
    ]
    share = model.prior_strength_ / (len(X) + model.prior_strength_)
    assert log_p[0] == pytest.approx(np.log(share) + sum(alone))


def test_per_class_gaussian_finds_the_class_and_beats_independence(rng):
    X = mixed_frame(rng, 400)
    train, test = X.iloc[:250], X.iloc[250:]
    joint = PerClassGaussian(random_state=0).fit(train)
    assert "kind" in joint.class_columns_
    independent = IndependentColumns(random_state=0).fit(train)
    assert joint.score(test) > independent.score(test) + 0.5


@pytest.mark.parametrize("columns", [["kind", "flag"], ["length", "mass"]])
@pytest.mark.parametrize("model", [IndependentColumns, PerClassGaussian])
def test_frames_of_one_kind_of_column_are_fine(rng, model, columns):
    X = mixed_frame(rng)[columns]
    assert np.isfinite(model(random_state=0).fit(X).score_samples(X)).all()


@pytest.mark.parametrize("model", [IndependentColumns, PerClassGaussian])
def test_missing_cells_are_refused(rng, model):
    X = mixed_frame(rng)
    X.loc[3, "mass"] = np.nan
    with pytest.raises(ValueError, match="missing cells"):
        model().fit(X)
