"""scikit-learn's callbacks follow a fit, stop it, and may break it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skdensity_ar import MADEDensity, NADEDensity, RNADEDensity
from tests.small import DENSITIES, EVERY, reals, small

pytest.importorskip(
    "sklearn.callback", reason="scikit-learn has callbacks since 1.9 only"
)


class Recorder:
    """Writes down every hook; stops after `stop_at` epochs; raises where asked to."""

    def __init__(self, stop_at=None, fail_at=None, error=None):
        self.stop_at, self.fail_at = stop_at, fail_at
        self.error = error or ValueError("planted")
        self.hooks, self.scores = [], []

    def _record(self, hook, context):
        self.hooks.append((hook, context.task_name, context.task_id))
        if self.fail_at in (hook, (hook, context.task_name)):
            raise self.error

    def setup(self, estimator, context):
        self._record("setup", context)

    def teardown(self, estimator, context):
        self._record("teardown", context)

    def on_fit_task_begin(self, estimator, context):
        self._record("begin", context)

    def on_fit_task_end(self, estimator, context, *, X=None, fitted_estimator=None):
        if context.task_name == "epoch":
            self.scores.append(fitted_estimator.score(X))
        self._record("end", context)
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_at


@pytest.mark.parametrize("cls", EVERY)
def test_every_task_that_begins_ends(cls):
    recorder = Recorder()
    density = small(cls).set_callbacks(recorder).fit(EVERY[cls]())
    assert recorder.hooks == [
        ("setup", "fit", 0),
        ("begin", "fit", 0),
        *((hook, "epoch", i) for i in range(3) for hook in ("begin", "end")),
        ("end", "fit", 0),
        ("teardown", "fit", 0),
    ]
    assert density.n_iter_ == 3


def test_a_callback_ends_training():
    X, recorder = reals(), Recorder(stop_at=2)
    density = small(RNADEDensity, max_iter=10).set_callbacks(recorder).fit(X)
    assert density.n_iter_ == 2
    assert density.history_.stopped_by == "callback"
    assert Counter(hook for hook, *_ in recorder.hooks)["begin"] == 3
    assert np.isfinite(density.score(X))


def test_the_fitted_estimator_of_an_epoch_scores_on_its_own():
    X, recorder = reals(200), Recorder()
    density = small(RNADEDensity, max_iter=8, learning_rate_init=0.02)
    density.set_callbacks(recorder).fit(X)
    assert len(recorder.scores) == len(set(recorder.scores)) == 8
    assert recorder.scores[-1] > recorder.scores[0]
    silent = small(RNADEDensity, max_iter=8, learning_rate_init=0.02).fit(X)
    assert silent.score(X) == density.score(X)  # watching changes nothing


FAILURES = [
    "setup",
    ("begin", "fit"),
    ("begin", "epoch"),
    ("end", "epoch"),
    ("end", "fit"),
]


@pytest.mark.parametrize("error", [ValueError("planted"), KeyboardInterrupt()])
@pytest.mark.parametrize("fail_at", FAILURES)
def test_an_exception_from_a_callback_leaves_the_density_as_it_was(fail_at, error):
    X = reals()
    broken = Recorder(fail_at=fail_at, error=error)

    density = small(RNADEDensity).set_callbacks(broken)
    with pytest.raises(type(error)):
        density.fit(X)
    with pytest.raises(NotFittedError):
        density.score(X)
    assert not [name for name in vars(density) if name.endswith("_")]
    assert broken.hooks[-1][0] == "teardown"

    density.set_callbacks().fit(X)
    expected = density.score_samples(X)
    density.set_params(random_state=1).set_callbacks(broken)
    with pytest.raises(type(error)):
        density.fit(X[:30])
    np.testing.assert_array_equal(density.score_samples(X), expected)


def test_callbacks_travel_with_clones_into_pipelines_and_searches():
    X, recorder = reals(), Recorder()
    density = small(RNADEDensity, max_iter=2).set_callbacks(recorder)
    clone(density).fit(X)
    assert Counter(name for _, name, _ in recorder.hooks)["epoch"] == 4

    recorder.hooks.clear()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), density),
        {"rnadedensity__n_components": [1, 2]},
        cv=2,
    ).fit(X)
    epochs = Counter(name for _, name, _ in recorder.hooks)["epoch"]
    assert epochs == 2 * 2 * (2 * 2 + 1)
    assert np.isfinite(search.score(X))


def test_verbose_and_callbacks_together(capsys):
    for cls in (NADEDensity, MADEDensity):
        recorder = Recorder(stop_at=1)
        small(cls, verbose=True).set_callbacks(recorder).fit(DENSITIES[cls]())
        assert "1/3" in capsys.readouterr().err
