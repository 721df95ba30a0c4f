"""Densities of sequences: the contract, containers, frames, units, long series."""

from __future__ import annotations

import copy
import pickle
import random

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError, SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator

from skdensity_ar import RNNRNADE, RNADEDensity
from skdensity_ar._sequences import Window
from skdensity_ar.checks import check_sequence_estimator
from skdensity_ar.networks import CELLS
from tests.small import mixed_frame, sequences, small, to_polars

# The contract -------------------------------------------------------------------------

TINY = {
    "max_iter": 2,
    "hidden_layer_sizes": (4,),
    "recurrent_layer_sizes": (4,),
    "n_orderings": 2,
    "device": "cpu",
}
CHECKED = [
    RNNRNADE(**TINY),
    RNNRNADE(cell="gru", context_to="output", inner="made", n_lags=0, **TINY),
    RNNRNADE(cell="rnn", conditional="bernoulli", bptt_length=3, **TINY),
]


@pytest.mark.parametrize(
    ("estimator", "check"),
    [
        pytest.param(one, check, id=f"{density.cell}-{check.func.__name__}")
        for density in CHECKED
        for one, check in check_sequence_estimator(density, generate_only=True)
    ],
)
def test_check_sequence_estimator(estimator, check):
    check(estimator)


def test_check_estimator_of_scikit_learn():
    # It warns that it knows no data for such an estimator, and runs what needs none.
    with pytest.warns(SkipTestWarning, match="which requires input"):
        check_estimator(RNNRNADE(**TINY))


def test_the_tags():
    tags = RNNRNADE().__sklearn_tags__().input_tags
    assert (tags.two_d_array, tags.three_d_array) == (False, True)
    assert not tags.categorical
    assert RNNRNADE(conditional="bernoulli").__sklearn_tags__().input_tags.categorical


def test_score_is_the_mean_per_time_step():
    X = sequences()
    density = small(RNNRNADE).fit(X)
    total = density.score_samples(X).sum()
    assert density.score(X) == pytest.approx(total / sum(map(len, X)), rel=1e-12)
    for log_p, steps in zip(
        density.score_samples(X), density.score_timesteps(X), strict=True
    ):
        assert steps.sum() == pytest.approx(log_p, abs=1e-9)


def test_the_ensemble_averages_densities_of_whole_sequences():
    X = sequences()
    density = small(RNNRNADE, n_orderings=3).fit(X)
    members = []
    for e in range(3):
        one = pickle.loads(pickle.dumps(density))
        module = one.module_
        for part in (module.recurrent, module.frame.network):
            for name, p in list(part._parameters.items()):
                if p is not None:
                    part._parameters[name] = torch.nn.Parameter(p.detach()[e : e + 1])
            for name, b in list(part._buffers.items()):
                part._buffers[name] = b[e : e + 1]
            part.members = (1,)
        for conditional in module.frame.conditionals:
            conditional.unit = conditional.unit[e : e + 1]
        for name in ("L", "L_inverse", "log_det"):
            buffer = getattr(module.innovations, name)
            setattr(module.innovations, name, buffer[:, e : e + 1])
        members.append(one.score_samples(X))
    expected = np.logaddexp.reduce(members) - np.log(3)
    np.testing.assert_allclose(density.score_samples(X), expected, atol=1e-4)


def test_torchs_and_pythons_generators_are_left_alone():
    X = sequences()
    torch.manual_seed(0)
    random.seed(0)
    before = torch.random.get_rng_state().clone(), random.getstate()
    small(RNNRNADE).fit(X).sample(3, random_state=0)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert random.getstate() == before[1]


# Containers ---------------------------------------------------------------------------


