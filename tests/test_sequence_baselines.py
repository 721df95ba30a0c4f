"""The rivals for sequences are proper densities of whole sequences."""

from itertools import pairwise, product

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy.integrate import trapezoid
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm
from sklearn.base import clone
from sklearn.mixture import GaussianMixture

from skdensity_ar._sequence_baselines import (
    FrameDensity,
    GaussianHMM,
    GaussianVAR,
    _log_normals,
    _pack,
    _smooth,
    hmm_search,
    var_search,
)

MODELS = {
    "frames": FrameDensity(GaussianMixture(2, random_state=0)),
    "var0": GaussianVAR(0),
    "var1": GaussianVAR(1),
    "var3": GaussianVAR(3),
    "hmm_full": GaussianHMM(3, random_state=0),
    "hmm_diag": GaussianHMM(3, covariance="diag", random_state=0),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def autoregressive(rng, n=80, D=2, shortest=2, longest=9):
    """A stable first-order autoregression with correlated noise, started elsewhere."""
    A = 0.9 * np.eye(D) + 0.1 * rng.normal(size=(D, D))
    noise = 0.3 * rng.normal(size=(D, D)) + 0.2 * np.eye(D)
    sequences = []
    for length in rng.integers(shortest, longest + 1, size=n):
        x = [5 + rng.normal(size=D)]
        while len(x) < length:
            x.append(1 + A @ x[-1] + noise @ rng.normal(size=D))
        sequences.append(np.array(x))
    return sequences


def planted_hmm(rng, n=60, shortest=5, longest=20):
    """Three states that last, far from each other, two of them at the same place."""
    A = np.array([[0.9, 0.1, 0.0], [0.0, 0.9, 0.1], [0.1, 0.0, 0.9]])
    means = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 8.0]])
    sequences = []
    for length in rng.integers(shortest, longest + 1, size=n):
        path = [rng.integers(3)]
        while len(path) < length:
            path.append(rng.choice(3, p=A[path[-1]]))
        sequences.append(means[path] + rng.normal(size=(length, 2)))
    return sequences


@every_model
def test_two_steps_of_one_column_integrate_to_one(rng, model):
    X = autoregressive(rng, D=1, longest=5)
    model = clone(model).fit(X)
    x = np.linspace(-10, 25, 201)
    pairs = np.stack(np.meshgrid(x, x, indexing="ij"), axis=-1).reshape(-1, 2, 1)
    p = np.exp(model.score_samples(list(pairs))).reshape(len(x), len(x))
    assert trapezoid(trapezoid(p, x=x), x=x) == pytest.approx(1.0, abs=1e-6)
    p = np.exp(model.score_samples(list(x[:, None, None])))  # one step each
    assert trapezoid(p, x=x) == pytest.approx(1.0, abs=1e-6)


@every_model
def test_scores_are_in_the_units_of_x(rng, model):
    X = autoregressive(rng)
    lengths = np.array([len(x) for x in X])
    log_p = clone(model).fit(X).score_samples(X)
    doubled = [2 * x for x in X]
    doubled_log_p = clone(model).fit(doubled).score_samples(doubled)
    expected = log_p - 2 * lengths * np.log(2)
    # The frames' reg_covar, an absolute number, is no longer quite as large.
    np.testing.assert_allclose(doubled_log_p, expected, rtol=1e-6, atol=1e-3)


@every_model
def test_a_sequence_scores_the_same_among_others_and_alone(rng, model):
    X = autoregressive(rng)
    model = clone(model).fit(X)
    log_p = model.score_samples(X)
    assert log_p.shape == (80,) and log_p.dtype == np.float64
    alone = [model.score_samples([x])[0] for x in X]
    np.testing.assert_allclose(log_p, alone, rtol=1e-10)
    assert model.score(X) == pytest.approx(log_p.sum() / sum(len(x) for x in X))


