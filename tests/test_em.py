"""Fitting Gaussians to rows with missing cells."""

import numpy as np
import pytest
import torch

from skdensity_ar._em import MOST_COLUMNS, fit_gaussians, fit_without
from skdensity_ar._em import _rows as rows_of
from skdensity_ar._gaussians import Gaussians
from tests.properties import generator

COLUMNS = [3, 0, 4]


def rows(n: int, D: int = 5) -> torch.Tensor:
    return torch.randn((n, D), generator=generator(0), dtype=torch.float64)


def two_groups(n: int, holes: float = 0.0) -> torch.Tensor:
    """Two Gaussians whose spreads and relations differ, their means too."""
    rng = np.random.default_rng(0)
    one = rng.multivariate_normal([2.0, 0.0, 1.0], np.eye(3) * 0.3 + 0.2, n // 3)
    S = [[1.0, -0.8, 0.0], [-0.8, 1.0, 0.0], [0.0, 0.0, 0.1]]
    other = rng.multivariate_normal([-1.0, 0.5, -1.0], S, n - n // 3)
    X = rng.permutation(np.vstack([one, other]))
    X[rng.random(X.shape) < holes] = np.nan
    return torch.from_numpy(X)


def log_prob(gaussians: Gaussians, x: torch.Tensor) -> torch.Tensor:
    """log p of what is known of every row."""
    known = (~x.isnan()).double()
    log_p, *_ = gaussians.given(x.nan_to_num(), known)
    return (log_p + gaussians.log_weights).logsumexp(-1)


def test_the_covariance_of_complete_rows_is_shrunk_to_its_diagonal():
    x = rows(100)
    x = x @ torch.randn((5, 5), generator=generator(3), dtype=torch.float64) / 5
    gaussians = fit_gaussians(x, COLUMNS)
    assert gaussians.n_components == 1
    expected = np.cov(x[:, COLUMNS].T.numpy(), bias=True)
    found = gaussians.covariances[0].numpy()
    np.testing.assert_allclose(found.diagonal(), expected.diagonal())
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(found[off], expected[off] * 100 / (100 + 1.5))
    np.testing.assert_allclose(gaussians.means[0], x[:, COLUMNS].mean(0))


def test_cells_that_are_missing_bias_neither_means_nor_covariances():
    S = np.array([[1.0, 0.9, 0.5], [0.9, 1.0, 0.6], [0.5, 0.6, 1.0]])
    X = np.random.default_rng(0).multivariate_normal([1.0, 0.0, -1.0], S, 4000)
    # What is missing depends on a column that is there: means of the rest are biased.
    X[X[:, 0] > 1.0, 1] = np.nan
    X[np.random.default_rng(1).random(4000) < 0.3, 2] = np.nan
    gaussians = fit_gaussians(torch.from_numpy(X), [0, 1, 2])
    assert np.nanmean(X[:, 1]) < -0.5
    assert gaussians.n_components == 1
    np.testing.assert_allclose(gaussians.means[0], [1.0, 0.0, -1.0], atol=0.08)
    np.testing.assert_allclose(gaussians.covariances[0], S, atol=0.1)


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_groups_are_found_with_and_without_holes(holes):
    x = two_groups(3000, holes)
    gaussians = fit_gaussians(x, [0, 1, 2])
    assert gaussians.n_components == 3, "one of all rows, two of parts"
    np.testing.assert_allclose(gaussians.means[0], x.nanmean(0), atol=0.1)
    order = gaussians.log_weights.argsort()
    np.testing.assert_allclose(
        gaussians.log_weights[order].exp(), [0.1, 0.9 / 3, 0.9 * 2 / 3], atol=0.03
    )
    order = order[1:]
    np.testing.assert_allclose(
        gaussians.means[order], [[2.0, 0.0, 1.0], [-1.0, 0.5, -1.0]], atol=0.15
    )
    np.testing.assert_allclose(
        gaussians.covariances[order][1, 0], [1.0, -0.8, 0.0], atol=0.1
    )


@pytest.mark.parametrize("holes", [0.0, 0.3])
def test_a_step_never_lowers_the_likelihood(holes, monkeypatch):
    monkeypatch.setattr("skdensity_ar._em._STEPS", 1)
    x, scores = two_groups(3000, holes), []
    gaussians = fit_gaussians(x, [0, 1, 2])
    assert gaussians.n_components == 3
    for _ in range(8):
        scores.append(log_prob(gaussians, x).mean().item())
        gaussians, _ = rows_of(x).climbed(gaussians, torch.zeros(3))
    # But for what shows no relation, which is next to nothing beside so many rows.
    assert np.diff(scores).min() > -1e-4
    assert scores[-1] > scores[0] + 1e-3


def test_a_component_is_no_heap():
    x = two_groups(600)
    x[:200] = x[0]  # the same row again and again
    gaussians = fit_gaussians(x, [0, 1, 2])
    spreads = gaussians.covariances.diagonal(dim1=-2, dim2=-1).sqrt()
    assert (spreads > 0.02 * x.std(0)).all()


def test_a_set_has_not_seen_its_rows():
    x = two_groups(300, 0.2)
    gaussians = fit_gaussians(x, [0, 1, 2])
    sets, which = fit_without(gaussians, x, None)
    assert sets.n_sets == int(which.max()) + 2
    assert 20 <= which.bincount().min()
    assert torch.equal(sets.means[-1], gaussians.means), "the last has seen all"
    changed = x.clone()
    changed[which == 3] += 100.0  # the order of different rows, and so the parts, stay
    of_changed, stays = fit_without(gaussians, changed, None)
    for part in range(sets.n_sets - 1):
        if torch.equal(stays == part, which == part):
            same = torch.equal(of_changed.means[part], sets.means[part])
            assert same == (part == 3)
    own = log_prob(sets.sets(which), x).mean()
    assert own < log_prob(gaussians, x).mean()


def test_equal_rows_have_one_set_and_a_weight_of_two_is_the_row_twice():
    x = two_groups(200, 0.2)
    gaussians = fit_gaussians(x, [0, 1, 2])
    weights = torch.arange(200) % 2 + 1.0
    twice = torch.arange(200).repeat_interleave(weights.long())
    weighted, of_rows = fit_without(gaussians, x, weights)
    repeated, of_repeated = fit_without(gaussians, x[twice], None)
    assert torch.equal(of_rows[twice], of_repeated)
    for one, other in zip(weighted.buffers(), repeated.buffers(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("n", "R"), [(100, 1), (14, 3), (10**4, MOST_COLUMNS + 1)])
def test_where_it_could_tell_nothing_there_are_no_columns(n, R):
    gaussians = fit_gaussians(rows(n, R), range(R))
    assert isinstance(gaussians, Gaussians)
    assert gaussians.columns == []
    assert gaussians.place(0) is None


@pytest.mark.parametrize("known", [slice(0, None, 2), slice(1, None, 2)])
def test_cells_that_are_missing_in_every_second_of_many_rows(known):
    x = rows(6000)
    cut = torch.full_like(x[:, 2], torch.nan)
    cut[known] = x[known, 2]
    x = torch.column_stack([x[:, 0], x[:, 1], cut])
    gaussians = fit_gaussians(x, [0, 1, 2])
    whole = fit_gaussians(rows(6000)[:, :3], [0, 1, 2])
    torch.testing.assert_close(
        gaussians.covariances, whole.covariances, atol=0.15, rtol=0.1
    )


def test_too_few_known_cells_among_the_rows_that_are_looked_at():
    x = rows(60000)
    x[20:, 0] = torch.nan
    assert fit_gaussians(x, [0, 1, 2]).columns == []


def test_few_different_rows_make_no_more_clusters_than_they_are():
    x = rows(3)[:, :2].repeat(40, 1)
    gaussians = fit_gaussians(x, [0, 1])
    assert 1 <= gaussians.n_components <= 1 + 3


def test_rows_that_differ_by_rounding_make_no_more_clusters():
    tenths = torch.arange(1, 4).repeat(70)[:, None].double()
    one, other = tenths * 0.1, tenths / 10.0
    assert (one != other).any()
    coin = torch.rand((len(tenths), 2), generator=generator(0)) < 0.5
    gaussians = fit_gaussians(torch.where(coin, one, other), [0, 1])
    assert all(buffer.isfinite().all() for buffer in gaussians.buffers())
