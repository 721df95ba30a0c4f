"""Densities inside of an imputer and of a detector of outliers."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.linear_model import LinearRegression
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils._param_validation import InvalidParameterError
from sklearn.utils.estimator_checks import estimator_checks_generator

from skdensity_ar import (
    DensityImputer,
    DensityOutlierDetector,
    MADEDensity,
    TransformedDensity,
)
from tests.small import mixed_frame

TINY = {"max_iter": 2, "hidden_layer_sizes": (4,), "n_orderings": 2, "device": "cpu"}
AGNOSTIC = MADEDensity(ordering="agnostic", **TINY, random_state=0)


def rows(n: int = 300, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).normal(size=(n, 3))
    return x @ np.array([[1.0, 0.9, 0.0], [0.0, 0.3, 0.5], [0.0, 0.0, 1.0]]) + 5.0


def holes(X: np.ndarray, share: float = 0.3, seed: int = 0) -> np.ndarray:
    missing = np.random.default_rng(seed).random(X.shape) < share
    return np.where(missing, np.nan, X)


def checks_of(estimator):
    return [
        pytest.param(e, check, id=check.func.__name__)
        for e, check in estimator_checks_generator(estimator)
    ]


@pytest.mark.parametrize(
    ("estimator", "check"), checks_of(DensityImputer(AGNOSTIC, random_state=0))
)
def test_check_imputer(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


@pytest.mark.parametrize(
    ("estimator", "check"),
    checks_of(DensityOutlierDetector(MADEDensity(**TINY, random_state=0))),
)
def test_check_detector(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


# Imputer ------------------------------------------------------------------------------


def test_the_imputer_fills_as_its_density():
    X = holes(rows())
    density = MADEDensity(ordering="agnostic", max_iter=3, random_state=0).fit(X)
    for strategy in ("mean", "median", "mode", "sample"):
        imputer = DensityImputer(density, strategy=strategy, random_state=1)
        filled = imputer.fit_transform(X)
        assert np.array_equal(filled, density.impute(X, strategy, random_state=1))
    others = DensityImputer(density, strategy="sample", random_state=2).fit(X)
    known = ~np.isnan(X)
    assert (others.transform(X) != filled)[~known].all()
    assert (others.transform(X) == X)[known].all()
    assert isinstance(DensityImputer()._unfitted(), MADEDensity)


def test_what_is_filled_in_has_the_digits_of_the_table():
    X = holes(rows().round(1))
    plain, rounded = (
        DensityImputer(AGNOSTIC, rounded=r).fit_transform(X) for r in (False, True)
    )
    np.testing.assert_array_equal(rounded, plain.round(1))
    assert (rounded != plain).any()


def test_flags_say_which_cells_were_missing():
    X = rows(40)
    X[3, 1] = X[5, 2] = np.nan
    imputer = DensityImputer(AGNOSTIC, add_indicator=True).fit(X)
    test = rows(4, 1)
    test[0] = np.nan
    out = imputer.transform(test)
    assert imputer.indicator_features_ == [1, 2]
    assert out[:, 3:].tolist() == [[1.0, 1.0]] + [[0.0, 0.0]] * 3
    names = ["x0", "x1", "x2", "missingindicator_x1", "missingindicator_x2"]
    assert imputer.get_feature_names_out().tolist() == names


def test_flags_go_on_to_a_regression_whatever_the_names():
    X = pd.DataFrame(holes(rows(60)))
    imputer = DensityImputer(AGNOSTIC, add_indicator=True)
    make_pipeline(imputer, LinearRegression()).fit(X, np.arange(60))
    expected = imputer.fit(X).get_feature_names_out().tolist()
    assert imputer.transform(X).columns.tolist() == expected


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
def test_a_column_with_the_name_of_a_flag_is_not_overwritten(make):
    X = holes(rows(60))
    table = make(dict(zip(["a", "b", "missingindicator_a"], X.T, strict=True)))
    imputer = DensityImputer(AGNOSTIC, add_indicator=True)
    with pytest.raises(ValueError, match=r"adds the columns \['missingindicator_a'\]"):
        imputer.fit(table)
    assert not hasattr(imputer, "estimator_")


def test_what_comes_out_is_never_what_went_in():
    """A later step may write over it."""
    X = rows(60)
    imputer = DensityImputer(AGNOSTIC).fit(X)
    for table in (X, pd.DataFrame(X)):
        out = imputer.fit(table).transform(table)
        assert out is not table
        assert not np.shares_memory(np.asarray(out), X)


@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_a_frame_is_filled_with_its_labels(container):
    frame = mixed_frame(60)
    missing = np.random.default_rng(0).random(frame.shape) < 0.2
    missing[:, 0] = False
    cut = frame.mask(missing)
    if container == "polars":
        cells = {k: cut[k].astype(object).tolist() for k in cut}
        cut = pl.DataFrame(
            {k: [None if pd.isna(v) else v for v in vs] for k, vs in cells.items()},
            strict=False,
        )
    imputer = DensityImputer(AGNOSTIC, add_indicator=True).fit(cut)
    filled = imputer.transform(cut)
    assert type(filled) is type(cut)
    assert list(filled.columns) == imputer.get_feature_names_out().tolist()
    flags = np.array([filled[k].to_list() for k in list(filled.columns)[5:]]).T
    assert np.array_equal(flags, missing[:, 1:])
    assert set(filled["species"]) == set(frame["species"])


def test_the_imputer_is_searched_in_a_pipeline():
    X = holes(rows(120))
    pipeline = make_pipeline(
        DensityImputer(AGNOSTIC), StandardScaler(), KernelDensity()
    )
    grid = {"densityimputer__estimator__max_iter": [1, 3]}
    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X)
    assert np.isfinite(search.best_score_)


def test_an_imputer_without_what_it_needs():
    for wrong in (KernelDensity(), "mean"):
        with pytest.raises(InvalidParameterError, match="'estimator' parameter of"):
            DensityImputer(wrong).fit(rows())
    with pytest.raises(ValueError, match="ordering='agnostic'"):
        DensityImputer(MADEDensity(**TINY)).fit_transform(holes(rows()))
    with pytest.raises(NotFittedError):
        DensityImputer().transform(rows())


# Outliers -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator",
    [
        None,
        MADEDensity(n_orderings=1, max_iter=20),
        GaussianMixture(2),
        make_pipeline(StandardScaler(), KernelDensity()),
    ],
)
def test_any_density_detects(estimator):
    X = rows()
    detector = DensityOutlierDetector(estimator, contamination=0.1, random_state=0)
    assert np.mean(detector.fit_predict(X) == -1) == pytest.approx(0.1, abs=0.01)
    far = np.full((5, 3), 30.0)
    assert (detector.predict(far) == -1).all()
    scores = detector.score_samples(X)
    assert np.array_equal(detector.decision_function(X), scores - detector.offset_)
    assert np.array_equal(scores, detector.estimator_.score_samples(X))
    assert hasattr(detector, "score_features") == (
        estimator is None or isinstance(estimator, MADEDensity)
    )


def test_p_values_are_uniform_where_the_density_is_right():
    X = rows(800)
    detector = DensityOutlierDetector(
        MADEDensity(n_orderings=2, max_iter=20, random_state=0), random_state=0
    ).fit(X)
    drawn = detector.estimator_.sample(2000, random_state=7)
    p = detector.p_values(drawn, n_samples=1000)
    for level in (0.01, 0.1, 0.5):
        assert np.mean(p <= level) == pytest.approx(level, abs=0.05)
    assert detector.p_values(np.full((1, 3), 60.0)).tolist() == [1.0 / 1001.0]
    with pytest.raises(ValueError, match="n_samples must be an integer >= 1"):
        detector.p_values(X, n_samples=0)


def test_p_values_of_densities_that_draw_in_ways_of_their_own():
    X = rows()
    p = DensityOutlierDetector(GaussianMixture(random_state=0)).fit(X).p_values(X)
    assert p.mean() == pytest.approx(0.5, abs=0.1)
    named = pd.DataFrame(X, columns=list("abc"))
    for density in (GaussianMixture(random_state=0), KernelDensity()):
        detector = DensityOutlierDetector(density, random_state=0)
        expected = detector.fit(X).p_values(X)
        found = detector.fit(named).p_values(named)
        np.testing.assert_array_equal(found, expected)
    pipeline = make_pipeline(StandardScaler(), MADEDensity(**TINY))
    assert not hasattr(DensityOutlierDetector(pipeline).fit(X), "p_values")
    silent = DensityOutlierDetector(KernelDensity(kernel="epanechnikov")).fit(X)
    with pytest.raises(NotImplementedError, match="does not draw rows, which Dens"):
        silent.p_values(X)


def test_the_column_that_makes_a_row_an_outlier():
    X = rows(800)
    detector = DensityOutlierDetector(
        MADEDensity(n_orderings=2, max_iter=20, random_state=0)
    ).fit(X)
    X[0, 1] += 9.0
    assert detector.predict(X[:1]).tolist() == [-1]
    assert detector.score_features(X[:1]).argmin() == 1


def test_a_detector_refitted_to_other_columns_forgets_their_names():
    frame = pd.DataFrame(rows(60), columns=list("abc"))
    detector = DensityOutlierDetector(MADEDensity(**TINY, random_state=0)).fit(frame)
    assert detector.feature_names_in_.tolist() == list("abc")
    detector.fit(rows(60)[:, :2])
    assert not hasattr(detector, "feature_names_in_")
    assert detector.n_features_in_ == 2


@pytest.mark.parametrize("contamination", [0.0, -0.1, 0.51, "auto", None])
def test_shares_of_outliers_that_cannot_be(contamination):
    with pytest.raises(InvalidParameterError, match="'contamination' parameter of"):
        DensityOutlierDetector(contamination=contamination).fit(rows())


# What reaches the density inside ------------------------------------------------------


def around(density):
    return [
        DensityImputer(density, random_state=0),
        DensityOutlierDetector(density),
        TransformedDensity(estimator=density),
    ]


@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize("which", range(3))
def test_weights_reach_the_density(which, routed):
    X, weights = rows(60), np.random.default_rng(0).integers(1, 4, 60)
    with config_context(enable_metadata_routing=routed):
        density = clone(AGNOSTIC)
        if routed:
            density.set_fit_request(sample_weight=True)
        outer = around(density)[which].fit(X, sample_weight=weights)
        inner = clone(density)
        inside = X
        if which == 2:
            inside = outer.transformer_.transform(X)
        expected = inner.fit(inside, sample_weight=weights).score_samples(inside)
        found = outer.estimator_.score_samples(inside)
        np.testing.assert_array_equal(found, expected)
        unweighted = around(density)[which].fit(X).estimator_.score_samples(inside)
    assert np.abs(unweighted - found).max() > 1e-6


def test_weights_that_nobody_requests_are_refused():
    with config_context(enable_metadata_routing=True):
        for outer in around(clone(AGNOSTIC)):
            with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
                outer.fit(rows(20), sample_weight=np.ones(20))


def test_a_search_routes_weights_to_the_density_inside():
    X, weights = rows(60), np.ones(60)
    with config_context(enable_metadata_routing=True):
        density = clone(AGNOSTIC).set_fit_request(sample_weight=True)
        around = TransformedDensity(estimator=density)
        search = GridSearchCV(
            around.set_score_request(sample_weight=False),
            {"estimator__hidden_layer_sizes": [(4,), (8,)]},
            cv=2,
        )
        search.fit(X, sample_weight=weights)
    assert np.isfinite(search.best_score_)
