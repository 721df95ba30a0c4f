"""Well-known density estimators, tuned, to hold the package's own against.

Every one has ``fit`` and ``score_samples``: the natural logarithm of the density (or
probability) of each row, in nats, in the units of the table that it was given. Those
that end in ``_search`` choose their settings by cross-validation on the rows given to
``fit``, and on no others.
"""

from collections import Counter, defaultdict
from itertools import chain, combinations, product

import numpy as np
from scipy.linalg import solve_triangular
from sklearn.base import BaseEstimator, DensityMixin, clone
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted

# The mass kept in each categorical column for all the categories never fitted on: a
# test row with one scores low and finite, and the rest loses 1e-6 nats.
UNSEEN_MASS = 1e-6


class _MeanScoreMixin(DensityMixin):
    def score(self, X, y=None):
        """Return the mean of the log-densities of the rows of X, in nats per row."""
        return float(np.mean(self.score_samples(X)))


class BernoulliMixture(_MeanScoreMixin, BaseEstimator):
    r"""Mixture of independent Bernoulli columns, fitted by EM.

    .. math:: p(x) = \sum_k \pi_k \prod_d \mu_{kd}^{x_d} (1 - \mu_{kd})^{1 - x_d}

    Parameters
    ----------
    n_components : int, default=10
        Number of components k.
    smoothing : float, default=1.0
        Strength, in rows, of a Beta prior on every probability, centred on the
        frequency of ones in the whole column; and of a uniform Dirichlet prior on
        the weights. Must be positive, so that no row has probability zero.
    max_iter : int, default=300
        Most steps of EM.
    tol : float, default=1e-3
        EM stops when a step gains less than this many nats per row.
    random_state : int, RandomState instance or None, default=None
        Draws the start of the k-means that EM starts from.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        The π.
    means_ : ndarray of shape (n_components, n_features)
        The μ.
    objective_curve_ : list of float
        Log-posterior (log-likelihood plus log-prior, up to a constant), in nats per
        row, before each step of EM and after the last. It never decreases.
    n_iter_ : int
        Steps of EM made.
    converged_ : bool
        Whether `tol` was reached within `max_iter` steps.
    """

    def __init__(
        self,
        n_components=10,
        *,
        smoothing=1.0,
        max_iter=300,
        tol=1e-3,
        random_state=None,
    ):
        self.n_components = n_components
        self.smoothing = smoothing
        self.max_iter = max_iter
        self.tol = tol
        self.random_state = random_state

    def fit(self, X, y=None):
        """Fit the mixture to the rows of X, which hold zeros and ones."""
        X = _check_binary(X)
        if self.smoothing <= 0:
            raise ValueError(f"smoothing must be positive, got {self.smoothing}.")
        n, K, s = len(X), self.n_components, self.smoothing
        prior_mean = (X.sum(axis=0) + 1) / (n + 2)
        labels = (
            KMeans(K, n_init=1, random_state=check_random_state(self.random_state))
            .fit(X)
            .labels_
        )
        responsibilities = np.eye(K)[labels]  # (n, K)

        self.objective_curve_ = []
        self.converged_ = False
        for step in range(self.max_iter + 1):
            counts = responsibilities.sum(axis=0)  # (K,)
            self.weights_ = (counts + s) / (n + K * s)
            self.means_ = responsibilities.T @ X + s * prior_mean  # (K, D)
            self.means_ /= counts[:, None] + s
            responsibilities, log_p = _normalise(self._log_joint(X))
            log_prior = s * (
                np.log(self.weights_).sum()
                + (np.log(self.means_) @ prior_mean).sum()
                + (np.log1p(-self.means_) @ (1 - prior_mean)).sum()
            )
            self.objective_curve_.append(float((log_p.sum() + log_prior) / n))
            self.n_iter_ = step
            if step and np.diff(self.objective_curve_[-2:])[0] < self.tol:
                self.converged_ = True
                break
        self.n_features_in_ = X.shape[1]
        return self

    def _log_joint(self, X):
        """Return log π_k + log p(x | k), (n, K)."""
        log_zero = np.log1p(-self.means_)
        return (
            X @ (np.log(self.means_) - log_zero).T
            + log_zero.sum(axis=1)
            + np.log(self.weights_)
        )

    def score_samples(self, X):
        """Return the log-probability of every row of X, in nats, (n,)."""
        check_is_fitted(self)
        return _normalise(self._log_joint(_check_binary(X)))[1]


