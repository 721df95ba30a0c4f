"""Tables with missing cells under fixed orderings, as their users see them."""

import copy
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import multivariate_normal
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from skdensity_ar import (
    DensityImputer,
    DensityOutlierDetector,
    MADEDensity,
    NADEDensity,
)
from skdensity_ar.conditionals import Bernoulli, Conditional
from tests.small import DENSITIES, binaries, mixed_frame, reals, small

COVARIANCE = np.array(
    [
        [1.0, 0.8, 0.3, 0.1],
        [0.8, 1.0, 0.5, 0.2],
        [0.3, 0.5, 1.0, 0.6],
        [0.1, 0.2, 0.6, 1.0],
    ]
)
MEAN = np.array([3.0, -2.0, 10.0, 0.0])


def rows(n, seed):
    return np.random.default_rng(seed).multivariate_normal(MEAN, COVARIANCE, n)


def holes(X, share=0.2, seed=0):
    missing = np.random.default_rng(seed).random(X.shape) < share
    return np.where(missing, np.nan, X)


def truth(X):
    """The exact log-density of what is known."""
    out = np.zeros(len(X))
    for i, row in enumerate(X):
        k = ~np.isnan(row)
        if k.any():
            gaussian = multivariate_normal(MEAN[k], COVARIANCE[np.ix_(k, k)])
            out[i] = gaussian.logpdf(row[k])
    return out


@pytest.fixture(scope="module")
def estimating():
    density = MADEDensity(
        missing="estimate", n_orderings=2, max_iter=40, random_state=0
    )
    return density.fit(holes(rows(1500, 0)))


# Fit and scores -----------------------------------------------------------------------


def test_a_fit_with_holes_comes_to_the_density(estimating):
    assert estimating.score_kind_ == "estimate"
    X = rows(600, 1)
    assert truth(X).mean() - 0.2 < estimating.score(X) < truth(X).mean() + 0.05
    cut = holes(X)
    log_p, std = estimating.score_samples(cut, return_std=True)
    assert np.mean(truth(cut) - log_p) < 0.15
    assert np.abs(truth(cut) - log_p).mean() < 0.5
    assert (std > 0.0).any()
    # Those that know less of what holes hide: only the rows that are whole.
    whole = holes(rows(1500, 0))
    whole = whole[~np.isnan(whole).any(1)]
    without = clone(estimating).fit(whole)
    assert estimating.score(X) > without.score(X) - 0.05


def test_the_deviation_is_zero_of_what_is_exact(estimating):
    X = rows(200, 2)
    log_p, std = estimating.score_samples(X, return_std=True)
    assert (std == 0.0).all()
    np.testing.assert_array_equal(log_p, estimating.score_samples(X))
    exact = MADEDensity(n_orderings=1, max_iter=20, random_state=0).fit(X)
    log_p, std = exact.score_samples(X, return_std=True)
    assert (std == 0.0).all()
    assert exact.score_kind_ == "exact"
    ordered = clone(exact).set_params(missing="estimate").fit(X)
    np.testing.assert_array_equal(ordered.score_samples(X), log_p)
    X[:, 2:] = np.nan
    assert (ordered.score_samples(X, return_std=True)[1] == 0.0).all()
    X[:, 0] = np.nan
    assert (ordered.score_samples(X, return_std=True)[1] > 0.0).all()
    assert ordered.score_samples(np.full((1, 4), np.nan)).tolist() == [0.0]


def test_scores_keep_to_seed_and_row(estimating):
    X = holes(rows(300, 3))
    log_p, std = estimating.score_samples(X, return_std=True)
    for i in range(0, 300, 40):
        alone = estimating.score_samples(X[i : i + 1], return_std=True)
        assert (alone[0][0], alone[1][0]) == (log_p[i], std[i])
    again = pickle.loads(pickle.dumps(estimating)).score_samples(X)
    np.testing.assert_array_equal(again, log_p)
    refitted = clone(estimating).fit(holes(rows(1500, 0)))
    np.testing.assert_array_equal(refitted.score_samples(X), log_p)
    assert estimating.score(X) == log_p.mean()


