"""A density of transformed rows, in the units of the rows themselves."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import DensityMixin, clone
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.validation import check_is_fitted

from skdensity_ar._bijections import carried, inverse, log_slopes, takes_missing
from skdensity_ar._columns import as_numbers
from skdensity_ar._frames import (
    TABLES,
    all_finite,
    as_matrix,
    column_values,
    container_of,
    missing_cells,
    plain_columns,
    rows_of,
    take_rows,
    with_doubles,
)
from skdensity_ar._validation import (
    HasMethods,
    _fit_context,
    check_count,
    check_table,
    unchanged_on_failure,
    weighted_mean,
)
from skdensity_ar.estimators._around import AroundDensity
from skdensity_ar.estimators._made import MADEDensity

# Draws that tell how much mass is lost, and how much is worth a warning.
_N_DRAWS, _MUCH = 2000, 0.005

# Share of the range of a column's inner values that one may be off once transformed
# there and back, and share of the values that may be off by more.
_OFF, _LOST = 1e-4, 0.05

# What float64 may take off the values themselves.
_ROUNDING = 1e-12


def has_mass(density: Any, X: Any) -> np.ndarray | None:
    """Which cells (n, D) have a mass, not a density; None for densities of none."""
    asked = getattr(density, "_has_mass", None)
    return None if asked is None else asked(X)


class TransformedDensity(DensityMixin, AroundDensity):
    """log p(x) = log q(f(x)) + log |det ∂f / ∂x|, f a transformer of scikit-learn.

    In a pipeline a density scores in the units of what comes out of the transformers;
    here it scores in those of X, and `sample` returns rows like X. Of a frame the
    transformer makes a frame for the density, so a ColumnTransformer may leave columns
    of labels as they are, with remainder="passthrough" (of polars' frames from
    scikit-learn 1.9 on).

    Parameters
    ----------
    transformer : transformer, default=None
        f, a bijection: StandardScaler, MinMaxScaler or MaxAbsScaler without clipping,
        RobustScaler, PowerTransformer, PCA of full rank, pipelines of these, and
        ColumnTransformers of them that take every column once. None stands for
        StandardScaler. It is cloned.
    estimator : density estimator, default=None
        q, with `fit`, `score_samples` and `sample`; it is cloned. None stands for
        `MADEDensity` with its defaults.

    Attributes
    ----------
    transformer_ : transformer
    estimator_ : density estimator
        Fitted to the rows that `transformer_` gave. A `MADEDensity` has real columns
        (its `conditional`) where these are 0 or 1 throughout by the transformer alone.
    lost_mass_ : float
        Share of 2000 draws of `estimator_` that no row is transformed to; see Notes.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where they are strings.

    Notes
    -----
    To a transformer columns of 0 and 1, codes and counts are numbers like others, and
    to the density what comes out of it: give a ColumnTransformer the others alone, with
    remainder="passthrough", and they keep their masses.

    Of a cell of which the density has a mass (a binary column between 0 and 1, a value
    among its `atoms`) the transformer's slope plays no part.

    What a PowerTransformer gives ends somewhere: Box-Cox at -1 / λ, Yeo-Johnson where λ
    is below 0 or above 2. Mass that q has beyond is lost, and the density then
    integrates to 1 - `lost_mass_` only; `sample` draws such rows again.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.mixture import GaussianMixture
    >>> from sklearn.preprocessing import PowerTransformer
    >>> from skdensity_ar import TransformedDensity
    >>> X = np.random.default_rng(0).lognormal(size=(500, 2))
    >>> density = TransformedDensity(PowerTransformer("box-cox"), GaussianMixture())
    >>> bool(density.fit(X).sample(3, random_state=0).min() > 0.0)
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "transformer": [HasMethods(["fit", "transform"]), None],
        "estimator": [HasMethods(["fit", "score_samples", "sample"]), None],
    }

    def __init__(self, transformer=None, estimator=None):
        self.transformer = transformer
        self.estimator = estimator

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, **fit_params) -> Self:
        """Fit the transformer, and the density to what it makes of X.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Training rows.
        y : Ignored
            Not used, present for API consistency by convention.
        **fit_params : dict
            Passed on to the density's `fit`, such as `sample_weight`; `X_val`, rows
            like X, is transformed too.

        Returns
        -------
        self : object
            The fitted density; as it was before if `fit` fails.

        Raises
        ------
        ValueError
            For a transformer that is no bijection, once it is fitted; for a PCA of
            columns of which the density has masses.
        """
        with unchanged_on_failure(self):
            given, X = X, self._read(X, reset=True)
            # Draws come as X is given, whatever its numbers are to the transformer.
            self._container = container_of(X)
            is_array = self._container == "numpy"
            self._columns = plain_columns(X if is_array else given)
            self.transformer_ = self._fitted_transformer(X)
            log_slopes(self.transformer_, X[:1])
            Z = self._transformed(X)
            self._check_comes_back(X, Z)
            routed = self._routed(fit_params)
            if routed.get("X_val") is not None:
                X_val = self._read(routed["X_val"], reset=False)
                routed["X_val"] = self._transformed(X_val)
            self.estimator_ = self._density_of(X, Z).fit(Z, **routed)
            self._log_jacobian(X, Z)
            self.lost_mass_ = float(1.0 - self._is_row(self._drawn(_N_DRAWS, 0)).mean())
            if self.lost_mass_ == 1.0:
                raise ValueError(
                    f"No draw of the density lies where {self.transformer_!r} takes "
                    "rows to; another transformer, such as StandardScaler, has no ends."
                )
            if self.lost_mass_ > _MUCH:
                warnings.warn(
                    f"{type(self.transformer_).__name__} does not reach all values: "
                    f"about {self.lost_mass_:.1%} of the density's mass lie where no "
                    "row is transformed to, and scores are too low by as much. Another "
                    "transformer, such as StandardScaler, has no such end.",
                    UserWarning,
                    stacklevel=2,
                )
        return self

    def _default(self) -> MADEDensity:
        return MADEDensity()

    def _unfitted_transformer(self) -> Any:
        return StandardScaler() if self.transformer is None else clone(self.transformer)

    def _fitted_transformer(self, X: Any) -> Any:
        """Fit the transformer, so that it makes frames of frames."""
        transformer = self._unfitted_transformer()
        output = "default" if self._container == "numpy" else self._container
        if hasattr(transformer, "set_output"):
            transformer.set_output(transform=output)
        labels = [column.name for column in self._columns if column.holds_labels]
        try:
            return transformer.fit(X)
        except (ValueError, TypeError) as error:
            if not labels or "convert" not in str(error):
                raise
            raise ValueError(
                f"{type(transformer).__name__} cannot be fitted to X, whose columns "
                f"{labels} hold labels: {error}; give it the other columns alone, "
                "ColumnTransformer([(name, transformer, columns)], "
                "remainder='passthrough') leaves the rest as it is."
            ) from error

    def _read(self, X: Any, *, reset: bool) -> Any:
        X = check_table(self, X, reset=reset)
        is_array = container_of(X) == "numpy"
        if is_array and all_finite(X):
            return X.astype(np.float64, copy=False)
        # What takes no missing cells, transformer or density, says so.
        columns = plain_columns(X) if reset else self._columns
        for j, column in enumerate(columns):
            values, _ = column_values(X, j)  # refuses dates
            if not column.holds_labels:
                as_numbers(values, column.name)
        return X.astype(np.float64, copy=False) if is_array else with_doubles(X)

    def _transformed(self, X: Any) -> Any:
        Z = self.transformer_.transform(X)
        return Z if self._container != "numpy" else Z.astype(np.float64, copy=False)

    def _density_of(self, X: Any, Z: Any) -> Any:
        """Say which density is to be fitted to Z.

        `MADEDensity` would take a constant column for one of bits where it is the
        transformer that made it 0 or 1.
        """
        density, sources = self._unfitted(), self._sources()
        asked = density.conditional if isinstance(density, MADEDensity) else None
        if isinstance(asked, str) and asked == "auto":
            asked = {}
        if not isinstance(asked, dict):
            return density
        real = {}
        for j, column in enumerate(plain_columns(Z)):
            z, _ = column_values(Z, j)
            if len(z) == 0 or z[0] not in (0, 1) or (z != z[0]).any():
                continue
            x, _ = column_values(X, int(sources[:, j].argmax()))
            if x[0] != z[0] and j not in asked and column.name not in asked:
                real[column.name] = "gaussian_mixture"
        return density.set_params(conditional={**asked, **real}) if real else density

    def _reaching(self, X: Any) -> tuple[np.ndarray, Any]:
        """Which rows (n,) are transformed to finite ones, and to which.

        So are all but those so far away that their numbers become too large.
        """
        n = X.shape[0]
        try:
            with np.errstate(over="ignore", invalid="ignore"):
                Z = self._transformed(X)
        except ValueError as error:
            # X is finite, so that it is a step of the transformer that was too large.
            if "infinity" not in str(error):
                raise
            if n == 1:
                return np.zeros(1, dtype=bool), None
            halves = rows_of(X, 0, n // 2), rows_of(X, n // 2, n)
            reaches = np.concatenate([self._reaching(half)[0] for half in halves])
        else:
            reaches, n_missing = np.ones(n, dtype=bool), np.zeros(n, dtype=int)
            if container_of(Z) == "numpy" and all_finite(Z):
                return reaches, Z
            for j in range(Z.shape[1]):
                z, missing = column_values(Z, j)
                if z.dtype.kind == "f":
                    reaches[~missing] &= np.isfinite(z)
                n_missing += missing
            if n_missing.any():  # no number now, but one in X: infinite in between
                reaches &= n_missing == missing_cells(X).sum(1)
            if reaches.all():
                return reaches, Z
        if not reaches.any():
            return reaches, None
        return reaches, self._transformed(take_rows(X, np.flatnonzero(reaches)))

    def _check_comes_back(self, X: Any, Z: Any) -> None:
        """Refuse a transformer that float64 makes many rows one by."""
        numbers = self._numbers()
        if not numbers:
            return
        back = inverse(self.transformer_, as_matrix(Z))
        for d in numbers:
            x, missing = column_values(X, d)
            there = x.astype(np.float64)
            if len(there) == 0:
                continue  # of which the density says what is to be said
            off = np.abs(back[~missing, d].astype(np.float64) - there)
            # Far values may be hard to tell apart, and no more than these.
            width = np.ptp(np.quantile(there, [0.05, 0.95])) or np.ptp(there)
            lost = ~(off <= _OFF * width + _ROUNDING * np.abs(there).max())
            if lost.mean() > _LOST:
                raise ValueError(
                    f"{type(self.transformer_).__name__} loses the column "
                    f"{self._columns[d].name!r}: of {lost.mean():.0%} of its values, "
                    f"from {there.min()} to {there.max()}, what it gives cannot be "
                    "transformed back. Bring the column near 0 and 1 first: "
                    "make_pipeline(StandardScaler(), ...)."
                )

    def score_samples(self, X) -> np.ndarray:
        """Log-density of every row.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats, in the units of X; -inf for rows so far away that they are
            transformed to no finite number.
        """
        check_is_fitted(self)
        X = self._read(X, reset=False)
        reaches, Z = self._reaching(X)
        log_density = np.full(X.shape[0], -np.inf)
        if Z is not None:
            X = X if reaches.all() else take_rows(X, np.flatnonzero(reaches))
            of_rows = self.estimator_.score_samples(Z) + self._log_jacobian(X, Z)
            log_density[reaches] = of_rows
        return log_density

    def _log_jacobian(self, X: Any, Z: Any) -> np.ndarray:
        """Log |det ∂z / ∂x| of the rows' cells that have a density, not a mass."""
        slopes = log_slopes(self.transformer_, X)
        masses = has_mass(self.estimator_, Z)
        if masses is None:
            return slopes.sum(1)
        mixed = masses & (self._sources().sum(0) > 1)
        if mixed.any():
            raise ValueError(
                f"{type(self.estimator_).__name__} has masses, at values or integers, "
                f"in the column {int(mixed.any(0).argmax())} of what a PCA mixes, in "
                "which none of X is left; leave such columns out of the PCA, by a "
                "ColumnTransformer with remainder='passthrough'."
            )
        return np.where(masses, 0.0, slopes).sum(1)

    def _sources(self) -> np.ndarray:
        """Which columns of X reach which of those transformed, (D, D)."""
        return carried(self.transformer_, np.eye(self.n_features_in_)) > 0.0

    def _has_mass(self, X: Any) -> np.ndarray | None:
        X = self._read(X, reset=False)
        reaches, Z = self._reaching(X)
        masses = None if Z is None else has_mass(self.estimator_, Z)
        if masses is None:
            return None
        out = np.zeros(X.shape, dtype=bool)
        out[reaches] = masses @ self._sources().T
        return out

    def score(self, X, y=None, sample_weight=None) -> float:
        """Mean log-density of the rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts; None counts each once.

        Returns
        -------
        score : float
            Mean of `score_samples(X)`, in nats per row.
        """
        return weighted_mean(self.score_samples(X), sample_weight)

    def sample(self, n_samples=1, random_state=None):
        """Draw rows.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Decides the draws, where the density inside takes one.

        Returns
        -------
        X : ndarray or frame of shape (n_samples, n_features)
        """
        check_is_fitted(self)
        n_samples = check_count(n_samples, "n_samples")
        rng, parts, n = check_random_state(random_state), [], n_samples
        while n > 0:
            drawn = self._drawn(n, rng.randint(np.iinfo(np.int32).max))
            parts.append(drawn[self._is_row(drawn)])
            n -= len(parts[-1])
        values = [
            x if column.holds_labels else x.astype(np.float64)
            for x, column in zip(np.concatenate(parts).T, self._columns, strict=True)
        ]
        return TABLES[self._container](values, self._columns)

    def _drawn(self, n: int, seed: int) -> np.ndarray:
        """Rows (n, D), not finite where the density lies where no row is."""
        Z = self._draws(n, seed)
        has_labels = any(column.holds_labels for column in self._columns)
        dtype = np.dtype(object if has_labels else np.float64)
        return inverse(self.transformer_, np.asarray(Z, dtype=dtype))

    def _is_row(self, drawn: np.ndarray) -> np.ndarray:
        """Which of the rows (n, D) are finite."""
        finite = np.isfinite(drawn[:, self._numbers()].astype(np.float64))
        return np.logical_and.reduce(finite, axis=1)

    def _numbers(self) -> list[int]:
        """Which columns hold no labels."""
        return [d for d, c in enumerate(self._columns) if not c.holds_labels]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inside = get_tags(self._unfitted()).input_tags.allow_nan
        tags.input_tags.allow_nan = inside and takes_missing(
            self._unfitted_transformer()
        )
        return tags