@every_model
def test_what_is_no_list_of_sequences_is_named(rng, model):
    X = autoregressive(rng)
    model = clone(model).fit(X)
    with pytest.raises(ValueError, match=r"got one of 1 dimensions in place 0"):
        model.fit(X[0])
    with pytest.raises(ValueError, match="Expected 2 columns, got 1 in sequence 3"):
        model.fit([*X[:3], X[3][:, :1]])
    with pytest.raises(ValueError, match="Expected 2 columns, got 3 in sequence 0"):
        model.score_samples([np.zeros((4, 3))])
    with pytest.raises(ValueError, match="a list of sequences, got none"):
        model.fit([])
    with pytest.raises(ValueError, match="got none in sequence 1"):
        model.score_samples([X[0], X[0][:0]])
    with pytest.raises(ValueError, match="NaN"):
        model.fit([*X, np.full((3, 2), np.nan)])


def test_frame_density_is_the_sum_over_frames(rng):
    X = autoregressive(rng)
    model = FrameDensity(GaussianMixture(2, random_state=0)).fit(X)
    frames = GaussianMixture(2, random_state=0).fit(np.concatenate(X))
    expected = [frames.score_samples(x).sum() for x in X]
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-12)


def test_var_of_two_steps_is_the_least_squares_normal(rng):
    X = autoregressive(rng, D=1, shortest=2, longest=2)
    first, second = np.array(X)[:, :, 0].T
    n = len(X)
    slope, intercept = np.polyfit(first, second, 1)
    residuals = second - intercept - slope * first
    m, v = first.mean(), first.var(ddof=1)
    noise = residuals @ residuals / (n - 2)
    joint = multivariate_normal(
        [m, intercept + slope * m], [[v, slope * v], [slope * v, slope**2 * v + noise]]
    )
    log_p = GaussianVAR(1, ridge=1e-10).fit(X).score_samples(X)
    np.testing.assert_allclose(log_p, joint.logpdf(np.array(X)[:, :, 0]), rtol=1e-8)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_var_is_the_product_of_its_conditionals(rng, order):
    X = autoregressive(rng, shortest=1)
    model = GaussianVAR(order).fit(X)
    scale = model.scale_
    expected = []
    for x in X:
        z = (x - model.mean_) / scale
        log_p = 0.0
        for t in range(len(x)):
            lags = min(t, order)
            p = model.conditionals_[lags]
            mean = p.intercept + z[t - lags : t].ravel() @ p.coef
            covariance = np.outer(scale, scale) * (p.cholesky @ p.cholesky.T)
            normal = multivariate_normal(model.mean_ + scale * mean, covariance)
            log_p += normal.logpdf(x[t])
        expected.append(log_p)
    np.testing.assert_allclose(model.score_samples(X), expected, rtol=1e-9)


def test_var_has_a_start_of_its_own_where_there_are_enough(rng):
    X = autoregressive(rng, n=300, shortest=8)
    firsts = np.array([x[0] for x in X])
    model = GaussianVAR(1).fit(X)
    np.testing.assert_allclose(
        model.mean_ + model.scale_ * model.conditionals_[0].intercept, firsts.mean(0)
    )
    few = GaussianVAR(1).fit(X[:3])
    np.testing.assert_allclose(few.conditionals_[0].intercept, 0.0, atol=1e-12)


def test_var_gains_what_the_past_tells(rng):
    X = autoregressive(rng, n=300, D=3)
    train, test = X[:200], X[200:]
    independent, first, third = (
        GaussianVAR(order).fit(train).score(test) for order in (0, 1, 3)
    )
    assert first > independent + 1
    assert third == pytest.approx(first, abs=0.1)  # nothing more to gain, little lost


