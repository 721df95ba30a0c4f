"""The benchmarks of queries: truths are exact, scores are what they are called."""

import argparse
from itertools import product

import numpy as np
import pandas as pd
import pytest
import tables
from explanations import corrupted, first_rate
from imputation import Filled, crps, intervals, measures, share_covered, to_values
from known_truths import Exact, Mixture, Network, differences, without
from queries import Rows, lines, outcome, paired, ranks, with_holes
from regression import GP, LEVELS, OURS, REGRESSIONS, computed
from rivals import (
    Coder,
    CopulaSampler,
    FrameImputer,
    IndependentSampler,
    MixtureImputer,
    conditionals,
    mixture_by_bic,
)
from scipy.integrate import trapezoid
from scipy.stats import multivariate_normal, norm
from sklearn.impute import SimpleImputer
from sklearn.mixture import GaussianMixture
from two_sample import auc, memorised, rounded


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def frame(rng):
    kind = rng.choice(["a", "b", "c"], size=80)
    length = (kind == "a") * 3.0 + rng.normal(size=80).round(1)
    return pd.DataFrame({"length": length, "kind": pd.Categorical(kind)}).assign(
        mass=lambda frame: 20 * frame["length"] + rng.normal(size=80)
    )


@pytest.fixture
def args(tmp_path):
    return argparse.Namespace(
        models=["MADE", "mean"],
        max_iter=None,
        max_seconds=np.inf,
        cache=tmp_path / "cache",
        record=tmp_path / "record",
    )


# Truths


@pytest.mark.parametrize("S", [[0], [2, 5], [0, 1, 3, 4, 6, 7], list(range(8))])
def test_every_marginal_of_the_network_sums_to_one(S):
    rows = np.full((2 ** len(S), 8), np.nan)
    rows[:, S] = list(product((0.0, 1.0), repeat=len(S)))
    assert np.exp(Network(0).log_prob(rows)).sum() == pytest.approx(1)


def test_a_marginal_of_the_mixture_integrates_to_one_and_is_that_of_its_draws(rng):
    truth = Mixture(2, seed=1)
    x = np.linspace(-15, 15, 3001)
    rows = np.full((len(x), 6), np.nan)
    rows[:, 4] = x
    density = np.exp(truth.log_prob(rows))
    assert trapezoid(density, x) == pytest.approx(1, abs=1e-6)
    assert trapezoid(x * density, x) == pytest.approx(
        truth.sample(20000, rng)[:, 4].mean(), abs=0.05
    )


