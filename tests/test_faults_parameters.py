"""What bad parameters and bad days must get, row by row of the table of faults.

A heading quotes the row that the tests below it belong to.
"""

from __future__ import annotations

import multiprocessing
import pickle
import random
import subprocess
import sys
import threading

import joblib
import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.utils._param_validation import InvalidParameterError

from skdensity_ar import RNNRNADE, MADEDensity, NADEDensity, RNADEDensity
from skdensity_ar._device import free_memory
from skdensity_ar._training import TensorBatch
from skdensity_ar.estimators import _build
from tests.small import EVERY, codes, mixed_frame, reals, sequences, small

# every parameter with a value outside its domain (wrong type, negative, NaN, unknown
# name) ------------------------------------------------------------------------------

NO_COUNT = [0, -1, 1.5, np.nan, "3", None]
NO_FLAG = ["yes", 2, 0.5, None]
WRONG = {
    "hidden_layer_sizes": [0, -4, (0,), (8, -1), (2.5,), ("8",), (True,), [[8]], "8"],
    "recurrent_layer_sizes": [0, -4, (0,), (8, -1), (2.5,), ("8",), [[8]], "8"],
    "cell": ["LSTM", "elman", None, 3],
    "context_to": ["hidden", None, True],
    "inner": ["NADE", "rnade", None],
    "bptt_length": NO_COUNT,
    "n_lags": [-1, 1.5, np.nan, "3", None],
    "activation": ["gelu", None, torch.relu],
    "conditional": ["gaussian", "Bernoulli", None, 3, ["categorical"]],
    "n_components": NO_COUNT,
    "n_frequencies": [-1, 17, 1.5, np.nan, "4", None],
    "direct_connections": NO_FLAG,
    "tied": NO_FLAG,
    "compile": NO_FLAG,
    "ordering": ["sorted", 3, None, 0.5],
    "n_orderings": NO_COUNT,
    "n_networks": NO_COUNT,
    "missing": ["impute", "Exact", None, np.nan],
    "n_draws": [1, *NO_COUNT],
    "handle_unknown": ["ignore", None, True],
    "bounds": ["auto", 3, (0.0, 1.0), [(0.0, 1.0)]],
    "atoms": ["auto", 0.0, [0.0]],
    "max_categories": [0, 1, -1, 2.5, np.nan, "3"],
    "max_iter": NO_COUNT,
    "batch_size": [0, -1, 1.5, np.nan, "big", None],
    "learning_rate": ["adaptive", 0.1, None],
    "learning_rate_init": [0.0, -0.1, np.nan, "0.1", None],
    "weight_decay": [-0.1, np.nan, "0.1", None],
    "dropout": [-0.1, 1.0, 1.5, np.nan, "0.1", None],
    "input_dropout": [-0.1, 1.0, 1.5, np.nan, "0.1", None],
    "max_grad_norm": [0.0, -1.0, np.nan, "1", None],
    "weight_averaging": [-0.1, 1.0, np.nan, "0.9", None],
    "early_stopping": NO_FLAG,
    "validation_fraction": [0.0, 1.0, -0.1, np.nan, "0.1", None],
    "n_iter_no_change": NO_COUNT,
    "tol": [-1e-4, np.nan, "0", None],
    "warm_start": NO_FLAG,
    "dtype": ["float16", "double", np.float64, torch.float64, None],
    "device": [0, None, 1.5],
    "verbose": [-1, "yes", None],
    "random_state": [-1, 1.5, "0", np.random.default_rng(0)],
}


