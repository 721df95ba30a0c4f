"""Conditionals, draws of missing cells, imputation, explanations of tables."""

import itertools

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.stats import cauchy, multivariate_normal, norm
from sklearn.exceptions import NotFittedError

from skdensity_ar import (
    DensityOutlierDetector,
    MADEDensity,
    NADEDensity,
    RNADEDensity,
)
from tests.small import mixed_frame, small

COVARIANCE = np.array([[1.0, 0.8, 0.1], [0.8, 1.0, 0.5], [0.1, 0.5, 1.0]])
MEAN = np.array([3.0, -2.0, 10.0])


def rows(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).multivariate_normal(MEAN, COVARIANCE, n)


def holes(X: np.ndarray, share: float = 0.4, seed: int = 0) -> np.ndarray:
    missing = np.random.default_rng(seed).random(X.shape) < share
    return np.where(missing, np.nan, X)


@pytest.fixture(scope="module")
def agnostic():
    """Knows rows of a Gaussian, some cells of which were missing."""
    density = MADEDensity(
        ordering="agnostic", n_orderings=4, max_iter=100, random_state=0
    )
    return density.fit(holes(rows(1500, 0), 0.2))


@pytest.fixture(scope="module")
def in_order():
    return MADEDensity(n_orderings=1, max_iter=20, random_state=0).fit(rows(4000, 0))