def test_more_draws_may_be_asked_of_a_fitted_density(estimating):
    X = holes(rows(60, 4))
    few = pickle.loads(pickle.dumps(estimating)).set_params(n_draws=10)
    more = pickle.loads(pickle.dumps(estimating)).set_params(n_draws=1000)
    std_few = few.score_samples(X, return_std=True)[1]
    std_more = more.score_samples(X, return_std=True)[1]
    drawn = std_more > 0.0
    assert 5.0 < np.median(std_few[drawn] / std_more[drawn]) < 20.0


@pytest.mark.parametrize("given", [[0], [2, 1]])
def test_given_columns_divide_by_their_own_estimate(estimating, given):
    X = rows(200, 5)
    exact = truth(X)
    alone = np.full_like(X, np.nan)
    alone[:, given] = X[:, given]
    log_p, std = estimating.score_samples(X, given=given, return_std=True)
    assert np.abs(log_p - (exact - truth(alone))).mean() < 0.6
    assert std.shape == (200,)
    cut = holes(X)
    assert np.isfinite(estimating.score_samples(cut, given=given)).all()


def test_given_columns_that_come_first_stay_exact():
    X = rows(80, 0)
    how = {"n_orderings": 1, "max_iter": 2, "random_state": 0}
    exact = MADEDensity(**how).fit(X)
    estimating = MADEDensity(missing="estimate", **how).fit(X)
    log_p, std = estimating.score_samples(X, given=[0, 1], return_std=True)
    np.testing.assert_allclose(log_p, exact.score_samples(X, given=[0, 1]), atol=1e-5)
    assert (std == 0.0).all()


@pytest.mark.parametrize("cls", DENSITIES)
def test_weights_contexts_and_validation_rows_go_with_holes(cls):
    X = holes(DENSITIES[cls](), 0.2)
    rng = np.random.default_rng(0)
    C = rng.normal(size=(len(X), 2))
    density = small(cls, missing="estimate", n_draws=5)
    density.fit(X, sample_weight=rng.random(len(X)), context=C)
    assert np.isfinite(density.score_samples(X, context=C)).all()
    density.fit(X, X_val=X[:20])
    assert np.isfinite(density.validation_scores_).all()
    density.set_params(warm_start=True).fit(X)
    density.set_params(warm_start=False, early_stopping=False).fit(X)
    assert np.isfinite(density.loss_curve_).all()
    assert np.isfinite(cross_val_score(density, X, cv=2)).all()


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_frames_of_every_kind_may_have_holes(container):
    frame = mixed_frame(80)
    cut = frame.mask(np.random.default_rng(0).random(frame.shape) < 0.2)
    if container == "polars":
        cut = pl.DataFrame(
            {
                name: [None if pd.isna(v) else v for v in cut[name].astype(object)]
                for name in cut
            },
            strict=False,
        )
    density = small(MADEDensity, missing="estimate", n_draws=5).fit(cut)
    assert np.isfinite(density.score_samples(cut)).all()
    filled = density.impute(cut, "sample", random_state=0)
    assert type(filled) is type(cut)
    before, after = (
        np.array([X[name].to_list() for name in frame], dtype=object).T
        for X in (cut, filled)
    )
    assert not pd.isna(after).any()
    known = ~pd.isna(before)
    assert (after == before)[known].all()


def test_columns_that_others_explain_may_have_holes():
    X = rows(800, 0)
    X[:, 3] = X[:, 0] + X[:, 1] + 0.05 * X[:, 3]
    cut = holes(X, 0.15)
    density = MADEDensity(
        missing="estimate", n_orderings=2, max_iter=30, random_state=0
    ).fit(cut)
    assert density.module_.residuals is not None
    A = np.eye(4)
    A[3] = [1.0, 1.0, 0.0, 0.05]
    fresh = rows(400, 1) @ A.T
    exact = multivariate_normal(A @ MEAN, A @ COVARIANCE @ A.T)
    assert exact.logpdf(fresh).mean() - density.score(fresh) < 0.4
    assert np.isfinite(density.score_samples(holes(fresh))).all()


def test_draws_given_what_is_known_are_nearly_those_of_the_gaussian(estimating):
    row = np.array([[np.nan, -1.0, np.nan, 0.5]])
    draws = estimating.sample_conditional(row, 2000, random_state=0)[0]
    m, k = [0, 2], [1, 3]
    gain = COVARIANCE[np.ix_(m, k)] @ np.linalg.inv(COVARIANCE[np.ix_(k, k)])
    left = COVARIANCE[np.ix_(m, m)] - gain @ COVARIANCE[np.ix_(k, m)]
    mean = MEAN[m] + gain @ (row[0, k] - MEAN[k])
    np.testing.assert_allclose(draws[:, m].mean(0), mean, atol=0.2)
    np.testing.assert_allclose(np.cov(draws[:, m].T), left, atol=0.25)
    assert (draws[:, k] == row[0, k]).all()