@pytest.mark.parametrize("truth", [Mixture(2, seed=0), Network(0)])
def test_an_exact_density_differs_from_itself_by_nothing(truth, rng):
    exact = Exact(truth)
    for row in differences(exact, exact, truth.sample(30, rng), seed=0):
        assert row["nats"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("truth", [Mixture(1, seed=0), Network(0)])
def test_the_right_family_comes_near_with_many_rows(truth, rng):
    few, many = (
        np.abs(truth.refitted(truth.sample(n, rng)).log_prob(X) - truth.log_prob(X))
        for X in [truth.sample(300, rng)]
        for n in (200, 20000)
    )
    assert many.mean() < 0.05 < few.mean()


def test_known_cells_alone_count(rng):
    truth = Mixture(1, seed=0)
    X = truth.sample(5, rng)
    X[0] = np.nan
    some = without(X, np.array([1, 2]))
    S = [0, 3, 4, 5]
    normal = multivariate_normal(truth.means[0][S], truth.covariances[0][np.ix_(S, S)])
    np.testing.assert_allclose(truth.log_prob(some)[1:], normal.logpdf(X[1:][:, S]))
    assert truth.log_prob(some)[0] == 0


# Imputation


def test_crps_of_draws_is_the_gaussian_one(rng):
    y = np.array([-2.0, 0.0, 0.7])
    exact = y * (2 * norm.cdf(y) - 1) + 2 * norm.pdf(y) - 1 / np.sqrt(np.pi)
    draws = rng.normal(size=(3, 20000))
    np.testing.assert_allclose(crps(draws, y), exact, atol=0.02)
    pairs = np.abs(draws[:, :50, None] - draws[:, None, :50]).sum((1, 2)) / (50 * 49)
    by_pairs = np.abs(draws[:, :50] - y[:, None]).mean(1) - pairs / 2
    np.testing.assert_allclose(crps(draws[:, :50], y), by_pairs)


def test_measures_look_at_missing_cells_alone(frame):
    test = frame.copy()
    test.loc[:9, "length"] = np.nan
    test.loc[:3, "kind"] = np.nan
    table = frame.copy()
    table.loc[:9, "length"] += 2.0
    table.loc[:, "mass"] = -1.0
    table.loc[0, "kind"] = {"a": "b", "b": "c", "c": "a"}[frame.loc[0, "kind"]]
    found = measures(Filled(table, None), frame, test, frame)
    expected = 2.0 / frame["length"].std()
    assert found["rmse"] == pytest.approx(expected)
    assert found["crps"] == pytest.approx(expected)
    assert found["error"] == 0.25
    assert np.isnan(found["coverage"])
    assert np.isnan(found["shared"])


def test_exact_draws_cover_what_they_say_where_values_tie(rng):
    """Of draws from the distribution itself, plain intervals cover too much."""
    values, p = np.array([0.0, 1.0, 5.0]), [0.93, 0.04, 0.03]
    truth = rng.choice(values, 4000, p=p)
    draws = rng.choice(values, (4000, 200), p=p)
    low, high = np.quantile(draws, (0.05, 0.95), axis=1)
    assert np.mean((low <= truth) & (truth <= high)) > 0.95
    assert share_covered(draws, truth).mean() == pytest.approx(0.9, abs=0.01)
    too_narrow = rng.choice(values, (4000, 200), p=[0.998, 0.001, 0.001])
    assert share_covered(too_narrow, truth).mean() < 0.86
    real, x = rng.normal(size=(4000, 400)), rng.normal(size=4000)
    assert share_covered(real, x).mean() == pytest.approx(0.9, abs=0.01)
    near = to_values(draws + rng.normal(0.0, 0.01, draws.shape), values)
    np.testing.assert_array_equal(near, draws)
    np.testing.assert_array_equal(to_values(x, np.sort(x)), x)


def test_a_heap_among_many_values_covers_no_more_than_it_has(rng):
    """Draws beside a heap, as a density has them, count as those on it."""
    values = np.concatenate([np.zeros(100), rng.normal(5.0, 1.0, 100)])

    def drawn(*shape):
        heap = rng.random(shape) < 0.9
        return np.where(heap, rng.normal(0.0, 1e-3, shape), rng.normal(5.0, 1.0, shape))

    truth, draws = drawn(4000), drawn(4000, 100)
    truth[np.abs(truth) < 0.01] = 0.0
    moved = [to_values(x, np.unique(values)) for x in (draws, truth)]
    assert share_covered(*moved).mean() == pytest.approx(0.9, abs=0.01)
    assert share_covered(draws, truth).mean() > 0.93


class Shifted:
    """y = x + noise of a standard deviation, as a density has it."""

    def __init__(self, scale):
        self.scale = scale

    def cdf(self, X, column):
        assert column == "y"
        return norm.cdf(X["y"], X["x"], self.scale)

    def quantile(self, X, column, q):
        assert column == "y"
        return X[["x"]].to_numpy() + self.scale * norm.ppf(q)


def test_intervals_of_the_density_itself_cover_what_they_say(rng):
    """Of values that are rounded, which the density knows nothing of, as well."""
    x = rng.normal(size=8000)
    y = x + rng.normal(size=8000)
    for values in (y, y.round()):
        complete = pd.DataFrame({"y": values, "x": x})
        test = complete.assign(y=np.where(rng.random(8000) < 0.7, np.nan, values))
        found = intervals(Shifted(1.0), complete, test, complete)
        assert found["integral"] == pytest.approx(0.9, abs=0.012)
        assert found["exact"] == pytest.approx(0.9, abs=0.02)
        # Cells that are known do not count.
        spoiled = complete.mask(test.notna(), 1e3)
        assert intervals(Shifted(1.0), spoiled, test, complete) == found
        wide = intervals(Shifted(2.0), complete, test, complete)
        assert min(wide.values()) > 0.98
        narrow = intervals(Shifted(0.5), complete, test, complete)
        assert max(narrow.values()) < 0.7


def test_of_all_ranks_a_share_of_91_in_101_is_covered():
    draws = np.tile(np.arange(100.0), (101, 1))
    assert share_covered(draws, np.arange(101) - 0.5).sum() == 91
    # Where all tie, the one cell has all ranks.
    assert share_covered(np.zeros((1, 100)), np.zeros(1)) == pytest.approx(91 / 101)


@pytest.mark.parametrize("model", [OURS, GP, "ridge", "boosted trees"])
def test_regressions_score_as_their_gaussian(model, rng):
    """On a line with Gaussian errors: all near the truth, the trees behind."""
    X = rng.normal(size=(600, 2))
    y = 50.0 + 10.0 * X[:, 0] + 2.0 * rng.normal(size=600)
    rows = np.column_stack([X, y])
    args = argparse.Namespace(max_iter=40)
    (found,) = computed(model, rows[:400], rows[400:], args)
    truth = 0.5 * np.log(2.0 * np.pi * np.e * 2.0**2)
    off = (y[400:] - 50.0 - 10.0 * X[400:, 0])[:, None] - 2.0 * norm.ppf(LEVELS)
    loss = 2.0 * np.mean(np.maximum(LEVELS * off, (LEVELS - 1.0) * off))
    slack = 0.5 if model in REGRESSIONS and model != "ridge" else 0.12
    assert truth - 0.1 < found["nll"] < truth + slack
    assert found["crps"] == pytest.approx(loss / y[:400].std(), rel=slack)


@pytest.mark.parametrize("kind", ["full", "diag"])
def test_conditionals_of_a_mixture_are_those_of_its_density(kind, rng):
    X = np.vstack([rng.normal(size=(200, 3)), rng.normal(3, 2, size=(200, 3))])
    X[:, 2] += X[:, 0]
    imputer = MixtureImputer()
    imputer.mixture_ = GaussianMixture(2, covariance_type=kind, random_state=0).fit(X)
    imputer.rng_ = rng
    Z = np.array([[1.0, 0.5, np.nan]])
    grid = np.linspace(-20, 20, 4001)
    rows = np.column_stack([np.tile(Z[:, :2], (len(grid), 1)), grid])
    density = np.exp(imputer.mixture_.score_samples(rows))
    density /= trapezoid(density, grid)
    mean = trapezoid(grid * density, grid)
    assert imputer.transform(Z)[0, 2] == pytest.approx(mean, abs=1e-6)
    drawn = imputer.draw(np.repeat(Z, 20000, axis=0))[:, 2]
    sd = np.sqrt(trapezoid((grid - mean) ** 2 * density, grid))
    assert drawn.mean() == pytest.approx(mean, abs=5 * sd / np.sqrt(20000))
    assert drawn.std() == pytest.approx(sd, rel=0.03)


def test_conditionals_of_two_cells_have_the_gaussian_moments(rng):
    Z = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4))
    mixture = GaussianMixture(1).fit(Z)
    mean, S = mixture.means_[0], mixture.covariances_[0]
    row = Z[:1].copy()
    row[0, [1, 3]] = np.nan
    ((_, missing, weights, means, spreads),) = conditionals(mixture, row)
    assert missing.tolist() == [False, True, False, True]
    A = S[np.ix_([1, 3], [0, 2])] @ np.linalg.inv(S[np.ix_([0, 2], [0, 2])])
    np.testing.assert_allclose(weights, 1)
    np.testing.assert_allclose(means[0, 0], mean[[1, 3]] + A @ (row[0] - mean)[[0, 2]])
    np.testing.assert_allclose(
        spreads[0], S[np.ix_([1, 3], [1, 3])] - A @ S[np.ix_([0, 2], [1, 3])]
    )