class StandardizedDensity(_MeanScoreMixin, BaseEstimator):
    """A density estimator fitted to standardised columns, scored in the units of X.

    Standardising inside the estimator, and not in a pipeline before it, lets
    cross-validation compare densities that were fitted on different scales.

    Parameters
    ----------
    estimator : estimator
        A density estimator with ``score_samples``.
    whiten : bool, default=False
        Also rotate and rescale the standardised columns to the identity
        covariance: isotropic kernels and diagonal components then fit correlated
        columns.

    Attributes
    ----------
    estimator_ : estimator
        The fitted one.
    mean_ : ndarray of shape (n_features,)
        Means of the columns.
    unmixing_ : ndarray of shape (n_features, n_features)
        The matrix A of z = (x - mean) A.
    log_jacobian_ : float
        log abs det A, added to every log-density.
    """

    def __init__(self, estimator, *, whiten=False):
        self.estimator = estimator
        self.whiten = whiten

    def fit(self, X, y=None):
        """Fit the estimator to the standardised rows of X."""
        X = check_array(X, dtype=np.float64)
        scaler = StandardScaler().fit(X)
        self.mean_ = scaler.mean_
        self.unmixing_ = np.diag(1 / scaler.scale_)
        if self.whiten:
            variances, axes = np.linalg.eigh(np.cov(scaler.transform(X).T))
            self.unmixing_ = self.unmixing_ @ (axes / np.sqrt(variances))
        self.log_jacobian_ = float(np.linalg.slogdet(self.unmixing_)[1])
        self.estimator_ = clone(self.estimator).fit((X - self.mean_) @ self.unmixing_)
        self.n_features_in_ = X.shape[1]
        return self

    def score_samples(self, X):
        """Return the log-density of every row, in nats and the units of X, (n,)."""
        check_is_fitted(self)
        X = check_array(X, dtype=np.float64)
        z = (X - self.mean_) @ self.unmixing_
        return self.estimator_.score_samples(z) + self.log_jacobian_


def gaussian_mixture_search(*, n_components=(6, 9, 12), n_splits=4, random_state=None):
    """Return a Gaussian mixture whose settings ``fit`` chooses by cross-validation.

    Number of components, kind of covariance and its floor. Diagonal components are
    tried on whitened columns too; the other kinds hardly notice a rotation.

    Parameters
    ----------
    n_components : sequence of int, default=(6, 9, 12)
        Numbers of full-covariance components to try; the other kinds, with fewer
        parameters each, are tried with three times as many.
    n_splits : int, default=4
        Number of folds.
    random_state : int or None, default=None
        Draws the folds and the starts of EM.

    Returns
    -------
    search : GridSearchCV
        Unfitted. Its ``score_samples`` is in nats, in the units of X.
    """
    mixture = GaussianMixture(max_iter=500, random_state=random_state)
    many = [3 * max(n_components)]
    grid = [
        {
            "estimator__n_components": list(n_components),
            "estimator__reg_covar": [1e-2, 3e-2],
            # One start of EM is a matter of luck; three gain about 0.1 nats on wine.
            "estimator__n_init": [3],
        },
        {
            "estimator__covariance_type": ["tied"],
            "estimator__n_components": many,
            "estimator__reg_covar": [1e-2],
        },
        {
            "estimator__covariance_type": ["diag"],
            "estimator__n_components": many,
            "estimator__reg_covar": [1e-2],
            "whiten": [False, True],
        },
    ]
    return _search(StandardizedDensity(mixture), grid, n_splits, random_state)


def kernel_density_search(*, n_splits=5, random_state=None):
    """Return a Gaussian kernel density whose settings ``fit`` cross-validates.

    The bandwidth, in standard deviations, and whether the columns are whitened.

    Parameters
    ----------
    n_splits : int, default=5
        Number of folds.
    random_state : int or None, default=None
        Draws the folds.

    Returns
    -------
    search : GridSearchCV
        Unfitted. Its ``score_samples`` is in nats, in the units of X.
    """
    grid = {
        "estimator__bandwidth": np.geomspace(0.2, 1.2, 13),
        "whiten": [False, True],
    }
    density = StandardizedDensity(_exact_kernel_density())
    return _search(density, grid, n_splits, random_state)


