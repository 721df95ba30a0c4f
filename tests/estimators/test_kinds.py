"""Tables of counts, ordered levels, bounded columns, atoms and pooled labels."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from skdensity_ar import RNNRNADE, MADEDensity, NADEDensity, RNADEDensity
from skdensity_ar.conditionals import UNSEEN_MASS
from tests import properties
from tests.small import small

GRADES = ["poor", "fair", "good", "fine"]
ASKED = {
    "conditional": {"visits": "count", "stars": "ordinal"},
    "bounds": {"rain": (0, None), "share": (0.0, 1.0), "depth": (None, 10)},
    "atoms": {"rain": 0, "sensor": [-999.0, 0.5]},
    "max_categories": 4,
}


def frame(n=300, seed=0, make="pandas"):
    """A frame with a column of every kind that must be asked for."""
    rng = np.random.default_rng(seed)
    dry = rng.random(n) < 0.3
    rain = np.where(dry, 0.0, rng.gamma(2.0, size=n))
    sensor = rng.normal(20.0, 3.0, n)
    sensor[rng.random(n) < 0.2], sensor[:3] = -999.0, 0.5
    columns = {
        "rain": rain,
        "share": rng.beta(2.0, 3.0, n),
        "depth": 10.0 - rng.lognormal(size=n),
        "sensor": sensor,
        "visits": rng.poisson(2.0 + 3.0 * dry),
        "stars": rng.choice([1, 2, 5], n),
        "grade": np.array(GRADES)[rng.integers(0, 3, n)],
        "city": np.array([f"c{i}" for i in range(20)])[rng.geometric(0.3, n) % 20],
    }
    columns["city"][:20] = [f"c{i}" for i in range(20)]
    if make == "polars":
        return pl.DataFrame(columns).with_columns(pl.col("grade").cast(pl.Enum(GRADES)))
    grade = pd.Categorical(columns["grade"], categories=GRADES, ordered=True)
    return pd.DataFrame({**columns, "grade": grade})


def fitted(cls=MADEDensity, X=None, **params):
    return small(cls, **{**ASKED, **params}).fit(frame() if X is None else X)


every_class = pytest.mark.parametrize("cls", [NADEDensity, MADEDensity, RNADEDensity])
every_order = pytest.mark.parametrize("ordering", ["natural", "agnostic"])

# What is asked of every table ---------------------------------------------------------


@pytest.mark.parametrize("make", ["pandas", "polars"])
@every_order
def test_draws_are_tables_like_the_fitted_one(make, ordering):
    X = frame(make=make)
    density = fitted(X=X, ordering=ordering)
    drawn = density.sample(200, random_state=0)
    assert type(drawn) is type(X)
    assert list(drawn.columns) == list(X.columns)
    assert list(drawn.dtypes) == list(X.dtypes)
    assert np.isfinite(density.score_samples(drawn)).all()
    rain, share, depth = (
        np.asarray(drawn[name]) for name in ("rain", "share", "depth")
    )
    assert ((rain >= 0.0) & (share > 0.0) & (share < 1.0) & (depth < 10.0)).all()
    assert set(drawn["stars"]) <= {1, 2, 5}
    again = density.sample(200, random_state=0)
    assert again.equals(drawn)


@every_order
def test_shares_of_columns_sum_to_the_score(ordering):
    X = frame()
    density = fitted(ordering=ordering)
    shares = density.score_features(X)
    np.testing.assert_allclose(shares.sum(1), density.score_samples(X), atol=1e-6)


@every_class
def test_every_class_takes_them(cls):
    mixed = {name: "gaussian_mixture" for name in ("rain", "share", "depth", "sensor")}
    density = fitted(cls, conditional={**ASKED["conditional"], **mixed})
    scores = density.score_samples(frame(seed=1))
    assert np.isfinite(scores).all()
    other = pickle.loads(pickle.dumps(density))
    np.testing.assert_array_equal(other.score_samples(frame(seed=1)), scores)
    assert clone(density).get_params() == density.get_params()
    assert np.isfinite(cross_val_score(clone(density), frame(), cv=2)).all()


def test_the_base_measure_of_every_column():
    assert fitted().base_measure_ == {
        "rain": "Lebesgue on (0, inf) + counting at [0.0]",
        "share": "Lebesgue on (0, 1)",
        "depth": "Lebesgue on (-inf, 10)",
        "sensor": "Lebesgue + counting at [-999.0, 0.5]",
        "visits": "counting",
        "stars": "counting",
        "grade": "counting",
        "city": "counting",
    }
    X = np.column_stack([np.random.default_rng(0).normal(size=(30, 2)), np.ones(30)])
    with pytest.warns(UserWarning, match="constant"):
        density = small(MADEDensity, conditional={2: "gaussian_mixture"}).fit(X)
    measures = {0: "Lebesgue", 1: "Lebesgue", 2: "counting at [1.0]"}
    assert density.base_measure_ == measures


# Missing cells ------------------------------------------------------------------------


@pytest.mark.parametrize("make", ["pandas", "polars"])
@pytest.mark.parametrize("strategy", ["mean", "median", "mode", "sample"])
def test_missing_cells_are_filled_by_what_the_column_may_hold(make, strategy):
    X = frame()
    X["visits"] = X["visits"].astype("Int64")
    X["stars"] = X["stars"].astype("Int64")
    missing = np.random.default_rng(0).random(X.shape) < 0.3
    cut = X.mask(missing)
    if make == "polars":
        cut = pl.DataFrame(
            {
                name: column.astype(object).where(column.notna(), None).to_list()
                for name, column in cut.items()
            }
        ).with_columns(pl.col("grade").cast(pl.Enum(GRADES)))
    density = fitted(X=cut, ordering="agnostic")
    filled = density.impute(cut, strategy, random_state=0)
    assert list(filled.dtypes) == list(cut.dtypes)
    assert np.isfinite(density.score_samples(filled)).all()
    draws = density.sample_conditional(cut[:4], 3, random_state=0)
    assert draws.shape == (4, 3, 8)
    # Of what is known log p adds up, whichever columns are given.
    whole = density.score_samples(cut)
    shares = density.score_features(cut)
    np.testing.assert_allclose(shares.sum(1), whole, atol=1e-6)
    assert (shares[missing] == 0.0).all()


def agnostic(X):
    return small(MADEDensity, ordering="agnostic", n_orderings=2).fit(X)


def test_an_enum_without_the_level_that_fills_it_has_it_then():
    labels = np.random.default_rng(0).choice(["x", "y", "z"], 60, p=[0.05, 0.05, 0.9])
    every, two = pl.Enum(["x", "y", "z"]), pl.Enum(["y", "x"])
    X = pl.DataFrame({"a": np.arange(60.0), "c": pl.Series(labels, dtype=every)})
    cut = pl.Series(["x", None, "y"], dtype=two)
    filled = agnostic(X).impute(pl.DataFrame({"a": [0.0, 1.0, 2.0], "c": cut}))
    assert filled["c"].to_list() == ["x", "z", "y"]
    assert filled["c"].dtype == every


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("kind", ["numbers", "booleans", "labels"])
def test_a_sparse_column_is_filled_as_a_dense_one(kind, dtype):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["a", "b"])
    if kind != "numbers":
        X["b"] = X["b"] > 0.0
    if kind == "labels":
        X["b"] = X["b"].map({True: "yes", False: "no"})
    density = agnostic(X)
    cut = X.assign(b=np.nan) if kind == "labels" else X.astype({"b": dtype})
    cut.loc[::3, "b"] = np.nan
    sparse = cut.astype({"b": pd.SparseDtype(dtype)})
    filled, expected = density.impute(sparse), density.impute(cut)
    assert filled["b"].tolist() == expected["b"].tolist()
    if kind == "labels":
        assert filled["b"].dtype == expected["b"].dtype
    else:
        assert filled["b"].dtype == sparse["b"].dtype


def test_a_column_without_values_is_filled_in_the_other_container():
    a = np.random.default_rng(0).normal(size=40)
    data = {"a": a, "b": a + 1.0, "c": ["x", "y"] * 20}
    of_pandas, of_polars = agnostic(pd.DataFrame(data)), agnostic(pl.DataFrame(data))
    expected = of_pandas.impute(pd.DataFrame({"a": [1.0], "b": [np.nan], "c": [None]}))
    empty = {"a": [1.0], "b": [None], "c": [None]}
    filled = of_pandas.impute(pl.DataFrame(empty))
    assert filled.rows() == [tuple(expected.iloc[0])]
    assert filled.dtypes == [pl.Float64, pl.Float64, pl.String]
    filled = of_polars.impute(pd.DataFrame({**empty, "c": [np.nan]}))
    assert tuple(filled.iloc[0]) == tuple(expected.iloc[0])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_array_is_filled_strictly_inside_its_bounds(dtype):
    rng = np.random.default_rng(0)
    X = np.column_stack([5.0 + 1e-3 * rng.lognormal(size=200), rng.normal(size=200)])
    X = X.astype(dtype)
    density = small(MADEDensity, ordering="agnostic", bounds={0: (5.0, None)}).fit(X)
    cut = X.copy()
    cut[:, 0] = np.nan
    for strategy in ("mean", "sample"):
        filled = density.impute(cut, strategy, random_state=0)
        assert filled.dtype == dtype
        assert (filled[:, 0] > 5.0).all()
        assert np.isfinite(density.score_samples(filled)).all()


def test_the_density_given_a_bounded_column_has_no_jacobian_of_it():
    X = frame()[["share", "rain"]]
    asked = {"bounds": {"share": (0, 1), "rain": (0, None)}, "atoms": {"rain": 0}}
    density = small(MADEDensity, ordering="agnostic", **asked).fit(X)
    row = X.iloc[[5]]
    grid = pd.DataFrame(np.repeat(row.to_numpy(), 6001, 0), columns=X.columns)
    grid["rain"] = np.logspace(-8, 5, 6001)
    p = np.exp(density.score_samples(grid, given=["share"]))
    zero = np.exp(density.score_samples(row.assign(rain=0.0), given=["share"]))
    total = np.trapezoid(p, grid["rain"]) + zero[0]
    assert total == pytest.approx(1.0, abs=2e-3)


# Sums and integrals -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "draw"),
    [
        ((0.0, 1.0), lambda rng: rng.beta(2.0, 3.0, 400)),
        ((0.0, None), lambda rng: rng.gamma(3.0, size=400)),
        ((None, -2.0), lambda rng: -2.0 - rng.gamma(3.0, size=400)),
        ((-5.0, 1e4), lambda rng: -5.0 + rng.lognormal(3.0, 1.0, 400)),
    ],
)
def test_a_bounded_density_integrates_to_one_strictly_inside(bounds, draw):
    X = draw(np.random.default_rng(0))[:, None]
    density = small(MADEDensity, bounds={0: bounds}, n_components=4).fit(X)
    interval = density.columns_.columns[0].interval
    # Quadrature on the line, where no digits are lost at the bounds.
    y = np.linspace(-34.0, 34.0, 20001)
    x = interval.from_line(y)
    inside = interval.holds(x) & (np.diff(x, prepend=-np.inf) > 0.0)
    p = np.exp(density.score_samples(x[inside, None]) - interval.log_slope(y[inside]))
    assert np.trapezoid(p, y[inside]) == pytest.approx(1.0, abs=2e-3)
    middle = np.quantile(X, [0.2, 0.8])
    x = np.linspace(*middle, 4001)
    mass = np.trapezoid(np.exp(density.score_samples(x[:, None])), x)
    drawn = density.sample(20000, random_state=0)[:, 0]
    assert interval.holds(drawn).all()
    share = np.mean((drawn > middle[0]) & (drawn < middle[1]))
    properties.check_frequencies(20000 * np.array([share, 1 - share]), [mass, 1 - mass])


def test_atoms_and_the_rest_make_one():
    rng = np.random.default_rng(0)
    X = np.where(rng.random(500) < 0.4, 0.0, rng.gamma(3.0, size=500))[:, None]
    X[:50] = 7.0
    density = small(
        RNADEDensity, bounds={0: (0, None)}, atoms={0: [0, 7]}, n_components=4
    ).fit(X)
    masses = np.exp(density.score_samples(np.array([[0.0], [7.0]])))
    y = np.linspace(-34.0, 34.0, 20001)
    log_p = density.score_samples(np.exp(y)[:, None])
    rest = np.trapezoid(np.exp(log_p + y), y)
    assert masses.sum() + rest == pytest.approx(1.0, abs=2e-3)
    drawn = density.sample(20000, random_state=0)[:, 0]
    counts = [np.sum(drawn == 0.0), np.sum(drawn == 7.0)]
    properties.check_frequencies(
        [*counts, 20000 - sum(counts)], [*masses, 1.0 - masses.sum()]
    )
    # The masses are those of the table, whatever the units of the rest.
    assert masses == pytest.approx([np.mean(X == 0.0), 0.1], abs=0.03)
    metres = small(
        RNADEDensity, bounds={0: (0, None)}, atoms={0: [0, 7000]}, n_components=4
    ).fit(1000.0 * X)
    np.testing.assert_allclose(
        np.exp(metres.score_samples(np.array([[0.0], [7000.0]]))), masses, rtol=1e-3
    )


def test_counts_levels_and_pooled_labels_sum_to_one():
    X = frame()[["visits", "grade", "city"]]
    density = fitted(X=X, conditional={"visits": "count"}, bounds=None, atoms=None)
    cities = [f"c{i}" for i in range(20)] + ["elsewhere"]
    rows = pd.DataFrame(
        [(v, g, c) for v in range(200) for g in GRADES for c in cities],
        columns=X.columns,
    )
    rows["grade"] = pd.Categorical(rows["grade"], categories=GRADES, ordered=True)
    p = np.exp(density.score_samples(rows))
    # An unseen level cannot be written in this dtype.
    assert p.sum() == pytest.approx(1.0 - UNSEEN_MASS, abs=2e-5)
    drawn = density.sample(20000, random_state=0)
    for name in X.columns:
        expected = pd.Series(p).groupby(rows[name].to_numpy()).sum()
        counts = drawn[name].value_counts().reindex(expected.index).fillna(0)
        rest = expected.sum()
        properties.check_frequencies(counts, expected / rest)


def test_a_pooled_label_has_its_share_of_the_group():
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {"city": rng.permutation(["a"] * 50 + ["b"] * 30 + ["c"] * 5 + ["d"])}
    )
    density = small(MADEDensity, max_categories=3).fit(X)
    log_p = density.score_samples(pd.DataFrame({"city": ["a", "c", "d"]}))
    assert log_p[1] - log_p[2] == pytest.approx(np.log(5.0), abs=1e-5)
    assert density.module_.network.n_params == (3,)
    same = small(MADEDensity, max_categories=4).fit(X)
    plain = small(MADEDensity).fit(X)
    np.testing.assert_array_equal(same.score_samples(X), plain.score_samples(X))


def test_counts_learn_what_depends_on_what():
    rng = np.random.default_rng(0)
    first = rng.poisson(4.0, 600)
    X = np.column_stack([first, rng.poisson(0.3 + first)]).astype(float)
    for cls in (NADEDensity, MADEDensity):
        density = small(cls, conditional="count", max_iter=30).fit(X)
        alone = small(cls, conditional="count", max_iter=1, learning_rate_init=1e-9)
        assert density.score(X) > alone.fit(X).score(X) + 0.2
        rows = np.array([[a, b] for a in range(60) for b in range(60)], dtype=float)
        total = np.exp(density.score_samples(rows)).sum()
        assert total == pytest.approx(1.0, abs=1e-3)


def test_atoms_beside_columns_that_predict_each_other():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 3))
    X[:, 1] = X[:, 0] + 1e-3 * X[:, 1]
    X[:100, 2] = 5.0
    density = small(RNADEDensity, atoms={2: 5}, warm_start=True).fit(X)
    assert density.module_.residuals is not None  # hold all columns within limits
    log_p = density.score_features(X)[:, 2]
    assert np.exp(log_p[:100]) == pytest.approx(0.25, abs=0.15)
    drawn = density.sample(2000, random_state=0)
    assert np.mean(drawn[:, 2] == 5.0) == pytest.approx(0.25, abs=0.1)
    first = density.score(X)
    assert density.fit(X).score(X) > first - 0.5  # goes on with what is there
    with pytest.raises(ValueError, match=r"warm_start=True .* n_components=3"):
        density.set_params(n_components=3).fit(X)


# Rounded draws ------------------------------------------------------------------------


def rounded_frame(n=300, make="pandas"):
    """Real columns with a grid each, the last two without."""
    rng = np.random.default_rng(0)
    columns = {
        "tenths": rng.normal(5.0, 2.0, n).round(1),
        "halves": np.float32(rng.normal(0.0, 9.0, n).round() / 2.0),
        "single": np.float32(rng.normal(0.0, 3.0, n).round(1)),
        "few": rng.choice([0.25, 1.0, 3.7, 20.0], n),
        "share": rng.integers(1, 50, n) / 50.0,
        "rain": np.where(rng.random(n) < 0.4, 0.0, rng.gamma(9.0, size=n).round(1)),
        "fives": 5 * rng.integers(0, 60, n),
        "grade": np.array(GRADES)[rng.integers(0, 4, n)],
        "smooth": rng.normal(size=n),
        "smooth single": np.float32(rng.normal(size=n)),
    }
    columns["rain"][:5] = 0.1
    return pl.DataFrame(columns) if make == "polars" else pd.DataFrame(columns)


OF_ROUNDED = {
    "bounds": {"share": (0.0, 1.0), "rain": (0.0, None)},
    "atoms": {"rain": 0.0},
    "conditional": {"tenths": "laplace_mixture"},
}
STEPS = {"tenths": 0.1, "halves": 0.5, "single": 0.1, "share": 0.02, "rain": 0.1}


def on_grid(X, name):
    """Which values of a column are as those of `rounded_frame`, to the last bit."""
    values = np.asarray(X[name])
    if name == "few":
        return np.isin(values, [0.25, 1.0, 3.7, 20.0])
    if name == "fives":
        return values % 5 == 0
    per_one = round(1.0 / STEPS[name])
    multiples = (np.arange(-(2**16), 2**16) / per_one).astype(values.dtype)
    far = np.abs(values) > 2**16 / per_one  # from the background, a Cauchy density
    return far | np.isin(values, multiples)


@pytest.mark.parametrize("make", ["pandas", "polars"])
@every_order
def test_rounded_draws_have_the_digits_of_the_table(make, ordering):
    X = rounded_frame(make=make)
    density = small(MADEDensity, ordering=ordering, **OF_ROUNDED).fit(X)
    scores = density.score_samples(X)
    plain, rounded = (
        density.sample(400, random_state=0, rounded=r) for r in (False, True)
    )
    assert list(rounded.columns) == list(X.columns)
    assert list(rounded.dtypes) == list(X.dtypes)
    for name in [*STEPS, "few", "fives"]:
        assert on_grid(X, name).all()
        assert on_grid(rounded, name).all()
        assert name == "fives" or not on_grid(plain, name).all()
    for name in ("grade", "smooth", "smooth single"):
        assert rounded[name].to_list() == plain[name].to_list()
    for name, step in STEPS.items():
        was, x = (np.asarray(table[name], dtype=float) for table in (plain, rounded))
        inside = np.abs(was) < 100.0
        if name in OF_ROUNDED["bounds"]:  # next to a bound a whole step
            inside &= (was > step) & ((was < 1.0 - step) | (name == "rain"))
        assert np.abs(x - was)[inside].max() < 0.51 * step
    share, rain = np.asarray(rounded["share"]), np.asarray(rounded["rain"])
    assert ((share > 0.0) & (share < 1.0)).all()
    np.testing.assert_array_equal(rain == 0.0, np.asarray(plain["rain"]) == 0.0)
    # Neither what was drawn nor what grids there are changes a score.
    np.testing.assert_array_equal(density.score_samples(X), scores)
    assert np.isfinite(density.score_samples(rounded)).all()
    for column in density.columns_.columns:
        column.grid = None
    np.testing.assert_array_equal(density.score_samples(X), scores)
    assert density.sample(400, random_state=0, rounded=True).equals(plain)


@pytest.mark.parametrize("cls", [NADEDensity, MADEDensity, RNADEDensity])
def test_rounded_draws_of_every_class_and_of_arrays(cls):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=(200, 2)).round(1), rng.normal(size=200)])
    density = small(cls, conditional=dict.fromkeys(range(3), "gaussian_mixture"))
    density.fit(X)
    plain, rounded = (
        density.sample(300, random_state=0, rounded=r) for r in (False, True)
    )
    assert rounded.dtype == np.float64
    tenths = np.arange(-1000, 1000) / 10.0
    assert np.isin(rounded[:, :2], tenths)[np.abs(plain[:, :2]) < 99.0].all()
    np.testing.assert_array_equal(rounded[:, 2], plain[:, 2])


@pytest.mark.parametrize("missing", ["exact", "estimate"])
def test_known_cells_stay_where_what_is_drawn_is_rounded(missing):
    X = rounded_frame().drop(columns="grade")
    how = {"ordering": "agnostic"} if missing == "exact" else {"n_orderings": 1}
    density = small(MADEDensity, missing=missing, **how, **OF_ROUNDED).fit(X)
    asked = X.astype({"fives": float})[:20] + 0.0123  # known cells are on no grid
    holes = np.random.default_rng(0).random(asked.shape) < 0.4
    asked = asked.mask(holes)
    draws = density.sample_conditional(asked, 4, random_state=0, rounded=True)
    known = np.broadcast_to(~holes[:, None], draws.shape)
    cells = np.broadcast_to(asked.to_numpy(dtype=float)[:, None], draws.shape)
    np.testing.assert_array_equal(draws[known], cells[known])
    filled = {"sample": density.impute(asked, "sample", 0, rounded=True)}
    if missing == "exact":
        for strategy in ("mean", "median", "mode"):
            filled[strategy] = density.impute(asked, strategy, rounded=True)
    for table in filled.values():
        assert list(table.dtypes) == list(asked.dtypes)
        pd.testing.assert_frame_equal(table.mask(holes), asked)
    for j, name in enumerate(X):
        if name.startswith("smooth"):
            continue
        drawn = pd.DataFrame(draws[holes[:, j], :, j].ravel().astype(X.dtypes.iloc[j]))
        assert on_grid(drawn.set_axis([name], axis=1), name).all()
        for table in filled.values():
            assert on_grid(table[holes[:, j]], name).all()


# What cannot be -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"bounds": {"city": (0, 1)}}, r"bounds are for real.*'city'.*'categorical'"),
        (
            {"atoms": {"rain": 0, "visits": 0}},
            r"atoms are for real columns.*'visits'.*'count'",
        ),
        ({"bounds": {"town": (0, 1)}}, r"bounds names the column 'town'"),
        ({"atoms": {99: 0.0}}, r"atoms names the column 99"),
        ({"bounds": {"share": (1, 0)}}, r"bounds of column 'share' must be a pair"),
        ({"bounds": {"share": 3}}, r"bounds of column 'share' must be a pair"),
        ({"bounds": {"share": (0, "1")}}, r"bounds of column 'share' must be"),
        ({"bounds": {"share": (np.nan, 1)}}, r"bounds of column 'share' must be"),
        ({"bounds": {"share": (-1e308, 1e308)}}, r"bounds .* high - low a num"),
        ({"bounds": {"share": (0, 10**400)}}, r"bounds of column 'share' must be"),
        ({"atoms": {"rain": "0"}}, r"atoms of column 'rain' must be a number"),
        ({"atoms": {"rain": [0, 0]}}, r"atoms of column 'rain' must be a number"),
        ({"atoms": {"rain": []}}, r"atoms of column 'rain' must be a number"),
        ({"atoms": {"rain": np.inf}}, r"atoms of column 'rain' must be a number"),
        (
            {"atoms": None},
            r"'rain' holds 0.0, which does not lie inside its bounds \(0, inf\)"
            r".*atoms=\{'rain': 0.0\}",
        ),
        ({"conditional": {"grade": "count"}}, "'grade' holds .* where numbers are"),
        ({"conditional": {"share": "count"}}, r"'count' expects integers >= 0, got 0"),
        ({"conditional": {"depth": "count"}}, r"Negative values in data.*'depth'"),
        ({"conditional": {"city": "ordinal"}}, r"'city' holds.*ordered categorical"),
    ],
)
def test_what_cannot_be_asked_for(params, match):
    asked = {**ASKED, **params}
    if "conditional" in params:
        asked = {"conditional": params["conditional"]}
    with pytest.raises(ValueError, match=match):
        small(MADEDensity, **asked).fit(frame())


def test_values_that_a_fitted_column_cannot_have():
    density, X = fitted(), frame()
    for name, value, match in (
        ("share", 1.0, r"'share' holds 1.0, which does not lie inside its bounds"),
        ("rain", -0.5, r"'rain' holds -0.5, which does not lie inside its bounds"),
        ("visits", 2.5, r"'count' expects integers >= 0, got 2.5 in column 'visits'"),
        ("visits", -1, r"Negative values in data.*got -1.* in column 'visits'"),
    ):
        with pytest.raises(ValueError, match=match):
            density.score_samples(X.assign(**{name: value}))
    # A level not seen scores low, or is refused as a category is.
    low = density.score_samples(X.assign(stars=4))
    assert (low < density.score_samples(X) + np.log(UNSEEN_MASS) / 2).all()
    strict = fitted(handle_unknown="error")
    with pytest.raises(ValueError, match=r"'stars' holds 4.*, a category not seen"):
        strict.score_samples(X.assign(stars=4))


def test_a_table_whose_values_are_all_atoms():
    X = np.array([[0.0, 1.0], [7.0, 2.0]] * 20)
    message = (
        r"All values of column 0 are among its atoms.*leave it out of atoms and set"
    )
    with pytest.raises(ValueError, match=message):
        small(MADEDensity, atoms={0: [0, 7]}).fit(X)
    small(MADEDensity, conditional={0: "ordinal"}).fit(X)
    X[5, 0] = 3.0  # a single other value
    density = small(MADEDensity, atoms={0: [0, 7]}).fit(X)
    assert np.isfinite(density.score_samples(X)).all()


def test_bounds_hold_for_constant_columns_and_name_a_column_once():
    X = pd.DataFrame({"a": np.full(40, 7.0), "b": np.linspace(0.0, 1.0, 40)})
    with pytest.raises(ValueError, match=r"'a' holds 7.0, which does not lie inside"):
        small(MADEDensity, bounds={"a": (0, 1)}).fit(X)
    with pytest.raises(ValueError, match=r"bounds names the column 'a' twice"):
        small(MADEDensity, bounds={"a": (0, 9), 0: (0, 8)}).fit(X)


def test_what_is_no_label_is_named():
    x = np.linspace(0.0, 1.0, 40)
    for X, message in (
        (pd.DataFrame({"a": [[1, 2]] * 40, "x": x}), "'a' holds values of type list"),
        (pl.DataFrame({"a": [[1, 2]] * 40, "x": x}), "'a' has dtype list"),
        (pl.DataFrame({"a": [{"q": 1}] * 40, "x": x}), "'a' has dtype struct"),
    ):
        with pytest.raises(TypeError, match=message):
            small(MADEDensity).fit(X)
    if hasattr(pl, "Int128"):
        X = pl.DataFrame({"a": range(40), "x": x})
        with pytest.raises(TypeError, match="'a' has dtype int128, which numpy does"):
            small(MADEDensity).fit(X.with_columns(pl.col("a").cast(pl.Int128)))


def test_an_identifier_is_warned_of():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"x": rng.normal(size=80), "id": [f"row {i}" for i in range(80)]})
    with pytest.warns(UserWarning, match=r"'id' has 80 labels, 80 of which.*Drop it"):
        small(MADEDensity).fit(X)
    small(MADEDensity, max_categories=10).fit(X)  # says nothing
    small(MADEDensity).fit(X.assign(id=X["id"].str[:5]))


# Sequences ----------------------------------------------------------------------------


def test_sequences_of_all_kinds():
    whole = frame(240)
    X = [whole[i : i + 12] for i in range(0, 240, 12)]
    density = fitted(RNNRNADE, X=X)
    totals, steps = density.score_samples(X), density.score_timesteps(X)
    assert np.isfinite(totals).all()
    np.testing.assert_allclose([s.sum() for s in steps], totals, atol=1e-8)
    drawn = density.sample(3, n_timesteps=5, random_state=0)
    assert list(drawn[0].dtypes) == list(whole.dtypes)
    assert np.isfinite(density.score_samples(drawn)).all()
    assert density.base_measure_["share"] == "Lebesgue on (0, 1)"


def test_bounded_sequences_change_by_the_jacobian_of_their_map_alone():
    rng = np.random.default_rng(0)
    logs = [rng.normal(size=(9, 2)).cumsum(0) for _ in range(15)]
    X = [np.exp(x) for x in logs]
    bounds = {0: (0, None), 1: (0, None)}
    density, of_logs = small(RNNRNADE, bounds=bounds).fit(X), small(RNNRNADE).fit(logs)
    expected = of_logs.score_samples(logs) - [x.sum() for x in logs]
    np.testing.assert_allclose(density.score_samples(X), expected, rtol=1e-4, atol=1e-3)


def test_rounded_sequences_have_the_digits_of_those_fitted():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(12, 2)).cumsum(0) for _ in range(20)]
    X = [np.column_stack([x[:, 0].round(1), x[:, 1]]) for x in X]
    density = small(RNNRNADE).fit(X)
    plain, rounded = (
        density.sample(4, n_timesteps=9, random_state=0, rounded=r)
        for r in (False, True)
    )
    for one, other in zip(plain, rounded, strict=True):
        np.testing.assert_array_equal(other[:, 0], one[:, 0].round(1))
        np.testing.assert_array_equal(other[:, 1], one[:, 1])