def test_a_row_without_any_cell_gets_the_mean_of_the_mixture(rng):
    imputer = MixtureImputer().fit(rng.normal(size=(60, 2)))
    mixture = imputer.mixture_
    filled = imputer.transform(np.full((1, 2), np.nan))
    np.testing.assert_allclose(filled[0], mixture.weights_ @ mixture.means_)


def test_bic_takes_as_many_components_as_there_are(rng):
    Z = rng.normal(size=(300, 2)) + 20 * rng.integers(3, size=(300, 1))
    assert mixture_by_bic(Z).n_components == 3


# Frames


def test_codes_come_back_as_the_frame_and_holes_as_nan(frame):
    coder = Coder().fit(frame)
    pd.testing.assert_frame_equal(coder.decode(coder.encode(frame)), frame)
    holes = with_holes(frame, 0.4, seed=0)
    Z = coder.encode(holes)
    np.testing.assert_array_equal(np.isnan(Z[:, 0]), holes["length"].isna())
    for bits in Z[:, 2:].T:
        np.testing.assert_array_equal(np.isnan(bits), holes["kind"].isna())


def test_filled_frames_keep_what_is_known(frame):
    holes = with_holes(frame, 0.4, seed=0)
    filled = FrameImputer(SimpleImputer()).fit(holes).transform(holes)
    assert filled.notna().all(axis=None)
    pd.testing.assert_series_equal(filled.dtypes, frame.dtypes)
    pd.testing.assert_frame_equal(filled.where(holes.notna()), holes)
    most = holes["kind"].mode()[0]
    assert (filled.loc[holes["kind"].isna(), "kind"] == most).all()


