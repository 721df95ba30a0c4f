"""Cross-validation and searches, in one process and in several."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from joblib import parallel_config
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skdensity_ar import MADEDensity, NADEDensity, RNADEDensity
from tests.small import codes, mixed_frame, reals, small

GRID = {"density__hidden_layer_sizes": [(4,), (16,)], "density__n_components": [1, 4]}


@pytest.fixture
def one_thread():
    n = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n)


def search(X, n_jobs, cls=RNADEDensity):
    pipeline = Pipeline([("scale", StandardScaler()), ("density", small(cls))])
    pipeline.set_params(density__max_iter=5)
    # Workers of loky run with one thread each.
    with parallel_config(backend="loky", inner_max_num_threads=1):
        return GridSearchCV(pipeline, GRID, cv=2, n_jobs=n_jobs).fit(X)


def test_two_processes_find_what_one_finds(one_thread):
    X = reals(120, 2)
    alone, together = search(X, 1), search(X, 2)
    assert together.best_params_ == alone.best_params_
    for k in range(2):
        scores = f"split{k}_test_score"
        np.testing.assert_array_equal(
            together.cv_results_[scores], alone.cv_results_[scores]
        )
    np.testing.assert_array_equal(together.score_samples(X), alone.score_samples(X))

    torch.set_num_threads(2)  # other thread counts round otherwise
    two_threads = search(X, 1)
    assert two_threads.best_params_ == alone.best_params_
    np.testing.assert_allclose(
        two_threads.cv_results_["mean_test_score"],
        together.cv_results_["mean_test_score"],
        rtol=0,
        atol=1e-4,
    )


@pytest.mark.parametrize("cls", [MADEDensity, RNADEDensity])
def test_a_search_prefers_the_better_density(cls):
    rng = np.random.default_rng(0)
    X = rng.choice([-4.0, 4.0], size=(300, 1)) + rng.normal(size=(300, 1))
    grid = {"n_components": [1, 6]}
    found = GridSearchCV(small(cls, max_iter=10), grid, cv=2).fit(X)
    assert found.best_params_ == {"n_components": 6}
    assert found.best_score_ == pytest.approx(max(found.cv_results_["mean_test_score"]))
    assert found.score(X) == pytest.approx(found.best_estimator_.score(X))


def test_cross_val_score_takes_any_table():
    assert np.isfinite(cross_val_score(small(RNADEDensity), reals(), cv=3)).all()
    # Rare categories that a split first sees when scoring.
    X = codes(30)
    X[[0, 10, 20], 0] = 4.0, 5.0, 6.0
    for cls, table in ((NADEDensity, X), (MADEDensity, mixed_frame())):
        assert np.isfinite(cross_val_score(small(cls), table, cv=3)).all()
