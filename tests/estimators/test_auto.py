"""What "auto" stands for, as the docstrings say."""

import numpy as np
import pytest

from skdensity_ar import RNNRNADE, MADEDensity, NADEDensity, RNADEDensity
from skdensity_ar._training import History
from skdensity_ar.estimators import _base


def reals(n: int, n_columns: int = 4) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, n_columns))


def bits(n: int, n_columns: int = 4) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 2, (n, n_columns))


@pytest.fixture
def trained_with(monkeypatch):
    """The options of the last training, which is left out."""
    options = {}

    def train(module, rows, train_index, valid_index, **given):
        options.update(given)
        return History()

    monkeypatch.setattr(_base, "train", train)
    return options


def fitted(cls, X, **params):
    params = {"hidden_layer_sizes": (3,), "random_state": 0, "device": "cpu", **params}
    return cls(**params).fit(X)


@pytest.mark.parametrize(
    ("X", "n_orderings"),
    [
        (reals(60), 8),
        (reals(9999), 8),
        (reals(10000), 4),
        (reals(60, 1), 1),
        (bits(60), 4),
        (bits(60, 1), 1),
    ],
)
def test_orderings(X, n_orderings, trained_with):
    assert len(fitted(MADEDensity, X).ordering_) == n_orderings


def test_a_column_with_a_context_is_none_alone(trained_with):
    """Its defaults are those of a table with one more column."""
    X, context = reals(120, 1), reals(120, 1)
    density = MADEDensity((3,), random_state=0, device="cpu").fit(X, context=context)
    (conditional,) = density.module_.conditionals
    assert len(density.ordering_) == 8
    assert conditional.n_components == 30
    assert conditional.n_frequencies == 8
    assert density.module_.network.n_context == 17
    assert density.module_.network.dropout == [0.0, 0.1] * 4
    assert trained_with["max_iter"] == 160


@pytest.mark.parametrize(
    ("X", "params", "dropout"),
    [
        (reals(199), {}, 0.2),
        (bits(199), {}, 0.2),
        (bits(200), {}, 0.1),
        (bits(3999), {}, 0.1),
        (bits(4000), {}, 0.0),
        (reals(200), {"n_orderings": 3}, [0.0, 0.1, 0.0]),
        (reals(4000), {"n_orderings": 3}, [0.0, 0.1, 0.0]),
        (reals(200), {"n_orderings": 3, "dropout": 0.3}, 0.3),
        (reals(200), {"ordering": "agnostic"}, [0.0, 0.1] * 4),
        (reals(200), {"ordering": "agnostic", "n_networks": 1}, [0.0]),
    ],
)
def test_dropout(X, params, dropout, trained_with):
    assert fitted(MADEDensity, X, **params).module_.network.dropout == dropout


@pytest.mark.parametrize(
    ("X", "n_components"),
    [
        (reals(199), 5),
        (reals(200), 30),
        (reals(49, 1), 5),
        (reals(50, 1), 200),
        (reals(520, 1), 2080),
        (reals(2000, 1), 4000),
        (reals(600, 10), 20),
        (reals(1600, 30), 10),
    ],
)
def test_components(X, n_components, trained_with):
    (conditional,) = fitted(MADEDensity, X).module_.conditionals
    assert conditional.n_components == n_components


@pytest.mark.parametrize(
    ("X", "params", "n_frequencies"),
    [
        (reals(199), {}, 2),
        (reals(200), {}, 8),
        (reals(200), {"n_frequencies": 0}, 0),
        (reals(200), {"n_frequencies": 7}, 7),
        (reals(200, 1), {}, 0),
    ],
)
@pytest.mark.parametrize("cls", [MADEDensity, RNADEDensity])
def test_frequencies(cls, X, params, n_frequencies, trained_with):
    module = fitted(cls, X, **params).module_
    assert module.conditionals[0].n_frequencies == n_frequencies
    n_columns = X.shape[1]
    assert module.network.n_inputs == (1 + 2 * n_frequencies,) * n_columns
    assert module.network.n_direct == (1,) * n_columns


@pytest.mark.parametrize(
    ("X", "params", "n_epochs"),
    [
        (reals(199), {}, 80),
        (reals(200), {}, 160),
        (reals(49, 1), {}, 80),
        (reals(50, 1), {}, 10),
        (bits(999), {}, 80),
        (bits(999), {"ordering": "agnostic"}, 320),
        (reals(200), {"ordering": "agnostic"}, 640),
        # 9000 training rows are 35 batches of 256, for four members.
        (reals(10000), {"max_iter": "auto"}, 160),
        (reals(10000), {"batch_size": 32}, 32000 // (4 * (9000 // 32))),
        (reals(10000), {"batch_size": 1}, 10),
        (reals(200), {"max_iter": 7}, 7),
    ],
)
def test_epochs(X, params, n_epochs, trained_with):
    fitted(MADEDensity, X, **params)
    assert trained_with["max_iter"] == n_epochs


@pytest.mark.parametrize(
    ("n", "batch_size"), [(60, 32), (2000, 112), (20000, 256), (20, 18)]
)
def test_batches(n, batch_size, trained_with):
    fitted(NADEDensity, bits(n))
    assert trained_with["batch_size"] == batch_size


def test_sequences(trained_with):
    density = fitted(RNNRNADE, [reals(30) for _ in range(12)])
    assert len(density.ordering_) == 4
    assert density.module_.network.dropout == 0.2
    assert density.module_.frame.conditionals[0].n_components == 5
    assert trained_with["max_iter"] == 80


def test_a_network_goes_on_with_as_many_orderings_as_it_has():
    density = MADEDensity(n_orderings=2, max_iter=1, warm_start=True, random_state=0)
    density.fit(reals(60)).set_params(n_orderings="auto").fit(reals(60))
    assert len(density.ordering_) == 2