def test_samplers_draw_values_of_training(frame):
    for sampler in (IndependentSampler(), CopulaSampler()):
        draws = sampler.fit(frame).sample(500)
        pd.testing.assert_series_equal(draws.dtypes, frame.dtypes)
        for name in frame:
            assert set(draws[name]) <= set(frame[name])


def test_the_copula_keeps_rank_correlations_and_the_independent_sampler_none(frame):
    def correlation(table):
        return table["length"].corr(table["mass"], method="spearman")

    assert correlation(frame) > 0.9
    assert correlation(CopulaSampler().fit(frame).sample(2000)) > 0.9
    assert abs(correlation(IndependentSampler().fit(frame).sample(2000))) < 0.1


def test_divisions_have_no_row_twice():
    table = tables.whole("iris")
    train, test = tables.divided(table, 0, test_share=0.2, max_rows=100)
    assert (len(train), len(test)) == (80, 20)
    assert not pd.concat([train, test]).duplicated().any()
    assert len(tables.whole("diabetes", few_values=True).columns) == 10
    assert len(tables.whole("diabetes").columns) == 9


# Explanations and samples


def test_one_cell_changes_to_another_value_of_its_column(rng):
    original = rng.integers(3, size=(40, 3)).astype(float)
    original[:, 1] = 1.0
    X, guilty = corrupted(original, seed=0)
    changed = original != X
    np.testing.assert_array_equal(changed.sum(axis=1), 1)
    np.testing.assert_array_equal(changed.argmax(axis=1), guilty)
    assert np.isin(X, original).all()


def test_ties_share_the_first_place():
    scores = np.array([[1.0, 1.0, 0.0], [0.0, 2.0, 1.0], [0.0, 2.0, 1.0]])
    assert first_rate(scores, np.array([0, 1, 2])) == pytest.approx((0.5 + 1 + 0) / 3)


def test_the_classifier_tells_what_differs_and_no_more(rng):
    one, same, other = (
        pd.DataFrame(rng.normal(size=(200, 2)) + shift) for shift in (0, 0, 3)
    )
    assert auc(one, other, seed=0) > 0.95
    assert abs(auc(one, same, seed=0) - 0.5) < 0.1


def test_copies_are_counted_and_digits_rounded(frame):
    train, test = frame[:60], frame[60:]
    copies = memorised(train[:20], train, test)
    assert (copies["copies"], copies["distance"]) == (1.0, 0.0)
    assert memorised(test, train, test)["distance"] == 1.0
    blurred = train.assign(length=train["length"] + 0.01)
    np.testing.assert_allclose(rounded(blurred, train)["length"], train["length"])
    few = pd.DataFrame({"x": [0.0, 1.0, 4.0]})
    near = pd.DataFrame({"x": [-3.0, 2.4, 2.6]})
    assert rounded(near, few)["x"].tolist() == [0.0, 1.0, 4.0]


# Rows and pages


def test_rows_are_computed_once_and_again_when_the_data_change(args, capsys):
    calls = []

    def compute():
        calls.append(1)
        return [{"value": float(len(calls))}]

    def run(data, **what):
        rows = Rows("some", ["set", "model"], args)
        rows.add({"set": "s", "model": "mean"} | what, [data], [compute], compute)
        rows.write("Title", "Text.", lambda record: [f"{len(record)} rows"])
        return rows.record()["value"].tolist()

    first, other = (pd.DataFrame({"x": [1.0, x]}) for x in (2.0, 3.0))
    assert run(first) == run(first.copy()) == [1.0]
    for path in args.cache.rglob("*.json"):
        path.unlink()
    assert run(first) == [1.0]  # by the csv alone
    assert run(other) == [2.0]
    assert run(first, set="t") == [2.0, 3.0]
    assert "2 rows" in (args.record / "some.md").read_text()
    args.models = ["none"]
    assert run(pd.DataFrame({"x": [0.0]})) == [2.0, 3.0]
    assert len(calls) == 3


def test_pairs_ranks_and_outcomes():
    rows = [
        ("s", d, m, v)
        for d in range(3)
        for m, v in (("ours", 1.0 + d), ("other", 0.5 + d))
    ]
    record = pd.DataFrame(rows, columns=["set", "division", "model", "value"])
    lead = paired(record, "value", "ours", "other")
    assert lead == {"s": (0.5, 0.0, 3)}
    assert outcome(lead) == (["s"], [])
    assert outcome({"t": (-1.0, np.nan, 1), "u": (0.5, 0.6, 2)}) == ([], ["t"])
    assert ranks(record, "value").to_dict() == {"other": 1.0, "ours": 2.0}
    assert lines(pd.DataFrame({"a": ["1"]}, index=["x"])) == [
        "|  | a |",
        "| --- | --- |",
        "| x | 1 |",
    ]
