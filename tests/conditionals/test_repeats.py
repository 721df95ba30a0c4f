"""Columns whose values repeat: the density is one, and earns what there is."""

import pickle

import numpy as np
import pytest
import torch

from skdensity_ar import MADEDensity, RNADEDensity
from skdensity_ar.conditionals import Repeats, histogram
from tests import properties
from tests.properties import MIXTURES, generator

K, WIDTH = 3, 0.1
every_mixture = pytest.mark.parametrize("kind", MIXTURES)


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed), dtype=torch.float64)


def repeats(kind: str) -> Repeats:
    """Three columns: a grid with holes, numbers that do not repeat, a few levels."""
    grid = (10.0 * draw(400)).round()
    columns = [WIDTH * grid[grid % 3 != 0], draw(400, seed=1), WIDTH * (grid % 5)]
    seen = histogram(columns, [WIDTH, 0.0, WIDTH])
    mixture = MIXTURES[kind](K, torch.full((3,), 1e-3, dtype=torch.float64))
    return Repeats(mixture, torch.tensor([0.7, 0.0, 0.4], dtype=torch.float64), seen)


@every_mixture
def test_densities_integrate_to_one(kind):
    conditional = repeats(kind)
    for d, params in enumerate(1.5 * draw(3, 3 * K)):
        one = conditional.select(d)
        points = points_of(one, params)
        total = properties.integral(properties.density_of(one, params), points)
        assert abs(total - 1.0) < 1e-6