@pytest.mark.parametrize("make", [pd.DataFrame, lambda d: pl.DataFrame(d)])
def test_frames_of_numbers_score_as_their_arrays_and_are_sampled_as_frames(make):
    X = sequences()
    frames = [make(dict(zip("abc", x.T, strict=True))) for x in X]
    density, of_arrays = small(RNNRNADE).fit(frames), small(RNNRNADE).fit(X)
    np.testing.assert_array_equal(
        density.score_samples(frames), of_arrays.score_samples(X)
    )
    assert list(density.feature_names_in_) == ["a", "b", "c"]
    for frame in density.sample(3, random_state=0):
        assert type(frame) is type(frames[0])
        assert list(frame.columns) == ["a", "b", "c"]
    with pytest.raises(ValueError, match="feature names should match"):
        density.score([frame[["b", "a", "c"]] for frame in frames])


@pytest.mark.parametrize("make", [lambda frame: frame, to_polars])
@pytest.mark.parametrize("inner", ["nade", "made"])
def test_sequences_of_mixed_frames(make, inner):
    frame = mixed_frame(90)
    X = [make(frame.iloc[i : i + 9]) for i in range(0, 90, 9)]
    density = small(RNNRNADE, inner=inner).fit(X)
    names = [type(c.conditional).__name__ or c for c in density.columns_.columns]
    assert len(names) == 5
    drawn = density.sample(4, n_timesteps=[3, 1, 9, 5], random_state=0)
    assert [len(x) for x in drawn] == [3, 1, 9, 5]
    for x in drawn:
        assert list(x.columns) == list(X[0].columns)
        assert set(x["species"]) <= set(frame["species"])
    assert np.isfinite(density.score_samples(drawn)).all()


def test_categories_in_arrays():
    rng = np.random.default_rng(0)
    X = [rng.integers(0, 3, size=(n, 2)).astype(float) for n in [5, 8] * 8]
    density = small(RNNRNADE, conditional="categorical").fit(X)
    drawn = np.concatenate(density.sample(10, random_state=0))
    assert set(np.unique(drawn)) <= {0.0, 1.0, 2.0}
    unseen = X[0].copy()
    unseen[1, 0] = 7
    low, high = density.score_samples([unseen, X[0]])
    assert np.isfinite(low) and low < high
    with pytest.raises(ValueError, match="column 0"):
        density.score([X[0] - 1.0])


MIXED_UP = [
    ([pd.DataFrame({"a": [1.0, 2.0]}), np.ones((2, 1))], "Sequence 1 is a ndarray"),
    (
        [pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame({"b": [1.0, 2.0]})],
        "Sequence 1 has the columns",
    ),
    (
        [pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame({"a": [1.0, np.nan]})],
        "Sequence 1 contains NaN at time step 1 in column 'a'",
    ),
    (
        [pl.DataFrame({"a": [1.0, 2.0]}), pl.DataFrame({"a": [None, 2.0]})],
        "Sequence 1 contains NaN at time step 0 in column 'a'",
    ),
    (pd.DataFrame({"a": [1.0, 2.0]}), r"Pass \[X\]"),
    (np.ones(3), "must be a list of arrays"),
    (3, "must be a list of arrays"),
    ("text", "must be a list of arrays"),
    ({"a": 1}, "must be a list of arrays"),
    (np.ones((2, 2, 2, 2)), "must be a list of arrays"),
    ([np.ones((2, 0))], "feature"),
    (np.ones((2, 3, 0)), r"0 feature\(s\)"),
    (np.full((2, 3, 2), np.nan), "Sequence 0 has 0 time steps"),
]


@pytest.mark.parametrize(("X", "message"), MIXED_UP)
def test_what_is_no_set_of_sequences(X, message):
    density = small(RNNRNADE)
    with pytest.raises((ValueError, TypeError), match=message):
        density.fit(X)
    with pytest.raises(NotFittedError):
        density.score(X)


def test_categories_that_differ_between_sequences_stay_categories():
    words = [["a", "b", "a"], ["b", "c"], ["c", "c", "a"]] * 5
    codes = [[1, 2, 1], [2, 3], [3, 3, 1]] * 5
    for values in (words, codes):
        X = [pd.DataFrame({"k": pd.Categorical(v)}) for v in values]
        density = small(RNNRNADE).fit(X)
        (column,) = density.columns_.columns
        assert type(column).__name__ == "LabelColumn"
        drawn = pd.concat(density.sample(9, random_state=0))
        assert set(drawn["k"]) <= set(values[0] + values[1])