def conditional(row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the missing cells of a row given the others."""
    m, k = np.isnan(row), ~np.isnan(row)
    gain = COVARIANCE[np.ix_(m, k)] @ np.linalg.inv(COVARIANCE[np.ix_(k, k)])
    left = COVARIANCE[np.ix_(m, m)] - gain @ COVARIANCE[np.ix_(k, m)]
    return MEAN[m] + gain @ (row[k] - MEAN[k]), left


# Conditional densities ----------------------------------------------------------------


@pytest.mark.parametrize("given", [[0], [1, 2], [2, 0]])
def test_the_density_given_columns_is_that_of_the_gaussian(agnostic, given):
    X = rows(300, 1)
    rest = [d for d in range(3) if d not in given]
    joint = multivariate_normal(MEAN, COVARIANCE).logpdf(X)
    S = COVARIANCE[np.ix_(given, given)]
    exact = joint - multivariate_normal(MEAN[given], S).logpdf(X[:, given])
    found = agnostic.score_samples(X, given=given)
    assert np.abs(found - exact).mean() < 0.3
    # Its integral over the last column left, on a grid.
    row, d = X[:1].repeat(2001, 0), rest[-1]
    row[:, d] = np.linspace(-12.0, 12.0, 2001) + MEAN[d]
    others = [c for c in range(3) if c != d]
    density = np.exp(agnostic.score_samples(row, given=others))
    assert np.trapezoid(density, row[:, d]) == pytest.approx(1.0, abs=1e-3)


def test_what_is_given_may_be_missing_in_some_rows(agnostic):
    X = holes(rows(50, 2))
    found = agnostic.score_samples(X, given=0)
    for there, given in ((True, [0]), (False, None)):
        which = ~np.isnan(X[:, 0]) == there
        alone = agnostic.score_samples(X[which], given=given)
        np.testing.assert_allclose(found[which], alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "given", [[0], [0, 1], 0, np.array([True, True, False]), [np.int64(1), 0]]
)
def test_columns_that_come_first_are_given_exactly(in_order, given):
    X = rows(200, 1)
    found = in_order.score_samples(X, given=given)
    columns = np.atleast_1d(given)
    columns = np.flatnonzero(columns) if columns.dtype == bool else columns
    others = in_order.score_features(X)[:, [d for d in range(3) if d not in columns]]
    np.testing.assert_allclose(found, others.sum(1), rtol=1e-6, atol=1e-6)


def test_columns_that_do_not_come_first_are_refused(in_order):
    with pytest.raises(ValueError, match=r"given=\[1\] do not come before"):
        in_order.score_samples(rows(5, 0), given=[1])
    with pytest.raises(ValueError, match="given names the column 'z', which X does"):
        in_order.score_samples(rows(5, 0), given="z")
    for wrong in (-1, 3, True, [True, False], 1.5):
        with pytest.raises(
            ValueError, match=r"given names the column .*, which X does"
        ):
            in_order.score_samples(rows(5, 0), given=wrong)


def test_an_ensemble_in_one_order_is_the_quotient_of_two_averages():
    X, order = rows(300, 0), [2, 0, 1]
    density = RNADEDensity(ordering=order, n_orderings=1, max_iter=5, random_state=0)
    density.fit(X)
    grid = X[:1].repeat(4001, 0)
    grid[:, 1] = np.linspace(-15.0, 15.0, 4001) + MEAN[1]
    p = np.exp(density.score_samples(grid, given=[0, 2]))
    assert np.trapezoid(p, grid[:, 1]) == pytest.approx(1.0, abs=1e-3)


# Explanations -------------------------------------------------------------------------


@pytest.mark.parametrize("n_orderings", [1, 3])
@pytest.mark.parametrize("ordering", ["natural", "agnostic"])
def test_shares_of_columns_sum_to_the_score(ordering, n_orderings):
    X = rows(200, 0) @ np.diag([1e-3, 1.0, 50.0])
    X[:, 1] = X[:, 0] + 1e-5 * X[:, 1]  # is replaced by what is left of it
    density = MADEDensity(
        ordering=ordering, n_orderings=n_orderings, max_iter=3, random_state=0
    ).fit(X)
    assert (density.module_.residuals is None) == (ordering == "agnostic")
    shares, remainder = density.score_features(X, return_remainder=True)
    assert shares.shape == X.shape
    np.testing.assert_allclose(shares.sum(1), density.score_samples(X), atol=1e-6)
    assert (remainder >= 0.0).all()
    assert remainder.max() > 0.0 if n_orderings > 1 else remainder.max() < 1e-9


def test_missing_cells_have_no_share(agnostic):
    X = holes(rows(60, 3))
    shares = agnostic.score_features(X)
    assert (shares[np.isnan(X)] == 0.0).all()
    np.testing.assert_allclose(shares.sum(1), agnostic.score_samples(X), atol=1e-6)


@pytest.mark.parametrize("name", mixed_frame().columns)
def test_a_column_of_which_no_cell_is_known(name):
    X = mixed_frame()
    density = MADEDensity(ordering="agnostic", max_iter=1, random_state=0).fit(X)
    cut = X.iloc[:4].copy()
    cut[name] = pd.Series([None] * 4, dtype=object)
    shares = density.score_features(cut)
    assert (shares[:, X.columns.get_loc(name)] == 0.0).all()
    np.testing.assert_allclose(shares.sum(1), density.score_samples(cut), atol=1e-6)
    assert not pd.isna(density.impute(cut)[name]).any()


def test_the_share_of_a_wrong_cell_is_the_smallest(agnostic):
    X = rows(100, 4)
    wrong = np.random.default_rng(0).integers(0, 3, len(X))
    X[np.arange(len(X)), wrong] += 8.0
    guilty = agnostic.score_features(X).argmin(1)
    assert np.mean(guilty == wrong) > 0.9


TABLES_GIVEN_OTHERS = {
    "reals": lambda: (holes(rows(120, 0) @ np.diag([1e-3, 1.0, 50.0]), 0.2), {}),
    "bits": lambda: (holes(rows(120, 0) > MEAN, 0.2), {}),
    "mixed": lambda: (mixed_frame(120), {}),
    "bounded": lambda: (
        np.maximum(rows(120, 0) - MEAN, 0.0),
        {"bounds": {0: (0, None), 1: (-1.0, None)}, "atoms": {0: 0.0}},
    ),
}


@pytest.mark.parametrize("networks", [{}, {"n_orderings": 3, "n_networks": 2}])
@pytest.mark.parametrize("table", TABLES_GIVEN_OTHERS)
def test_every_column_given_all_others(table, networks):
    X, params = TABLES_GIVEN_OTHERS[table]()
    density = MADEDensity(
        ordering="agnostic", max_iter=3, random_state=0, **params, **networks
    ).fit(X)
    found = density.score_features(X, given="others")
    everything = range(X.shape[1])
    for d in everything:
        one = density.score_samples(X, given=[c for c in everything if c != d])
        np.testing.assert_allclose(found[:, d], one, rtol=1e-5, atol=1e-5)
    assert (found[pd.isna(np.asarray(X, dtype=object))] == 0.0).all()
    detector = DensityOutlierDetector(density)
    detector.estimator_ = density
    np.testing.assert_array_equal(detector.score_features(X, given="others"), found)


def test_bits_given_all_others_are_those_of_the_networks():
    X = (rows(200, 0) > MEAN).astype(float)
    density = NADEDensity(ordering="agnostic", max_iter=5, random_state=0).fit(X)
    every_row = np.array(list(itertools.product([0.0, 1.0], repeat=3)))
    p = np.exp(density.score_features(every_row, given="others"))
    x, module = torch.from_numpy(every_row).float(), density.module_
    for d in range(3):
        known = torch.ones_like(x, dtype=torch.bool)
        known[:, d] = False
        logits = module.cell_params(x, known).detach()[..., d]  # (E, n)
        of_one = logits.sigmoid().mean(0).numpy()
        expected = np.where(every_row[:, d] == 1.0, of_one, 1.0 - of_one)
        np.testing.assert_allclose(p[:, d], expected, rtol=1e-5)
        # The two values of a bit, all others the same, make one.
        pairs = p[:, d].reshape([2] * 3).sum(d)
        np.testing.assert_allclose(pairs, 1.0, rtol=1e-6)


def test_columns_given_all_others_under_a_context():
    X, label = rows(80, 0), np.array(["a", "b"] * 40)
    density = MADEDensity(ordering="agnostic", max_iter=2, random_state=0)
    density.fit(X, context=label)
    found = density.score_features(X, given="others", context=label)
    one = density.score_samples(X, given=[0, 2], context=label)
    np.testing.assert_allclose(found[:, 1], one, rtol=1e-5, atol=1e-5)


def test_what_cannot_be_given_to_columns(in_order, agnostic):
    X = rows(5, 0)
    with pytest.raises(ValueError, match=r"given='others'\) needs .*'agnostic'"):
        in_order.score_features(X, given="others")
    for wrong in ("all", [0, 1], np.array([0, 1])):
        with pytest.raises(ValueError, match="given must be None or 'others', got"):
            agnostic.score_features(X, given=wrong)
    with pytest.raises(ValueError, match="so there is no remainder"):
        agnostic.score_features(X, given="others", return_remainder=True)


# Draws and imputation -----------------------------------------------------------------


def test_draws_of_missing_cells_are_those_of_the_gaussian(agnostic):
    for row in ([4.0, np.nan, 10.5], [np.nan, -1.5, np.nan], [np.nan] * 3):
        row = np.array(row)
        draws = agnostic.sample_conditional(row[None], 4000, random_state=0)
        assert draws.shape == (1, 4000, 3)
        missing = np.isnan(row)
        assert (draws[0][:, ~missing] == row[~missing]).all()
        mean, covariance = conditional(row)
        drawn = draws[0][:, missing]
        # Two or three draws of 10 000 are of the background, which has no moments.
        far = np.abs(drawn - mean) > 8.0 * np.sqrt(np.diag(np.atleast_2d(covariance)))
        assert far.any(1).mean() < 1e-3
        drawn = drawn[~far.any(1)]
        np.testing.assert_allclose(drawn.mean(0), mean, atol=0.15)
        np.testing.assert_allclose(np.cov(drawn.T), covariance.squeeze(), atol=0.2)
    assert np.array_equal(
        agnostic.sample_conditional(row[None], 3, random_state=1),
        agnostic.sample_conditional(row[None], 3, random_state=1),
    )


@pytest.mark.parametrize("strategy", ["mean", "median", "mode", "sample"])
def test_imputed_cells_are_those_of_the_gaussian(agnostic, strategy):
    X = holes(rows(300, 5))
    filled = agnostic.impute(X, strategy, random_state=0)
    known = ~np.isnan(X)
    assert (filled[known] == X[known]).all()
    assert not np.isnan(filled).any()
    exact = X.copy()
    for i, row in enumerate(X):
        if not known[i].all():
            exact[i, ~known[i]] = conditional(row)[0]
    off = np.sqrt(np.mean((filled - exact)[~known] ** 2))
    if strategy == "sample":
        spread = [np.trace(conditional(row)[1]) for row in X[~known.all(1)]]
        assert off == pytest.approx(np.sqrt(np.sum(spread) / (~known).sum()), rel=0.2)
    else:
        assert off < (0.4 if strategy == "mode" else 0.2)


@pytest.mark.parametrize("strategy", ["mean", "median", "mode", "sample"])
@pytest.mark.parametrize("container", ["pandas", "polars"])
def test_a_frame_is_filled_as_a_frame(container, strategy):
    frame = mixed_frame(80)
    missing = np.random.default_rng(0).random(frame.shape) < 0.3
    cut = frame.mask(missing)
    cut.index = np.arange(80) % 7  # labels of rows that are not unique
    assert set(map(tuple, np.argwhere(missing))) == set(
        map(tuple, np.argwhere(cut.isna()))
    )
    if container == "polars":
        cut = pl.DataFrame(
            {
                name: [None if pd.isna(v) else v for v in cut[name].astype(object)]
                for name in cut
            },
            strict=False,
        )
    density = MADEDensity(ordering="agnostic", max_iter=2, random_state=0).fit(cut)
    filled = density.impute(cut, strategy, random_state=0)
    assert type(filled) is type(cut)
    assert list(filled.dtypes) == list(cut.dtypes)
    cells = np.array([filled[name].to_list() for name in frame], dtype=object).T
    assert not pd.isna(cells).any()
    before = np.array([cut[name].to_list() for name in frame], dtype=object).T
    assert (cells == before)[~missing].all()
    for j, name in enumerate(frame):
        if not pd.api.types.is_float_dtype(frame[name].dtype):
            if not pd.api.types.is_integer_dtype(frame[name].dtype):
                assert set(cells[:, j]) <= set(before[~missing[:, j], j])


def test_binary_cells_are_filled_with_what_is_likelier():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (600, 3)).astype(float)
    X[:, 2] = np.where(rng.random(600) < 0.95, X[:, 0], 1 - X[:, 0])
    density = NADEDensity(ordering="agnostic", max_iter=60, random_state=0).fit(X)
    cut = X.copy()
    cut[:, 2] = np.nan
    for strategy in ("mean", "median", "mode"):
        assert np.array_equal(density.impute(cut, strategy)[:, 2], X[:, 0])
    drawn = density.sample_conditional(cut[:1], 2000, random_state=0)[0, :, 2]
    assert np.mean(drawn == X[0, 0]) == pytest.approx(0.95, abs=0.04)


def test_questions_that_cannot_be_answered(in_order, agnostic):
    X = holes(rows(5, 0))
    for ask in (in_order.impute, in_order.sample_conditional):
        with pytest.raises(ValueError, match="ordering='agnostic' has; fit with it"):
            ask(X)
    with pytest.raises(ValueError, match=r"strategy must be one of .* got 'most'"):
        agnostic.impute(X, "most")
    with pytest.raises(TypeError, match="n_samples must be an integer >= 1"):
        agnostic.sample_conditional(X, 2.5)
    fresh = MADEDensity(ordering="agnostic")
    for ask in (fresh.impute, fresh.sample_conditional, fresh.score_features):
        with pytest.raises(NotFittedError):
            ask(X)


# One column given the others ----------------------------------------------------------


def truth(X: np.ndarray, d: int):
    """The Gaussian of column d given the other known cells of every row."""
    cut = X.copy()
    cut[:, d] = np.nan
    mean, std = np.empty(len(X)), np.empty(len(X))
    for i, row in enumerate(cut):
        m, S = conditional(row)
        at = np.flatnonzero(np.isnan(row)).tolist().index(d)
        mean[i], std[i] = m[at], np.sqrt(S[at, at])
    return norm(mean, std)


@pytest.mark.parametrize("which", ["agnostic", "in_order"])
def test_shares_below_and_quantiles_are_those_of_the_gaussian(which, request):
    density = request.getfixturevalue(which)
    X = rows(300, 6)
    if which == "agnostic":
        X = holes(X, 0.2)
        X[:, 2] = rows(300, 6)[:, 2]
    exact = truth(X, 2)
    cdf = density.cdf(X, 2)
    assert np.abs(cdf - exact.cdf(X[:, 2])).mean() < 0.06
    q = np.array([0.05, 0.5, 0.9])
    found = density.quantile(X, 2, q)
    assert found.shape == (300, 3)
    expected = np.column_stack([exact.ppf(p) for p in q])
    assert np.abs(found - expected).mean() < 0.3
    assert density.quantile(X[:7], 2, 0.3).shape == (7,)
    # Each undoes the other, whatever stood in the column before.
    for j, p in enumerate(q):
        at = X.copy()
        at[:, 2] = found[:, j]
        np.testing.assert_allclose(density.cdf(at, 2), p, atol=1e-5)
        at[:, 2] = np.nan
        np.testing.assert_array_equal(density.quantile(at, 2, p), found[:, j])
        assert np.isnan(density.cdf(at, 2)).all()
    # A row by itself is answered likewise.
    assert density.cdf(X[5:6], 2)[0] == cdf[5]


def test_the_share_below_is_the_integral_of_the_density(in_order):
    X = rows(3, 7)
    for row, share in zip(X, in_order.cdf(X, 2), strict=True):
        grid = row[None].repeat(20001, 0)
        grid[:, 2] = np.linspace(-60.0, row[2], 20001)
        p = np.exp(in_order.score_samples(grid, given=[0, 1]))
        # The Cauchy background has 1e-4 of mass, some of it further out.
        assert np.trapezoid(p, grid[:, 2]) == pytest.approx(share, abs=2e-5)


def test_the_share_below_is_that_of_the_density_given_others(agnostic):
    row = rows(1, 8)
    grid = row.repeat(20001, 0)
    grid[:, 0] = np.linspace(-60.0, row[0, 0], 20001)
    p = np.exp(agnostic.score_samples(grid, given=[1, 2]))
    share = agnostic.cdf(row, 0)[0]
    assert np.trapezoid(p, grid[:, 0]) == pytest.approx(share, abs=2e-5)


def test_members_are_weighed_by_what_they_say_of_the_others():
    X = rows(400, 0)[:, :2]
    X[:, 1] = 0.999 * X[:, 0] + 0.01 * X[:, 1]  # is replaced by what is left of it
    density = RNADEDensity(n_orderings=2, max_iter=10, random_state=1)
    while True:  # orderings are drawn: have the column last in all of them
        density.fit(X)
        if (density.ordering_[:, -1] == 1).all():
            break
        density.random_state += 1
    assert density.module_.residuals is not None
    x_0, cdf = X[:2], density.cdf(X[:2], 1)
    for row, share in zip(x_0, cdf, strict=True):
        grid = row[None].repeat(200001, 0)
        grid[:, 1] = np.linspace(row[1] - 60.0, row[1], 200001)
        p = np.exp(density.score_samples(grid, given=[0]))
        assert np.trapezoid(p, grid[:, 1]) == pytest.approx(share, abs=1e-4)
    at = np.column_stack([X[:50, 0], density.quantile(X[:50], 1, 0.3)])
    np.testing.assert_allclose(density.cdf(at, 1), 0.3, atol=1e-4)


@pytest.mark.parametrize("ordering", ["agnostic", "last"])
def test_columns_of_every_kind_with_an_order(ordering):
    rng = np.random.default_rng(0)
    n = 200
    frame = pd.DataFrame(
        {
            "rate": rng.beta(2.0, 3.0, n),
            "rain": np.where(rng.random(n) < 0.4, 0.0, rng.gamma(2.0, 1.0, n)),
            "visits": rng.poisson(3.0, n),
            "grade": pd.Categorical(
                rng.choice(["low", "mid", "high"], n),
                categories=["low", "mid", "high"],
                ordered=True,
            ),
            "tagged": rng.random(n) < 0.3,
            "species": rng.choice(["a", "b"], n),
        }
    )
    choices = {
        "conditional": {"visits": "count"},
        "bounds": {"rate": (0.0, 1.0), "rain": (0.0, None)},
        "atoms": {"rain": 0.0},
        "max_iter": 3,
        "random_state": 0,
        "hidden_layer_sizes": (8,),
    }
    for j, name in enumerate(frame.columns[:-1]):
        if ordering == "agnostic":
            how = {"ordering": "agnostic", "n_orderings": 2}
        else:
            last = [c for c in range(6) if c != j] + [j]
            how = {"ordering": last, "n_orderings": 1}
        if ordering == "last" or j == 0:
            density = MADEDensity(**how, **choices).fit(frame)
        median = density.quantile(frame, name, 0.5)
        low, high = density.quantile(frame, name, [0.1, 0.9]).T
        at = frame.copy()
        at[name] = pd.Series(median).astype(frame[name].dtype)
        up_to = density.cdf(at, name)
        assert (up_to >= 0.5 - 1e-5).all()
        p = np.exp(density.score_samples(at, given=[c for c in frame if c != name]))
        mass = np.where(np.isin(median, [0.0]), p, 0.0) if name == "rain" else p
        if name == "rate":
            np.testing.assert_allclose(up_to, 0.5, atol=1e-5)
            assert ((low > 0.0) & (high < 1.0)).all()
        elif ordering == "last":
            assert (up_to - mass < 0.5 + 1e-5).all()
        if name == "grade":
            assert set(median) <= {"low", "mid", "high"}
        if name == "tagged":
            assert median.dtype == bool
        if name == "rain":
            assert (low == 0.0).mean() > 0.5
    with pytest.raises(ValueError, match="Categorical knows no order of its values"):
        last = MADEDensity(n_orderings=1, max_iter=1, random_state=0).fit(frame)
        last.cdf(frame, "species")


@pytest.mark.parametrize("ordering", ["natural", "agnostic"])
def test_a_constant_column_is_a_step(ordering):
    X = np.column_stack([rows(60, 0)[:, 0], np.full(60, 2.5)])
    density = MADEDensity(ordering=ordering, max_iter=1, random_state=0)
    density.set_params(n_orderings=1 if ordering == "natural" else 2)
    with pytest.warns(UserWarning, match="are constant"):
        density.fit(X)
    X[:3, 1] = [2.0, 2.5, 3.0]
    assert density.cdf(X[:3], 1).tolist() == [0.0, 1.0, 1.0]
    assert density.quantile(X[:3], 1, 0.9).tolist() == [2.5] * 3


def test_a_tuple_may_be_the_label_of_a_column():
    X = pd.DataFrame(rows(60, 0))
    X.columns = pd.MultiIndex.from_tuples([("u", "v"), ("u", "w"), ("z", "z")])
    density = small(MADEDensity, ordering="agnostic", n_orderings=2).fit(X)
    found = density.score_samples(X, given=("u", "w"))
    np.testing.assert_array_equal(found, density.score_samples(X, given=1))
    both = density.score_samples(X, given=[("u", "w"), ("z", "z")])
    np.testing.assert_array_equal(both, density.score_samples(X, given=(1, 2)))


def test_shares_below_that_cannot_be_told(in_order, agnostic):
    X = rows(5, 0)
    with pytest.raises(ValueError, match=r"cdf of column 0 .* visits it last"):
        in_order.cdf(X, 0)
    with pytest.raises(ValueError, match=r"quantile of column 1 .* visits it last"):
        in_order.quantile(X, 1, 0.5)
    with pytest.raises(ValueError, match="column names the column 'z'"):
        agnostic.cdf(X, "z")
    for q in (0.0, 1.0, [0.5, np.nan], [[0.5]]):
        with pytest.raises(ValueError, match="q must be a number between 0 and 1"):
            agnostic.quantile(X, 0, q)
    X[2, 0] = np.nan
    with pytest.raises(ValueError, match=r"NaN .* in column 0; what is asked of"):
        in_order.cdf(X, 2)
    for ask in (MADEDensity().cdf, MADEDensity().quantile):
        with pytest.raises(NotFittedError):
            ask(X, 0, *([0.5] if ask.__name__ == "quantile" else []))


def test_cells_with_categories_that_training_had_not_stay():
    frame = pd.DataFrame({"kind": ["a", "b"] * 30, "x": np.arange(60.0)})
    density = MADEDensity(ordering="agnostic", max_iter=1, random_state=0).fit(frame)
    row = pd.DataFrame({"kind": ["new", "a"], "x": [np.nan, 3.0]})
    drawn = density.sample_conditional(row, 3, random_state=0)
    assert drawn[:, :, 0].tolist() == [["new"] * 3, ["a"] * 3]
    assert np.isfinite(drawn[:, :, 1].astype(float)).all()
    assert density.impute(row)["kind"].tolist() == ["new", "a"]


# Which cell is wrong ------------------------------------------------------------------


def test_log_odds_of_cells_compare_the_others_with_what_a_wrong_cell_may_hold(agnostic):
    X = holes(rows(40, 3), 0.2)
    log_odds = agnostic.score_cells(X)
    given_others = agnostic.score_features(X, given="others")
    for d, column in enumerate(agnostic.columns_.columns):
        there = ~np.isnan(X[:, d])
        assert (log_odds[~there, d] == 0.0).all()
        alone = np.full(X.shape, np.nan)
        alone[:, d] = X[:, d]
        log_p, x = agnostic.score_samples(alone)[there], X[there, d]
        vague = cauchy(column.center, 3.0 * column.scale).logpdf(x)
        wrong = np.logaddexp(log_p, vague) - np.log(2.0)
        expected = given_others[there, d] - wrong
        np.testing.assert_allclose(log_odds[there, d], expected, atol=1e-4)


def test_log_odds_of_cells_have_no_units(agnostic):
    X = rows(50, 4)
    scaled = MADEDensity(
        ordering="agnostic", n_orderings=4, max_iter=100, random_state=0
    ).fit(holes(rows(1500, 0), 0.2) * [1024.0, 1.0, 1.0 / 64.0])
    np.testing.assert_allclose(
        scaled.score_cells(X * [1024.0, 1.0, 1.0 / 64.0]),
        agnostic.score_cells(X),
        atol=1e-5,
    )


def test_log_odds_of_cells_are_those_of_the_gaussian(agnostic):
    X = rows(300, 5)
    log_odds = agnostic.score_cells(X)
    precision, variance = np.linalg.inv(COVARIANCE), COVARIANCE.diagonal()
    left = 1.0 / precision.diagonal()  # the variance given all others
    given_others = norm(X - (X - MEAN) @ precision * left, np.sqrt(left)).logpdf(X)
    vague = cauchy(MEAN, 3.0 * np.sqrt(variance)).logpdf(X)
    wrong = np.logaddexp(norm(MEAN, np.sqrt(variance)).logpdf(X), vague) - np.log(2.0)
    assert np.abs(log_odds - (given_others - wrong)).mean() < 0.3
    # A row on the other side of the mean in one column is as likely there by itself.
    X[:, 1] = 2.0 * MEAN[1] - X[:, 1]
    assert agnostic.score_cells(X)[:, 1].mean() < log_odds[:, 1].mean() - 1.0


def test_log_odds_of_cells_of_every_kind():
    frame = mixed_frame(80)
    density = MADEDensity(ordering="agnostic", max_iter=2, random_state=0).fit(frame)
    log_odds = density.score_cells(frame)
    assert log_odds.shape == frame.shape
    assert np.isfinite(log_odds).all()
    detector = DensityOutlierDetector(density).fit(frame)
    assert detector.score_cells(frame).shape == frame.shape
    with pytest.raises(ValueError, match=r"score_cells.*ordering='agnostic'"):
        MADEDensity(max_iter=1).fit(frame).score_cells(frame)


# Edges --------------------------------------------------------------------------------


def test_a_hole_in_one_block_of_rows_is_none_in_the_next():
    X = np.random.default_rng(0).integers(0, 3, (5000, 2)).astype(float)
    density = NADEDensity((4,), ordering="agnostic", max_iter=1, random_state=0)
    density.fit(X[:300])
    expected = density.score_samples(X)
    X[4000, 0] = np.nan  # in the block before the last, which is padded
    found = density.score_samples(X)
    np.testing.assert_array_equal(np.delete(found, 4000), np.delete(expected, 4000))
    shares = density.score_features(X)
    np.testing.assert_allclose(shares.sum(1), found, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.* are constant")
@pytest.mark.parametrize("ordering", [[2, 0, 1], "agnostic"])
def test_an_impossible_value_of_a_constant_column(ordering):
    X = np.c_[rows(100, 0)[:, :2], np.full(100, 3.0)]
    density = MADEDensity((8,), ordering=ordering, max_iter=3, random_state=0)
    density.set_params(n_orderings=1 if ordering != "agnostic" else 2)
    density.fit(X)
    row = np.array([[3.0, -2.0, 4.0]])
    assert density.score_samples(row) == -np.inf
    shares, remainder = density.score_features(row, return_remainder=True)
    assert np.isfinite(shares[0, :2]).all()
    assert shares[0, 2] == -np.inf
    assert np.isfinite(remainder).all()
    possible = np.where([False, False, True], 3.0, row)
    for given in ([2], [2, 0]):
        expected = density.score_samples(possible, given=given)
        np.testing.assert_allclose(density.score_samples(row, given=given), expected)
    assert 0.0 < density.cdf(row, 1)[0] < 1.0
    weighted = density.score(np.r_[row, possible], sample_weight=[0, 2])
    assert weighted == pytest.approx(density.score(possible))


@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32"])
def test_known_cells_stay_where_the_fitted_dtype_is_narrower(dtype):
    X = np.random.default_rng(0).integers(0, 50, (100, 2))
    density = RNADEDensity((4,), ordering="agnostic", max_iter=1, random_state=0)
    density.fit(pd.DataFrame(X.astype(dtype), columns=["a", "b"]))
    known = [2.5, 300.25, -3.0, 16777217.0]
    asked = pd.DataFrame({"a": known, "b": np.nan})
    draws = density.sample_conditional(asked, 3, random_state=0)
    assert draws.dtype == np.float64
    np.testing.assert_array_equal(draws[:, :, 0], np.tile(known, (3, 1)).T)


def labels_and_numbers(n: int = 60) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    kinds = pd.Categorical(rng.choice(["a", "b", "c"], n, p=[0.1, 0.1, 0.8]))
    return pd.DataFrame({"kind": kinds, "size": rng.normal(size=n)})


def test_a_label_that_the_dtype_of_a_frame_has_not_is_filled_in():
    density = MADEDensity((4,), ordering="agnostic", max_iter=3, random_state=0)
    density.fit(labels_and_numbers())
    kinds = pd.Categorical(["a", None, "b"])
    frame = pd.DataFrame({"kind": kinds, "size": [0.0, 1.0, 2.0]}, index=[7, 7, 7])
    filled = density.impute(frame, "mode")
    assert filled["kind"].tolist() == ["a", "c", "b"]
    assert frame["kind"].cat.categories.tolist() == ["a", "b"]
    ordered = labels_and_numbers()
    ordered["kind"] = ordered["kind"].cat.as_ordered()
    density.fit(ordered)
    frame["kind"] = pd.Categorical(["a", None, "a"], ["a"], ordered=True)
    filled = density.impute(frame, "mode")
    assert filled["kind"].tolist() == ["a", "c", "a"]
    assert filled["kind"].cat.categories.tolist() == ["a", "b", "c"]
    assert filled["kind"].cat.ordered
    density.fit(labels_and_numbers())
    unknown = frame.assign(kind=np.nan)  # a column of floats
    assert density.impute(unknown, "mode")["kind"].tolist() == ["c", "c", "c"]


def test_a_polars_column_without_values_gets_its_dtype():
    frame = pl.DataFrame(labels_and_numbers().astype({"kind": object}).to_dict("list"))
    density = MADEDensity((4,), ordering="agnostic", max_iter=3, random_state=0)
    density.fit(frame)
    asked = pl.DataFrame({"kind": [None, None], "size": [None, None]})
    filled = density.impute(asked)
    assert filled.dtypes == frame.dtypes
    assert filled["kind"].to_list() == ["c", "c"]
    assert np.isfinite(filled["size"].to_numpy()).all()


def test_centers_weigh_networks_by_their_orderings():
    """Three orderings of two networks: one of them has two."""
    X = rows(200, 0)[:, :2]
    density = RNADEDensity((8,), ordering="agnostic", max_iter=3, random_state=0)
    density.set_params(n_orderings=3, n_networks=2, n_components=2).fit(X)
    asked = np.array([[4.0, np.nan]])
    grid = np.linspace(-15.0, 15.0, 20001)
    on_grid = np.column_stack([np.full_like(grid, 4.0), grid])
    p = np.exp(density.score_samples(on_grid, given=[0]))
    mean = np.trapezoid(p * grid, grid) / np.trapezoid(p, grid)
    assert density.impute(asked)[0, 1] == pytest.approx(mean, abs=0.01)
    median = density.quantile(asked, 1, 0.5)[0]
    assert density.impute(asked, "median")[0, 1] == pytest.approx(median, abs=1e-5)


def test_the_mean_of_a_count_is_that_of_its_masses():
    rng = np.random.default_rng(0)
    counts = np.where(rng.random(400) < 0.6, 0, rng.poisson(6, 400))
    X = np.c_[counts, rng.normal(size=400)]
    density = MADEDensity((8,), ordering="agnostic", max_iter=20, random_state=0)
    density.set_params(conditional={0: "count"}, n_components=2, n_orderings=2).fit(X)
    k = np.arange(200.0)
    p = np.exp(density.score_samples(np.c_[k, np.zeros(200)], given=[1]))
    filled = density.impute([[np.nan, 0.0]])[0, 0]
    assert filled == pytest.approx(k @ p, abs=0.6)  # it is rounded
    assert filled > 1.0


@pytest.mark.parametrize("value", [-1.0, 0.0, np.nan])
def test_quantiles_do_not_look_at_their_column(value):
    X = np.abs(rows(100, 0))
    density = MADEDensity((8,), ordering="agnostic", max_iter=2, random_state=0)
    density.set_params(bounds={0: (0.0, None)}, n_orderings=2).fit(X)
    asked = X[:5].copy()
    expected = density.quantile(asked, 0, 0.5)
    asked[:, 0] = value
    np.testing.assert_array_equal(density.quantile(asked, 0, 0.5), expected)
    frame = pl.DataFrame(X, schema=["a", "b", "c"])
    density.set_params(bounds={"a": (0.0, None)}).fit(frame)
    expected = density.quantile(frame[:5], "a", 0.5)
    asked = frame[:5].with_columns(pl.lit(value).alias("a"))
    np.testing.assert_array_equal(density.quantile(asked, "a", 0.5), expected)


def test_a_wide_table_is_imputed_in_one_go(monkeypatch):
    """Conditionals of single columns are made once, not once for every column."""
    X = np.random.default_rng(0).normal(size=(60, 12))
    X[::3, :] = np.where(np.arange(12) % 2, np.nan, X[::3, :])
    density = MADEDensity(
        (4,), ordering="agnostic", n_orderings=1, max_iter=1, random_state=0
    ).fit(X)
    calls = []
    made = type(density.module_)._column_conditionals
    monkeypatch.setattr(
        type(density.module_),
        "_column_conditionals",
        lambda self, e=0: calls.append(e) or made(self, e),
    )
    density.impute(X)
    assert len(calls) == 1


def test_many_draws_of_one_row_come_in_blocks(agnostic, monkeypatch):
    sizes = []
    complete = type(agnostic.module_).complete

    def recorded(self, x, *args, **kwargs):
        sizes.append(len(x))
        return complete(self, x, *args, **kwargs)

    monkeypatch.setattr(type(agnostic.module_), "complete", recorded)
    row = np.array([[np.nan, -2.0, np.nan]])
    draws = agnostic.sample_conditional(row, 10_000, random_state=0)
    assert draws.shape == (1, 10_000, 3)
    assert max(sizes) <= 4096
    assert sum(sizes) == 10_000
    assert np.isfinite(draws).all()
    # Few are alike by chance, as float32 rounds them; blocks alike would be half.
    assert len(np.unique(draws[0, :, 0])) > 9_980


def test_quantiles_of_whole_numbers_between_bounds_are_not_rounded():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.integers(1, 11, 200), "b": rng.normal(size=200)})
    density = MADEDensity(
        (8,), ordering="agnostic", n_orderings=2, max_iter=2, bounds={"a": (0, 11)}
    ).fit(X)
    quantiles = density.quantile(X[:6], "a", 0.9)
    at = X[:6].astype({"a": float}).assign(a=quantiles)
    np.testing.assert_allclose(density.cdf(at, "a"), 0.9, atol=1e-6)


def test_decimals_are_filled_as_decimals():
    rng = np.random.default_rng(0)
    values = [
        None if i % 4 == 0 else round(v, 2) for i, v in enumerate(rng.normal(size=60))
    ]
    X = pl.DataFrame(
        {"a": pl.Series(values).cast(pl.Decimal(10, 2)), "b": rng.normal(size=60)}
    )
    density = MADEDensity((4,), ordering="agnostic", n_orderings=2, max_iter=1).fit(X)
    for strategy in ("mean", "sample"):
        filled = density.impute(X, strategy)
        assert filled.dtypes == X.dtypes
        assert filled["a"].null_count() == 0
        assert (filled["a"] == X["a"]).drop_nulls().all()


@pytest.mark.parametrize("nothing", [None, pd.NA])
def test_a_pandas_column_without_values_gets_its_dtype(nothing):
    X = pd.DataFrame(rows(60, 0)[:, :2], columns=["a", "b"])
    density = MADEDensity((4,), ordering="agnostic", n_orderings=2, max_iter=1).fit(X)
    filled = density.impute(X.assign(b=nothing))
    assert filled.dtypes.tolist() == X.dtypes.tolist()
    assert np.isfinite(filled["b"]).all()


@pytest.mark.parametrize("q", [[], "half", [[0.5]], 1.0])
def test_probabilities_that_are_none_are_named(q, agnostic):
    with pytest.raises(ValueError, match="q must be a number between 0 and 1"):
        agnostic.quantile(rows(3, 0), 0, q)


def test_a_flag_is_no_column_to_ask_for():
    X = np.random.default_rng(0).normal(size=(40, 1))
    density = MADEDensity((4,), n_orderings=1, max_iter=1).fit(X)
    with pytest.raises(ValueError, match="column names the column False"):
        density.cdf(X, False)
