"""The mathematics of the estimators, in the units of their user."""

import itertools
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from skdensity_ar.conditionals import UNSEEN_MASS, Mixture
from skdensity_ar.estimators import MADEDensity, NADEDensity, RNADEDensity
from tests import properties
from tests.properties import MIXTURES

SMALL = {
    "max_iter": 3,
    "batch_size": 32,
    "device": "cpu",
    "random_state": 0,
    "learning_rate": "cosine",
    "learning_rate_init": 0.02,
    "dropout": 0.1,
    "weight_decay": 0.01,
    "max_grad_norm": 1.0,
}

AGNOSTIC = {"ordering": "agnostic"}

DISCRETE = {
    "NADE": (NADEDensity, {"hidden_layer_sizes": (6,)}),
    "tied NADE": (NADEDensity, {"hidden_layer_sizes": (6,), "tied": True}),
    "deep NADE": (NADEDensity, {"hidden_layer_sizes": (6, 5)}),
    "MADE": (MADEDensity, {"hidden_layer_sizes": (12, 9)}),
    "belief network": (MADEDensity, {"hidden_layer_sizes": ()}),
    "agnostic NADE": (NADEDensity, {"hidden_layer_sizes": (6,), **AGNOSTIC}),
    "agnostic MADE": (MADEDensity, {"hidden_layer_sizes": (12, 9), **AGNOSTIC}),
}

REAL = {
    "RNADE, sigmoid": (
        RNADEDensity,
        {"hidden_layer_sizes": (6,), "activation": "logistic", "n_components": 2},
    ),
    "RNADE, ReLU": (
        RNADEDensity,
        {"hidden_layer_sizes": (6,), "activation": "relu", "n_components": 2},
    ),
    "MADE": (MADEDensity, {"hidden_layer_sizes": (12, 9), "n_components": 2}),
    "belief network": (MADEDensity, {"hidden_layer_sizes": (), "n_components": 2}),
    "agnostic RNADE": (
        RNADEDensity,
        {"hidden_layer_sizes": (6,), "n_components": 2, **AGNOSTIC},
    ),
    "agnostic MADE": (
        MADEDensity,
        {"hidden_layer_sizes": (12, 9), "n_components": 2, **AGNOSTIC},
    ),
}

every_discrete = pytest.mark.parametrize("name", DISCRETE)
every_real = pytest.mark.parametrize("name", REAL)
every_mixture = pytest.mark.parametrize("kind", MIXTURES)
orderings = pytest.mark.parametrize(
    ("ordering", "n_orderings"), [("natural", 1), ("reversed", 3), ("random", 2)]
)

LABELS = [0, 2, 5]  # the categories of an integer column, as the user writes them