UNLIKE = [
    ([pd.DataFrame({"a": pd.Categorical(["x"])}), pd.DataFrame({"a": [1.0]})]),
    ([pl.DataFrame({"a": ["x", "y"]}), pl.DataFrame({"a": [1.0, 2.0]})]),
]


@pytest.mark.parametrize("X", UNLIKE)
def test_dtypes_that_do_not_go_together(X):
    with pytest.raises(TypeError, match="Sequence 1 has columns of dtypes"):
        small(RNNRNADE).fit(X * 6)


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_frame_that_is_not_finite_names_the_sequence(make, bad):
    X = [make({"a": [0.0, 1.0], "b": [1.0, value]}) for value in (2.0, bad)]
    with pytest.raises(
        ValueError, match=r"Sequence 1 contains .* step 1 in column 'b'"
    ):
        small(RNNRNADE).fit(X)


def test_integers_beside_floats_and_a_series_of_arrays():
    X = sequences()
    density = small(RNNRNADE).fit(X)
    expected = density.score_samples(X)
    series = pd.Series([np.asarray(x) for x in X])
    np.testing.assert_array_equal(density.score_samples(series), expected)
    frames = [pl.DataFrame({"a": [1, 2, 5]}), pl.DataFrame({"a": [1.5, 2.5]})] * 6
    assert np.isfinite(small(RNNRNADE).fit(frames).score(frames))


@pytest.mark.parametrize("n", [np.int64(3), np.array(3), np.array([3, 3]), (3, 3)])
def test_lengths_of_samples_in_any_form(n):
    density = small(RNNRNADE).fit(sequences())
    assert [len(x) for x in density.sample(2, n_timesteps=n)] == [3, 3]


# Devices ------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", ["nade", "made"])
def test_what_a_density_draws_is_where_its_weights_are(inner):
    # As after a pickle from a GPU to a machine without one.
    X = sequences()
    density = small(RNNRNADE, inner=inner, warm_start=True).fit(X)
    for part in (density.module_.network, density.module_.recurrent):
        part._factory["device"] = torch.device("meta")
    assert all(np.isfinite(x).all() for x in density.sample(3, random_state=0))
    assert np.isfinite(density.fit(X).score(X))


def test_torchs_default_device_changes_nothing():
    X = sequences()
    expected = small(RNNRNADE).fit(X).score_samples(X)
    with torch.device("meta"):
        density = small(RNNRNADE).fit(X)
        np.testing.assert_array_equal(density.score_samples(X), expected)
        density.sample(3, random_state=0)


# Units --------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [2.0**-100, 2.0**-3, 2.0**60])
def test_powers_of_two_leave_the_log_jacobian_and_nothing_else(power):
    X = sequences(20)
    density = small(RNNRNADE).fit(X)
    scaled = small(RNNRNADE).fit([x * power for x in X])
    lengths = np.array([len(x) for x in X])
    np.testing.assert_allclose(
        scaled.score_samples([x * power for x in X]),
        density.score_samples(X) - lengths * 3 * np.log(power),
        rtol=1e-9,
        atol=1e-6,
    )


@pytest.mark.parametrize("inner", ["nade", "made"])
def test_nothing_but_constant_columns(inner):
    X = [np.full((4, 2), 1.5) for _ in range(12)]
    model = small(RNNRNADE, inner=inner)
    with pytest.warns(UserWarning, match="are constant"):
        model.fit(X)
    assert model.score_samples(X).tolist() == [0.0] * 12
    assert (np.concatenate(model.sample(3)) == 1.5).all()
    assert model.score_samples([X[0] + 1.0]).tolist() == [-np.inf]


def test_a_constant_column_is_a_point_mass():
    X = [np.column_stack([x, np.full(len(x), 3.0)]) for x in sequences(20)]
    density = small(RNNRNADE)
    with pytest.warns(UserWarning, match=r"Columns \[3\] are constant"):
        density.fit(X)
    assert np.isfinite(density.score_samples(X)).all()
    broken = X[6].copy()
    broken[2, 3] = 4.0
    assert density.score_samples([broken])[0] == -np.inf
    steps = density.score_timesteps([broken])[0]
    assert np.isfinite(steps[:2]).all()
    assert (steps[2:] == -np.inf).all()
    assert all((x[:, 3] == 3.0).all() for x in density.sample(3, random_state=0))


