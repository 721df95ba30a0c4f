"""Rows and sequences that count more or less than once."""

import math

import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV

from skdensity_ar import (
    RNNRNADE,
    DensityOutlierDetector,
    MADEDensity,
    NADEDensity,
    RNADEDensity,
)
from skdensity_ar._columns import repetitions
from skdensity_ar._training import TensorRows
from skdensity_ar.estimators._data import Given
from tests.properties import make_module, mixture_block

# Full batches and nothing drawn in them: what is left is the objective.
PLAIN = {
    "batch_size": 10**6,
    "dropout": 0.0,
    "early_stopping": False,
    "dtype": "float64",
    "random_state": 0,
}
TABLES = {
    "made": (MADEDensity, "real"),
    "rnade": (RNADEDensity, "real"),
    "nade": (NADEDensity, "codes"),
    "mixed": (MADEDensity, "mixed"),
}


def table(kind: str, n: int = 60) -> np.ndarray:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(n, 3)) @ [[1.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0, 0, 0.1]]
    codes = rng.integers(0, 3, (n, 3)).astype(float)
    codes[:, 2] = (codes[:, 0] + codes[:, 1]) % 3
    if kind == "mixed":
        return np.column_stack([real[:, :2], codes[:, 0] > 1])
    return real if kind == "real" else codes


def whole_weights(n: int) -> np.ndarray:
    return np.random.default_rng(1).integers(1, 4, n)


@pytest.mark.parametrize("case", TABLES)
def test_a_weight_of_two_is_as_the_row_twice(case):
    cls, kind = TABLES[case]
    X = table(kind)
    weights = whole_weights(len(X))
    density = cls(max_iter=15, n_orderings=2, **PLAIN)
    weighted = density.fit(X, sample_weight=weights).score_samples(X)
    repeated = density.fit(np.repeat(X, weights, axis=0)).score_samples(X)
    np.testing.assert_allclose(weighted, repeated, atol=1e-6)
    unweighted = density.fit(X).score_samples(X)
    assert np.abs(weighted - unweighted).max() > 1e-3


@pytest.mark.parametrize("n_sequences", [12, 3])  # few are cut into pieces
def test_a_weight_of_two_is_as_the_sequence_twice(n_sequences):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(int(n), 2)) for n in rng.integers(5, 12, n_sequences)]
    weights = whole_weights(n_sequences)
    density = RNNRNADE(max_iter=5, n_orderings=2, n_lags=0, **PLAIN)
    weighted = density.fit(X, sample_weight=weights).score_samples(X)
    repeated = [x for x, w in zip(X, weights, strict=True) for _ in range(w)]
    again = density.fit(repeated).score_samples(X)
    np.testing.assert_allclose(weighted, again, atol=1e-6)


@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("weighted", ["both", "validation rows"])
def test_validation_rows_have_weights_of_their_own(sequences, weighted):
    rng = np.random.default_rng(0)
    weights, weights_val = whole_weights(12), rng.integers(0, 4, 8)
    if weighted == "validation rows":
        weights = np.ones(12, dtype=int)
    if sequences:
        X, X_val = (
            [rng.normal(size=(6, 2)) + shift for _ in range(n)]
            for n, shift in ((12, 0.0), (8, 1.0))
        )
        density = RNNRNADE(max_iter=3, n_orderings=1, n_lags=0, random_state=0)
    else:
        X, X_val = table("real", 12), 1.0 + table("real", 8)
        density = MADEDensity(max_iter=3, n_orderings=2, random_state=0)
    given = {} if weighted == "validation rows" else {"sample_weight": weights}
    density.fit(X, X_val=X_val, sample_weight_val=weights_val, **given)
    scores = density.validation_scores_
    repeated = [X_val[i] for i in np.repeat(np.arange(8), weights_val)]
    density.fit(X, X_val=repeated, **given)
    np.testing.assert_allclose(density.validation_scores_, scores, rtol=1e-5)
    density.fit(X, X_val=X_val, **given)
    assert np.abs(np.subtract(density.validation_scores_, scores)).max() > 1e-3