def test_var_names_what_it_cannot_take(rng):
    X = autoregressive(rng, longest=4)
    with pytest.raises(ValueError, match=r"more than 4 frames; the longest has 4"):
        GaussianVAR(4).fit(X)
    with pytest.raises(ValueError, match=r"order must be 0 or more, got -1"):
        GaussianVAR(-1).fit(X)
    with pytest.raises(ValueError, match=r"ridge must be positive, got 0"):
        GaussianVAR(1, ridge=0).fit(X)


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_hmm_forward_equals_the_sum_over_all_paths(rng, covariance):
    X = planted_hmm(rng)
    model = GaussianHMM(3, covariance=covariance, random_state=0).fit(X)
    log_start, log_A = np.log(model.start_), np.log(model.transitions_)
    states = [
        multivariate_normal(m, c)
        for m, c in zip(model.means_, model.covariances_, strict=True)
    ]
    short = [x[: 1 + i % 4] for i, x in enumerate(X[:8])]
    expected = []
    for x in short:
        log_b = np.stack([state.logpdf(x).reshape(-1) for state in states])  # (K, T)
        log_paths = []
        for path in product(range(3), repeat=len(x)):
            log_joint = log_start[path[0]] + log_b[path, range(len(x))].sum()
            log_joint += sum(log_A[i, j] for i, j in pairwise(path))
            log_paths.append(log_joint)
        expected.append(logsumexp(log_paths))
    np.testing.assert_allclose(model.score_samples(short), expected, rtol=1e-10)


def test_hmm_smoothing_equals_the_posterior_over_all_paths(rng):
    K, lengths = 3, [2, 4, 1, 4]
    X = [rng.normal(size=(T, 2)) for T in lengths]
    start, *A = rng.dirichlet(np.ones(K), size=1 + K)
    A, means = np.array(A), rng.normal(size=(K, 2))
    choleskys = np.tile(np.eye(2), (K, 1, 1))
    frames, sizes, order = _pack(X)
    log_b = _log_normals(frames, means, choleskys)
    posterior, counts, log_p = _smooth(start, A, log_b, sizes)

    expected_counts = np.zeros((K, K))
    starts = np.cumsum([0, *sizes])
    for place, i in enumerate(order):
        b = norm.pdf(X[i][:, None], means).prod(axis=-1)  # (T, K)
        paths = list(product(range(K), repeat=len(X[i])))
        p = np.array(
            [
                start[s[0]] * np.prod(b[range(len(s)), s]) * np.prod(A[s[:-1], s[1:]])
                for s in map(list, paths)
            ]
        )
        assert log_p[place] == pytest.approx(np.log(p.sum()))
        for t in range(len(X[i])):
            at = np.array([s[t] for s in paths])
            expected = np.bincount(at, weights=p, minlength=K) / p.sum()
            np.testing.assert_allclose(posterior[starts[t] + place], expected)
        for s, weight in zip(paths, p / p.sum(), strict=True):
            for j, k in pairwise(s):
                expected_counts[j, k] += weight
    np.testing.assert_allclose(counts, expected_counts)


def test_hmm_does_not_underflow_on_a_long_sequence(rng):
    X = [np.concatenate(planted_hmm(rng)) * 1e3]
    model = GaussianHMM(3, random_state=0).fit(X)
    far = [np.tile(X[0], (4, 1)) + 1e5]
    assert np.isfinite(model.score_samples(X + far)).all()


@pytest.mark.parametrize("covariance", ["full", "diag"])
@pytest.mark.parametrize("seed", range(3))
def test_em_never_lowers_the_objective(rng, covariance, seed):
    X = autoregressive(rng)
    model = GaussianHMM(
        5, covariance=covariance, max_iter=60, tol=-1.0, random_state=seed
    ).fit(X)
    assert (np.diff(model.objective_curve_) >= -1e-11).all()
    assert len(model.objective_curve_) == model.n_iter_ + 1 == 61
    assert not model.converged_


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_em_never_lowers_the_likelihood_when_the_priors_are_negligible(rng, covariance):
    X = planted_hmm(rng)
    model = GaussianHMM(
        4,
        covariance=covariance,
        smoothing=1e-9,
        covariance_prior=1e-9,
        tol=-1.0,
        random_state=0,
    )
    scores = [clone(model).set_params(max_iter=m).fit(X).score(X) for m in range(1, 25)]
    assert (np.diff(scores) >= -1e-7).all()