def _exact_kernel_density():
    # One leaf for all rows. scikit-learn adds and subtracts bounds of the log-density
    # as it walks down its tree, and rounding swamps far rows: with the default leaf
    # size they come out up to 58 nats too probable on wine (its issues 7492 and 25799).
    return KernelDensity(leaf_size=1_000_000)


def bernoulli_mixture_search(
    *, n_components=(60, 120, 180), n_splits=4, random_state=None
):
    """Return a Bernoulli mixture whose settings ``fit`` chooses by cross-validation.

    Number of components and strength of the prior.

    Parameters
    ----------
    n_components : sequence of int, default=(60, 120, 180)
        Numbers of components to try.
    n_splits : int, default=4
        Number of folds.
    random_state : int or None, default=None
        Draws the folds and the starts of EM.

    Returns
    -------
    search : GridSearchCV
        Unfitted. Its ``score_samples`` is in nats.
    """
    grid = {"n_components": list(n_components), "smoothing": [0.5, 1.0, 2.0]}
    return _search(
        BernoulliMixture(random_state=random_state), grid, n_splits, random_state
    )


def _search(estimator, grid, n_splits, random_state):
    folds = KFold(n_splits, shuffle=True, random_state=random_state)
    return GridSearchCV(estimator, grid, cv=folds, error_score="raise")


class IndependentColumns(_MeanScoreMixin, BaseEstimator):
    """Every column of a frame on its own: what there is to gain without dependence.

    A real column takes one Gaussian or a kernel density, whichever does better in
    cross-validation; a categorical column takes its smoothed frequencies.

    Parameters
    ----------
    smoothing : float, default=0.5
        Rows added to the count of each category.
    n_splits : int, default=5
        Number of folds.
    random_state : int or None, default=None
        Draws the folds.

    Attributes
    ----------
    frequencies_ : dict
        Of each categorical column, its `CategoryFrequencies`.
    densities_ : dict
        Of each real column, its fitted density estimator.

    Notes
    -----
    Bandwidths start at a quarter of Silverman's: on rounded measurements narrower
    and narrower kernels would gain without bound.
    """

    def __init__(self, *, smoothing=0.5, n_splits=5, random_state=None):
        self.smoothing = smoothing
        self.n_splits = n_splits
        self.random_state = random_state

    def fit(self, X, y=None):
        """Fit the columns of the frame X, one by one."""
        categorical, real = _split_columns(X)
        self.frequencies_ = {
            name: CategoryFrequencies(X[name].to_numpy(), self.smoothing)
            for name in categorical
        }
        silverman = (4 / (3 * len(X))) ** 0.2
        grid = [
            {"estimator": [GaussianMixture()]},  # one component
            {
                "estimator": [_exact_kernel_density()],
                "estimator__bandwidth": silverman * np.geomspace(0.25, 2, 7),
            },
        ]
        self.densities_ = {
            name: _search(
                StandardizedDensity(_exact_kernel_density()),
                grid,
                self.n_splits,
                self.random_state,
            )
            .fit(_real_values(X, [name]))
            .best_estimator_
            for name in real
        }
        return self

    def score_samples(self, X):
        """Return the log-density of every row, in nats and the units of X, (n,)."""
        check_is_fitted(self)
        log_p = np.zeros(len(X))
        for name, frequencies in self.frequencies_.items():
            log_p += frequencies.log_prob(X[name].to_numpy())
        for name, density in self.densities_.items():
            log_p += density.score_samples(_real_values(X, [name]))
        return log_p


class CategoryFrequencies:
    """Smoothed frequencies of one column's categories, with room for unseen ones.

    Parameters
    ----------
    values : ndarray of shape (n,)
        The column. A missing value is an error.
    smoothing : float
        Rows added to the count of each category.

    Attributes
    ----------
    log_probs : dict
        Log-probability, in nats, of each category. They sum to 1 - `UNSEEN_MASS`.
    """

    def __init__(self, values, smoothing):
        counts = Counter(values)
        total = len(values) + smoothing * len(counts)
        self.log_probs = {
            value: np.log((count + smoothing) / total) + np.log1p(-UNSEEN_MASS)
            for value, count in counts.items()
        }

    def log_prob(self, values):
        """Return the log-probability of every value, in nats, (n,)."""
        return np.array([self.log_probs.get(v, np.log(UNSEEN_MASS)) for v in values])


