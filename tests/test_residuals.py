"""Residuals of a linear prediction: their inverse and their Jacobian."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from skdensity_ar import MADEDensity, RNADEDensity
from skdensity_ar._residuals import fit_residuals
from tests.small import small

ORDERINGS = torch.tensor([[0, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]])
FLOORS = np.full(4, 1e-4)


def collinear(n: int, seed: int = 0) -> np.ndarray:
    """Columns 0, 1, 3 nearly on a plane; column 2 hardly depends on them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 4))
    x[:, 3] = 0.7 * x[:, 0] - 0.7 * x[:, 1] + 0.03 * x[:, 3]
    x[:, 2] += 0.2 * x[:, 0]
    return x


def fitted(n: int = 2000):
    x = torch.tensor(collinear(n))
    residuals = fit_residuals(x, range(4), ORDERINGS, FLOORS)
    assert residuals is not None
    return x, residuals


def test_only_well_predicted_columns_are_moved():
    x, residuals = fitted()
    moved = residuals.s != 1.0
    # The last of the three columns on the plane, in each ordering.
    assert moved.nonzero().tolist() == [[0, 3], [1, 0], [2, 0]]
    z = residuals(x)
    assert torch.equal(z[0][:, :3], x[:, :3])
    # Shrinking leaves more than there is, and the less the more rows there are.
    for n, most in ((2000, 0.12), (200_000, 0.045)):
        x, residuals = fitted(n)
        assert 0.03 < residuals.s[0, 3] < most
        assert 0.03 / 0.7 < residuals.s[1, 0] < most / 0.7


def test_the_jacobian_is_triangular_and_its_determinant_that_of_the_scales():
    x, residuals = fitted()
    for e, visited in enumerate(ORDERINGS.tolist()):
        jacobian = torch.autograd.functional.jacobian(
            lambda row, e=e: residuals(row[None])[e, 0], x[0]
        )[visited][:, visited]
        assert (jacobian.triu(1) == 0.0).all()
        assert -jacobian.logdet() == pytest.approx(residuals.log_det[e].item())


def test_the_inverse_gives_the_rows_back():
    x, residuals = fitted()
    x = torch.cat([x[:5], torch.tensor([[1e6, 0.0, -3.0, 2.0]])])
    z = residuals(x)
    for e in range(len(ORDERINGS)):
        assert torch.allclose(residuals.inverse(z[e], e), x, rtol=1e-9, atol=1e-9)


def test_a_context_predicts_as_a_column_before_all_others():
    x = torch.tensor(collinear(2000))
    ordering = torch.tensor([[0, 1, 2], [2, 1, 0]])
    context = torch.stack([x[:, 3], x[:, 3].sin()], -1)
    before = fit_residuals(x, range(4), torch.tensor([[3, 0, 1, 2]]), FLOORS)
    residuals = fit_residuals(x[:, :3], range(3), ordering, FLOORS, context, [0])
    assert residuals.moved == [[False, True, False], [True, False, False]]
    z = residuals(x[:, :3], context)
    torch.testing.assert_close(z[0, :, 1], before(x)[0, :, 1])
    assert not residuals.C[..., 1].any()  # no value itself
    own = torch.stack([context, context.flip(0)])
    assert torch.equal(residuals(x[:, :3], own)[0], z[0])
    for e in range(2):
        assert torch.allclose(residuals.inverse(z[e], e, context), x[:, :3])
    assert fit_residuals(x[:, :3], range(3), ordering, FLOORS) is None


def test_a_context_that_tells_nothing_takes_nothing_away():
    """Labels by the dozen shrink a covariance; what columns tell each other stays."""
    x = torch.tensor(collinear(300))
    labels = torch.eye(21, dtype=x.dtype)[torch.arange(300) % 21]
    alone = fit_residuals(x, range(4), ORDERINGS, FLOORS)
    beside = fit_residuals(x, range(4), ORDERINGS, FLOORS, labels, range(21))
    assert beside.moved == alone.moved
    assert torch.equal(beside(x, labels), alone(x))