def test_hmm_finds_the_planted_states(rng):
    X = planted_hmm(rng, n=120)
    model = GaussianHMM(3, n_init=2, random_state=0).fit(X[:80])
    order = np.argsort(model.means_ @ [1, 2])  # as planted: 0, 6 and 16
    np.testing.assert_allclose(model.means_[order], [[0, 0], [6, 0], [0, 8]], atol=0.3)
    A = model.transitions_[np.ix_(order, order)]
    np.testing.assert_allclose(np.diag(A), 0.9, atol=0.05)
    assert A[0, 1] > A[0, 2] and A[1, 2] > A[1, 0] and A[2, 0] > A[2, 1]
    np.testing.assert_allclose(model.transitions_.sum(axis=1), 1.0)
    assert model.score(X[80:]) > GaussianVAR(0).fit(X[:80]).score(X[80:]) + 1
    # The order of the frames is worth something, and nothing to a mixture.
    mixture = FrameDensity(GaussianMixture(3, random_state=0)).fit(X[:80])
    assert model.score(X[80:]) > mixture.score(X[80:]) + 0.3


def test_hmm_diagonal_covariances_are_diagonal(rng):
    model = GaussianHMM(3, covariance="diag", random_state=0).fit(autoregressive(rng))
    off_diagonal = model.covariances_[:, ~np.eye(2, dtype=bool)]
    np.testing.assert_array_equal(off_diagonal, 0.0)


def test_hmm_repeats_itself_and_keeps_the_best_start(rng):
    X = autoregressive(rng)
    first, second = (GaussianHMM(6, random_state=3).fit(X) for _ in range(2))
    np.testing.assert_array_equal(first.score_samples(X), second.score_samples(X))
    assert first.converged_ and first.n_iter_ < first.max_iter
    best = GaussianHMM(6, n_init=4, random_state=3).fit(X)
    assert best.objective_curve_[-1] >= first.objective_curve_[-1]


def test_hmm_names_what_it_cannot_take(rng):
    X = autoregressive(rng)
    with pytest.raises(ValueError, match=r"'full' or 'diag', got 'tied'"):
        GaussianHMM(2, covariance="tied").fit(X)
    with pytest.raises(ValueError, match=r"smoothing must be positive, got 0"):
        GaussianHMM(2, smoothing=0).fit(X)
    with pytest.raises(ValueError, match=r"covariance_prior must be positive, got -1"):
        GaussianHMM(2, covariance_prior=-1).fit(X)


def test_packed_frames_are_those_of_the_longest_sequences_first(rng):
    X = [rng.normal(size=(T, 2)) for T in (2, 5, 1, 5)]
    frames, sizes, order = _pack(X)
    assert sizes.tolist() == [4, 3, 2, 2, 2] and order.tolist() == [1, 3, 0, 2]
    starts = np.cumsum([0, *sizes])
    for place, i in enumerate(order):
        unpacked = [frames[starts[t] + place] for t in range(len(X[i]))]
        np.testing.assert_array_equal(unpacked, X[i])


def test_searches_choose_by_whole_sequences(rng):
    # x_t depends on x_{t-2}: order 2 is needed, and 3 is no better.
    noise = [rng.normal(size=(rng.integers(6, 15), 2)) for _ in range(120)]
    X = []
    for e in noise:
        x = e.copy()
        for t in range(2, len(x)):
            x[t] += 0.9 * x[t - 2]
        X.append(x)
    search = var_search(order=(1, 2), n_splits=3, random_state=0).fit(X[:80])
    assert search.best_params_["order"] == 2
    log_p = search.score_samples(X[80:])
    assert log_p.shape == (40,)
    n_frames = sum(len(x) for x in X[80:])
    assert search.score(X[80:]) == pytest.approx(log_p.sum() / n_frames)

    X = planted_hmm(rng)
    search = hmm_search(n_components=(1, 3), n_splits=3, random_state=0).fit(X[:40])
    assert search.best_params_["n_components"] == 3
    assert search.score(X[40:]) > GaussianHMM(1).fit(X[:40]).score(X[40:]) + 1


def test_equal_lengths_may_come_as_one_array(rng):
    X = sliding_window_view(rng.normal(size=(40, 2)), 5, axis=0).transpose(0, 2, 1)
    for model in (GaussianVAR(1), GaussianHMM(2, random_state=0)):
        as_array = clone(model).fit(X).score_samples(X)
        as_list = clone(model).fit(list(X)).score_samples(list(X))
        np.testing.assert_array_equal(as_array, as_list)