@pytest.mark.parametrize("far", [1e6, 1e300])
def test_a_far_value_scores_low_and_finite(far):
    X = sequences(20)
    density = small(RNNRNADE).fit(X)
    spoilt = X[6].copy()
    spoilt[2, 1] = far
    low, high = density.score_samples([spoilt, X[6]])
    assert np.isfinite(low) and low < high - 10
    # What comes before it scores as if it were not there.
    before = [density.score_timesteps([x])[0][:2] for x in (spoilt, X[6])]
    np.testing.assert_array_equal(*before)


def test_a_column_that_stays_as_it_began_is_sampled_where_it_was_seen():
    rng = np.random.default_rng(0)
    X = [
        np.column_stack([np.full(9, float(rng.integers(1, 6))), rng.normal(size=9)])
        for _ in range(60)
    ]
    density = small(RNNRNADE, max_iter=20).fit(X)
    first = np.array([x[0, 0] for x in density.sample(300, random_state=0)])
    low, high = np.quantile(first, [0.02, 0.98])
    assert 0.0 < low and high < 6.0


@pytest.mark.parametrize(("n", "T", "D"), [(12, 5, 20), (20, 5, 30), (1, 60, 20)])
def test_a_linear_prediction_is_not_fitted_to_few_frames(n, T, D):
    rng = np.random.default_rng(0)
    X = [rng.normal(size=(T, D)).cumsum(0) for _ in range(n + 40)]
    X, X_test = X[:n], X[n:]
    plain, predicted = (
        small(RNNRNADE, n_lags=n_lags, max_iter=10).fit(X).score(X_test)
        for n_lags in (0, 3)
    )
    assert predicted > plain - 0.1 * abs(plain)


def test_values_near_the_largest_float_raise_no_warning():
    X = [x * 1e307 for x in sequences(20)]
    density = small(RNNRNADE).fit(X)
    assert np.isfinite(density.score(X))


# Few sequences, long series -----------------------------------------------------------


def long_series(n=400, seed=0):
    rng = np.random.default_rng(seed)
    angle = 0.3 * np.arange(n) + 0.3 * rng.normal(size=n).cumsum()
    clean = np.column_stack([np.sin(angle), np.cos(angle)])
    return clean + 0.1 * rng.normal(size=(n, 2))


def test_one_long_series_is_validated_on_its_end():
    x = long_series()
    density = small(RNNRNADE, max_iter=30, bptt_length=20).fit([x])
    # 40 frames at the end, given all before them, in nats per frame.
    steps = density.score_timesteps([x])[0]
    best = max(np.array(density.validation_scores_))
    jacobian = density.columns_.log_jacobians(x[:1])[0].sum()  # of any code
    assert steps[-40:].mean() == pytest.approx(best + jacobian, abs=0.1)
    frames = small(RNADEDensity, max_iter=30).fit(x[:360])
    assert steps[-40:].mean() > frames.score(x[-40:]) + 0.5


def test_a_series_too_short_to_validate_on_says_so():
    density = small(RNNRNADE)
    with pytest.warns(UserWarning, match="1 sequences of 4 time steps, too few"):
        density.fit([long_series(4)])
    assert density.validation_scores_ == []
    assert np.isfinite(density.score([long_series(4)]))


def test_the_windows_of_training_do_not_change_what_a_score_is():
    x = long_series()
    density = small(RNNRNADE, bptt_length=7).fit([x])
    expected = density.score_samples([x, x[:30]])
    density.set_params(bptt_length=1000)
    np.testing.assert_array_equal(density.score_samples([x, x[:30]]), expected)


