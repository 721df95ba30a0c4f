"""What Gaussians say of a column given any others, at once and column by column."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal, norm

from skdensity_ar._gaussians import Gaussians
from skdensity_ar.conditionals import GaussianMixture
from skdensity_ar.conditionals._mixtures import GAUSSIAN, LAPLACE, LOGISTIC
from tests import reference
from tests.properties import MIXTURES, generator, make_gaussians, mixture_block

D, COLUMNS = 5, [3, 0, 4]  # those of the Gaussians, of a table


def rows(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn((n, D), generator=generator(0), dtype=torch.float64)
    return x, torch.rand((n, D), generator=generator(1)) < 0.5


@pytest.mark.parametrize("J", [1, 3])
def test_they_say_what_the_slow_twin_says(J):
    gaussians = make_gaussians(COLUMNS, J)
    x, visible = rows(30)
    said = gaussians(x, visible)
    assert all(v.shape == (30, 3, J) for v in said)
    weights = gaussians.log_weights.exp().numpy()
    means, S = gaussians.means.numpy(), gaussians.covariances.numpy()
    for i, d in enumerate(COLUMNS):
        for row in range(30):
            if visible[row, d]:
                continue
            seen = [j for j, c in enumerate(COLUMNS) if visible[row, c]]
            log_w, m, s = reference.gaussians_given(
                i, seen, x[row, COLUMNS].numpy(), weights, means, S
            )
            np.testing.assert_allclose(said.log_weights[row, i], log_w, atol=1e-6)
            np.testing.assert_allclose(said.means[row, i], m, atol=1e-6)
            np.testing.assert_allclose(said.log_spreads[row, i].exp(), s, atol=1e-6)


def test_the_twin_says_the_conditional_of_the_joint_density():
    gaussians = make_gaussians([0, 1], 2)
    w, m, S = (b.numpy() for b in gaussians.buffers())

    def joint(x):
        each = [multivariate_normal(m[j], S[j]).pdf(x) for j in (0, 1)]
        return np.exp(w) @ each

    x = np.array([0.3, -0.2])
    first = np.exp(w) @ norm(m[:, 0], np.sqrt(S[:, 0, 0])).pdf(x[0])
    of_1 = reference.gaussians_given(1, [0], x, np.exp(w), m, S, noise=0.0)
    given = np.exp(of_1[0]) @ norm(of_1[1], of_1[2]).pdf(x[1])
    assert first * given == pytest.approx(joint(x))


def test_every_row_is_told_by_its_own_set():
    each = [make_gaussians(COLUMNS, 2, seed=e) for e in range(3)]
    buffers = zip(*(one.buffers() for one in each), strict=True)
    sets = Gaussians(COLUMNS, *(torch.stack(buffer) for buffer in buffers))
    assert sets.n_sets == 3
    x, visible = rows(12)
    which = torch.arange(12).remainder(3)
    said = sets(x.view(2, 6, D), visible.view(2, 6, D), which.view(2, 6))
    for e, one in enumerate(each):
        expected = one(x[which == e], visible[which == e])
        for found, wanted in zip(said, expected, strict=True):
            torch.testing.assert_close(found.flatten(0, 1)[which == e], wanted)


@pytest.mark.parametrize("with_given", [False, True])
def test_steps_say_what_they_say_at_once(with_given):
    gaussians = make_gaussians(COLUMNS, 2)
    x, chosen = rows(40)
    known = torch.zeros_like(chosen)
    given = None
    if with_given:
        given = known = chosen & (torch.rand((40, D), generator=generator(2)) < 0.5)
    state = gaussians.start(x, given)
    for d in [4, 3, 0]:
        i = gaussians.place(d)
        hidden = (~known[:, d]).nonzero().squeeze(-1)
        at_once = gaussians(x, known)
        of_step = gaussians.step(state, i, hidden)
        for one, other in zip(of_step, at_once, strict=True):
            torch.testing.assert_close(one, other[hidden, i])
        # Only some of the rows have a value there; all do without a pattern.
        some = (chosen[:, d] & ~known[:, d]) if with_given else ~known[:, d]
        index = some.nonzero().squeeze(-1) if with_given else None
        of_rows = slice(None) if index is None else index
        state = gaussians.observe(state, i, x[of_rows, d], index)
        known = known.clone()
        known[some, d] = True


def test_alone_is_what_the_first_says_where_nothing_is_known():
    gaussians = make_gaussians(COLUMNS, 2)
    x, _ = rows(2)
    said = gaussians(x, torch.zeros_like(x))
    first = torch.stack([said.means[..., 0], said.log_spreads[..., 0]])
    torch.testing.assert_close(first, gaussians.alone()[:, None].expand(-1, 2, -1))


def followed(conditional, params, gaussians, x, visible, share, logit):
    """Parameters (n, D, 3 K) that follow what the Gaussians say."""
    D, K, J = params.shape[-2], conditional.n_components, conditional.n_predicted
    return conditional.moved(
        params,
        gaussians(x, visible),
        gaussians.alone(),
        torch.full((1, D, K - J), share, dtype=torch.float64),
        torch.full((1, D, J), logit, dtype=torch.float64),
    )


def two_columns() -> tuple[torch.Tensor, torch.Tensor]:
    x, visible = rows(20)
    visible[:, 0], visible[:, 1] = True, False
    return x, visible


def test_the_last_components_are_the_conditional_density_of_the_gaussians():
    gaussians = make_gaussians([0, 1], 3)
    conditional = GaussianMixture(2, torch.zeros(2), 0.0).with_predicted(3)
    x, visible = two_columns()
    params = torch.zeros((20, 2, conditional.n_params), dtype=torch.float64)
    moved = followed(conditional, params, gaussians, x, visible, 1.0, 80.0)
    log_p = conditional.log_prob(moved, x[:, :2])[:, 1]
    w, m, S = (b.numpy() for b in gaussians.buffers())
    for row in range(20):
        each = [multivariate_normal(m[j], S[j]).pdf(x[row, :2]) for j in range(3)]
        first = norm(m[:, 0], np.sqrt(S[:, 0, 0])).pdf(x[row, 0])
        expected = np.log(np.exp(w) @ each) - np.log(np.exp(w) @ first)
        assert log_p[row].item() == pytest.approx(expected, abs=1e-4)


def test_the_other_components_go_where_the_gaussian_does():
    gaussians = make_gaussians([0, 1])
    conditional = GaussianMixture(1, torch.zeros(2), 0.0).with_predicted(1)
    mean, log_spread = gaussians.alone()
    zeros = torch.zeros(2, dtype=torch.float64)
    alone = torch.stack([zeros, zeros, mean, zeros, log_spread, zeros], -1)
    alone = alone.expand(20, -1, -1)
    x, visible = two_columns()
    moved = followed(conditional, alone, gaussians, x, visible, 1.0, -80.0)
    log_p = conditional.log_prob(moved, x[:, :2])[:, 1]
    (m,), (S,) = gaussians.means, gaussians.covariances
    joint, first = multivariate_normal(m, S), norm(m[0], S[0, 0].sqrt())
    expected = joint.logpdf(x[:, :2]) - first.logpdf(x[:, 0])
    np.testing.assert_allclose(log_p, expected, atol=1e-3)
    half = followed(conditional, alone, gaussians, x, visible, 0.5, -80.0)
    own = [0, 2, 4]  # of the network's component
    torch.testing.assert_close(
        (half - alone)[..., own], 0.5 * (moved - alone)[..., own]
    )


def test_components_on_heaps_stay():
    conditional, _ = mixture_block("gaussian_mixture", [0, 1])
    x = torch.randn((400, 2), generator=generator(0), dtype=torch.float64)
    x[:100, 0] = 1.0
    conditional = conditional.with_predicted(1).adapted(x)
    assert (conditional.unit[0, 0, :, 0] < 1.0).tolist() == [True, False, False, False]
    conditional.unit = conditional.unit[0]  # of one member
    params = conditional.initial_bias(x).unsqueeze(0)  # of one row
    gaussians = make_gaussians([0, 1])
    given = torch.eye(2)[:1]
    moved = followed(conditional, params, gaussians, x[:1] + 1.0, given, 1.0, 0.0)
    changed = (moved != params).reshape(2, 3, 4)  # weights, means, scales of four
    assert not changed[:, 0, :3].any(), "the weights are the network's own"
    assert changed[1, 1].all()
    assert changed[1, 2].all()
    assert changed[0, 1].tolist()[:3] == [False, True, True]
    assert changed[0, 2].tolist()[:3] == [False, True, True]


@pytest.mark.parametrize("kind", MIXTURES)
def test_predicted_components_start_with_the_spread_that_is_predicted(kind):
    gaussians = make_gaussians([0, 1], 2)
    conditional = MIXTURES[kind](2, torch.zeros(2), 0.0).with_predicted(2)
    x, visible = two_columns()
    params = conditional.initial_bias(x[:, :2]).expand(20, -1, -1)
    moved = followed(conditional, params, gaussians, x, visible, 1.0, 0.0)
    _, mu, sigma = conditional.split(moved)
    said = gaussians(x, visible)
    torch.testing.assert_close(mu[..., -2:], said.means)
    spread = sigma[..., -2:] * conditional.kernel.spread
    torch.testing.assert_close(spread, said.log_spreads.exp())


@pytest.mark.parametrize("kernel", [GAUSSIAN, LAPLACE, LOGISTIC])
def test_the_spread_of_a_kernel_is_that_of_its_draws(kernel):
    u = (torch.arange(10**6, dtype=torch.float64) + 0.5) / 10**6
    assert kernel.quantile(u).std().item() == pytest.approx(kernel.spread, rel=1e-3)
