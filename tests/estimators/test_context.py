"""Densities of rows given a context: p(x | c)."""

import itertools
import pickle
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
from sklearn import config_context
from sklearn.datasets import load_iris
from sklearn.model_selection import cross_val_score

from skdensity_ar import (
    RNNRNADE,
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


def curve(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of one column, 3 sin 2c + 0.3 ε, and their contexts c."""
    rng = np.random.default_rng(seed)
    c = rng.normal(size=n)
    return (3.0 * np.sin(2.0 * c) + 0.3 * rng.normal(size=n))[:, None], c


@pytest.mark.parametrize("ordering", ORDERINGS)
@pytest.mark.parametrize("cls", [MADEDensity, RNADEDensity])
def test_one_column_follows_its_context(cls, ordering):
    """A table of one column is nearly done where it starts, but not given another."""
    X, c = curve(300)
    density = cls(ordering=ordering, random_state=0).fit(X, context=c)
    held, of_held = curve(2000, 1)
    truth = -0.5 * np.log(2.0 * np.pi * np.e * 0.3**2)
    assert density.score(held, context=of_held) > truth - 0.35
    grid = np.linspace(-80.0, 80.0, 20001)
    for at in (-1.0, 0.2, 2.5):
        log_p = density.score_samples(grid[:, None], context=np.full(len(grid), at))
        # Of the background 2e-6 lie beyond.
        assert np.trapezoid(np.exp(log_p), grid) == pytest.approx(1.0, abs=1e-4)


def test_bits_follow_their_context_where_it_is_not_linear():
    rng = np.random.default_rng(0)
    c = rng.normal(size=1500)
    X = (rng.random(1500) < np.where(np.abs(c) < 0.7, 0.95, 0.05)).astype(float)
    for cls in (NADEDensity, MADEDensity):
        density = cls(random_state=0).fit(X[:1000, None], context=c[:1000])
        assert density.score(X[1000:, None], context=c[1000:]) > -0.4  # alone -0.69


def of_a_line(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two columns, 2c + 0.1 ε and one of its own, and contexts c with a label."""
    rng = np.random.default_rng(seed)
    c = rng.normal(size=n)
    X = np.column_stack([2.0 * c + 0.1 * rng.normal(size=n), rng.normal(size=n)])
    return X, np.column_stack([c, np.where(c > 0.0, 1.0, 0.0)])


@pytest.mark.parametrize("missing", ["exact", "estimate"])
def test_what_a_context_predicts_linearly_is_left_out(missing):
    """Scores, draws, cdf and quantiles agree where residuals take in the context."""
    X, C = of_a_line(300)
    density = MADEDensity(
        (10,), n_orderings=2, ordering=[1, 0], missing=missing, random_state=0
    ).fit(X, context=C)
    residuals = density.module_.residuals
    assert all(moved[0] for moved in residuals.moved)
    assert (residuals.s[:, 0] < 0.2).all()
    held, of_held = of_a_line(1000, 1)
    truth = -np.log(2.0 * np.pi * np.e * 0.1)
    assert density.score(held, context=of_held) > truth - 0.3
    at = np.array([[1.0, 1.0]])
    drawn = density.sample(2000, random_state=0, context=at)
    assert drawn[:, 0].mean() == pytest.approx(2.0, abs=0.05)
    assert drawn[:, 0].std() == pytest.approx(0.1, rel=0.5)
    if missing == "estimate":
        holes = np.array([[np.nan, 0.3]])
        drawn = density.sample_conditional(holes, 500, 0, context=at)
        assert drawn[0, :, 0].mean() == pytest.approx(2.0, abs=0.05)


def test_quantiles_and_shares_below_take_in_the_context():
    X, C = of_a_line(300)
    density = MADEDensity((10,), n_orderings=1, random_state=0)
    density.fit(X[:, [1, 0]], context=C)  # the predicted column comes last
    at = np.array([[1.0, 1.0], [-0.5, 0.0]])
    rows = np.array([[0.3, np.nan], [0.3, np.nan]])
    middle = density.quantile(rows, 1, 0.5, context=at)
    np.testing.assert_allclose(middle, [2.0, -1.0], atol=0.15)
    rows[:, 1] = middle
    np.testing.assert_allclose(density.cdf(rows, 1, context=at), 0.5, atol=1e-4)
    grid = np.linspace(-20.0, 20.0, 40001)
    rows = np.column_stack([np.full(len(grid), 0.3), grid])
    of_grid = np.broadcast_to(at[0], (len(grid), 2))
    log_p = density.score_samples(rows, given=[0], context=of_grid)
    assert np.trapezoid(np.exp(log_p), grid) == pytest.approx(1.0, abs=1e-3)


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


MASKED = np.ma.array(np.zeros(40), mask=np.arange(40) < 20)
WRONG_CONTEXTS = [
    (MASKED, "masked array"),
    ([["a", 1.5], ["b", 2.5]] * 20, r"columns \[1\] hold numbers, \[0\] labels"),
    (np.array([["a", 1.5]] * 40, dtype=object), r"\[1\] hold numbers, \[0\] labels"),
    ([[1], [1, 2]] * 20, r"column 0 holds \[1\] of type list"),
    (np.array([date(2020, 1, 1)] * 40, dtype=object), "of type date"),
    (np.array(["a", pd.NA] * 20, dtype=object), r"column 0 holds NaN"),
    (
        scipy.sparse.csr_matrix(np.ones((40, 1))),
        r"sparse matrix; pass context\.toarray",
    ),
    (pd.Series(pd.date_range("2020", periods=40)), "has dtype datetime64"),
]


@pytest.mark.parametrize(("context", "message"), WRONG_CONTEXTS)
def test_contexts_that_would_be_misread_are_refused(context, message):
    X = np.random.default_rng(0).normal(size=(40, 2))
    with pytest.raises((TypeError, ValueError), match=f"context.*{message}"):
        MADEDensity(max_iter=1).fit(X, context=context)


def test_numbers_among_objects_are_numbers():
    X = np.random.default_rng(0).normal(size=(40, 2))
    c = np.random.default_rng(1).normal(size=40)
    density = MADEDensity((4,), n_orderings=1, max_iter=1, random_state=0)
    expected = density.fit(X, context=c).score_samples(X, context=c)
    for given in (c.astype(object), c.tolist(), [[v] for v in c]):
        density.fit(X, context=given)
        assert (density.score_samples(X, context=given) == expected).all()


def test_labels_fitted_as_strings_are_none_as_numbers():
    """They would be labels that no row had, which score without a word."""
    X = np.random.default_rng(0).normal(size=(40, 2))
    labels = np.arange(40) % 2
    density = MADEDensity((4,), n_orderings=1, max_iter=1, random_state=0)
    density.fit(X, context=labels.astype(str))
    with pytest.raises(ValueError, match=r"holds 0\.0 of type float, but was fitted"):
        density.score_samples(X, context=labels)
    frame = pd.DataFrame({"x": X[:, 0], "label": labels.astype(str)})
    density.fit(frame)
    with pytest.raises(ValueError, match=r"'label' holds 0 of type int, but was fit"):
        density.score_samples(frame.assign(label=labels))


def test_rare_labels_of_contexts_are_pooled():
    X = np.random.default_rng(0).normal(size=(150, 2))
    labels = [f"label {i % 120}" for i in range(150)]
    density = MADEDensity((4,), n_orderings=1, max_iter=1, random_state=0)
    with pytest.warns(UserWarning, match="context: Column 0 has 120 labels"):
        density.fit(X, context=labels)
    density.set_params(max_categories=4).fit(X, context=labels)
    assert density.context_.n_inputs == 4
    assert np.isfinite(density.score_samples(X, context=labels)).all()


@pytest.mark.parametrize(
    ("context", "message"),
    [
        (pd.DataFrame({"price": []}), "context has 0 rows; pass one at least"),
        ([], "context has 0 rows"),
        ([[1, 2], [3]], r"context: column 0 holds \[1, 2\] of type list"),
    ],
)
def test_contexts_that_are_no_table_are_refused_when_drawing(context, message):
    X = np.random.default_rng(0).normal(size=(40, 2))
    density = MADEDensity((4,), n_orderings=1, max_iter=1, random_state=0)
    density.fit(X, context=pd.DataFrame({"price": X[:, 0]}))
    with pytest.raises((TypeError, ValueError), match=message):
        density.sample(2, context=context)


def test_faults_of_validation_rows_are_said_of_these():
    X, names = IRIS[:60], NAMES[:60]
    bad = X[:10].copy()
    bad[0, 0] = np.inf
    density = MADEDensity((4,), n_orderings=1, max_iter=1, random_state=0)
    with pytest.raises(ValueError, match=r"^X_val: .*infinity"):
        density.fit(X, X_val=bad)
    with pytest.raises(ValueError, match=r"^X_val: .* 3 features, but"):
        density.fit(X, X_val=X[:10, :3])
    with pytest.raises(ValueError, match=r"^context_val: .* a table of 10 rows"):
        density.fit(X, context=names, X_val=X[:10], context_val=names[:9])
    sequences = [X[:5], X[5:12]]
    with pytest.raises(ValueError, match=r"^X_val: Sequence 1 contains inf"):
        RNNRNADE(max_iter=1).fit(sequences, X_val=[X[:3], bad])


@pytest.mark.parametrize("context", [3, np.array(1.0)])
def test_a_single_number_is_no_table_of_contexts(context):
    X = np.random.default_rng(0).normal(size=(40, 2))
    density = MADEDensity((4,), n_orderings=1, max_iter=1, random_state=0)
    density.fit(X, context=X[:, 0])
    with pytest.raises(ValueError, match=r"context has shape \(\)"):
        density.sample(2, context=context)


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
    with pytest.warns(UserWarning, match=r"context: the columns \[0\] are constant"):
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