def test_gaussian_columns_start_at_their_gaussian():
    """Before training, columns on a plane score as the Gaussian that they are."""
    X = collinear(4000)
    density = small(
        MADEDensity,
        n_components=1,
        max_iter=1,
        learning_rate_init=1e-12,
        n_orderings=3,
    ).fit(X)
    truth = multivariate_normal(X.mean(0), np.cov(X.T))
    lost = truth.logpdf(X).mean() - density.score(X)
    # What is lost: the weak relation to column 2 and that of the first two columns.
    assert 0.0 < lost < 1.0
    apart = sum(
        multivariate_normal(m, v).logpdf(x).mean()
        for m, v, x in zip(X.mean(0), X.var(0), X.T, strict=True)
    )
    assert density.score(X) > apart + 2.0


@pytest.mark.parametrize("cls", [MADEDensity, RNADEDensity])
def test_a_density_of_collinear_columns_integrates_to_one(cls):
    """Over the two columns, by quadrature around the line on which they lie."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=600)
    X = np.column_stack([x, x + 0.05 * rng.normal(size=600)])
    density = small(cls, max_iter=5).fit(X)
    assert density.module_.residuals is not None
    a = np.linspace(-6.0, 6.0, 401)
    b = np.linspace(-0.6, 0.6, 401)
    grid = np.stack(np.meshgrid(a, b, indexing="ij"), -1)
    grid[..., 1] += grid[..., 0]
    p = np.exp(density.score_samples(grid.reshape(-1, 2)))
    # A ten thousandth of each column's mass lies in wide tails.
    assert p.sum() * (a[1] - a[0]) * (b[1] - b[0]) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("cls", [MADEDensity, RNADEDensity])
def test_samples_keep_the_relation(cls):
    X = collinear(1000) * 100.0 + 5.0
    density = small(cls, max_iter=5).fit(X)
    S = density.sample(4000, random_state=0)
    left = (S[:, 3] - 5.0) - 0.7 * (S[:, 0] - 5.0) + 0.7 * (S[:, 1] - 5.0)
    assert np.median(np.abs(left)) == pytest.approx(0.6745 * 3.0, rel=0.25)


def test_too_few_rows_or_columns_that_are_not_related_give_none():
    x = torch.tensor(collinear(39))
    assert fit_residuals(x, range(4), ORDERINGS, FLOORS) is None
    x = torch.tensor(np.random.default_rng(0).normal(size=(500, 4)))
    assert fit_residuals(x, range(4), ORDERINGS, FLOORS) is None
    assert fit_residuals(x, [2], ORDERINGS, FLOORS) is None
    assert fit_residuals(x, [], ORDERINGS, FLOORS) is None


def test_one_far_value_does_not_decide():
    x = torch.tensor(collinear(500))
    far = x.clone()
    far[0, 3] = 1e9
    one = fit_residuals(x[1:], range(4), ORDERINGS, FLOORS)
    other = fit_residuals(far, range(4), ORDERINGS, FLOORS)
    assert torch.equal(one.B, other.B)


def test_no_column_is_taken_to_be_predicted_better_than_its_floor():
    x = torch.tensor(collinear(2000))
    x[:, 3] = x[:, 0]
    residuals = fit_residuals(x, range(4), ORDERINGS, np.full(4, 0.25))
    assert residuals.s.min() == 0.25


def test_a_column_whose_floor_is_its_spread_is_moved_back():
    """Its scale is 1, as that of columns that are not moved."""
    rng = np.random.default_rng(0)
    steps = (rng.random(2000) < 0.05) / 0.05**0.5
    x = torch.tensor(np.column_stack([collinear(2000)[:, [0, 1, 3]], steps, steps]))
    floors = np.array([1e-4, 1e-4, 1e-4, 1.3, 1.3])
    ordering = torch.tensor([[0, 1, 2, 3, 4]])
    residuals = fit_residuals(x, range(5), ordering, floors)
    assert residuals is not None
    assert residuals.s[0, 2] < 0.3
    assert residuals.s[0, 4] == 1.0
    assert residuals.B[0, 4].any()
    torch.testing.assert_close(residuals.inverse(residuals(x)[0], 0), x)