class PerClassGaussian(_MeanScoreMixin, BaseEstimator):
    r"""A table of the categories times a Gaussian of the real columns per class.

    With c the categorical and r the real columns of a mixed frame,

    .. math:: p(c, r) = p(c) \, N(r; \mu_{g(c)}, \Sigma_{g(c)}), \qquad
        p(c) = \frac{n_c + \alpha \prod_j p_j(c_j)}{n + \alpha},

    where a row's class g(c) is its combination of some of the categorical columns:
    all, one or none, whatever cross-validation prefers. A combination never seen
    falls back to the product of the smoothed frequencies of its columns, a class of
    too few rows to the Gaussian of all rows; the whole integrates to one.

    Parameters
    ----------
    smoothing : float, default=0.5
        Rows added to the count of each category in the p_j.
    n_splits : int, default=5
        Number of folds.
    random_state : int or None, default=None
        Draws the folds.

    Attributes
    ----------
    class_columns_ : tuple of str
        The categorical columns that tell the classes apart.
    tied_ : bool
        Whether the classes share one covariance.
    prior_strength_ : float
        The α, in rows.
    table_ : _CategoryTable
        p(c).
    gaussians_ : _ClassGaussians
        p(r | c).

    Notes
    -----
    Covariances are shrunk by the formula of Ledoit and Wolf, after the columns were
    brought to one scale.
    """

    def __init__(self, *, smoothing=0.5, n_splits=5, random_state=None):
        self.smoothing = smoothing
        self.n_splits = n_splits
        self.random_state = random_state

    def fit(self, X, y=None):
        """Fit table and Gaussians to the frame X."""
        self.categorical_, self.real_ = _split_columns(X)
        codes, values = self._parts(X)
        folds = KFold(self.n_splits, shuffle=True, random_state=self.random_state)
        splits = list(folds.split(values))

        def held_out_score(part, **settings):
            return np.mean(
                [
                    np.mean(
                        part(codes[fit], values[fit], **settings).log_prob(
                            codes[test], values[test]
                        )
                    )
                    for fit, test in splits
                ]
            )

        def prior_score(prior_strength):
            return held_out_score(
                _CategoryTable, smoothing=self.smoothing, prior_strength=prior_strength
            )

        def class_score(choice):
            class_columns, tied = choice
            return held_out_score(
                _ClassGaussians, class_columns=class_columns, tied=tied
            )

        self.prior_strength_ = max((0.3, 1, 3, 10, 30, 100, 1000), key=prior_score)
        self.table_ = _CategoryTable(
            codes,
            values,
            smoothing=self.smoothing,
            prior_strength=self.prior_strength_,
        )

        positions = range(len(self.categorical_))
        subsets = chain.from_iterable(
            combinations(positions, size) for size in range(len(positions) + 1)
        )
        choices = product(subsets, (False, True))
        class_columns, self.tied_ = max(choices, key=class_score)
        self.class_columns_ = tuple(self.categorical_[j] for j in class_columns)
        self.gaussians_ = _ClassGaussians(
            codes, values, class_columns=class_columns, tied=self.tied_
        )
        return self

    def _parts(self, X):
        codes = np.array([X[name].to_numpy(dtype=object) for name in self.categorical_])
        return codes.reshape(-1, len(X)).T, _real_values(X, self.real_)

    def score_samples(self, X):
        """Return the log-density of every row, in nats and the units of X, (n,)."""
        check_is_fitted(self)
        codes, values = self._parts(X)
        return self.table_.log_prob(codes, values) + self.gaussians_.log_prob(
            codes, values
        )