def binary_table(n: int = 90, n_columns: int = 5) -> np.ndarray:
    """Each column a noisy copy of the one before."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (n, n_columns)).astype(float)
    for d in range(1, n_columns):
        keep = rng.random(n) < 0.8
        X[keep, d] = X[keep, d - 1]
    return X


def category_table(n: int = 90, n_columns: int = 4) -> np.ndarray:
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 3, (n, n_columns))
    codes[:, 1] = np.where(rng.random(n) < 0.8, codes[:, 0], codes[:, 1])
    return np.array(LABELS, dtype=float)[codes]


CENTER, SCALE = np.array([1000.0, -0.3, 0.0, 5.0]), np.array([50.0, 0.01, 1.0, 4.0])


def real_table(n: int = 150, n_columns: int = 4) -> np.ndarray:
    """Columns of very different units, the second bent by the first."""
    rng = np.random.default_rng(2)
    z = rng.normal(size=(n, 4))
    z[:, 1] = 0.5 * z[:, 1] + z[:, 0] ** 2 - 1.0
    return (CENTER + SCALE * z)[:, :n_columns]


@cache
def discrete_density(name, conditional, ordering="natural", n_orderings=1, **options):
    estimator, given = DISCRETE[name]
    X = binary_table() if conditional == "bernoulli" else category_table()
    shared = {"ordering": ordering, "n_orderings": n_orderings}
    given = {**SMALL, **shared, **given, **options}
    return estimator(conditional=conditional, **given).fit(X)


@cache
def real_density(
    name, conditional, ordering="natural", n_orderings=1, n_columns=4, **options
):
    estimator, given = REAL[name]
    shared = {"ordering": ordering, "n_orderings": n_orderings}
    given = {**SMALL, **shared, **given, **options}
    return estimator(conditional=conditional, **given).fit(
        real_table(n_columns=n_columns)
    )


def mixed_frame(n: int = 120) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    colour = rng.choice(["blue", "green", "red"], n)
    return pd.DataFrame(
        {
            "price": 100.0 + 20.0 * (colour == "red") + rng.normal(size=n),
            "colour": colour,
            "sold": rng.random(n) < 0.4,
            "size": pd.Categorical(rng.choice(["S", "L"], n)),
        }
    )


@cache
def mixed_density(ordering="natural", n_orderings=2):
    return MADEDensity(
        hidden_layer_sizes=(12, 9),
        n_components=2,
        ordering=ordering,
        n_orderings=n_orderings,
        **SMALL,
    ).fit(mixed_frame())


def binary_rows(n_columns: int = 5) -> np.ndarray:
    return np.array(list(itertools.product((0.0, 1.0), repeat=n_columns)))


def category_rows(n_columns: int = 4, *, unseen: bool) -> np.ndarray:
    labels = [*LABELS, 77] if unseen else LABELS
    return np.array(list(itertools.product(labels, repeat=n_columns)), dtype=float)


# One of mass -------------------------------------------------------------------------


@every_discrete
@orderings
def test_probabilities_of_all_binary_rows_sum_to_one(name, ordering, n_orderings):
    density = discrete_density(name, "bernoulli", ordering, n_orderings)
    properties.check_sums_to_one(density.score_samples(binary_rows()))


@every_discrete
@orderings
def test_probabilities_of_all_category_rows_sum_to_one(name, ordering, n_orderings):
    density = discrete_density(name, "categorical", ordering, n_orderings)
    log_p = density.score_samples(category_rows(unseen=True))
    properties.check_sums_to_one(log_p)
    seen = np.exp(density.score_samples(category_rows(unseen=False))).sum()
    assert seen == pytest.approx((1.0 - UNSEEN_MASS) ** 4, abs=1e-6)


@every_real
@every_mixture
def test_a_density_of_one_column_integrates_to_one(name, kind):
    density = real_density(name, kind, n_columns=1, n_orderings=2, dtype="float64")
    # Reaches far enough that less than 1e-7 of the Cauchy background is beyond.
    x, weight = properties.sinh_grid(CENTER[0], 0.1 * SCALE[0], n=8001, reach=12.0)
    total = weight @ np.exp(density.score_samples(x[:, None]))
    assert total == pytest.approx(1.0, abs=1e-6)


@every_real
@every_mixture
@pytest.mark.parametrize(("ordering", "n_orderings"), [("reversed", 1), ("natural", 2)])
def test_a_density_of_two_columns_integrates_to_one(name, kind, ordering, n_orderings):
    # Learnt gently, so that far from the data no component is too narrow for the grid.
    density = real_density(
        name, kind, ordering, n_orderings, n_columns=2, learning_rate_init=0.005
    )
    properties.check_plane_integrates_to_one(
        density.score_samples, CENTER[:2], SCALE[:2]
    )


@pytest.mark.parametrize("ordering", ["natural", "reversed"])
def test_a_mixed_table_integrates_and_sums_to_one(ordering):
    density = mixed_density(ordering)
    x, weight = properties.sinh_grid(105.0, 10.0, n=801)
    outcomes = itertools.product(
        ["blue", "green", "red", "never seen"], [False, True], ["S", "L", "never seen"]
    )
    total = 0.0
    for colour, sold, size in outcomes:
        frame = pd.DataFrame(
            {
                "price": x,
                "colour": colour,
                "sold": sold,
                "size": pd.Categorical([size] * len(x)),
            }
        )
        total += weight @ np.exp(density.score_samples(frame))
    assert total == pytest.approx(1.0, abs=1e-4)


# Scores equal the papers -------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "atol"), [("float64", 1e-10), ("float32", 1e-4)])
@every_discrete
@pytest.mark.parametrize("conditional", ["bernoulli", "categorical"])
def test_discrete_scores_equal_the_slow_twins(name, conditional, dtype, atol):
    density = discrete_density(name, conditional, "random", 2, dtype=dtype)
    if conditional == "bernoulli":
        X = codes = binary_rows()[::3]
    else:
        X = category_rows(unseen=True)[::11]
        codes = np.searchsorted(LABELS, X)  # 77 comes after all labels: code K
    twin = properties.twin_log_prob(density.module_, codes)
    np.testing.assert_allclose(density.score_samples(X), twin, atol=atol)


@pytest.mark.parametrize(("dtype", "atol"), [("float64", 1e-9), ("float32", 2e-3)])
@every_real
@every_mixture
def test_real_scores_equal_the_slow_twins(name, kind, dtype, atol):
    density = real_density(name, kind, "random", 2, dtype=dtype)
    X = real_table()[:15]
    X[0] = CENTER + 40.0 * SCALE  # far from all that was seen
    columns = density.columns_.columns
    center = np.array([column.center for column in columns])
    scale = np.array([column.scale for column in columns])
    z = (X - center) / scale
    twin = properties.twin_log_prob(density.module_, z) - np.log(scale).sum()
    np.testing.assert_allclose(density.score_samples(X), twin, atol=atol)


def test_mixed_scores_equal_the_slow_twins():
    density, X = mixed_density(), mixed_frame()[:20]
    price, colour = density.columns_.columns[0], ["blue", "green", "red"]
    codes = np.column_stack(
        [
            (X["price"] - price.center) / price.scale,
            [colour.index(value) for value in X["colour"]],
            X["sold"].astype(float),
            [["L", "S"].index(value) for value in X["size"]],
        ]
    )
    twin = properties.twin_log_prob(density.module_, codes) - np.log(price.scale)
    np.testing.assert_allclose(density.score_samples(X), twin, atol=1e-4)


def test_an_ensemble_scores_the_average_of_its_members_densities():
    density = real_density("MADE", "gaussian_mixture", "natural", 3, dtype="float64")
    X = real_table()
    x = torch.from_numpy(density.columns_.transform(X))
    with torch.no_grad():
        members = [
            properties.one_member(density.module_, e).log_prob(x) for e in range(3)
        ]
    average = torch.stack(members).exp().mean(0).log().numpy()
    jacobian = -sum(np.log(column.scale) for column in density.columns_.columns)
    np.testing.assert_allclose(density.score_samples(X), average + jacobian, atol=1e-9)


# Samples follow the density ----------------------------------------------------------


@every_discrete
@orderings
def test_binary_samples_follow_the_density(name, ordering, n_orderings):
    density = discrete_density(name, "bernoulli", ordering, n_orderings)
    rows = binary_rows()
    drawn = density.sample(20000, random_state=1)
    p = np.exp(density.score_samples(rows))
    properties.check_frequencies(properties.count_rows(drawn, rows), p)


@every_discrete
def test_category_samples_follow_the_density(name):
    density = discrete_density(name, "categorical", "random", 2)
    rows = category_rows(unseen=False)
    drawn = density.sample(20000, random_state=1)
    p = np.exp(density.score_samples(rows))
    properties.check_frequencies(properties.count_rows(drawn, rows), p)


@every_real
@every_mixture
@pytest.mark.parametrize("ordering", ["natural", "random"])
def test_real_samples_follow_the_density(name, kind, ordering):
    density = real_density(name, kind, ordering, 1)
    z = density.columns_.transform(density.sample(10000, random_state=1))
    x = torch.as_tensor(z, dtype=torch.float32)
    properties.check_uniform(properties.integral_transform(density.module_, x))


def test_mixed_samples_follow_the_density():
    density = mixed_density("reversed", 1)
    codes = density.columns_.transform(density.sample(10000, random_state=1))
    x = torch.as_tensor(codes, dtype=torch.float32)
    properties.check_uniform(properties.integral_transform(density.module_, x))


@every_real
def test_samples_of_an_ensemble_fill_the_plane_as_its_density_says(name):
    """Counts in the cells of a net against the integral of the density over each."""
    density = real_density(name, "gaussian_mixture", "natural", 3, n_columns=2)
    drawn = density.sample(20000, random_state=1)
    n_cells, fine = 8, 40
    axes, weights = [], []
    for d in range(2):
        edges = np.quantile(drawn[:, d], np.linspace(0.02, 0.98, n_cells + 1))
        width = np.diff(edges).repeat(fine) / fine
        middles = edges[:-1].repeat(fine) + width * (np.tile(np.arange(fine), n_cells))
        axes.append((edges, middles + 0.5 * width))
        weights.append(width)
    (edges_x, x), (edges_y, y) = axes
    rows = np.stack(np.meshgrid(x, y, indexing="ij"), -1).reshape(-1, 2)
    density_of_rows = np.exp(density.score_samples(rows)).reshape(len(x), len(y))
    mass = density_of_rows * np.outer(*weights)
    cells = mass.reshape(n_cells, fine, n_cells, fine).sum((1, 3))
    counts = np.histogram2d(drawn[:, 0], drawn[:, 1], [edges_x, edges_y])[0]
    outside = 1.0 - cells.sum()
    properties.check_frequencies(
        [*counts.ravel(), len(drawn) - counts.sum()], [*cells.ravel(), outside]
    )


def test_every_column_of_a_density_is_used():
    """No column is scored apart from the others once something has been learnt."""
    density = real_density("MADE", "gaussian_mixture", "natural", 2)
    x = torch.from_numpy(density.columns_.transform(real_table(20))).float()
    x.requires_grad_()
    module = density.module_
    blocks = list(zip(module.conditionals, module.columns, strict=True))
    assert all(isinstance(conditional, Mixture) for conditional, _ in blocks)
    (gradient,) = torch.autograd.grad(module.log_prob(x).sum(), x)
    assert (gradient != 0.0).any(0).all()