def test_a_detector_takes_rows_with_holes(estimating):
    X = holes(rows(300, 6))
    density = clone(estimating).set_params(max_iter=5, n_draws=10)
    detector = DensityOutlierDetector(density).fit(X)
    assert detector.__sklearn_tags__().input_tags.allow_nan
    assert np.mean(detector.predict(X) == -1) == pytest.approx(0.1, abs=0.02)


# Refusals -----------------------------------------------------------------------------


class NoUniforms(Bernoulli):
    """Draws by a generator alone."""

    n_uniforms = None

    def sample(self, params, generator):
        p = params.squeeze(-1).sigmoid()
        return p.bernoulli(generator=generator)


def test_a_conditional_without_uniforms_is_named():
    assert Conditional.n_uniforms is None
    choice = {0: NoUniforms}
    small(MADEDensity, conditional=choice).fit(binaries()).sample(3, random_state=0)
    with pytest.raises(ValueError, match="uniforms, which NoUniforms does not say how"):
        small(MADEDensity, conditional=choice, missing="estimate").fit(binaries())


def test_what_an_estimate_cannot_tell(estimating):
    X = holes(rows(20, 7))
    with pytest.raises(ValueError, match=r"score_features knows no shares of an esti"):
        estimating.score_features(X)
    assert estimating.score_features(rows(5, 0)).shape == (5, 4)
    instead = r"impute by the mean needs .*'agnostic'.*strategy='sample' draws"
    with pytest.raises(ValueError, match=instead):
        estimating.impute(X)
    with pytest.raises(ValueError, match=r"missing='estimate' is for orderings that"):
        small(MADEDensity, ordering="agnostic", missing="estimate").fit(reals())
    with pytest.raises(ValueError, match=r"NaN .*missing='estimate' estimates it"):
        small(MADEDensity).fit(X)
    with pytest.raises(ValueError, match="missing='exact'"):
        density = small(NADEDensity, missing="exact").fit(binaries())
        density.set_params(warm_start=True, missing="estimate").fit(binaries())
    with pytest.raises(ValueError, match="n_draws must be an integer >= 2"):
        pickle.loads(pickle.dumps(estimating)).set_params(n_draws=0).score(X)


@pytest.mark.filterwarnings("ignore:.* are constant")
def test_an_impossible_value_of_a_constant_column_tells_nothing():
    a = np.random.default_rng(0).normal(size=300)
    b = a + 0.1 * np.random.default_rng(1).normal(size=300)
    X = np.column_stack([a, b, np.full(300, 5.0)])
    density = MADEDensity(
        (16,), missing="estimate", n_orderings=1, max_iter=10, random_state=0
    ).fit(X)
    possible, impossible = ([[np.nan, 1.5, c]] for c in (5.0, 6.0))
    draws = density.sample_conditional(possible, 200, 0)
    assert draws[0, :, 0].mean() == pytest.approx(1.5, abs=0.1)
    found = density.sample_conditional(impossible, 200, 0)
    np.testing.assert_array_equal(found[..., :2], draws[..., :2])
    assert density.score_samples(impossible) == -np.inf
    for given in ([2], [0, 2]):
        expected = density.score_samples([[1.4, 1.5, 5.0]], given=given)
        assert np.isfinite(expected)
        found = density.score_samples([[1.4, 1.5, 6.0]], given=given)
        np.testing.assert_array_equal(found, expected)


def test_one_draw_has_no_deviation(estimating):
    density = copy.copy(estimating).set_params(n_draws=1)
    with pytest.raises(ValueError, match="n_draws must be an integer >= 2, got 1"):
        density.score_samples(holes(rows(5, 1)), return_std=True)


def test_an_imputer_knows_before_it_fits_what_an_estimate_cannot_fill():
    imputer = DensityImputer(MADEDensity(missing="estimate", max_iter=1))
    with pytest.raises(ValueError, match="no mean: set strategy='sample'"):
        imputer.fit(holes(rows(40, 0)))
    assert not hasattr(imputer, "estimator_")
