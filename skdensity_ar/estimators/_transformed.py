"""A density of transformed rows, in the units of the rows themselves."""

from __future__ import annotations

import warnings
from copy import copy
from inspect import signature
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import DensityMixin, clone
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state, get_tags
from sklearn.utils.validation import check_is_fitted, validate_data

from skdensity_ar._bijections import inverse, log_jacobian
from skdensity_ar._frames import container_of
from skdensity_ar._validation import (
    HasMethods,
    _fit_context,
    check_count,
    unchanged_on_failure,
)
from skdensity_ar.estimators._around import AroundDensity
from skdensity_ar.estimators._made import MADEDensity

# Draws that tell how much mass is lost, and how much is worth a warning.
_N_DRAWS, _MUCH = 2000, 0.005


class TransformedDensity(DensityMixin, AroundDensity):
    """log p(x) = log q(f(x)) + log |det ∂f / ∂x|, f a transformer of scikit-learn.

    In a pipeline a density scores in the units of what comes out of the transformers;
    here it scores in those of X, and `sample` returns rows like X.

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
        Fitted to the rows that `transformer_` gave.
    lost_mass_ : float
        Share of 2000 draws of `estimator_` that no row is transformed to; see Notes.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where they are strings.

    Notes
    -----
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
            Passed on to the density's `fit`, such as `sample_weight`.

        Returns
        -------
        self : object
            The fitted density; as it was before if `fit` fails.

        Raises
        ------
        ValueError
            For a transformer that is no bijection, once it is fitted.
        """
        with unchanged_on_failure(self):
            X = self._read(X, reset=True)
            self._container = container_of(X)
            self.transformer_ = self._unfitted_transformer().fit(X)
            log_jacobian(self.transformer_, X[:1])
            self.estimator_ = self._fitted(self._transformed(X), fit_params)
            outside = ~np.isfinite(self._drawn(_N_DRAWS, 0)).all(1)
            self.lost_mass_ = float(outside.mean())
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

    def _read(self, X: Any, *, reset: bool) -> Any:
        finite: Any = (
            "allow-nan" if self.__sklearn_tags__().input_tags.allow_nan else True
        )
        array = validate_data(
            self,
            X,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite=finite,
            ensure_min_samples=2 if reset else 1,
        )
        return X if container_of(X) == "pandas" else array

    def _transformed(self, X: Any) -> np.ndarray:
        return np.asarray(self.transformer_.transform(X), dtype=np.float64)

    def score_samples(self, X) -> np.ndarray:
        """Log-density of every row.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            In nats, in the units of X.
        """
        check_is_fitted(self)
        X = self._read(X, reset=False)
        scores = self.estimator_.score_samples(self._transformed(X))
        return scores + log_jacobian(self.transformer_, X)

    def score(self, X, y=None) -> float:
        """Mean log-density of the rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.
        y : Ignored
            Not used, present for API consistency by convention.

        Returns
        -------
        score : float
            Mean of `score_samples(X)`, in nats per row.
        """
        return float(np.mean(self.score_samples(X)))

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
        rng, X = check_random_state(random_state), np.empty((0, self.n_features_in_))
        while len(X) < n_samples:
            n = n_samples - len(X)
            drawn = self._drawn(n, rng.randint(np.iinfo(np.int32).max))
            X = np.concatenate([X, drawn[np.isfinite(drawn).all(1)]])
        if self._container != "pandas":
            return X
        import pandas as pd

        return pd.DataFrame(X, columns=self.feature_names_in_)

    def _drawn(self, n: int, seed: int) -> np.ndarray:
        """Rows (n, D), not finite where the density lies where no row is."""
        density = self.estimator_
        if "random_state" in signature(density.sample).parameters:
            Z = density.sample(n, random_state=seed)
        else:  # GaussianMixture draws by a parameter, and returns components as well
            Z, _ = copy(density).set_params(random_state=seed).sample(n)
        return inverse(self.transformer_, np.asarray(Z))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inside = self._unfitted_transformer(), self._unfitted()
        tags.input_tags.allow_nan = all(
            get_tags(estimator).input_tags.allow_nan for estimator in inside
        )
        return tags
