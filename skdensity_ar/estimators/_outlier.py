"""Anomaly detection by a density."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import ClassVar, Self

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.utils import get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from skdensity_ar._columns import repetitions
from skdensity_ar._frames import take_rows
from skdensity_ar._validation import (
    HasMethods,
    Interval,
    _fit_context,
    check_count,
    check_weights,
    unchanged_on_failure,
)
from skdensity_ar.estimators._around import AroundDensity
from skdensity_ar.estimators._made import MADEDensity


def _has(method: str) -> Callable[[DensityOutlierDetector], bool]:
    """Whether the density inside has a method."""
    return lambda detector: hasattr(
        getattr(detector, "estimator_", detector.estimator), method
    )


class DensityOutlierDetector(OutlierMixin, AroundDensity):
    """Rows of low density are outliers.

    The threshold is such that a share `contamination` of the training rows lies below.

    Parameters
    ----------
    estimator : density estimator, default=None
        What scores the rows, with `fit` and `score_samples`; it is cloned. None stands
        for `MADEDensity` with its defaults and `random_state`.
    contamination : float, default=0.1
        Share of the training rows that are taken for outliers, in (0, 0.5].
    random_state : int, RandomState instance or None, default=None
        Of the default estimator, and of the rows that `p_values` draws.

    Attributes
    ----------
    estimator_ : density estimator
        Fitted to the training rows.
    offset_ : float
        The threshold in nats: `decision_function` is `score_samples` less it.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where they are strings.

    See Also
    --------
    sklearn.ensemble.IsolationForest : Isolates rows by random splits.

    Examples
    --------
    >>> import numpy as np
    >>> from skdensity_ar import DensityOutlierDetector, MADEDensity
    >>> X = np.random.default_rng(0).normal(size=(200, 2))
    >>> density = MADEDensity(n_orderings=1, max_iter=20, random_state=0)
    >>> detector = DensityOutlierDetector(density, contamination=0.05).fit(X)
    >>> detector.predict([[0.0, 0.0], [7.0, -7.0]]).tolist()
    [1, -1]
    """

    _parameter_constraints: ClassVar[dict] = {
        "estimator": [HasMethods(["fit", "score_samples"]), None],
        "contamination": [Interval(Real, 0, 0.5, closed="right")],
        "random_state": ["random_state"],
    }

    def __init__(self, estimator=None, *, contamination=0.1, random_state=None):
        self.estimator = estimator
        self.contamination = contamination
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, **fit_params) -> Self:
        """Fit the density and set the threshold.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Training rows.
        y : Ignored
            Not used, present for API consistency by convention.
        **fit_params : dict
            Passed on to the density's `fit`, such as `sample_weight`, by which rows
            count for the threshold too (not weights under another name, as those of
            a step of a pipeline).

        Returns
        -------
        self : object
            The fitted detector; as it was before if `fit` fails.
        """
        with unchanged_on_failure(self):
            routed = self._routed(fit_params)
            self.estimator_ = self._unfitted().fit(X, **routed)
            for name in ("n_features_in_", "feature_names_in_"):
                if hasattr(self.estimator_, name):
                    setattr(self, name, getattr(self.estimator_, name))
                elif hasattr(self, name):
                    delattr(self, name)
            weights = routed.get("sample_weight")
            if weights is None:
                scores = self.estimator_.score_samples(X)
            else:  # rows as often as they count
                is_list = isinstance(X, (list, tuple))
                weights = check_weights(weights, len(X))
                counted = np.flatnonzero(weights)
                X = [X[i] for i in counted] if is_list else take_rows(X, counted)
                scores = self.estimator_.score_samples(X)
                scores = scores[repetitions(weights[counted])]
            self.offset_ = float(np.percentile(scores, 100.0 * self.contamination))
        return self

    def _default(self) -> MADEDensity:
        return MADEDensity(random_state=self.random_state)

    def score_samples(self, X) -> np.ndarray:
        """Log-density of every row, the lower the more abnormal.

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
        return self.estimator_.score_samples(X)

    def decision_function(self, X) -> np.ndarray:
        """Log-density of every row less the threshold: negative for outliers.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.

        Returns
        -------
        decision : ndarray of shape (n_samples,)
            In nats.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X) -> np.ndarray:
        """Say which rows are outliers.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.

        Returns
        -------
        is_inlier : ndarray of int, shape (n_samples,)
            -1 for outliers, 1 for the others.
        """
        return np.where(self.decision_function(X) < 0.0, -1, 1)

    @available_if(_has("sample"))
    def p_values(self, X, n_samples=1000) -> np.ndarray:
        """Share of rows drawn from the density that score as low as a row.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.
        n_samples : int, default=1000
            Rows to draw.

        Returns
        -------
        p : ndarray of shape (n_samples,)
            (1 + number of drawn rows that score no higher) / (1 + n_samples): if the
            density is right, p is at most α in at most a share α of rows.
        """
        check_is_fitted(self)
        n_samples = check_count(n_samples, "n_samples")
        drawn = self._draws(n_samples, self.random_state)
        drawn = np.sort(self.estimator_.score_samples(drawn))
        below = np.searchsorted(drawn, self.score_samples(X), side="right")
        return (1.0 + below) / (1.0 + n_samples)

    @available_if(_has("score_features"))
    def score_features(self, X, *, given=None) -> np.ndarray:
        """Share of every column in the log-density of a row.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.
        given : {"others"} or None, default=None
            As in `MADEDensity.score_features`, where the density takes it.

        Returns
        -------
        log_conditionals : ndarray of shape (n_samples, n_features)
            In nats. Those of real columns depend on their units: compare each with
            those of the same column in other rows, or ask `score_cells`.
        """
        check_is_fitted(self)
        asked = {} if given is None else {"given": given}
        return self.estimator_.score_features(X, **asked)

    @available_if(_has("score_cells"))
    def score_cells(self, X) -> np.ndarray:
        """Log-odds that a cell holds what belongs there, given the others of its row.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.

        Returns
        -------
        log_odds : ndarray of shape (n_samples, n_features)
            In nats, without units: as `MADEDensity.score_cells`.
        """
        check_is_fitted(self)
        return self.estimator_.score_cells(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self._unfitted()).input_tags
        return tags