@pytest.mark.parametrize("cls", EVERY)
def test_a_value_outside_its_domain(cls):
    X = EVERY[cls]()
    names = set(cls().get_params())
    assert names <= set(WRONG)
    fitted = small(cls).fit(X)
    expected = fitted.score_samples(X)
    for name in names:
        for value in WRONG[name]:
            density = small(cls, **{name: value})  # not at __init__
            with pytest.raises(InvalidParameterError, match=name):
                density.fit(X)
            with pytest.raises(NotFittedError):
                density.score(X)
            before = getattr(fitted, name)
            fitted.set_params(**{name: value})
            with pytest.raises(InvalidParameterError, match=name):
                fitted.fit(X)
            fitted.set_params(**{name: before})
    np.testing.assert_array_equal(fitted.score_samples(X), expected)


@pytest.mark.parametrize(
    ("cls", "conditional"),
    [
        (NADEDensity, "gaussian_mixture"),
        (RNADEDensity, "bernoulli"),
        (RNADEDensity, "categorical"),
    ],
)
def test_a_conditional_that_the_class_does_not_take(cls, conditional):
    with pytest.raises(InvalidParameterError, match="conditional"):
        small(cls, conditional=conditional).fit(codes())


@pytest.mark.parametrize(
    ("conditional", "match"),
    [
        ({"width": "categorical"}, r"names the column 'width', which X does not have"),
        ({3: "categorical"}, r"names the column 3, which X does not have.*\[0, 1, 2\]"),
        ({-1: "categorical"}, r"names the column -1"),
        ({0: "gaussian"}, r"column 0 must be 'auto', one of .* got 'gaussian'"),
        ({0: None}, r"column 0 must be .* got None"),
        ({0: int}, r"column 0 must be .* got <class 'int'>"),
        (int, r"must be .* got <class 'int'>"),
    ],
)
def test_a_conditional_by_column_that_cannot_be(conditional, match):
    density = small(MADEDensity, conditional=conditional)
    with pytest.raises(ValueError, match=match):
        density.fit(codes())
    with pytest.raises(NotFittedError):
        density.score(codes())


def test_hidden_layers_that_a_network_cannot_do_without():
    small(MADEDensity, hidden_layer_sizes=()).fit(reals())
    for cls in (NADEDensity, RNADEDensity):
        with pytest.raises(ValueError, match=r"hidden_layer_sizes=\(\)"):
            small(cls, hidden_layer_sizes=()).fit(codes())
    with pytest.raises(ValueError, match=r"tied=True.*hidden_layer_sizes=\(8, 4\)"):
        small(NADEDensity, hidden_layer_sizes=(8, 4), tied=True).fit(codes())


def test_a_validation_fraction_that_leaves_no_row():
    with pytest.raises(ValueError, match=r"validation_fraction=0.99.*none to train on"):
        small(RNADEDensity, validation_fraction=0.99).fit(reals(10))


# sample(0), sample(-1), sample(2.5), sample("3"), sample(True) ------------------------


@pytest.mark.parametrize(
    ("n_samples", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (2.5, TypeError),
        ("3", TypeError),
        (True, TypeError),
        (np.True_, TypeError),
        (None, TypeError),
        (np.nan, TypeError),
        ([3], TypeError),
    ],
)
def test_a_number_of_samples_that_is_none(n_samples, error):
    density = small(RNADEDensity).fit(reals())
    with pytest.raises(error, match=r"n_samples must be an integer >= 1, got"):
        density.sample(n_samples)


def test_numbers_of_samples():
    density = small(RNADEDensity).fit(reals())
    for n in (1, np.int64(3), np.uint8(5)):
        assert density.sample(n).shape == (n, 3)
    with pytest.raises(NotFittedError):
        small(RNADEDensity).sample(0)
    for random_state in (-1, 1.5, "0"):
        with pytest.raises(ValueError, match=r"[Ss]eed"):
            density.sample(random_state=random_state)