class _CategoryTable:
    """p(c) of `PerClassGaussian`; the real columns are accepted and not looked at."""

    def __init__(self, codes, values, *, smoothing, prior_strength):
        self.marginals = [CategoryFrequencies(column, smoothing) for column in codes.T]
        self.prior_strength = prior_strength
        self.n = len(codes)
        self.counts = Counter(map(tuple, codes))

    def log_prob(self, codes, values):
        log_product = np.zeros(len(codes))
        for marginal, column in zip(self.marginals, codes.T, strict=True):
            log_product += marginal.log_prob(column)
        counts = np.array([self.counts[c] for c in map(tuple, codes)])
        alpha = self.prior_strength
        return np.log((counts + alpha * np.exp(log_product)) / (self.n + alpha))


class _ClassGaussians:
    """p(r | c) of `PerClassGaussian`, the class being the columns `class_columns`."""

    def __init__(self, codes, values, *, class_columns, tied):
        self.class_columns = list(class_columns)
        self.scale = values.std(axis=0)
        self.scale[self.scale == 0] = 1.0
        z = values / self.scale  # (n, R)
        members = defaultdict(list)
        for i, g in enumerate(self._classes(codes)):
            members[g].append(i)
        groups = {g: z[rows] for g, rows in members.items() if len(rows) > z.shape[1]}
        self.everywhere = _shrunk_gaussian(z)
        self.per_class = {g: _shrunk_gaussian(rows) for g, rows in groups.items()}
        if tied and groups:
            centred = np.concatenate([rows - rows.mean(0) for rows in groups.values()])
            _, shared = _shrunk_gaussian(centred)
            self.per_class = {
                g: (mean, shared) for g, (mean, _) in self.per_class.items()
            }

    def _classes(self, codes):
        return list(map(tuple, codes[:, self.class_columns]))

    def log_prob(self, codes, values):
        z = values / self.scale
        log_p = np.empty(len(z))
        classes = self._classes(codes)
        for g in set(classes):
            rows = np.array([h == g for h in classes])
            mean, cholesky = self.per_class.get(g, self.everywhere)
            whitened = solve_triangular(cholesky, (z[rows] - mean).T, lower=True)
            log_p[rows] = -0.5 * np.sum(whitened**2, axis=0)
            log_p[rows] -= np.log(np.diag(cholesky)).sum()
        return log_p - 0.5 * z.shape[1] * np.log(2 * np.pi) - np.log(self.scale).sum()


def _shrunk_gaussian(z):
    """Return mean and Cholesky factor of the shrunk covariance of the rows of z."""
    return z.mean(axis=0), np.linalg.cholesky(_ledoit_wolf(z))


def _ledoit_wolf(z):
    r"""Return the covariance of the rows, shrunk towards a multiple of the identity.

    As :class:`sklearn.covariance.LedoitWolf`, without its checks, which cost ten
    times the arithmetic: (1 - b/a) S + b/a μI, with the norm \|A\|² = tr(AAᵀ)/R,
    μ = tr(S)/R, a = \|S - μI\|² and b = mean over i of \|z_i z_iᵀ - S\|²/n, at most a.
    """
    n, R = z.shape
    z = z - z.mean(axis=0)
    S = z.T @ z / n  # (R, R)
    target = np.trace(S) / max(R, 1) * np.eye(R)
    distance = np.sum((S - target) ** 2)
    noise = (np.mean(np.sum(z**2, axis=1) ** 2) - np.sum(S**2)) / n
    shrinkage = min(noise / distance, 1.0) if distance > 0 else 0.0
    return (1 - shrinkage) * S + shrinkage * target


def _normalise(log_joint):
    """Return the posterior of the components, (n, K), and log p(x), (n,)."""
    top = log_joint.max(axis=1, keepdims=True)
    joint = np.exp(log_joint - top)
    total = joint.sum(axis=1, keepdims=True)
    return joint / total, (top + np.log(total))[:, 0]


def _check_binary(X):
    X = check_array(X, dtype=np.float64)
    if not np.isin(X, (0.0, 1.0)).all():
        bad = X[~np.isin(X, (0.0, 1.0))][0]
        raise ValueError(f"BernoulliMixture expects values in {{0, 1}}, got {bad}.")
    return X


def _split_columns(X):
    """Return the names of the categorical and of the real columns of a frame."""
    real = list(X.select_dtypes("number").columns)
    if X.isna().to_numpy().any():
        raise ValueError("The frame has missing cells; drop those rows first.")
    return [name for name in X.columns if name not in real], real


def _real_values(X, names):
    return X[names].to_numpy(dtype=np.float64)
