"""Rivals of the accuracy benchmark: densities that choose their settings in ``fit``.

``fit(X, X_val=None)`` sees no other rows than those. Settings are chosen on X_val if it
is given and the model stays as fitted to X; otherwise by ten folds of X, or one fifth
of it from `MANY_ROWS` rows on, and the choice is fitted to all of X. (With five folds
the mixtures come out too small, on wine by 0.2 nats.) ``score_samples`` returns nats
per row in the units of X. zuko and denmarf are imported when a flow is fitted.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from operator import itemgetter

import numpy as np
import pandas as pd
import torch
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree
from scipy.special import softmax
from scipy.stats import multivariate_normal, norm, rankdata
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import KFold, ShuffleSplit
from sklearn.neighbors import KernelDensity
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

from skdensity_ar._baselines import (
    UNSEEN_MASS,
    BernoulliMixture,
    StandardizedDensity,
    _MeanScoreMixin,
    _normalise,
    _real_values,
    _split_columns,
)

MANY_ROWS = 5000
COMPONENTS = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]


def climb(
    score: Callable[..., float], grid: dict[str, list], start: dict
) -> tuple[dict, float]:
    """The best point of a grid, by line searches along its axes, and its score.

    A search leaves a direction after two points in a row that are no better than the
    best so far; it ends when no axis improves.
    """
    scores: dict[tuple[int, ...], float] = {}

    def settings(point):
        return {name: grid[name][i] for name, i in zip(grid, point, strict=True)}

    def score_of(point):
        if point not in scores:
            scores[point] = score(**settings(point))
        return scores[point]

    best = tuple(grid[name].index(start[name]) for name in grid)
    before = None
    while best != before:
        before = best
        for axis, name in enumerate(grid):
            for step in (1, -1):
                point, misses = best, 0
                while misses < 2 and 0 <= point[axis] + step < len(grid[name]):
                    point = (*point[:axis], point[axis] + step, *point[axis + 1 :])
                    better = score_of(point) > score_of(best)
                    best, misses = (point, 0) if better else (best, misses + 1)
    return settings(best), score_of(best)


class Tuned(_MeanScoreMixin, BaseEstimator):
    """The best of several estimators, each at the best point of its grid.

    `candidates` holds by name an estimator and the values to try, in order, of some of
    its parameters; the search starts at those it has. `note_` tells the choice, with a
    "!" where it is at an end of the grid.
    """

    def __init__(self, candidates, *, random_state=0):
        self.candidates = candidates
        self.random_state = random_state

    def fit(self, X, y=None, *, X_val=None):
        parts = list(self._parts(X, X_val))

        def searched(name):
            estimator, grid = self.candidates[name]

            def score(**settings):
                try:
                    model = clone(estimator).set_params(**settings)
                    return np.mean([model.fit(a).score(b) for a, b in parts])
                except ValueError:  # components without rows, singular covariances
                    return -np.inf

            start = {key: estimator.get_params()[key] for key in grid}
            settings, best = climb(score, grid, start)
            return best, name, settings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            best, name, settings = max(
                map(searched, self.candidates), key=itemgetter(0)
            )
            if not np.isfinite(best):
                raise ValueError("No setting of any candidate could be fitted.")
            estimator, grid = self.candidates[name]
            self.estimator_ = clone(estimator).set_params(**settings).fit(X)
        self.note_ = name + "".join(
            f" {key.removeprefix('estimator__')}={value:.3g}"
            + "!" * (value in (grid[key][0], grid[key][-1]) and len(grid[key]) > 1)
            for key, value in settings.items()
        )
        return self

    def _parts(self, X, X_val) -> Iterator[tuple]:
        if X_val is not None:
            yield X, X_val
            return
        seed = self.random_state
        if len(X) < MANY_ROWS:
            folds = KFold(10, shuffle=True, random_state=seed)
        else:
            folds = ShuffleSplit(1, test_size=0.2, random_state=seed)
        for train, valid in folds.split(X):
            if hasattr(X, "iloc"):
                yield X.iloc[train], X.iloc[valid]
            else:
                yield X[train], X[valid]

    def score_samples(self, X):
        return self.estimator_.score_samples(X)


def full_gaussian() -> Tuned:
    """Mean and covariance of the rows, and a ridge of 1e-6; nothing to choose."""
    return Tuned({"Gaussian": (GaussianMixture(reg_covar=1e-6), {})})


def gaussian_mixture(n: int, *, quick: bool = False, random_state: int = 0) -> Tuned:
    """Components, kind of covariance and its ridge, for about n training rows."""

    def candidate(kind, start, *, n_init=1, whiten=False):
        mixture = GaussianMixture(
            start,
            covariance_type=kind,
            reg_covar=1e-2,
            n_init=n_init,
            max_iter=200,
            random_state=random_state,
        )
        ridges = [1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0]
        grid = {
            "estimator__reg_covar": [1e-2] if quick else ridges,
            "estimator__n_components": [1, 4, 12] if quick else COMPONENTS,
        }
        return StandardizedDensity(mixture, whiten=whiten), grid

    # Where rows are few, one start of full components is a matter of luck.
    n_init = 1 if quick or n >= MANY_ROWS else 3
    candidates = {
        "full": candidate("full", 4, n_init=n_init),
        "diag": candidate("diag", 12),
    }
    if not quick:
        candidates["diag whitened"] = candidate("diag", 12, whiten=True)
        candidates["tied"] = candidate("tied", 12)
    return Tuned(candidates, random_state=random_state)


def kernel_density(*, quick: bool = False, random_state: int = 0) -> Tuned:
    """Bandwidth in standard deviations, of the columns or of the principal axes."""
    bandwidths = list(np.geomspace(0.01, 2.56, 9 if quick else 25))
    # One leaf for all rows: the bounds of scikit-learn's tree swamp far rows.
    kernel = KernelDensity(bandwidth=bandwidths[len(bandwidths) // 2], leaf_size=10**6)
    grid = {"estimator__bandwidth": bandwidths}
    candidates = {
        "columns": (StandardizedDensity(kernel), grid),
        "whitened": (StandardizedDensity(kernel, whiten=True), grid),
    }
    return Tuned(candidates, random_state=random_state)


def bernoulli_mixture(*, quick: bool = False, random_state: int = 0) -> Tuned:
    """Components and strength of the prior."""
    smoothings = [0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]
    grid = {
        "smoothing": [1.0] if quick else smoothings,
        "n_components": [8, 16, 32] if quick else COMPONENTS,
    }
    mixture = BernoulliMixture(16, random_state=random_state)
    return Tuned({"mixture": (mixture, grid)}, random_state=random_state)


def chow_liu_tree(*, random_state: int = 0) -> Tuned:
    """Strength of the prior."""
    grid = {"smoothing": [1e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]}
    return Tuned({"tree": (ChowLiuTree(), grid)}, random_state=random_state)


def mixed_mixture(
    n: int, *, noise: bool = False, quick: bool = False, random_state: int = 0
) -> Tuned:
    """Components, kind of covariance and its prior, for about n training rows.

    Numbers whose rounding is hidden by noise have a best variance, which may be small;
    on rounded ones the best of many rows is the smallest there is.
    """
    variances = [1e-5, 1e-4, 1e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0]
    components, first, n_init = COMPONENTS, 4, 2
    if n >= MANY_ROWS:
        variances, components, first, n_init = variances[1::2], components[1::2], 32, 1
        variances = [1e-8, 1e-6] * noise + variances
    grid = {
        "prior_variance": [0.1] if quick else variances,
        "n_components": [1, 4, 12] if quick else components,
    }

    def candidate(kind):
        return MixedMixture(
            4 if quick else first,
            covariance_type=kind,
            n_init=n_init,
            random_state=random_state,
        )

    candidates = {kind: (candidate(kind), grid) for kind in ("full", "diag")}
    return Tuned(candidates, random_state=random_state)


class ChowLiuTree(_MeanScoreMixin, BaseEstimator):
    r"""The tree of bits whose edges share most information (Chow & Liu 1968).

    .. math:: p(x) = \prod_d p(x_d | x_{\mathrm{parent}(d)})

    `smoothing` rows are added to the table of every pair of columns, a quarter of them
    to each cell.
    """

    def __init__(self, smoothing=1.0):
        self.smoothing = smoothing

    def fit(self, X, y=None):
        X = np.asarray(X, dtype=np.float32)
        n, s = len(X), self.smoothing
        both, ones = (X.T @ X).astype(float), X.sum(axis=0, dtype=float)
        joint = np.empty((2, 2, *both.shape))  # (x_i, x_j, i, j)
        joint[1, 1] = both
        joint[1, 0] = ones[:, None] - both
        joint[0, 1] = joint[1, 0].T
        joint[0, 0] = n - ones[:, None] - ones + both
        joint = (joint + s / 4) / (n + s)
        log_p = np.log([1 - (ones + s / 2) / (n + s), (ones + s / 2) / (n + s)])
        log_pairs = log_p[:, None, :, None] + log_p[None, :, None, :]
        information = np.sum(joint * (np.log(joint) - log_pairs), axis=(0, 1))

        # Weights above zero, which would stand for "no edge".
        tree = minimum_spanning_tree(1 + information.max() - information)
        order, parents = breadth_first_order(tree, 0, directed=False)
        parents[order[0]] = order[0]
        self.parents_ = parents
        columns = np.arange(len(parents))
        log_joint = np.log(joint[:, :, parents, columns])  # (x_parent, x_d, d)
        self.log_tables_ = log_joint - log_p[:, parents][:, None]
        self.log_tables_[:, :, order[0]] = log_p[:, order[0]]
        return self

    def score_samples(self, X):
        X = np.asarray(X, dtype=np.intp)
        columns = np.arange(X.shape[1])
        return self.log_tables_[X[:, self.parents_], X, columns].sum(axis=1)


class MixedMixture(_MeanScoreMixin, BaseEstimator):
    r"""Mixture for frames: Gaussian numbers and independent categories per component.

    .. math:: p(r, c) = \sum_k \pi_k N(r; \mu_k, \Sigma_k) \prod_j \theta_{kj}(c_j)

    Fitted by EM to standardised numbers, from k-means. The posterior that it climbs has
    a prior of `smoothing` rows on π (uniform) and on every θ (the frequencies of the
    column), and one of `prior_rows` rows of variance `prior_variance` on every Σ.

    EM stops when a step gains less than `tol` nats per row; of `n_init` starts the one
    of the highest posterior is kept, and with it that posterior before every step, in
    nats per row up to a constant, as `objective_curve_`.
    """

    def __init__(
        self,
        n_components=4,
        *,
        covariance_type="full",
        prior_variance=0.1,
        prior_rows=2.0,
        smoothing=1.0,
        max_iter=200,
        tol=1e-4,
        n_init=2,
        random_state=None,
    ):
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.prior_variance = prior_variance
        self.prior_rows = prior_rows
        self.smoothing = smoothing
        self.max_iter = max_iter
        self.tol = tol
        self.n_init = n_init
        self.random_state = random_state

    def fit(self, X, y=None):
        self.categorical_, self.real_ = _split_columns(X)
        values = _real_values(X, self.real_)
        self.center_ = values.mean(axis=0)
        self.scale_ = np.where(values.std(axis=0) > 0, values.std(axis=0), 1.0)
        self.levels_ = [np.unique(X[name].astype(object)) for name in self.categorical_]
        z, bits, _ = self._parts(X)
        rng = check_random_state(self.random_state)
        best = -np.inf
        for _ in range(self.n_init):
            labels = (
                KMeans(self.n_components, n_init=1, random_state=rng)
                .fit(np.hstack([z, bits / np.sqrt(2)]))
                .labels_
            )
            parameters, curve = self._climb(z, bits, np.eye(self.n_components)[labels])
            if curve[-1] > best:
                best = curve[-1]
                self.parameters_, self.objective_curve_ = parameters, curve
        return self

    def _climb(self, z, bits, responsibilities):
        n, s, frequencies = len(z), self.smoothing, bits.mean(axis=0)
        curve: list[float] = []
        for _ in range(self.max_iter + 1):
            parameters = self._maximise(z, bits, responsibilities, frequencies)
            weights, _, covariances, log_theta = parameters
            responsibilities, log_p = _normalise(_log_joint(z, bits, *parameters))
            _, log_det = np.linalg.slogdet(covariances)
            traces = np.trace(np.linalg.inv(covariances), axis1=1, axis2=2)
            log_prior = s * np.log(weights).sum() + s * (log_theta @ frequencies).sum()
            log_prior -= (
                0.5 * self.prior_rows * np.sum(log_det + self.prior_variance * traces)
            )
            curve.append(float((log_p.sum() + log_prior) / n))
            if len(curve) > 1 and curve[-1] - curve[-2] < self.tol:
                break
        return parameters, curve

    def _maximise(self, z, bits, responsibilities, frequencies):
        """The parameters of highest posterior, given the responsibilities (n, K)."""
        (n, R), K, s = z.shape, self.n_components, self.smoothing
        counts = responsibilities.sum(axis=0)  # (K,)
        weights = (counts + s) / (n + K * s)
        means = responsibilities.T @ z / (counts[:, None] + 1e-12)  # (K, R)
        scatter = np.empty((K, R, R))
        for k in range(K):
            left = z - means[k]
            scatter[k] = (responsibilities[:, k, None] * left).T @ left
        scatter += self.prior_rows * self.prior_variance * np.eye(R)
        covariances = scatter / (counts + self.prior_rows)[:, None, None]
        if self.covariance_type == "diag":
            covariances *= np.eye(R)
        theta = responsibilities.T @ bits + s * frequencies  # (K, sum of levels)
        begin = 0
        for levels in self.levels_:
            block = theta[:, begin : begin + len(levels)]
            block /= block.sum(axis=1, keepdims=True)
            begin += len(levels)
        return weights, means, covariances, np.log(theta)

    def _parts(self, X):
        """Standardised numbers (n, R), one bit per level, log p(seen levels or not)."""
        z = (_real_values(X, self.real_) - self.center_) / self.scale_
        bits = [
            X[name].to_numpy(dtype=object)[:, None] == levels
            for name, levels in zip(self.categorical_, self.levels_, strict=True)
        ]
        seen = [column.any(axis=1) for column in bits]
        log_seen = sum(
            (np.where(s, np.log1p(-UNSEEN_MASS), np.log(UNSEEN_MASS)) for s in seen),
            start=np.zeros(len(X)),
        )
        return z, np.hstack([np.empty((len(X), 0)), *bits]), log_seen

    def score_samples(self, X):
        z, bits, log_seen = self._parts(X)
        log_p = _normalise(_log_joint(z, bits, *self.parameters_))[1]
        return log_p + log_seen - np.log(self.scale_).sum()


def _log_joint(z, bits, weights, means, covariances, log_theta):
    """Log π_k + log p(r, c | k), (n, K)."""
    log_p = np.log(weights) + bits @ log_theta.T
    log_p -= 0.5 * z.shape[1] * np.log(2 * np.pi)
    for k, cholesky in enumerate(np.linalg.cholesky(covariances)):
        whitened = solve_triangular(cholesky, (z - means[k]).T, lower=True)
        log_p[:, k] -= 0.5 * np.sum(whitened**2, axis=0)
        log_p[:, k] -= np.log(np.diag(cholesky)).sum()
    return log_p


class _Flow(_MeanScoreMixin, BaseEstimator):
    """A normalising flow fitted by Adam; the weights of the best epoch are kept.

    A tenth of the rows is set aside where there is no X_val. Training ends when the
    set-aside rows have not gained for `patience` epochs, after `max_epochs`, or after
    `time_limit` seconds; `note_` says which.
    """

    weight_decay = 0.0

    def __init__(
        self, kind, *, max_epochs=500, patience=20, time_limit=600, random_state=0
    ):
        self.kind = kind
        self.max_epochs = max_epochs
        self.patience = patience
        self.time_limit = time_limit
        self.random_state = random_state

    def fit(self, X, y=None, *, X_val=None):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            x = _float32(X)
            x = x[torch.randperm(len(x))]
            valid = x[: len(x) // 10] if X_val is None else _float32(X_val)
            self._train(x[len(x) // 10 :] if X_val is None else x, valid)
        return self

    def _train(self, x, valid):
        start = time.perf_counter()
        self.module_ = self._make(x.shape[1])
        adam = torch.optim.Adam(
            self.module_.parameters(), lr=1e-3, weight_decay=self.weight_decay
        )
        best, best_epoch, ended = -np.inf, 0, "epochs"
        state = self.module_.state_dict()
        for epoch in range(1, self.max_epochs + 1):
            self.module_.train()
            for batch in torch.randperm(len(x)).tensor_split(
                max(len(x) // self._batch_size(len(x)), 1)
            ):
                adam.zero_grad()
                (-self._log_prob(x[batch]).mean()).backward()
                adam.step()
            self._after_epoch(x)
            self.module_.eval()
            with torch.no_grad():
                score = self._log_prob(valid).mean().item()
            if score > best:
                best, best_epoch = score, epoch
                state = {k: v.clone() for k, v in self.module_.state_dict().items()}
            if epoch - best_epoch >= self.patience:
                ended = "patience"
                break
            if time.perf_counter() - start > self.time_limit:
                ended = "time limit"
                break
        self.module_.load_state_dict(state)
        self.note_ = f"{ended}: {epoch} epochs, best {best_epoch}"

    def _after_epoch(self, x):
        pass

    @torch.no_grad()
    def score_samples(self, X):
        blocks = _float32(X).split(4096)
        return np.concatenate([self._log_prob(x).double().numpy() for x in blocks])


class ZukoFlow(_Flow):
    """A flow of zuko as its constructor makes it: "MAF" or "NSF"."""

    def _make(self, n_columns):
        from zuko import flows

        return getattr(flows, self.kind)(n_columns)

    def _log_prob(self, x):
        return self.module_().log_prob(x)

    def _batch_size(self, n):
        return min(max(n // 16, 32), 256)


class DenmarfFlow(_Flow):
    """The network of denmarf's ``DensityEstimate.fit``, "MAF", with its optimiser.

    Its own ``fit`` always runs 1000 epochs, on half of the rows, and cannot be stopped;
    here it gets nine tenths of them.
    """

    weight_decay = 1e-6

    def _make(self, n_columns):
        from denmarf import DensityEstimate

        return DensityEstimate.construct_model(n_columns, num_blocks=32, num_hidden=128)

    def _log_prob(self, x):
        return self.module_.log_probs(x)

    def _batch_size(self, n):
        return max(n // 10, 2)

    @torch.no_grad()
    def _after_epoch(self, x):
        # As in its `fit`: batch normalisation by the moments of all rows.
        self.module_(x)


def _float32(X) -> torch.Tensor:
    return torch.as_tensor(np.asarray(X), dtype=torch.float32)


class Coder:
    """Frames as standardised numbers and bits, missing cells as NaN; and back."""

    def fit(self, table: pd.DataFrame) -> "Coder":
        self.columns_ = list(table.columns)
        self.real_ = list(table.select_dtypes("number").columns)
        self.levels_ = {
            name: table[name].cat.categories
            for name in self.columns_
            if name not in self.real_
        }
        self.scaler_ = StandardScaler().fit(table[self.real_].to_numpy())
        return self

    def encode(self, table: pd.DataFrame) -> np.ndarray:
        parts = [self.scaler_.transform(table[self.real_].to_numpy())]
        for name, levels in self.levels_.items():
            codes = table[name].cat.codes.to_numpy()
            bits = np.eye(len(levels))[codes]
            bits[codes < 0] = np.nan
            parts.append(bits)
        return np.hstack(parts)

    def decode(self, Z: np.ndarray) -> pd.DataFrame:
        begin = len(self.real_)
        numbers = self.scaler_.inverse_transform(Z[:, :begin])
        columns = dict(zip(self.real_, numbers.T, strict=True))
        for name, levels in self.levels_.items():
            codes = Z[:, begin : begin + len(levels)].argmax(axis=1)
            columns[name] = pd.Categorical.from_codes(codes, categories=levels)
            begin += len(levels)
        return pd.DataFrame(columns)[self.columns_]


class FrameImputer:
    """An imputer of arrays for frames; known cells stay as they are."""

    def __init__(self, imputer):
        self.imputer = imputer

    def fit(self, table: pd.DataFrame) -> "FrameImputer":
        self.coder_ = Coder().fit(table)
        self.imputer_ = clone(self.imputer).fit(self.coder_.encode(table))
        return self

    def transform(self, table: pd.DataFrame) -> pd.DataFrame:
        filled = self.coder_.decode(self.imputer_.transform(self.coder_.encode(table)))
        return table.where(table.notna(), filled)

    def draws(self, table: pd.DataFrame, n: int) -> np.ndarray:
        """The real columns of n imputations, (n_rows, n, n_real).

        By the imputer's `draw`; an `IterativeImputer` with `sample_posterior` draws
        anew whenever it transforms.
        """
        Z, real = self.coder_.encode(table), self.coder_.real_
        draw = getattr(self.imputer_, "draw", self.imputer_.transform)
        parts = [self.coder_.decode(draw(Z))[real].to_numpy() for _ in range(n)]
        return np.stack(parts, axis=1)


def mixture_by_bic(Z: np.ndarray, *, random_state: int = 0) -> GaussianMixture:
    """Of 1 to 16 components, full or diagonal, the mixture of the smallest BIC."""
    mixtures = [
        GaussianMixture(
            k, covariance_type=kind, reg_covar=1e-3, random_state=random_state
        ).fit(Z)
        for kind in ("full", "diag")
        for k in (1, 2, 3, 4, 6, 8, 12, 16)
        if k <= len(Z)
    ]
    return min(mixtures, key=lambda mixture: mixture.bic(Z))


class MixtureImputer(BaseEstimator):
    r"""What a mixture of Gaussians says of missing cells m given the others o.

    .. math:: p(z_m | z_o) = \sum_k w_k(z_o) N(z_m; \mu_{k|o}, \Sigma_{k|o})

    with w_k in proportion to π_k N(z_o; μ_ko, Σ_koo). `transform` fills in the mean,
    `draw` draws. Fitted to training rows that an `IterativeImputer` has filled.
    """

    def __init__(self, random_state=0):
        self.random_state = random_state

    def fit(self, Z, y=None):
        filled = IterativeImputer(random_state=self.random_state).fit_transform(Z)
        self.mixture_ = mixture_by_bic(filled, random_state=self.random_state)
        self.rng_ = np.random.default_rng(self.random_state)
        return self

    def transform(self, Z):
        filled = Z.copy()
        for rows, missing, weights, means, _ in conditionals(self.mixture_, Z):
            filled[np.ix_(rows, missing)] = np.einsum("nk,nkm->nm", weights, means)
        return filled

    def draw(self, Z):
        filled = Z.copy()
        for rows, missing, weights, means, spreads in conditionals(self.mixture_, Z):
            u = self.rng_.random((len(rows), 1))
            k = (weights.cumsum(axis=1)[:, :-1] < u).sum(axis=1)
            noise = self.rng_.standard_normal((len(rows), missing.sum()))
            drawn = means[range(len(rows)), k]
            drawn = drawn + np.einsum(
                "nij,nj->ni", np.linalg.cholesky(spreads)[k], noise
            )
            filled[np.ix_(rows, missing)] = drawn
        return filled


def conditionals(mixture: GaussianMixture, Z: np.ndarray) -> Iterator[tuple]:
    """Of rows with holes, pattern by pattern: which, the columns (D,) that they lack.

    And w (n, K), μ (n, K, M) and Σ (K, M, M) of these given the others.
    """
    S = mixture.covariances_
    if mixture.covariance_type == "diag":
        S = np.array([np.diag(variances) for variances in S])
    patterns, which = np.unique(np.isnan(Z), axis=0, return_inverse=True)
    for p, missing in enumerate(patterns):
        if not missing.any():
            continue
        rows, known = np.flatnonzero(which.ravel() == p), ~missing
        log_w = np.tile(np.log(mixture.weights_), (len(rows), 1))
        means = np.tile(mixture.means_[:, missing], (len(rows), 1, 1))
        spreads = S[:, missing][:, :, missing].copy()
        for k in range(mixture.n_components) if known.any() else ():
            S_oo, S_om = S[k][np.ix_(known, known)], S[k][np.ix_(known, missing)]
            left = Z[np.ix_(rows, known)] - mixture.means_[k, known]
            A = cho_solve(cho_factor(S_oo), S_om)
            log_w[:, k] += multivariate_normal.logpdf(left, cov=S_oo)
            means[:, k] += left @ A
            spreads[k] -= S_om.T @ A
        yield rows, missing, softmax(log_w, axis=1), means, spreads


class IndependentSampler:
    """Every column drawn from its training values, by itself."""

    def __init__(self, random_state=0):
        self.random_state = random_state

    def fit(self, table: pd.DataFrame) -> "IndependentSampler":
        self.table_ = table
        return self

    def sample(self, n: int) -> pd.DataFrame:
        rng = np.random.default_rng(self.random_state)
        columns = {
            name: column.take(rng.integers(len(column), size=n)).array
            for name, column in self.table_.items()
        }
        return pd.DataFrame(columns)


class MixtureSampler:
    """Draws of `mixture_by_bic`, of categories the level of the largest bit."""

    def __init__(self, random_state=0):
        self.random_state = random_state

    def fit(self, table: pd.DataFrame) -> "MixtureSampler":
        self.coder_ = Coder().fit(table)
        Z = self.coder_.encode(table)
        self.mixture_ = mixture_by_bic(Z, random_state=self.random_state)
        return self

    def sample(self, n: int) -> pd.DataFrame:
        return self.coder_.decode(self.mixture_.sample(n)[0])


class CopulaSampler:
    """A Gaussian copula: correlations of normal scores, quantiles of the columns.

    Of a category its codes are taken for numbers. Every value is one of training.
    """

    def __init__(self, random_state=0):
        self.random_state = random_state

    def fit(self, table: pd.DataFrame) -> "CopulaSampler":
        self.table_ = table
        self.numbers_ = table.apply(lambda x: x.cat.codes if hasattr(x, "cat") else x)
        scores = norm.ppf(rankdata(self.numbers_, axis=0) / (len(table) + 1))
        self.correlations_ = np.corrcoef(scores, rowvar=False)
        return self

    def sample(self, n: int) -> pd.DataFrame:
        rng = np.random.default_rng(self.random_state)
        mean = np.zeros(len(self.correlations_))
        u = norm.cdf(rng.multivariate_normal(mean, self.correlations_, size=n))
        drawn = {}
        for j, (name, column) in enumerate(self.table_.items()):
            values = np.quantile(self.numbers_[name], u[:, j], method="inverted_cdf")
            if hasattr(column, "cat"):
                values = pd.Categorical.from_codes(
                    values.astype(int), dtype=column.dtype
                )
            drawn[name] = values
        return pd.DataFrame(drawn)