@pytest.mark.parametrize("rounded", [1, 0.0, "yes", None, [True], np.array([True])])
def test_a_wish_for_rounded_draws_that_is_none(rounded):
    X = reals()
    density = small(RNADEDensity, ordering="agnostic").fit(X)
    of_sequences = small(RNNRNADE).fit(sequences())
    asked = (
        density.sample,
        of_sequences.sample,
        lambda rounded: density.sample_conditional(X, rounded=rounded),
        lambda rounded: density.impute(X, rounded=rounded),
    )
    for ask in asked:
        with pytest.raises(TypeError, match="rounded must be True or False, got"):
            ask(rounded=rounded)
        ask(rounded=np.True_)


# device="cuda" without one, "cuda:7", "gpu" -------------------------------------------


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "gpu", "mps", "", "meta"])
def test_a_device_that_is_not_there(device, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    density = small(RNADEDensity, device=device)
    match = rf"device='{device}' is not available.*\['auto', 'cpu'\]"
    with pytest.raises(ValueError, match=match):
        density.fit(reals())
    with pytest.raises(NotFittedError):
        density.score(reals())
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if device not in ("cuda", "cuda:0"):
        with pytest.raises(ValueError, match=r"'cpu', 'cuda', 'cuda:0', 'cuda:1'"):
            density.fit(reals())


@pytest.mark.parametrize("device", ["auto", "cpu", torch.device("cpu")])
def test_devices_that_are_there(device):
    assert np.isfinite(small(RNADEDensity, device=device).fit(reals()).score(reals()))


# random_state an int, a RandomState, None: see
# tests/estimators/test_sklearn_contract.py --------------------------------------------


# ordering not a permutation -----------------------------------------------------------


@pytest.mark.parametrize(
    "ordering",
    [
        (0, 1),
        (0, 1, 2, 3),
        (0, 1, 1),
        (1, 2, 3),
        (0.5, 1, 2),
        ("a", "b", "c"),
        [[0, 1, 2]],
        [np.nan, 0, 1],
        [],
    ],
)
def test_an_ordering_that_is_no_permutation(ordering):
    density = small(RNADEDensity, ordering=ordering)
    with pytest.raises(ValueError, match="ordering must be a permutation of the 3 col"):
        density.fit(reals())
    with pytest.raises(NotFittedError):
        density.score(reals())


@pytest.mark.parametrize(
    ("ordering", "expected"),
    [
        ("natural", [0, 1, 2]),
        ("reversed", [2, 1, 0]),
        ((2, 0, 1), [2, 0, 1]),
        (np.array([1, 2, 0]), [1, 2, 0]),
    ],
)
def test_orderings(ordering, expected):
    density = small(RNADEDensity, ordering=ordering, n_orderings=3).fit(reals())
    np.testing.assert_array_equal(density.ordering_[0], expected)
    assert density.ordering_.shape == (3, 3)


# n_orderings × features too large for memory ------------------------------------------


@pytest.mark.parametrize("cls", EVERY)
def test_more_orderings_than_memory_holds(cls, monkeypatch):
    monkeypatch.setattr(_build, "free_memory", lambda device: 2**34)
    X = EVERY[cls]()
    sizes = {"hidden_layer_sizes": (10**5,)}
    if cls is RNNRNADE:
        sizes["recurrent_layer_sizes"] = (10**5,)
    for name, size in sizes.items():
        density = small(cls, n_orderings=10**4, **{name: size})
        match = (
            rf"n_orderings=10000 networks with .*{name}=\(100000,\).* take about .* "
            rf"GiB.* 16.0 GiB are free on cpu; lower n_orderings or {name}"
        )
        with pytest.raises(ValueError, match=match):
            density.fit(X)
        with pytest.raises(NotFittedError):
            density.score(X)


def test_the_memory_that_is_free():
    free = free_memory(torch.device("cpu"))
    assert free is None or 2**20 < free < 2**60


# Ctrl-C, or an exception from a callback (tests/estimators/test_callbacks.py), in the
# middle of fit ------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, RuntimeError])
def test_an_interrupted_fit_leaves_the_density_as_it_was(error, monkeypatch):
    X = reals()
    fitted = small(RNADEDensity).fit(X)
    expected, warm = fitted.score_samples(X), small(RNADEDensity, warm_start=True)
    warm.fit(X)
    take, calls = TensorBatch.take, []

    def interrupted(self):
        calls.append(self)
        if len(calls) % 4 == 0:
            raise error
        return take(self)

    monkeypatch.setattr(TensorBatch, "take", interrupted)
    unfitted = small(RNADEDensity)
    for density, rows in ((unfitted, X), (fitted, X[:30] + 1.0), (warm, X[:30] + 1.0)):
        with pytest.raises(error):
            density.fit(rows)
    with pytest.raises(NotFittedError):
        unfitted.score(X)
    assert not [name for name in vars(unfitted) if name.endswith("_")]
    np.testing.assert_array_equal(fitted.score_samples(X), expected)
    np.testing.assert_array_equal(warm.score_samples(X), expected)


# loss becomes NaN or inf --------------------------------------------------------------


@pytest.mark.parametrize("cls", EVERY)
@pytest.mark.parametrize("early_stopping", [True, False])
def test_a_diverging_fit_steps_back_to_the_best_weights(cls, early_stopping):
    X = EVERY[cls](n=400)
    density = small(cls, max_iter=20, early_stopping=early_stopping)
    density.set_params(learning_rate_init=1e38, activation="relu")
    with pytest.warns(ConvergenceWarning, match=r"learning_rate_init than 1e\+38"):
        density.fit(X)
    assert density.history_.stopped_by == "diverged"
    assert all(p.isfinite().all() for p in density.module_.parameters())
    assert np.isfinite(density.score_samples(X)).all()
    assert all(np.isfinite(x).all() for x in density.sample(20))


# pickling -----------------------------------------------------------------------------


def test_a_pickle_scores_in_another_process(tmp_path):
    X = mixed_frame()
    density = small(MADEDensity).fit(X)
    joblib.dump((density, X), tmp_path / "density.joblib")
    (tmp_path / "density.pickle").write_bytes(pickle.dumps(density))
    program = (
        "import joblib, pickle, sys\n"
        "density, X = joblib.load(sys.argv[1])\n"
        "with open(sys.argv[2], 'rb') as file:\n"
        "    assert pickle.load(file).score(X) == density.score(X)\n"
        "print(repr(density.score(X)))\n"
    )
    paths = [str(tmp_path / f"density.{kind}") for kind in ("joblib", "pickle")]
    done = subprocess.run(
        [sys.executable, "-c", program, *paths], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(density.score(X), abs=1e-6)


# two threads fit different estimators -------------------------------------------------


def test_two_threads_fit_as_one():
    X, seeds, found = reals(), (0, 1), {}
    expected = {s: small(RNADEDensity, random_state=s).fit(X).score(X) for s in seeds}
    torch_state, state = torch.get_rng_state(), random.getstate()

    def fit(seed):
        found[seed] = small(RNADEDensity, random_state=seed).fit(X).score(X)

    threads = [threading.Thread(target=fit, args=(seed,)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert random.getstate() == state


# fork after torch was used; spawn -----------------------------------------------------


def fit_and_score(queue, density, X):
    torch.ones(2**20).sum()  # more than one thread's work
    queue.put((density.score(X), small(RNADEDensity).fit(X).score(X)))


@pytest.fixture
def two_threads():
    n = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.ones(2**20).sum()  # makes OpenMP's pool of threads, which a fork loses
    yield
    torch.set_num_threads(n)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded:DeprecationWarning"
)
def test_no_deadlock_in_a_child(method, two_threads):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    X = reals()
    density = small(RNADEDensity).fit(X)
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=fit_and_score, args=(queue, density, X))
    child.start()
    try:
        scores = queue.get(timeout=60)
    finally:
        child.kill()
        child.join()
    assert scores == pytest.approx((density.score(X), density.score(X)), abs=1e-3)
