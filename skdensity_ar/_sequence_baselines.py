"""Well-known densities of sequences, tuned, to hold the package's own against.

A data set is a list of float arrays (n_timesteps, n_features), one per sequence. Every
estimator has ``fit`` and ``score_samples``: the natural logarithm of the density of
each whole sequence given its length, in nats, in the units of the sequences that it
was given; and ``score``: nats per time step. Those that end in ``_search`` choose their
settings by cross-validation over whole sequences.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.linalg import solve_triangular
from sklearn.base import BaseEstimator, DensityMixin, clone
from sklearn.cluster import KMeans
from sklearn.covariance import LedoitWolf
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

from skdensity_ar._baselines import _normalise, _search

# The t-th frame of every sequence has a Gaussian of its own only where there are this
# many of them per coefficient: the start of five recordings says little.
MIN_ROWS_PER_COEFFICIENT = 5


class _MeanFrameScoreMixin(DensityMixin):
    def score(self, X, y=None):
        """Return the log-density of all sequences, in nats per time step."""
        return float(np.sum(self.score_samples(X)) / sum(len(x) for x in X))


class FrameDensity(_MeanFrameScoreMixin, BaseEstimator):
    r"""Frames independent of each other: what there is to gain without memory.

    .. math:: p(x_{1..T}) = \prod_t p(x_t)

    Parameters
    ----------
    estimator : estimator
        A density estimator of rows, with ``score_samples``.

    Attributes
    ----------
    estimator_ : estimator
        The one fitted to all frames of all sequences.
    """

    def __init__(self, estimator):
        self.estimator = estimator

    def fit(self, X, y=None):
        """Fit the estimator to the frames of the sequences X."""
        frames = np.concatenate(_check_sequences(X))
        self.estimator_ = clone(self.estimator).fit(frames)
        self.n_features_in_ = frames.shape[1]
        return self

    def score_samples(self, X):
        """Return the log-density of every sequence, in nats, (n_sequences,)."""
        check_is_fitted(self)
        X = _check_sequences(X, self.n_features_in_)
        log_p = self.estimator_.score_samples(np.concatenate(X))
        return np.add.reduceat(log_p, np.cumsum([0, *map(len, X[:-1])]))


class GaussianVAR(_MeanFrameScoreMixin, BaseEstimator):
    r"""Vector autoregression with Gaussian noise of full covariance.

    .. math:: x_t = c + \sum_{l=1}^{L} A_l x_{t-l} + \varepsilon_t, \qquad
        \varepsilon_t \sim N(0, \Sigma)

    The first L frames of a sequence lack some of their lags. Frame number t < L has a
    vector autoregression of order t for itself, so that the whole is the exact
    log-density of a sequence. It is fitted to the t-th frames only, if there are
    enough of them, and otherwise to all frames that have t before them.

    Parameters
    ----------
    order : int, default=1
        Number L of lags; 0 is one Gaussian for all frames.
    ridge : float, default=1.0
        Strength, in frames, of the prior that pulls the coefficients of standardised
        columns to zero. Must be positive.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (n_features,)
        Of the columns, in all frames; the conditionals are for standardised ones.
    conditionals_ : list of order + 1 objects
        p(x_t | the min(t, L) frames before), with ``intercept``, ``coef`` of shape
        (lags * n_features, n_features), oldest frame first, and ``cholesky``.
    """

    def __init__(self, order=1, *, ridge=1.0):
        self.order = order
        self.ridge = ridge

    def fit(self, X, y=None):
        """Fit the autoregression to the sequences X."""
        X = _check_sequences(X)
        if self.order < 0:
            raise ValueError(f"order must be 0 or more, got {self.order}.")
        if self.ridge <= 0:
            raise ValueError(f"ridge must be positive, got {self.ridge}.")
        if max(map(len, X)) <= self.order:
            raise ValueError(
                f"order={self.order} needs a sequence of more than {self.order} "
                f"frames; the longest has {max(map(len, X))}. Lower order."
            )
        scaler = StandardScaler().fit(np.concatenate(X))
        self.mean_, self.scale_ = scaler.mean_, scaler.scale_
        z = [(x - self.mean_) / self.scale_ for x in X]
        n_features = len(self.mean_)
        self.conditionals_ = []
        for lags in range(self.order + 1):
            past, now, time, _ = _lagged(z, lags)
            first = time == lags
            enough = MIN_ROWS_PER_COEFFICIENT * (lags * n_features + 1)
            if lags < self.order and first.sum() >= enough:
                past, now = past[first], now[first]
            self.conditionals_.append(_LinearGaussian(past, now, ridge=self.ridge))
        self.n_features_in_ = n_features
        return self

    def score_samples(self, X):
        """Return the log-density of every sequence, in nats, (n_sequences,)."""
        check_is_fitted(self)
        X = _check_sequences(X, self.n_features_in_)
        z = [(x - self.mean_) / self.scale_ for x in X]
        log_p = -np.log(self.scale_).sum() * np.array([len(x) for x in X])
        for lags, conditional in enumerate(self.conditionals_):
            past, now, time, owner = _lagged(z, lags)
            mine = (time == lags) | (lags == self.order)
            if mine.any():  # short sequences never reach the full order
                terms = conditional.log_prob(past[mine], now[mine])
                log_p += np.bincount(owner[mine], weights=terms, minlength=len(X))
        return log_p


class _LinearGaussian:
    """p(x | past) = N(x; intercept + past coef, Σ), both shrunk, of `GaussianVAR`."""

    def __init__(self, past, x, *, ridge):
        n, n_coefs = past.shape
        past_mean, x_mean = past.mean(axis=0), x.mean(axis=0)
        P, R = past - past_mean, x - x_mean
        gram = P.T @ P  # (n_coefs, n_coefs), 0 x 0 without lags
        penalised = gram + ridge * np.eye(n_coefs)
        self.coef = np.linalg.solve(penalised, P.T @ R)
        self.intercept = x_mean - past_mean @ self.coef
        residuals = R - P @ self.coef
        # Least squares uses up this many frames, so that what is left is too small.
        dof = 1 + np.trace(np.linalg.solve(penalised, gram))
        residuals *= np.sqrt(n / max(n - dof, 1))
        # Shrunk as correlations: the noise of some columns is far below that of others.
        scaler = StandardScaler(with_mean=False).fit(residuals)
        correlations = LedoitWolf(assume_centered=True).fit(residuals / scaler.scale_)
        self.cholesky = scaler.scale_[:, None] * np.linalg.cholesky(
            correlations.covariance_
        )

    def log_prob(self, past, x):
        return _log_normal(x - self.intercept - past @ self.coef, self.cholesky)


class GaussianHMM(_MeanFrameScoreMixin, BaseEstimator):
    r"""Hidden Markov model with one Gaussian per state, fitted by Baum-Welch.

    .. math:: p(x_{1..T}) = \sum_{s_{1..T}} \pi_{s_1} N(x_1; \mu_{s_1}, \Sigma_{s_1})
        \prod_{t=2}^{T} A_{s_{t-1} s_t} N(x_t; \mu_{s_t}, \Sigma_{s_t})

    Parameters
    ----------
    n_components : int, default=10
        Number of states.
    covariance : {"full", "diag"}, default="full"
        Whether the Gaussian of a state has correlated columns.
    smoothing : float, default=1.0
        Strength, in observations, of the uniform Dirichlet priors on π and on each
        row of A, and of the prior of each mean, centred on that of all frames. Must be
        positive.
    covariance_prior : float, default=10.0
        Strength, in frames, of the prior of each Σ, centred on the variances that the
        columns have within the clusters of the start. Must be positive.
    max_iter : int, default=200
        Most steps of EM.
    tol : float, default=1e-3
        EM stops when a step gains less than this many nats per frame.
    n_init : int, default=1
        Number of starts; the one with the best objective is kept.
    random_state : int, RandomState instance or None, default=None
        Draws the starts of the k-means that EM starts from.

    Attributes
    ----------
    start_ : ndarray of shape (n_components,)
        The π.
    transitions_ : ndarray of shape (n_components, n_components)
        The A; rows sum to one.
    means_ : ndarray of shape (n_components, n_features)
        The μ.
    covariances_ : ndarray of shape (n_components, n_features, n_features)
        The Σ; diagonal matrices if ``covariance="diag"``.
    objective_curve_ : list of float
        Log-posterior (log-likelihood plus log-prior, up to a constant) of standardised
        columns, in nats per frame, before each step of EM and after the last. It never
        decreases.
    n_iter_ : int
        Steps of EM made.
    converged_ : bool
        Whether `tol` was reached within `max_iter` steps.
    """

    def __init__(
        self,
        n_components=10,
        *,
        covariance="full",
        smoothing=1.0,
        covariance_prior=10.0,
        max_iter=200,
        tol=1e-3,
        n_init=1,
        random_state=None,
    ):
        self.n_components = n_components
        self.covariance = covariance
        self.smoothing = smoothing
        self.covariance_prior = covariance_prior
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.random_state = random_state

    def fit(self, X, y=None):
        """Fit the model to the sequences X."""
        X = _check_sequences(X)
        if self.covariance not in ("full", "diag"):
            raise ValueError(
                f"covariance must be 'full' or 'diag', got {self.covariance!r}."
            )
        for name in ("smoothing", "covariance_prior"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}.")
        frames, sizes, _ = _pack(X)
        scaler = StandardScaler().fit(frames)
        z = scaler.transform(frames)
        rng = check_random_state(self.random_state)
        runs = [self._run_em(z, sizes, rng) for _ in range(self.n_init)]
        parameters, curve, self.converged_ = max(runs, key=lambda run: run[1][-1])
        self.start_, self.transitions_, means, covariances = parameters
        self.means_ = scaler.mean_ + scaler.scale_ * means
        self.covariances_ = covariances * np.outer(scaler.scale_, scaler.scale_)
        self.objective_curve_ = curve
        self.n_iter_ = len(curve) - 1
        self.n_features_in_ = frames.shape[1]
        return self

    def _run_em(self, z, sizes, rng):
        """Return the parameters, the objective curve and whether `tol` was reached."""
        n, D = z.shape
        K, s, nu = self.n_components, self.smoothing, self.covariance_prior
        shape = np.ones((D, D)) if self.covariance == "full" else np.eye(D)
        kmeans = KMeans(K, n_init=1, random_state=rng).fit(z)
        posterior = np.eye(K)[kmeans.labels_]  # (n, K)
        steps = [posterior[now].T @ posterior[then] for now, then in _neighbours(sizes)]
        counts = np.sum(steps, axis=0) if steps else np.zeros((K, K))
        within = (z - kmeans.cluster_centers_[kmeans.labels_]).var(axis=0)
        Psi = np.diag(within + 1e-6)

        curve, converged = [], False
        for step in range(self.max_iter + 1):
            first = posterior[: sizes[0]].sum(axis=0)  # (K,)
            start = (first + s / K) / (first.sum() + s)
            A = (counts + s / K) / (counts.sum(axis=1, keepdims=True) + s)
            N = posterior.sum(axis=0)  # (K,)
            means = posterior.T @ z / (N + s)[:, None]  # the prior's are zero
            covariances = np.empty((K, D, D))
            for k in range(K):
                d = z - means[k]
                S = (posterior[:, k, None] * d).T @ d + s * np.outer(means[k], means[k])
                covariances[k] = (S * shape + nu * Psi) / (N[k] + s + nu)
            choleskys = np.linalg.cholesky(covariances)

            log_b = _log_normals(z, means, choleskys)
            posterior, counts, log_p = _smooth(start, A, log_b, sizes)
            log_prior = s / K * (np.log(start).sum() + np.log(A).sum())
            log_prior += s * _log_normals(np.zeros((1, D)), means, choleskys).sum()
            log_prior -= 0.5 * nu * np.linalg.slogdet(covariances)[1].sum()
            log_prior -= 0.5 * nu * np.sum(np.linalg.inv(covariances) * Psi)
            curve.append(float((log_p.sum() + log_prior) / n))
            if step and curve[-1] - curve[-2] < self.tol:
                converged = True
                break
        return (start, A, means, covariances), curve, converged

    def score_samples(self, X):
        """Return the log-density of every sequence, in nats, (n_sequences,)."""
        check_is_fitted(self)
        frames, sizes, order = _pack(_check_sequences(X, self.n_features_in_))
        choleskys = np.linalg.cholesky(self.covariances_)
        log_b = _log_normals(frames, self.means_, choleskys)
        log_p = np.empty(len(X))
        log_p[order] = _filter(self.start_, self.transitions_, log_b, sizes)[2]
        return log_p


def _filter(start, A, log_b, sizes):
    """Return p(s_t | x_1..t), p(s_t | x_1..t-1), both (n, K), and log p(x), (N,).

    Rows are packed as `_pack` does; log_b holds log p(x_t | s_t), (n, K).
    """
    filtered, predicted = np.empty_like(log_b), np.empty_like(log_b)
    rows = slice(0, sizes[0])
    predicted[rows] = start
    filtered[rows], log_p = _normalise(np.log(predicted[rows]) + log_b[rows])
    for now, then in _neighbours(sizes):
        predicted[then] = filtered[now] @ A
        filtered[then], log_c = _normalise(np.log(predicted[then]) + log_b[then])
        log_p[: len(log_c)] += log_c
    return filtered, predicted, log_p


def _smooth(start, A, log_b, sizes):
    r"""Return p(s_t | x), (n, K), the expected transitions, (K, K), and log p(x), (N,).

    With f and q the filtered and the predicted probabilities of `_filter`,

    .. math:: p(s_t = i, s_{t+1} = j \mid x)
        = f_t(i) \, A_{ij} \, p(s_{t+1} = j \mid x) / q_{t+1}(j)
    """
    filtered, predicted, log_p = _filter(start, A, log_b, sizes)
    posterior = filtered.copy()  # already right for the last frame of each sequence
    counts = np.zeros_like(A)
    for now, then in reversed(_neighbours(sizes)):
        ratio = posterior[then] / predicted[then]  # (n_then, K)
        posterior[now] = filtered[now] * (ratio @ A.T)
        counts += filtered[now].T @ ratio
    return posterior, A * counts, log_p


def _pack(X):
    """Return the frames sorted by time, how many there are of each, and the order.

    The sequences come in `order`, longest first, so that those that have a frame t + 1
    are the first ones among those that have a frame t.
    """
    lengths = np.array([len(x) for x in X])
    order = np.argsort(-lengths, kind="stable")
    time = np.concatenate([np.arange(length) for length in lengths[order]])
    frames = np.concatenate([X[i] for i in order])
    return frames[np.argsort(time, kind="stable")], np.bincount(time), order


def _neighbours(sizes):
    """Return, for every t, the packed rows that have a frame t + 1, and its rows."""
    starts = np.cumsum([0, *sizes])
    return [
        (slice(starts[t], starts[t] + size), slice(starts[t + 1], starts[t + 1] + size))
        for t, size in enumerate(sizes[1:])
    ]


def _lagged(X, lags):
    """Return every frame that has `lags` before it: those, it, its time, its sequence.

    Of shapes (n, lags * n_features), oldest first, (n, n_features), (n,) and (n,).
    """
    long = [i for i, x in enumerate(X) if len(x) > lags]
    D = X[0].shape[1]
    windows = [np.empty((0, D, lags + 1))]
    windows += [sliding_window_view(X[i], lags + 1, axis=0) for i in long]
    frames = np.concatenate(windows).transpose(0, 2, 1)  # (n, lags + 1, D)
    times = [np.arange(lags, len(X[i])) for i in long]
    time = np.concatenate([np.empty(0, dtype=int), *times])
    owner = np.repeat(long, [len(t) for t in times]).astype(int)
    return frames[:, :-1].reshape(len(frames), lags * D), frames[:, -1], time, owner


def _log_normals(x, means, choleskys):
    """Return the log-density of every row under each Gaussian, (n, K)."""
    columns = [_log_normal(x - m, c) for m, c in zip(means, choleskys, strict=True)]
    return np.stack(columns, axis=1)


def _log_normal(centred, cholesky):
    whitened = solve_triangular(cholesky, centred.T, lower=True)  # (D, n)
    log_det = 2 * np.log(np.diag(cholesky)).sum()
    log_2pi = len(cholesky) * np.log(2 * np.pi)
    return -0.5 * (np.sum(whitened**2, axis=0) + log_det + log_2pi)


def _check_sequences(X, n_features=None):
    """Return the sequences as a list of float64 arrays with as many columns each."""
    if len(X) == 0:
        raise ValueError("Expected a list of sequences, got none.")
    sequences = [np.asarray(x) for x in X]
    for i, x in enumerate(sequences):
        if x.ndim != 2:
            raise ValueError(
                "Expected a list of arrays (n_timesteps, n_features), got one of "
                f"{x.ndim} dimensions in place {i}; one sequence x is [x]."
            )
        if len(x) == 0:
            raise ValueError(f"Expected time steps, got none in sequence {i}.")
        n_features = n_features or x.shape[1]
        if x.shape[1] != n_features:
            raise ValueError(
                f"Expected {n_features} columns, got {x.shape[1]} in sequence {i}."
            )
    frames = check_array(np.concatenate(sequences), dtype=np.float64)
    return np.split(frames, np.cumsum([len(x) for x in sequences])[:-1])


def var_search(
    *, order=(1, 2, 3, 4), ridge=(0.1, 1.0, 10.0), n_splits=5, random_state=None
):
    """Return a `GaussianVAR` whose settings ``fit`` chooses by cross-validation.

    Parameters
    ----------
    order : sequence of int, default=(1, 2, 3, 4)
        Orders to try.
    ridge : sequence of float, default=(0.1, 1.0, 10.0)
        Strengths of the prior to try.
    n_splits : int, default=5
        Number of folds of whole sequences.
    random_state : int or None, default=None
        Draws the folds.

    Returns
    -------
    search : GridSearchCV
        Unfitted. Its ``score_samples`` is in nats, in the units of X.
    """
    grid = {"order": list(order), "ridge": list(ridge)}
    return _search(GaussianVAR(), grid, n_splits, random_state)


def hmm_search(*, n_components=(5, 10, 20, 40), n_splits=4, random_state=None):
    """Return a `GaussianHMM` whose settings ``fit`` chooses by cross-validation.

    Number of states and kind of covariance.

    Parameters
    ----------
    n_components : sequence of int, default=(5, 10, 20, 40)
        Numbers of states to try.
    n_splits : int, default=4
        Number of folds of whole sequences.
    random_state : int or None, default=None
        Draws the folds and the starts of EM.

    Returns
    -------
    search : GridSearchCV
        Unfitted. Its ``score_samples`` is in nats, in the units of X.
    """
    grid = {"n_components": list(n_components), "covariance": ["full", "diag"]}
    return _search(GaussianHMM(random_state=random_state), grid, n_splits, random_state)
