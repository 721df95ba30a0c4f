"""Densities of rows given a context: p(x | c)."""

import itertools
import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn import config_context
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score

from skdensity_ar import (
    DensityImputer,
    DensityOutlierDetector,
    MADEDensity,
    NADEDensity,
    RNADEDensity,
    TransformedDensity,
)

ORDERINGS = ["natural", "agnostic"]
IRIS, CLASSES = load_iris(return_X_y=True)
NAMES = load_iris().target_names[CLASSES]


def coins(n: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Three bits that agree under "same", and otherwise tell nothing of each other."""
    rng = np.random.default_rng(0)
    context = rng.choice(["same", "free"], n)
    X = rng.integers(0, 2, (n, 3)).astype(float)
    X[context == "same"] = X[context == "same", :1]
    return X, context


@pytest.fixture(scope="module", params=ORDERINGS)
def of_coins(request):
    X, context = coins()
    density = NADEDensity(ordering=request.param, max_iter=40, random_state=0)
    return density.fit(X, context=context)


@pytest.fixture(scope="module", params=ORDERINGS)
def of_iris(request):
    density = MADEDensity(ordering=request.param, max_iter=20, random_state=0)
    return density.fit(IRIS, context=NAMES)


def test_under_each_context_the_masses_sum_to_one(of_coins):
    X = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    for label, expected in [("same", [0.5, 0.0]), ("free", [0.125, 0.125])]:
        p = np.exp(of_coins.score_samples(X, context=[label] * 8))
        assert p.sum() == pytest.approx(1.0, abs=1e-6)
        np.testing.assert_allclose(p[[0, 1]], expected, atol=0.06)


def test_what_is_drawn_has_the_context_it_was_asked_for(of_coins):
    drawn = of_coins.sample(400, random_state=0, context=["same", "free"])
    assert drawn.shape == (800, 3)
    agree = (drawn == drawn[:, :1]).all(1)
    assert agree[:400].mean() > 0.9
    assert 0.1 < agree[400:].mean() < 0.4


def test_density_and_prior_classify(of_iris):
    labels = np.unique(NAMES)
    log_p = [of_iris.score_samples(IRIS, context=[c] * len(IRIS)) for c in labels]
    assert np.mean(labels[np.argmax(log_p, 0)] == NAMES) > 0.9


def test_a_row_scores_the_same_in_any_company(of_iris):
    together = of_iris.score_samples(IRIS, context=NAMES)
    some = [3, 77, 140]
    alone = [of_iris.score_samples(IRIS[[i]], context=NAMES[[i]])[0] for i in some]
    np.testing.assert_array_equal(together[some], alone)
    assert of_iris.score(IRIS, context=NAMES) == pytest.approx(together.mean())


def test_shares_of_columns_sum_to_the_score_under_the_context(of_iris):
    shares = of_iris.score_features(IRIS, context=NAMES)
    scores = of_iris.score_samples(IRIS, context=NAMES)
    np.testing.assert_allclose(shares.sum(1), scores, atol=1e-6)


def test_a_conditional_is_the_quotient_under_the_context():
    density = MADEDensity(n_orderings=1, max_iter=10, random_state=0)
    density.fit(IRIS, context=NAMES)
    scores = density.score_samples(IRIS, context=NAMES)
    given = density.score_samples(IRIS, given=[0, 1], context=NAMES)
    shares = density.score_features(IRIS, context=NAMES)
    np.testing.assert_allclose(scores - shares[:, :2].sum(1), given, atol=1e-5)


def test_missing_cells_are_filled_under_the_context():
    X, context = coins()
    X[np.random.default_rng(1).random(X.shape) < 0.1] = np.nan
    density = NADEDensity(ordering="agnostic", max_iter=40, random_state=0)
    density.fit(X, context=context)
    row = np.array([[1.0, np.nan, np.nan]] * 300)
    same = density.sample_conditional(row, 2, random_state=0, context=["same"] * 300)
    assert same.shape == (300, 2, 3)
    assert same.mean() > 0.9
    assert (density.impute(row, context=["same"] * 300) == 1.0).all()
    drawn = density.impute(row, "sample", random_state=0, context=["free"] * 300)
    assert 0.35 < drawn[:, 1:].mean() < 0.65
    np.testing.assert_allclose(
        density.score_samples(row[:2], context=["same", "free"]),
        np.log(0.5),
        atol=0.15,
    )


CONTAINERS = {
    "strings": lambda names: names.astype(str),
    "objects": lambda names: names.astype(object)[:, None],
    "series": pd.Series,
    "pandas": lambda names: pd.DataFrame({"class": names}, index=range(5, 155)),
    "polars": lambda names: pl.DataFrame({"class": names.astype(str)}),
    "list": list,
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_contexts_come_in_any_container(container):
    context = CONTAINERS[container](NAMES)
    density = MADEDensity(max_iter=2, n_orderings=1, random_state=0)
    found = density.fit(IRIS, context=context).score_samples(IRIS, context=context)
    expected = density.fit(IRIS, context=NAMES).score_samples(IRIS, context=NAMES)
    np.testing.assert_array_equal(found, expected)


def test_a_number_as_context_shifts_the_mean():
    rng = np.random.default_rng(0)
    c = rng.uniform(-2.0, 2.0, (800, 1))
    X = 1000.0 + 50.0 * np.sin(c) + 5.0 * rng.normal(size=(800, 1))
    density = RNADEDensity(n_components=5, max_iter=60, random_state=0)
    density.fit(X, context=c)
    at = np.array([[-1.5], [0.0], [1.5]])
    drawn = density.sample(500, random_state=0, context=at).reshape(3, 500)
    means = np.median(drawn, axis=1)
    np.testing.assert_allclose(means, 1000.0 + 50.0 * np.sin(at[:, 0]), atol=5.0)
    assert density.context_.columns.names == [0]


def test_x_val_has_contexts_of_its_own():
    density = MADEDensity(max_iter=2, random_state=0)
    train, held = np.arange(0, 150, 2), np.arange(1, 150, 2)
    own = {"X_val": IRIS[held], "context": NAMES[train]}
    density.fit(IRIS[train], **own, context_val=NAMES[held])
    assert len(density.validation_scores_) == 2
    with pytest.raises(ValueError, match="pass context_val"):
        density.fit(IRIS[train], **own)


@pytest.mark.parametrize("missing", ["X_val", "context"])
def test_contexts_of_validation_rows_are_never_ignored(missing):
    given = {"X_val": IRIS[:30], "context": NAMES[30:], "context_val": NAMES[:30]}
    del given[missing]
    with pytest.raises(ValueError, match=f"context_val .* pass {missing} too"):
        MADEDensity(max_iter=1, random_state=0).fit(IRIS[30:], **given)


def test_rows_without_weight_leave_with_their_contexts():
    weights = np.r_[np.zeros(50), np.ones(100)]
    density = MADEDensity(max_iter=2, random_state=0)
    density.fit(IRIS, sample_weight=weights, context=NAMES)
    assert density.context_.n_inputs == 2
    without = MADEDensity(max_iter=2, random_state=0)
    without.fit(IRIS[50:], sample_weight=np.ones(100), context=NAMES[50:])
    some = {"X": IRIS[60:70], "context": NAMES[60:70]}
    np.testing.assert_array_equal(
        density.score_samples(**some), without.score_samples(**some)
    )


def test_pickles_and_warm_starts_keep_the_context():
    density = MADEDensity(max_iter=2, warm_start=True, random_state=0)
    density.fit(IRIS, context=NAMES)
    again = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(
        again.score_samples(IRIS, context=NAMES),
        density.score_samples(IRIS, context=NAMES),
    )
    before = density.context_
    assert density.fit(IRIS, context=NAMES).context_ is before
    with pytest.raises(ValueError, match="warm_start=True goes on"):
        density.fit(IRIS)


def test_contexts_are_routed_through_cross_validation():
    with config_context(enable_metadata_routing=True):
        density = MADEDensity(max_iter=5, random_state=0)
        density.set_fit_request(context=True).set_score_request(context=True)
        scores = cross_val_score(density, IRIS, params={"context": NAMES}, cv=3)
    assert scores.shape == (3,)
    assert np.isfinite(scores).all()


def test_labels_not_seen_score_or_are_refused():
    density = MADEDensity(max_iter=2, random_state=0).fit(IRIS, context=NAMES)
    assert np.isfinite(density.score_samples(IRIS[:1], context=["rose"])).all()
    density.set_params(handle_unknown="error").fit(IRIS, context=NAMES)
    with pytest.raises(ValueError, match=r"context: Column 0 holds 'rose'"):
        density.score_samples(IRIS[:1], context=["rose"])


FAULTS = {
    "rows": (NAMES[:10], "must be a table of 150 rows"),
    "missing": (np.r_[[None], NAMES[1:].astype(object)], "context: .*NaN"),
    "infinite": (np.r_[np.inf, np.ones(149)], "context: .*infinity"),
    "three axes": (np.zeros((150, 2, 2)), "must be a table"),
    "dates": (np.full(150, "2020-01-01", "datetime64[D]"), "dates to days"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_contexts_are_refused(fault):
    context, message = FAULTS[fault]
    with pytest.raises((ValueError, TypeError), match=message):
        MADEDensity(max_iter=1).fit(IRIS, context=context)


def test_scoring_wants_the_context_of_fit_and_no_other():
    with_context = MADEDensity(max_iter=1, random_state=0).fit(
        IRIS, context=pd.DataFrame({"class": NAMES})
    )
    for ask in (with_context.score_samples, with_context.score_features):
        with pytest.raises(ValueError, match=r"fitted with contexts.*'class'"):
            ask(IRIS)
    with pytest.raises(ValueError, match="pass context"):
        with_context.sample(3)
    with pytest.raises(ValueError, match=r"has the columns \['kind'\]"):
        with_context.score_samples(IRIS, context=pd.DataFrame({"kind": NAMES}))
    with pytest.raises(ValueError, match="takes 1"):
        with_context.score_samples(IRIS, context=IRIS)
    without = MADEDensity(max_iter=1, random_state=0).fit(IRIS)
    with pytest.raises(ValueError, match="fitted without context"):
        without.score_samples(IRIS, context=NAMES)


def test_further_training_needs_the_same_columns_of_context():
    rng = np.random.default_rng(0)
    X, C = rng.normal(size=(60, 2)), rng.normal(size=(60, 2))
    C = pd.DataFrame(C, columns=["a", "b"])
    density = MADEDensity((4,), max_iter=1, warm_start=True, random_state=0)
    density.fit(X, context=C)
    for other, message in (
        (C[["b", "a"]], "in this order"),
        (C.assign(z=1.0), "3 columns"),
        (C[["a"]], "1 columns"),
        (None, "which has a context"),
    ):
        with pytest.raises(ValueError, match=message):
            density.fit(X, context=other)
    density.fit(X, context=C)


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("cls", [MADEDensity, RNADEDensity, NADEDensity])
def test_a_context_that_is_always_the_same(cls, ordering):
    X = np.random.default_rng(0).integers(0, 2, (40, 2)).astype(float)
    if cls is not NADEDensity:
        X = X + np.random.default_rng(1).normal(size=X.shape)
    density = cls((4,), ordering=ordering, max_iter=2, n_orderings=2, random_state=0)
    found = density.fit(X, context=np.full(40, 2.0))
    scores = found.score_samples(X, context=np.full(40, 2.0))
    expected = cls(**density.get_params()).fit(X).score_samples(X)
    np.testing.assert_allclose(scores, expected, rtol=1e-5)
    assert found.sample(2, random_state=0, context=[2.0]).shape == (2, 2)


@pytest.mark.parametrize("value", [np.nan, None])
def test_a_context_that_is_missing_is_named(value):
    C = pd.DataFrame({"known": np.ones(40), "hole": [value] + [0.5] * 39})
    X = np.random.default_rng(0).normal(size=(40, 2))
    for given in (C, C.to_numpy(dtype=float)):
        with pytest.raises(ValueError, match=r"context: column .* holds NaN") as raised:
            MADEDensity(ordering="agnostic", max_iter=1).fit(X, context=given)
        assert "agnostic" not in str(raised.value)


def test_an_estimator_around_a_density_has_no_contexts():
    X = np.random.default_rng(0).normal(size=(40, 2))
    for cls in (DensityImputer, DensityOutlierDetector, TransformedDensity):
        with pytest.raises(ValueError, match=f"{cls.__name__} asks .* rows alone"):
            cls(estimator=MADEDensity(max_iter=1)).fit(X, context=np.ones(40))
