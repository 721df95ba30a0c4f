"""Transformers of scikit-learn: their log-Jacobians by differences, their inverses."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy.stats import multivariate_normal, norm
from sklearn.base import BaseEstimator, clone
from sklearn.compose import (
    ColumnTransformer,
    make_column_selector,
    make_column_transformer,
)
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold, cross_validate
from sklearn.neighbors import KernelDensity
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import estimator_checks_generator
from sklearn.utils.fixes import parse_version

from skdensity_ar import MADEDensity, TransformedDensity
from skdensity_ar._bijections import inverse, log_slopes

BIJECTIONS = {
    "standard": StandardScaler(),
    "mean alone": StandardScaler(with_std=False),
    "scale alone": StandardScaler(with_mean=False),
    "range": MinMaxScaler((-3.0, 5.0)),
    "largest": MaxAbsScaler(),
    "robust": RobustScaler(),
    "robust, not scaled": RobustScaler(with_scaling=False),
    "Box-Cox": PowerTransformer("box-cox"),
    "Yeo-Johnson": PowerTransformer(),
    "Yeo-Johnson, not scaled": PowerTransformer(standardize=False),
    "PCA": PCA(),
    "whitened": PCA(whiten=True),
    "pipeline": make_pipeline(RobustScaler(), "passthrough", PCA(whiten=True)),
    "columns": ColumnTransformer(
        [("b", PowerTransformer(), [2, 0]), ("a", MinMaxScaler(), slice(3, 4))],
        remainder="passthrough",
    ),
    "pipeline of columns": make_pipeline(
        make_column_transformer(
            (PCA(whiten=True), [3, 1]),
            (StandardScaler(), [False, False, True, False]),
            remainder=RobustScaler(),
        ),
        PowerTransformer(),
    ),
}


def rows(n: int = 200, seed: int = 0) -> np.ndarray:
    z = np.random.default_rng(seed).normal(size=(n, 4))
    mixed = z @ np.array(
        [[1.0, 0.5, 0.0, 0.2], [0, 1, 0.3, 0], [0, 0, 1, 0.4], [0, 0, 0, 1]]
    )
    return np.exp(0.5 * mixed) * [1.0, 20.0, 0.1, 3.0]


def by_differences(transformer, x: np.ndarray) -> float:
    steps = 1e-6 * np.abs(x)
    ends = np.concatenate([x + np.diag(steps), x - np.diag(steps)])
    up, down = np.split(np.asarray(transformer.transform(ends)), 2)
    return np.linalg.slogdet((up - down) / (2.0 * steps[:, None]))[1]


@pytest.mark.parametrize("name", BIJECTIONS)
def test_the_log_jacobian_is_that_of_differences(name):
    transformer = BIJECTIONS[name].fit(rows())
    X = rows(20, 1)
    found = log_slopes(transformer, X).sum(1)
    expected = [by_differences(transformer, x) for x in X]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_yeo_johnson_has_another_slope_below_zero():
    X = rows() - np.median(rows(), 0)
    transformer = PowerTransformer().fit(X)
    found = log_slopes(transformer, X[:20]).sum(1)
    expected = [by_differences(transformer, x) for x in X[:20]]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", BIJECTIONS)
def test_the_inverse_leads_back(name):
    X = rows()
    transformer = BIJECTIONS[name].fit(X)
    np.testing.assert_allclose(inverse(transformer, transformer.transform(X)), X)


def test_columns_of_a_frame_are_named():
    frame = pd.DataFrame(rows(), columns=list("abcd"))
    transformer = ColumnTransformer(
        [
            ("x", PowerTransformer(), ["d", "a"]),
            ("y", PCA(whiten=True), slice("b", "c")),
        ]
    ).fit(frame)
    found = log_slopes(transformer, frame).sum(1)
    array = ColumnTransformer(
        [("x", PowerTransformer(), [3, 0]), ("y", PCA(whiten=True), [1, 2])]
    ).fit(rows())
    np.testing.assert_allclose(found, log_slopes(array, rows()).sum(1))
    np.testing.assert_allclose(
        inverse(transformer, transformer.transform(frame)), rows()
    )
    density = TransformedDensity(transformer, GaussianMixture()).fit(frame)
    drawn = density.sample(7, random_state=0)
    assert list(drawn.columns) == list("abcd")
    assert np.isfinite(density.score_samples(drawn)).all()


def test_missing_cells_have_no_share():
    X = rows()
    for name in ("standard", "range", "robust", "Yeo-Johnson"):
        transformer = BIJECTIONS[name].fit(X)
        cut = X[:5].copy()
        whole = log_slopes(transformer, cut).sum(1)
        cut[:, 1] = np.nan
        of_others = log_slopes(transformer, cut).sum(1)
        cut = X[:5].copy()
        cut[:, [0, 2, 3]] = np.nan
        np.testing.assert_allclose(
            of_others + log_slopes(transformer, cut).sum(1), whole
        )


REFUSED = [
    (QuantileTransformer(n_quantiles=20), "QuantileTransformer is not known to be a"),
    (MinMaxScaler(clip=True), "MinMaxScaler.clip=True. takes what lies outside"),
    (PCA(n_components=3), "PCA keeps 3 of 4 dimensions"),
    (make_pipeline(StandardScaler(), PCA(2)), "PCA keeps 2 of 4 dimensions"),
    (
        make_column_transformer((StandardScaler(), [0, 2])),
        r"drops the columns \[1, 3\]",
    ),
    (
        make_column_transformer(
            (StandardScaler(), [0, 1, 2]), (PowerTransformer(), [2, 3])
        ),
        r"takes the columns \[2\] twice",
    ),
]


REFUSED += [
    (
        ColumnTransformer([("a", FunctionTransformer(np.log, np.exp), [0, 1, 2, 3])]),
        "FunctionTransformer is not known",
    ),
    (
        ColumnTransformer(
            [("a", StandardScaler(), [0, 1, 2, 3])], transformer_weights={"a": 10.0}
        ),
        r"transformer_weights=...\) multiplies",
    ),
]


@pytest.mark.parametrize(("transformer", "message"), REFUSED)
def test_what_is_no_bijection_is_refused_and_leaves_nothing(transformer, message):
    density = TransformedDensity(transformer, GaussianMixture())
    with pytest.raises(ValueError, match=message):
        density.fit(rows())
    assert not hasattr(density, "transformer_")


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore:The optimal lambda")
@pytest.mark.parametrize("seed", range(4))
def test_a_power_that_makes_all_rows_one_is_refused(seed):
    X = 1e5 + np.random.default_rng(seed).normal(size=(300, 1))
    density = TransformedDensity(PowerTransformer("box-cox"), GaussianMixture())
    with pytest.raises(ValueError, match="PowerTransformer loses the column 0: of"):
        density.fit(X)
    scaled = make_pipeline(StandardScaler(), PowerTransformer())
    density = TransformedDensity(scaled, GaussianMixture()).fit(X)
    assert density.score(X) == pytest.approx(norm.logpdf(X - 1e5).mean(), abs=0.1)


def test_whitened_columns_near_no_number_are_refused():
    """scikit-learn divides by no less than 2e-16, and multiplies by what there is."""
    X = 1e-18 * rows()
    for unit in (1.0, 1e18):
        density = TransformedDensity(PCA(whiten=True), GaussianMixture())
        if unit == 1.0:
            with pytest.raises(ValueError, match="PCA loses the column"):
                density.fit(X)
        else:
            density.fit(unit * X)


def test_what_comes_back_is_seen_beside_a_far_value():
    rng = np.random.default_rng(0)
    years = rng.integers(1990, 2020, 300).astype(float)
    years[0] = 1e6
    X = np.column_stack([rng.lognormal(size=300), years])
    with pytest.raises(ValueError, match="PowerTransformer loses the column 1"):
        TransformedDensity(PowerTransformer(), GaussianMixture()).fit(X)


@pytest.mark.parametrize("dtype", ["Int64", "Float64", "boolean"])
def test_columns_that_may_hold_na_pass(dtype):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=60)})
    X["other"] = pd.array(rng.integers(0, 2, 60), dtype=dtype)
    X.loc[5:20, "other"] = pd.NA
    scaled = make_column_transformer((StandardScaler(), ["x"]), remainder="passthrough")
    density = MADEDensity(ordering="agnostic", max_iter=1, n_orderings=2)
    fitted = TransformedDensity(scaled, density).fit(X)
    assert np.isfinite(fitted.score_samples(X)).all()


def test_a_column_without_values_is_named():
    X = np.column_stack([rows(40)[:, 0], np.full(40, np.nan)])
    density = MADEDensity(ordering="agnostic", max_iter=1, n_orderings=2)
    with pytest.raises(ValueError, match="holds no value, all are missing"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            TransformedDensity(None, density).fit(X)


def test_a_constant_column_comes_back_and_a_stranger_is_named():
    X = np.column_stack([rows(40)[:, 0], np.full(40, 0.1), np.full(40, 1e9 / 3)])
    density = TransformedDensity(None, GaussianMixture(random_state=0)).fit(X)
    assert np.isfinite(density.score(X))

    class Stranger(BaseEstimator):  # no set_output
        def fit(self, X, y=None):
            return self

        def transform(self, X):
            return X

    alone, part = Stranger(), ColumnTransformer([("a", Stranger(), [0, 1, 2])])
    for transformer in (alone, part):
        for table in (X, pd.DataFrame(X)):
            with pytest.raises(ValueError, match="Stranger"):
                TransformedDensity(transformer, GaussianMixture()).fit(table)


@pytest.mark.parametrize(
    "make",
    [
        lambda X: X,
        lambda X: pd.DataFrame(X, columns=["a", "b"]),
        lambda X: pl.DataFrame(X, schema=["a", "b"]),
    ],
    ids=["numpy", "pandas", "polars"],
)
@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler()])
@pytest.mark.parametrize("constant", [7.0, 2.0**-100])
def test_a_constant_column_is_no_column_of_bits_once_it_is_transformed(
    make, scaler, constant
):
    X = np.column_stack([rows(60)[:, 0], np.full(60, constant)])
    density = MADEDensity(n_orderings=1, max_iter=2, random_state=0)
    asked = np.column_stack([X[:3, 0], constant * np.array([1.0, 1.5, 3.0])])
    with pytest.warns(UserWarning, match="are constant"):
        around = TransformedDensity(scaler, density).fit(make(X))
    scores = around.score_samples(make(asked))
    assert np.isfinite(scores[0])
    assert (scores[1:] == -np.inf).all()
    drawn = np.asarray(around.sample(50, random_state=0))
    assert (drawn[:, 1] == constant).all()
    assert around.lost_mass_ == 0.0
    # Bits that are asked for, or pass, stay bits.
    asked = clone(density).set_params(conditional={1: "bernoulli"})
    around = TransformedDensity(scaler, asked).fit(X)
    assert around.estimator_.base_measure_[1] == "counting"
    assert density.conditional == "auto"
    X[:, 1] = 1.0
    passed = ColumnTransformer([("a", StandardScaler(), [0])], remainder="passthrough")
    around = TransformedDensity(passed, density).fit(X)
    assert np.isfinite(around.score_samples([[0.0, 0.0]])).all()


@pytest.mark.parametrize("standardize", [True, False])
def test_rows_that_are_transformed_beyond_all_numbers(standardize):
    rng = np.random.default_rng(0)
    X = np.column_stack([-rng.exponential(size=60), rng.exponential(size=60)])
    power = PowerTransformer(standardize=standardize)
    density = MADEDensity(n_orderings=1, max_iter=2, random_state=0)
    density = TransformedDensity(power, density).fit(X)
    assert power.fit(X).lambdas_[0] > 2.0
    assert power.lambdas_[1] < 0.0
    far = [[1e300, 1.0], [0.0, 1.0], [0.0, -1e300], [1e99, 1.0], [1e300, 1.0]]
    scores = density.score_samples(far)
    assert np.isfinite(scores).tolist() == [False, True, False, True, False]
    assert (scores[[0, 2, 4]] == -np.inf).all()
    assert scores[1] == density.score_samples(far[1:2])[0]
    assert density.score_samples(far[:1]).tolist() == [-np.inf]
    with pytest.raises(ValueError, match=r"infinity \(-inf\) in column 1"):
        density.score_samples([[0.0, -np.inf]])
    nested = TransformedDensity(StandardScaler(), density).fit(X)
    scores = nested.score_samples(far)
    assert np.isfinite(scores).tolist() == [False, True, False, True, False]
    named = TransformedDensity(power, density.estimator)
    named.fit(pd.DataFrame(X, columns=["a", "b"]))
    with pytest.raises(
        ValueError, match=r"'a' holds '1\.5' where numbers are expected"
    ):
        named.score_samples(pd.DataFrame({"a": ["1.5"], "b": [1.0]}))
    box_cox = PowerTransformer("box-cox", standardize=standardize)
    positive = TransformedDensity(box_cox, GaussianMixture()).fit(X[:, 1:])
    with pytest.raises(ValueError, match="strictly positive"):
        positive.score_samples([[-1e300], [1.0]])


@pytest.mark.parametrize("container", [np.asarray, pd.DataFrame])
def test_narrow_floats_are_transformed_as_wide_ones(container):
    X = (1e4 + rows()).astype(np.float32)
    density = TransformedDensity(PCA(), GaussianMixture(random_state=0))
    expected = density.fit(X.astype(np.float64)).score(X.astype(np.float64))
    given = container(X)
    assert density.fit(given).score(given) == pytest.approx(expected, abs=1e-9)
    if container is pd.DataFrame:
        assert set(density.sample(3, random_state=0).dtypes) == {np.dtype("float32")}


NO_NUMBERS = [
    (np.ma.array(np.ones((40, 2)), mask=False), "masked array"),
    (np.ones((40, 2)).astype(str), "array of strings"),
    (np.ones((40, 2)).astype("datetime64[s]"), "dates or durations"),
    (
        pd.DataFrame({"a": np.ones(40), "when": pd.date_range("2020", periods=40)}),
        "Column 'when' has dtype datetime",
    ),
]


@pytest.mark.parametrize(("X", "message"), NO_NUMBERS)
def test_what_holds_no_numbers_is_refused(X, message):
    with pytest.raises((TypeError, ValueError), match=message):
        TransformedDensity(None, GaussianMixture()).fit(X)


@pytest.mark.parametrize("output", ["pandas", "polars"])
def test_arrays_stay_arrays_whatever_scikit_learn_is_set_to(output):
    density = TransformedDensity(None, GaussianMixture(random_state=0))
    expected = density.fit(rows()).score_samples(rows())
    with sklearn.config_context(transform_output=output):
        found = density.fit(rows()).score_samples(rows())
        assert isinstance(density.sample(2), np.ndarray)
    np.testing.assert_array_equal(found, expected)


def test_rows_weigh_in_the_score():
    X, weights = rows(60), np.arange(60) % 4
    density = TransformedDensity(None, GaussianMixture(random_state=0)).fit(X)
    expected = density.score(np.repeat(X, weights, axis=0))
    assert density.score(X, sample_weight=weights) == pytest.approx(expected)
    folds = {"cv": KFold(2), "params": {"sample_weight": weights}}
    with sklearn.config_context(enable_metadata_routing=True):
        density = density.set_score_request(sample_weight=True)
        found = cross_validate(density, X, **folds)["test_score"]
    again = [
        density.fit(X[a]).score(X[b], None, weights[b]) for a, b in KFold(2).split(X)
    ]
    np.testing.assert_allclose(found, again)


def test_a_density_that_does_not_draw_says_so():
    with pytest.raises(NotImplementedError, match="does not draw rows, which Trans"):
        TransformedDensity(None, KernelDensity(kernel="epanechnikov")).fit(rows())


def test_validation_rows_of_another_name_are_transformed():
    X, held = rows(60) * 100.0 + 1e4, rows(20) * 100.0 + 1e4
    density = MADEDensity(max_iter=2, n_orderings=1, random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        plain = TransformedDensity(None, clone(density).set_fit_request(X_val=True))
        other = TransformedDensity(None, clone(density).set_fit_request(X_val="held"))
        expected = plain.fit(X, X_val=held).estimator_.validation_scores_
        assert other.fit(X, held=held).estimator_.validation_scores_ == expected
        asks = TransformedDensity(None, clone(density).set_fit_request(context="c"))
        with pytest.raises(ValueError, match="asks its density of rows alone"):
            asks.fit(X, c=X[:, 0])


@pytest.mark.filterwarnings("ignore:.* does not reach all values")
@pytest.mark.parametrize("name", BIJECTIONS)
def test_a_density_is_transformed_to_one(name):
    """The average of 1 / p(x) q(x) over draws is 1 for every density q in reach."""
    X = rows(400)
    density = TransformedDensity(BIJECTIONS[name], GaussianMixture(random_state=0))
    density.fit(X)
    drawn = density.sample(20000, random_state=1)
    assert not np.array_equal(drawn, density.sample(20000, random_state=2))
    center, spread = np.median(X, 0), 0.15 * X.std(0)
    q = multivariate_normal(center, np.diag(spread**2))
    weights = np.exp(q.logpdf(drawn) - density.score_samples(drawn))
    mass = 1.0 - density.lost_mass_
    close = 5.0 * weights.std() / np.sqrt(len(drawn)) + 5.0 * np.sqrt(1.0 - mass) / 45.0
    assert weights.mean() * mass == pytest.approx(1.0, abs=close)


def test_mass_that_no_row_is_transformed_to_is_told_of():
    X = np.random.default_rng(0).pareto(1.0, size=(300, 1))
    density = TransformedDensity(PowerTransformer(), GaussianMixture())
    with pytest.warns(UserWarning, match=r"about \d.*% of the density's mass lie"):
        density.fit(X)
    z = density.estimator_.sample(20000)[0]
    end = density.transformer_.transform([[1e30]])
    assert density.lost_mass_ == pytest.approx(np.mean(z > end), abs=0.006)
    assert np.isfinite(density.sample(500, random_state=0)).all()


def test_scores_are_in_the_units_of_the_rows():
    X = rows(500)
    mixture = GaussianMixture(random_state=0)
    plain = mixture.fit(X).score_samples(X)
    for name in ("standard", "range", "PCA", "whitened"):
        moved = TransformedDensity(BIJECTIONS[name], mixture).fit(X)
        np.testing.assert_allclose(moved.score_samples(X), plain, rtol=1e-3, atol=1e-2)
        assert moved.score(X) == pytest.approx(plain.mean(), abs=1e-2)


def test_missing_cells_reach_a_density_that_takes_them():
    X = np.log(rows())
    X[::3, 1] = np.nan
    inside = MADEDensity(ordering="agnostic", max_iter=2, n_orderings=2, random_state=0)
    density = TransformedDensity(StandardScaler(), inside).fit(X)
    scores = density.score_samples(X)
    assert np.isfinite(scores).all()
    scaled = density.estimator_.score_samples(density.transformer_.transform(X))
    each = np.log(density.transformer_.scale_)
    np.testing.assert_allclose(scores, scaled - ~np.isnan(X) @ each)
    with pytest.raises(ValueError, match="Input X contains NaN"):
        TransformedDensity(StandardScaler(), GaussianMixture()).fit(X)


@pytest.mark.parametrize("whiten", [False, True])
def test_columns_that_depend_on_each_other_have_no_density(whiten):
    X = rows()
    X[:, 3] = X[:, 0] - 2.0 * X[:, 1]
    with pytest.raises(ValueError, match="PCA keeps 3 of 4 dimensions"):
        TransformedDensity(PCA(whiten=whiten), GaussianMixture()).fit(X)


def test_an_identity_passes_columns_through():
    transformer = make_column_transformer(
        (FunctionTransformer(), [0, 2]), (StandardScaler(), [1, 3])
    )
    X = rows()
    found = log_slopes(transformer.fit(X), X)
    each = -np.log(transformer.named_transformers_["standardscaler"].scale_)
    np.testing.assert_allclose(found, np.tile(np.r_[0.0, 0.0, each], (len(X), 1)))


SMALL = MADEDensity((8,), n_orderings=2, max_iter=3, random_state=0)


def test_masses_do_not_stretch():
    rng = np.random.default_rng(0)
    two = rng.choice([3.0, 8.0], 200)[:, None]
    density = TransformedDensity(MinMaxScaler(), SMALL).fit(two)
    p = np.exp(density.score_samples([[3.0], [8.0]]))
    assert p.sum() == pytest.approx(1.0, abs=1e-5)
    nested = TransformedDensity(StandardScaler(), density).fit(two)
    np.testing.assert_allclose(
        nested.score_samples([[3.0], [8.0]]), np.log(p), atol=0.1
    )
    inside = clone(SMALL).set_params(atoms={0: 0.0})
    spike = np.where(rng.random(300) < 0.4, 0.0, rng.gamma(2.0, 100.0, 300))[:, None]
    density = TransformedDensity(MaxAbsScaler(), inside).fit(spike)
    grid = np.linspace(-3000.0, 6000.0, 60000)
    rest = np.trapezoid(np.exp(density.score_samples(grid[:, None])), grid)
    mass = np.exp(density.score_samples([[0.0]]))[0]
    assert mass == pytest.approx(0.4, abs=0.1)
    assert mass + rest == pytest.approx(1.0, abs=2e-3)
    # Columns change places, and one of three has masses.
    X = np.column_stack([two[:, 0], rng.normal(size=(200, 2)) * [5.0, 0.2]])
    transformer = make_column_transformer(
        (PCA(whiten=True), [2, 1]), (MinMaxScaler(), [0])
    )
    density = TransformedDensity(transformer, SMALL).fit(X)
    inside = density.estimator_.score_samples(density.transformer_.transform(X))
    whitened = density.transformer_.named_transformers_["pca"].explained_variance_
    np.testing.assert_allclose(
        density.score_samples(X), inside - 0.5 * np.log(whitened).sum()
    )


def test_masses_are_not_mixed():
    half = np.random.default_rng(0).integers(-9, 10, (100, 2)).astype(float)
    X = np.concatenate([half, -half, np.zeros((100, 2))])  # their mean is 0
    inside = clone(SMALL).set_params(atoms={1: 0.0})
    with pytest.raises(ValueError, match="column 1 of what a PCA mixes"):
        TransformedDensity(PCA(), inside).fit(X)


def test_validation_rows_are_transformed():
    X = 1000.0 + 100.0 * rows(300)
    density = TransformedDensity(StandardScaler(), SMALL).fit(X[:200], X_val=X[200:])
    scaler = density.transformer_
    expected = clone(SMALL).fit(
        scaler.transform(X[:200]), X_val=scaler.transform(X[200:])
    )
    inside = density.estimator_
    np.testing.assert_array_equal(
        inside.validation_scores_, expected.validation_scores_
    )


def test_booleans_of_a_scaled_column_are_drawn_as_such():
    frame = mixed_frame()[["pay", "old"]]
    for dtype in ("bool", "boolean"):
        density = TransformedDensity(StandardScaler(), SMALL)
        drawn = density.fit(frame.astype({"old": dtype})).sample(300, random_state=0)
        assert str(drawn["old"].dtype) == dtype
        assert 0.1 < drawn["old"].mean() < 0.5


def test_tags_say_what_takes_missing_cells():
    inside = MADEDensity(ordering="agnostic")
    expected = {
        "standard": True,
        "Yeo-Johnson": True,
        "columns": True,
        "PCA": False,
        "pipeline": False,
        "pipeline of columns": False,
    }
    for name, takes in expected.items():
        density = TransformedDensity(BIJECTIONS[name], inside)
        assert get_tags(density).input_tags.allow_nan == takes
        outside = TransformedDensity(BIJECTIONS[name], MADEDensity())
        assert not get_tags(outside).input_tags.allow_nan


@pytest.mark.parametrize("container", [pd.Series, pl.Series, np.array])
def test_a_single_column_must_be_a_table(container):
    with pytest.raises(
        ValueError, match=r"Expected (2D array|a 2-dimensional container)"
    ):
        TransformedDensity().fit(container([1.0, 2.0, 3.0]))


def mixed_frame(container: str = "pandas"):
    rng = np.random.default_rng(0)
    columns = {
        "who": rng.choice(["ann", "bob"], 300).astype(object),
        "pay": rng.lognormal(3.0, 1.0, 300),
        "old": rng.random(300) < 0.3,
        "age": rng.integers(20, 70, 300),
    }
    columns["pay"][columns["old"]] *= 5.0
    columns["who"][columns["old"]] = "bob"
    return pd.DataFrame(columns) if container == "pandas" else pl.DataFrame(columns)


OF_NUMBERS = make_column_transformer(
    (PowerTransformer("box-cox"), ["pay"]),
    (StandardScaler(), ["age"]),
    remainder="passthrough",
)


POLARS = pytest.param(
    "polars",
    marks=pytest.mark.skipif(
        parse_version(sklearn.__version__) < parse_version("1.9"),
        reason="scikit-learn < 1.9 finds no column of polars by its name",
    ),
)


@pytest.mark.parametrize("container", ["pandas", POLARS])
def test_labels_pass_a_transformer_of_the_other_columns(container):
    frame = mixed_frame(container)
    density = TransformedDensity(OF_NUMBERS, SMALL).fit(frame)
    kinds = density.estimator_.base_measure_
    assert list(kinds) == [
        "powertransformer__pay",
        "standardscaler__age",
        "remainder__who",
        "remainder__old",
    ]
    assert list(kinds.values()) == ["Lebesgue", "Lebesgue", "counting", "counting"]
    drawn = density.sample(50, random_state=0)
    assert type(drawn) is type(frame)
    assert list(drawn.columns) == list(frame.columns)
    assert list(drawn.dtypes) == list(frame.dtypes)
    assert set(drawn["who"]) == {"ann", "bob"}
    # By hand: the logarithm of pay's slope and the spread of age.
    power, scaler = (t for _, t, _ in density.transformer_.transformers_[:2])
    slope = (power.lambdas_[0] - 1.0) * np.log(frame["pay"].to_numpy())
    slope = slope - np.log(power._scaler.scale_[0]) - np.log(scaler.scale_[0])
    inside = density.estimator_.score_samples(density.transformer_.transform(frame))
    np.testing.assert_allclose(density.score_samples(frame), inside + slope)


def test_masses_of_labels_and_density_of_numbers_make_one():
    """Sums over labels and quadrature over a transformed column."""
    frame = mixed_frame()[["who", "pay", "old"]]
    transformer = make_column_transformer(
        (PowerTransformer("box-cox"), ["pay"]), remainder="passthrough"
    )
    density = TransformedDensity(transformer, SMALL).fit(frame)
    log_pay = np.linspace(-12.0, 18.0, 20001)
    total = 0.0
    for who in ("ann", "bob"):
        for old in (False, True):
            rows = pd.DataFrame({"who": who, "pay": np.exp(log_pay), "old": old})
            p = np.exp(density.score_samples(rows) + log_pay)
            total += np.trapezoid(p, log_pay)
    assert total == pytest.approx(1.0 - density.lost_mass_, abs=2e-3)


def test_missing_labels_and_numbers_pass():
    frame = mixed_frame()
    frame.loc[::3, "who"] = None
    frame["age"] = frame["age"].astype("Int64")
    frame.loc[1::3, "age"] = pd.NA
    inside = clone(SMALL).set_params(ordering="agnostic")
    density = TransformedDensity(OF_NUMBERS, inside).fit(frame)
    assert np.isfinite(density.score_samples(frame)).all()
    known = frame.assign(age=frame["age"].fillna(30))
    of_age = density.score_samples(known) - density.score_samples(
        known.assign(age=pd.array([pd.NA] * 300, dtype="Int64"))
    )
    age = density.estimator_.score_samples(density.transformer_.transform(known))
    unknown = density.transformer_.transform(known).assign(standardscaler__age=np.nan)
    age = age - density.estimator_.score_samples(unknown)
    scale = density.transformer_.named_transformers_["standardscaler"].scale_[0]
    np.testing.assert_allclose(of_age, age - np.log(scale), atol=1e-5)


def test_columns_of_frames_may_go_by_numbers_and_be_selected_by_dtype():
    frame = mixed_frame()
    frame.columns = range(4)
    chosen = make_column_selector(dtype_include=np.number)
    transformer = make_column_transformer(
        (StandardScaler(), chosen), remainder="passthrough"
    )
    drawn = TransformedDensity(transformer, SMALL).fit(frame).sample(5, random_state=0)
    assert list(drawn.columns) == [0, 1, 2, 3]
    assert list(drawn.dtypes) == list(frame.dtypes)


def test_a_transformer_that_takes_no_labels_is_told_how_to():
    density = TransformedDensity(StandardScaler(), SMALL)
    with pytest.raises(ValueError, match=r"\['who'\] hold labels: .*ColumnTransformer"):
        density.fit(mixed_frame())
    assert not hasattr(density, "transformer_")


CHECKED = TransformedDensity(
    estimator=MADEDensity((4,), n_orderings=2, max_iter=2, device="cpu", random_state=0)
)


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pytest.param(e, check, id=check.func.__name__)
        for e, check in estimator_checks_generator(CHECKED)
    ],
)
def test_check_estimator(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


def test_labels_are_named_only_where_they_are_the_trouble():
    X = pd.DataFrame({"label": ["a", "b"] * 20, "x": np.linspace(-1.0, 1.0, 40)})
    power = make_column_transformer(
        (PowerTransformer("box-cox"), ["x"]), remainder="passthrough"
    )
    with pytest.raises(ValueError, match="strictly positive") as raised:
        TransformedDensity(power, MADEDensity()).fit(X)
    assert "label" not in str(raised.value)
