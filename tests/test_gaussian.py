"""What a Gaussian says of a column given any others, at once and column by column."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from skdensity_ar._gaussian import MOST_COLUMNS, Gaussian, fit_gaussian
from skdensity_ar.conditionals import GaussianMixture
from tests.properties import generator, make_gaussian, mixture_block

D, COLUMNS = 5, [3, 0, 4]  # those of the Gaussian, of a table


def rows(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn((n, D), generator=generator(0), dtype=torch.float64)
    return x, torch.rand((n, D), generator=generator(1)) < 0.5


def test_means_and_spreads_are_those_of_the_conditional_gaussian():
    gaussian = make_gaussian(COLUMNS)
    x, visible = rows(30)
    shift, log_ratio = gaussian(x, visible)
    S, mean = gaussian.covariance.numpy(), gaussian.mean.numpy()
    for i, d in enumerate(COLUMNS):
        for row in range(30):
            k = [j for j, c in enumerate(COLUMNS) if visible[row, c] and c != d]
            gain = S[i, k] @ np.linalg.inv(S[np.ix_(k, k)])
            seen = x[row, [COLUMNS[j] for j in k]].numpy() - mean[k]
            if not visible[row, d]:
                ratio = (S[i, i] - gain @ S[k, i]) / S[i, i]
                assert shift[row, i].item() == pytest.approx(gain @ seen, abs=1e-3)
                assert log_ratio[row, i].item() == pytest.approx(
                    0.5 * np.log(ratio), abs=1e-3
                )


@pytest.mark.parametrize("with_given", [False, True])
def test_steps_say_what_it_says_at_once(with_given):
    gaussian = make_gaussian(COLUMNS)
    x, chosen = rows(40)
    known = torch.zeros_like(chosen)
    given = None
    if with_given:
        given = known = chosen & (torch.rand((40, D), generator=generator(2)) < 0.5)
    state = gaussian.start(x, given)
    for d in [4, 3, 0]:
        i = gaussian.place(d)
        hidden = (~known[:, d]).nonzero().squeeze(-1)
        shift, log_ratio = gaussian(x, known)
        of_step = gaussian.step(state, i, hidden)
        torch.testing.assert_close(of_step[0], shift[hidden, i])
        torch.testing.assert_close(of_step[1], log_ratio[hidden, i])
        # Only some of the rows have a value there; all do without a pattern.
        some = (chosen[:, d] & ~known[:, d]) if with_given else ~known[:, d]
        index = some.nonzero().squeeze(-1) if with_given else None
        of_rows = slice(None) if index is None else index
        state = gaussian.observe(state, i, x[of_rows, d], index)
        known = known.clone()
        known[some, d] = True


def test_the_covariance_of_complete_rows_is_shrunk_to_its_diagonal():
    x, _ = rows(100)
    x = x @ torch.randn((D, D), generator=generator(3), dtype=torch.float64) / D
    gaussian = fit_gaussian(x, COLUMNS)
    expected = np.cov(x[:, COLUMNS].T.numpy(), bias=True)
    found = gaussian.covariance.numpy()
    np.testing.assert_allclose(found.diagonal(), expected.diagonal())
    off = ~np.eye(3, dtype=bool)
    np.testing.assert_allclose(found[off], expected[off] * 100 / (100 + 1.5))
    np.testing.assert_allclose(gaussian.mean, x[:, COLUMNS].mean(0))


def test_cells_that_are_missing_bias_neither_means_nor_covariances():
    S = np.array([[1.0, 0.9, 0.5], [0.9, 1.0, 0.6], [0.5, 0.6, 1.0]])
    X = np.random.default_rng(0).multivariate_normal([1.0, 0.0, -1.0], S, 4000)
    # What is missing depends on a column that is there: means of the rest are biased.
    X[X[:, 0] > 1.0, 1] = np.nan
    X[np.random.default_rng(1).random(4000) < 0.3, 2] = np.nan
    gaussian = fit_gaussian(torch.from_numpy(X), [0, 1, 2])
    assert np.nanmean(X[:, 1]) < -0.5
    np.testing.assert_allclose(gaussian.mean, [1.0, 0.0, -1.0], atol=0.08)
    np.testing.assert_allclose(gaussian.covariance, S, atol=0.1)


def test_components_go_where_the_gaussian_does():
    gaussian = make_gaussian([0, 1])
    conditional = GaussianMixture(1, torch.zeros(2), background=0.0)
    spread = gaussian.covariance.diagonal().sqrt()
    zeros = torch.zeros(2, dtype=torch.float64)
    alone = torch.stack([zeros, gaussian.mean, spread.log()], -1).expand(20, -1, -1)
    x, visible = rows(20)
    visible[:, 0], visible[:, 1] = True, False
    shift, log_ratio = gaussian(x, visible)
    share = torch.ones((2, 1), dtype=torch.float64)
    moved = conditional.moved(alone, gaussian.mean, shift, log_ratio, share)
    log_p = conditional.log_prob(moved, x[:, :2])[:, 1]
    joint = multivariate_normal(gaussian.mean, gaussian.covariance)
    first = norm(gaussian.mean[0], spread[0])
    expected = joint.logpdf(x[:, :2]) - first.logpdf(x[:, 0])
    np.testing.assert_allclose(log_p, expected, atol=1e-3)
    half = conditional.moved(alone, gaussian.mean, shift, log_ratio, 0.5 * share)
    torch.testing.assert_close(half - alone, 0.5 * (moved - alone))


def test_components_on_heaps_stay():
    conditional, _ = mixture_block("gaussian_mixture", [0, 1])
    x = torch.randn((400, 2), generator=generator(0), dtype=torch.float64)
    x[:100, 0] = 1.0
    conditional = conditional.adapted(x)
    assert (conditional.unit[0, 0, :, 0] < 1.0).tolist() == [True, False, False]
    params = conditional.initial_bias(x).expand(1, 1, -1, -1)  # of one row
    ones = torch.ones(2, dtype=torch.float64)
    moved = conditional.moved(params, ones, ones, -ones, ones[:, None].expand(-1, 3))
    changed = (moved != params).reshape(2, 3, 3)  # weights, means, scales of three
    assert not changed[:, 0].any(), "the weights are the network's own"
    assert changed[:, 1].tolist() == [[False, True, True], [True, True, True]]
    assert changed[:, 2].tolist() == [[False, True, True], [True, True, True]]


@pytest.mark.parametrize(("n", "R"), [(100, 1), (14, 3), (10**4, MOST_COLUMNS + 1)])
def test_where_it_could_tell_nothing_it_has_no_columns(n, R):
    x = torch.randn((n, R), generator=generator(0), dtype=torch.float64)
    gaussian = fit_gaussian(x, range(R))
    assert isinstance(gaussian, Gaussian)
    assert gaussian.columns == []
    assert gaussian.place(0) is None


@pytest.mark.parametrize("known", [slice(0, None, 2), slice(1, None, 2)])
def test_cells_that_are_missing_in_every_second_of_many_rows(known):
    x, _ = rows(6000)
    cut = torch.full_like(x[:, 2], torch.nan)
    cut[known] = x[known, 2]
    x = torch.column_stack([x[:, 0], x[:, 1], cut])
    gaussian = fit_gaussian(x, [0, 1, 2])
    whole = fit_gaussian(rows(6000)[0][:, :3], [0, 1, 2])
    torch.testing.assert_close(
        gaussian.covariance, whole.covariance, atol=0.15, rtol=0.1
    )


def test_too_few_known_cells_among_the_rows_that_are_looked_at():
    x, _ = rows(60000)
    x[20:, 0] = torch.nan
    assert fit_gaussian(x, [0, 1, 2]).columns == []