def test_weights_of_validation_rows_are_never_ignored():
    X = table("real")
    with pytest.raises(ValueError, match=r"sample_weight_val .* pass X_val too"):
        MADEDensity().fit(X, sample_weight_val=np.ones(5))
    with pytest.raises(ValueError, match=r"sample_weight_val.*sample_weight.shape"):
        MADEDensity().fit(X, X_val=X, sample_weight_val=np.ones(5))


@pytest.mark.parametrize("case", TABLES)
def test_a_weight_of_zero_is_as_no_row(case):
    cls, kind = TABLES[case]
    X = table(kind)
    weights = whole_weights(len(X)) * (np.arange(len(X)) % 3 > 0)
    density = cls(max_iter=3, n_orderings=2, random_state=0)
    weighted = density.fit(X, sample_weight=weights).score_samples(X)
    kept = weights > 0
    without = density.fit(X[kept], sample_weight=weights[kept]).score_samples(X)
    np.testing.assert_array_equal(weighted, without)


def test_mini_batches_have_the_weighted_objective_in_the_mean():
    module = make_module(
        "MADE", [mixture_block("gaussian_mixture", [0, 1])], "natural", n_members=2
    )
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(60, 2)))
    weights = torch.from_numpy(rng.exponential(size=60))
    rows = TensorRows(x, weights=weights)
    index = torch.stack([torch.arange(60), torch.arange(60).roll(7)])[:, :48]
    batches = rows.batches(index, 8, torch.Generator().manual_seed(0))
    assert len(batches) == 6
    mean = sum(batch.loss(module, ()).sum(-1) / batch.share for batch in batches) / 6
    own = weights[index]
    expected = (module.loss(x[index]) * own).sum(1) / own.sum(1)
    torch.testing.assert_close(mean, expected)


def test_the_weighted_frequency_is_learned():
    X = np.repeat([[0.0], [1.0]], 50, axis=0)
    weights = np.where(X[:, 0] == 1.0, 0.9, 0.1)
    density = NADEDensity(max_iter=30, random_state=0).fit(X, sample_weight=weights)
    assert math.exp(density.score_samples([[1.0]])[0]) == pytest.approx(0.9, abs=0.03)
    assert density.score(X, sample_weight=weights) > density.score(X)


def test_equal_weights_train_as_none_do():
    X = table("real")
    density = MADEDensity(max_iter=3, random_state=0)
    weighted = density.fit(X, sample_weight=np.full(len(X), 0.25)).score_samples(X)
    np.testing.assert_allclose(weighted, density.fit(X).score_samples(X), atol=1e-4)


def test_repetitions_are_in_proportion():
    assert repetitions(np.array([1.0, 3.0, 2.0])).tolist() == [0, 1, 1, 1, 2, 2]
    weights = np.random.default_rng(0).exponential(size=1000) + 1e-9
    times = np.bincount(repetitions(weights), minlength=1000)
    assert times.sum() == 1000
    assert np.abs(times - weights / weights.mean()).max() <= 1.0
    assert len(repetitions(np.array([1e12, 1.0]))) == 2


def test_a_category_of_little_weight_is_known():
    X = np.r_[np.zeros(50), np.ones(50), [2.0]][:, None]
    weights = np.r_[np.full(100, 0.7), 1e-3]
    density = NADEDensity(max_iter=1, random_state=0).fit(X, sample_weight=weights)
    np.testing.assert_allclose(
        np.exp(density.score_samples([[0.0], [1.0], [2.0]])).sum(), 1.0, atol=1e-5
    )