@every_mixture
def test_cdfs_are_integrals(kind):
    conditional = repeats(kind)
    for d, params in enumerate(1.5 * draw(3, 3 * K)):
        one = conditional.select(d)
        points = points_of(one, params)
        density = properties.density_of(one, params)
        for x in (points[len(points) // 2], 0.123):
            cdf = one.cdf(params[None], params.new_tensor([x])).item()
            assert abs(cdf - properties.integral(density, points, x)) < 1e-6


def points_of(one: Repeats, params: torch.Tensor) -> list[float]:
    """Where the density has corners: the ends of boxes and cells."""
    values = one.values[one.values.isfinite()]
    edges = one.edges[one.edges.isfinite()]
    ends = torch.cat([values - WIDTH / 2, values + WIDTH / 2, edges]).tolist()
    points = [*properties.break_points(one.mixture, params), *ends]
    return sorted({round(x, 9) for x in points})  # neighbouring boxes share an end


@every_mixture
def test_samples_follow_the_cdf(kind):
    properties.check_samples_follow_cdf(repeats(kind), draw(3, 3 * K))


@every_mixture
def test_a_column_alone_is_the_column_of_the_block(kind):
    x = WIDTH * (10.0 * draw(7, 3, seed=2)).round()
    properties.check_select(repeats(kind), draw(7, 3, 3 * K), x)


@every_mixture
def test_a_weight_of_zero_leaves_the_mixture(kind):
    conditional, params, x = repeats(kind), draw(9, 3, 3 * K), draw(9, 3, seed=2)
    log_p, log_m = (c.log_prob(params, x) for c in (conditional, conditional.mixture))
    torch.testing.assert_close(log_p[:, 1], log_m[:, 1], atol=1e-13, rtol=1e-13)
    assert (log_p[:, [0, 2]] != log_m[:, [0, 2]]).any()


def test_cells_hold_some_fifty_rows_and_end_between_boxes():
    x = WIDTH * (100.0 * draw(2000)).round()
    (edges,) = histogram([x], [WIDTH]).edges.T
    assert edges[0] == -torch.inf
    assert edges[-1] == torch.inf
    inner = edges[1:-1]
    counts = torch.histc(torch.bucketize(x, inner).double(), len(inner) + 1)
    assert 30 < counts.min()
    assert counts.max() < 80
    assert ((x[:, None] - inner).abs().min(0).values > 0.499 * WIDTH).all()


# Estimators --------------------------------------------------------------------------

LEVELS = np.cumsum(np.random.default_rng(0).integers(3, 40, 60))  # 60 of some 1300


def table(n: int, seed: int) -> np.ndarray:
    """Levels of a list; a rounded normal that depends on them; one to all digits."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    place = np.clip(30 + 12 * z, 0, 59).astype(int)
    rounded = np.round(z + rng.normal(size=n), 1)
    return np.column_stack([LEVELS[place], rounded, rng.normal(size=n)])


@pytest.fixture(scope="module")
def fitted() -> MADEDensity:
    density = MADEDensity((16,), max_iter=10, n_orderings=2, random_state=0)
    return density.fit(table(1000, 0))


def gain(density: MADEDensity, X: np.ndarray) -> np.ndarray:
    """Mean over rows and members of what each column gains over its mixture."""
    (conditional,) = density.module_.conditionals
    x = torch.as_tensor(density.columns_.transform(X), dtype=torch.float32)
    with torch.no_grad():
        params, z = density.module_.params(x)
        params, z = density.module_.block(0, params, z)
        log_p, log_m = (
            c.log_prob(params, z) for c in (conditional, conditional.mixture)
        )
    return (log_p - log_m).mean((0, 1)).numpy()


def test_levels_of_a_list_gain_and_an_even_grid_does_not_lose(fitted):
    levels, rounded, all_digits = gain(fitted, table(2000, 1))
    assert levels > 1.5  # log(1300 / 60) = 3.1 would be all
    assert rounded > -0.02
    assert rounded < 0.1
    assert all_digits == 0.0


def test_values_not_seen_lose_little(fitted):
    X = table(500, 2)
    gap = np.diff(LEVELS).argmax()
    X[:, 0] = LEVELS[gap : gap + 2].mean()
    weight = fitted.module_.conditionals[0].weight[0].item()
    assert gain(fitted, X)[0] == pytest.approx(np.log1p(-weight), rel=1e-4)


def test_samples_take_the_levels(fitted):
    drawn = fitted.sample(2000, random_state=0)[:, 0]
    on_a_level = np.abs(drawn[:, None] - LEVELS).min(1) <= 0.51 * np.diff(LEVELS).min()
    weight = fitted.module_.conditionals[0].weight[0].item()
    assert on_a_level.mean() > weight - 0.05


def test_survives_pickling_and_goes_on_training(fitted):
    X = table(100, 3)
    copied = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(copied.score_samples(X), fitted.score_samples(X))
    copied.set_params(warm_start=True).fit(table(1000, 0))
    (conditional,) = copied.module_.conditionals
    assert isinstance(conditional, Repeats)
    assert not isinstance(conditional.mixture, Repeats)


def test_none_without_repeated_values():
    X = np.random.default_rng(0).normal(size=(300, 2))
    density = MADEDensity((4,), max_iter=1, random_state=0).fit(X)
    (conditional,) = density.module_.conditionals
    assert not isinstance(conditional, Repeats)


def test_none_for_what_a_prediction_leaves():
    """The second column is the first and a little more: its residual is on no grid."""
    rng = np.random.default_rng(0)
    first = rng.normal(size=1000)
    X = np.round(np.column_stack([first, first + 0.02 * rng.normal(size=1000)]), 2)
    density = MADEDensity((4,), max_iter=1, n_orderings=1, random_state=0).fit(X)
    (conditional,) = density.module_.conditionals
    if isinstance(conditional, Repeats):
        assert conditional.weight[1] == 0.0
    assert (density.module_.residuals.s[0, 1] != 1.0).item()


def test_none_where_they_are_not_wanted():
    X = table(300, 0)
    for cls in (MADEDensity, RNADEDensity):
        smooth = cls((4,), max_iter=1, repeated_values=False, random_state=0).fit(X)
        (conditional,) = smooth.module_.conditionals
        assert not isinstance(conditional, Repeats)