def test_X_val_is_what_early_stopping_watches():
    X, X_val = ([long_series(20, s + i) for i in range(30)] for s in (0, 100))
    density = small(RNNRNADE, n_orderings=1, max_iter=8).fit(X, X_val=X_val)
    assert density.history_.best_iter[0] > 0
    best = (
        max(density.validation_scores_) + density.columns_.log_jacobians(X[0][:1]).sum()
    )
    assert density.score(X_val) == pytest.approx(best, abs=1e-5)


def test_lengths_of_samples_are_those_seen():
    X = [x for x in sequences(30) if len(x) in (2, 5)]
    density = small(RNNRNADE).fit(X)
    assert sorted(set(density.n_timesteps_)) == [2, 5]
    assert {len(x) for x in density.sample(40, random_state=0)} == {2, 5}


# Bad days -----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_fit_leaves_the_density_as_it_was(error, monkeypatch):
    X = sequences()
    fitted = small(RNNRNADE).fit(X)
    expected = fitted.score_samples(X)
    take, calls = Window.take, []

    def interrupted(self):
        calls.append(self)
        if len(calls) % 4 == 0:
            raise error
        return take(self)

    monkeypatch.setattr(Window, "take", interrupted)
    unfitted = small(RNNRNADE)
    for density in (unfitted, fitted):
        with pytest.raises(error):
            density.fit([x + 1.0 for x in X])
    with pytest.raises(NotFittedError):
        unfitted.score(X)
    np.testing.assert_array_equal(fitted.score_samples(X), expected)


@pytest.mark.parametrize("cell", CELLS)
def test_exploding_gradients_leave_finite_weights(cell):
    density = small(RNNRNADE, cell=cell, max_iter=10, learning_rate_init=1e38)
    with pytest.warns(ConvergenceWarning, match="learning_rate_init"):
        density.fit([long_series(200, seed) for seed in range(12)])
    assert all(p.isfinite().all() for p in density.module_.parameters())
    assert np.isfinite(density.score([long_series(200)]))


CHANGED = {
    "hidden_layer_sizes": (9,),
    "recurrent_layer_sizes": (9,),
    "cell": "gru",
    "context_to": "output",
    "inner": "made",
    "n_lags": 0,
    "n_orderings": 5,
    "n_components": 4,
    "activation": "tanh",
    "dtype": "float64",
}


@pytest.mark.parametrize("name", CHANGED)
def test_warm_start_of_another_network(name):
    X = sequences()
    density = small(RNNRNADE, warm_start=True).fit(X)
    before = density.score_samples(X)
    with pytest.raises(ValueError, match=f"warm_start=True .* {name}="):
        density.set_params(**{name: CHANGED[name]}).fit(X)
    np.testing.assert_array_equal(density.score_samples(X), before)


@pytest.mark.parametrize("name", ["dropout", "input_dropout"])
def test_warm_start_goes_on_with_the_dropout_asked_for(name):
    X = sequences()
    options = {"warm_start": True, "early_stopping": False, "dropout": 0.0}
    first = small(RNNRNADE, **options).fit(X)
    again = [copy.deepcopy(first).set_params(**{name: p}).fit(X) for p in (0.0, 0.5)]
    modules = [density.module_ for density in again]
    for weights in zip(*(m.parameters() for m in modules), strict=True):
        assert not torch.equal(*weights)


def test_warm_start_of_a_network_without_lags():
    density = small(RNNRNADE, warm_start=True, n_lags=0).fit(sequences())
    with pytest.raises(ValueError, match=r"warm_start=True .* n_lags=0, got 3"):
        density.set_params(n_lags=3).fit(sequences())


def test_warm_start_continues_where_the_last_fit_ended():
    X = sequences(20)
    density = small(RNNRNADE, warm_start=True, early_stopping=False).fit(X)
    first = density.score(X)
    density.set_params(max_iter=1, learning_rate_init=1e-9).fit(X)
    assert density.score(X) == pytest.approx(first, abs=1e-4)


def test_no_recurrent_layer():
    with pytest.raises(ValueError, match="RNNRNADE needs a recurrent layer"):
        small(RNNRNADE, recurrent_layer_sizes=()).fit(sequences())