def test_frames_of_a_sequence_are_repeated_together():
    X = np.arange(6.0)[:, None]
    given = Given(X, np.array([3, 1, 2]), np.array([2.0, 0.0, 1.0]))
    given = given.without_weightless()
    assert given.X[:, 0].tolist() == [0.0, 1.0, 2.0, 4.0, 5.0]
    rows, lengths = given.repeated()
    assert given.X[rows, 0].tolist() == [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 4.0, 5.0]
    assert lengths.tolist() == [3, 3, 2]


def test_the_score_of_sequences_counts_frames_by_weight():
    X = [np.zeros((3, 1)), np.ones((2, 1)), np.zeros((4, 1))]
    density = RNNRNADE(max_iter=1, early_stopping=False, random_state=0).fit(X)
    totals = density.score_samples(X)
    expected = (2.0 * totals[0] + totals[2]) / 10.0
    assert density.score(X, sample_weight=[2, 0, 1]) == pytest.approx(expected)


WRONG = {
    "too few": (np.ones(3), "sample_weight.shape"),
    "negative": (np.r_[-1.0, np.ones(59)], "[Nn]egative values"),
    "not a number": (np.r_[np.nan, np.ones(59)], "NaN"),
    "all zero": (np.zeros(60), "zero|0 for all"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_weights_are_refused_and_leave_the_fitted_density(case):
    weights, message = WRONG[case]
    X = table("real")
    density = MADEDensity(max_iter=1, random_state=0).fit(X)
    before = density.score_samples(X)
    with pytest.raises(ValueError, match=message):
        density.fit(X, sample_weight=weights)
    np.testing.assert_array_equal(density.score_samples(X), before)


def test_weights_are_routed_to_fit_and_score():
    X, _ = load_iris(return_X_y=True)
    weights = np.random.default_rng(0).integers(1, 3, len(X))
    with config_context(enable_metadata_routing=True):
        density = MADEDensity(max_iter=2, n_orderings=1, random_state=0)
        density.set_fit_request(sample_weight=True)
        density.set_score_request(sample_weight=True)
        search = GridSearchCV(density, {"hidden_layer_sizes": [(8,), (16,)]}, cv=2)
        search.fit(X, sample_weight=weights)
    alone = search.best_estimator_.score(X, sample_weight=weights)
    assert np.isfinite(alone)
    best = clone_fitted(search, X, weights)
    assert best.score(X, sample_weight=weights) == alone


def clone_fitted(search: GridSearchCV, X: np.ndarray, weights: np.ndarray):
    """The best estimator fitted by hand, as the search is to have done."""
    density = MADEDensity(n_orderings=1, max_iter=2, random_state=0)
    return density.set_params(**search.best_params_).fit(X, sample_weight=weights)


@pytest.mark.parametrize("factor", [1e40, 1e-50])
def test_weights_may_be_of_any_size(factor):
    X = table("real")
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(X))
    density = MADEDensity(max_iter=3, n_orderings=2, random_state=0)
    expected = density.fit(X, sample_weight=weights).score_samples(X)
    found = density.fit(X, sample_weight=factor * weights).score_samples(X)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_weights_of_validation_rows_have_a_unit_of_their_own():
    X, held = table("real"), table("real")[:20] + 0.1
    density = MADEDensity(max_iter=4, n_orderings=2, random_state=0)
    expected = density.fit(X, X_val=held).validation_scores_
    for ours, theirs in ((None, 1e60), (1e-40, None), (1e200, 1e-200)):
        weights = {
            name: None if weight is None else np.full(n, weight)
            for name, n, weight in (
                ("sample_weight", len(X), ours),
                ("sample_weight_val", len(held), theirs),
            )
        }
        found = density.fit(X, X_val=held, **weights).validation_scores_
        np.testing.assert_allclose(found, expected, rtol=1e-4)


@pytest.mark.parametrize("ordering", ["natural", "agnostic"])
@pytest.mark.parametrize("weight", [1e307, 1e-310])
def test_weights_near_the_ends_of_numbers(weight, ordering):
    X = table("real")
    networks = {"n_networks": 3} if ordering == "agnostic" else {}
    density = MADEDensity(
        max_iter=2, ordering=ordering, n_orderings=1, random_state=0, **networks
    )
    expected = density.fit(X, sample_weight=np.ones(len(X))).score(X)
    expected_share = getattr(density.module_, "contraction", 0.0)
    density.fit(X, sample_weight=np.full(len(X), weight))
    found = density.score(X, sample_weight=np.full(len(X), weight))
    assert found == pytest.approx(expected, rel=1e-2)
    assert getattr(density.module_, "contraction", 0.0) == expected_share


@pytest.mark.parametrize("ordering", ["natural", "agnostic"])
def test_rows_beside_a_far_heavier_one_validate(ordering):
    X = table("real")
    weights = np.r_[1e60, np.ones(len(X) - 1)]
    density = MADEDensity((8,), ordering=ordering, max_iter=2, random_state=0)
    density.set_params(n_orderings=2).fit(X, sample_weight=weights)
    assert np.isfinite(density.validation_scores_).all()


def test_the_threshold_counts_weights_that_are_routed_by_another_name():
    X = table("real")
    weights = 3.0 * (np.arange(len(X)) % 3 > 0)
    density = MADEDensity(max_iter=3, n_orderings=1, random_state=0)
    with config_context(enable_metadata_routing=True):
        renamed = DensityOutlierDetector(density.set_fit_request(sample_weight="w"))
        found = renamed.fit(X, w=weights).offset_
        plain = DensityOutlierDetector(density.set_fit_request(sample_weight=True))
        assert plain.fit(X, sample_weight=weights).offset_ == found
    rows = tuple(map(tuple, X))
    detector = DensityOutlierDetector(MADEDensity(**density.get_params()))
    expected = detector.fit(X).offset_
    for weight in (2.0, np.full(len(X), 2.0)):
        found = detector.fit(rows, sample_weight=weight).offset_
        assert found == pytest.approx(expected, abs=0.2)


def test_the_threshold_of_a_detector_counts_rows_by_their_weights():
    X = table("real")
    weights = whole_weights(len(X)) * (np.arange(len(X)) % 4 > 0)
    X[weights == 0] += 100.0
    around = DensityOutlierDetector(
        MADEDensity(max_iter=15, n_orderings=2, **PLAIN), contamination=0.2
    )
    weighted = around.fit(X, sample_weight=weights).offset_
    repeated = around.fit(np.repeat(X, weights, axis=0)).offset_
    assert weighted == pytest.approx(repeated, abs=1e-6)


@pytest.mark.parametrize("weight", [1e-50, 1e-6, 1e39])
def test_the_unit_of_weights_of_sequences_does_not_matter(weight):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(int(n), 2)) for n in rng.integers(2, 9, 14)]
    density = RNNRNADE(max_iter=4, n_orderings=1, random_state=0)
    expected = density.fit(X, sample_weight=np.full(14, 1.0)).score_samples(X)
    found = density.fit(X, sample_weight=np.full(14, weight)).score_samples(X)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_lengths_are_drawn_by_weights():
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(n, 1)) for n in (2, 5)] * 6
    density = RNNRNADE(max_iter=1, n_orderings=1, n_lags=0, random_state=0)
    drawn = density.fit(X, sample_weight=[9, 1] * 6).sample(400, random_state=0)
    assert np.mean([len(x) == 2 for x in drawn]) == pytest.approx(0.9, abs=0.05)


def test_a_row_that_counts_for_nearly_all_may_have_a_hole():
    X = np.random.default_rng(0).normal(size=(120, 3))
    X[7, 1] = np.nan
    weights = np.ones(120)
    weights[7] = 100000.5
    density = MADEDensity(ordering="agnostic", max_iter=2, random_state=0)
    assert np.isfinite(density.fit(X, sample_weight=weights).score_samples(X)).all()
