"""Imputation by a density."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from skdensity_ar._frames import missing_cells, with_flags
from skdensity_ar._validation import (
    HasMethods,
    StrOptions,
    _fit_context,
    check_table,
    unchanged_on_failure,
)
from skdensity_ar.estimators._around import AroundDensity
from skdensity_ar.estimators._made import MADEDensity
from skdensity_ar.estimators._queries import STRATEGIES


class DensityImputer(OneToOneFeatureMixin, TransformerMixin, AroundDensity):
    """Missing cells filled by what a density says of them given the others.

    The density is fitted to what is known of the training rows; no cell is filled
    before. With strategy="sample" and several values of `random_state` the imputations
    are multiple. Set after `fit` these decide draws of one density; an imputer fitted
    for each, with the default estimator, has networks of its own as well, so that
    imputations differ by what is not known of these, too.

    Parameters
    ----------
    estimator : density estimator, default=None
        A density with `impute` that takes missing cells; it is cloned. None stands for
        `MADEDensity(ordering="agnostic")` with `random_state`.
    strategy : {"mean", "median", "mode", "sample"}, default="mean"
        As in `MADEDensity.impute`.
    rounded : bool, default=False
        Whether what is filled in is rounded as the values of `fit` are; see
        `MADEDensity.sample`.
    add_indicator : bool, default=False
        Whether to add a column of 0 and 1 for every column that had missing cells in
        `fit`, which says where.
    random_state : int, RandomState instance or None, default=None
        Of the default estimator, and of the draws of strategy="sample".

    Attributes
    ----------
    estimator_ : density estimator
        Fitted to the training rows.
    indicator_features_ : list of int
        Columns that had missing cells in `fit`.
    n_features_in_ : int
        Number of columns seen in `fit`.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, where they are strings.

    See Also
    --------
    sklearn.impute.IterativeImputer : Regressions of every column on the others.

    Examples
    --------
    >>> import numpy as np
    >>> from skdensity_ar import DensityImputer, MADEDensity
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 1)) + 0.1 * rng.normal(size=(200, 3))
    >>> density = MADEDensity(ordering="agnostic", n_orderings=2, random_state=0)
    >>> imputer = DensityImputer(density).fit(X)
    >>> imputer.transform([[0.5, np.nan, 0.5]]).round(1).tolist()
    [[0.5, 0.5, 0.5]]
    """

    _parameter_constraints: ClassVar[dict] = {
        "estimator": [HasMethods(["fit", "impute"]), None],
        "strategy": [StrOptions(set(STRATEGIES))],
        "rounded": ["boolean"],
        "add_indicator": ["boolean"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator=None,
        *,
        strategy="mean",
        rounded=False,
        add_indicator=False,
        random_state=None,
    ):
        self.estimator = estimator
        self.strategy = strategy
        self.rounded = rounded
        self.add_indicator = add_indicator
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=False)
    def fit(self, X, y=None, **fit_params) -> Self:
        """Fit the density to what is known.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Training rows, NaN (or None; of frames NA) where cells are missing.
        y : Ignored
            Not used, present for API consistency by convention.
        **fit_params : dict
            Passed on to the density's `fit`, such as `sample_weight`.

        Returns
        -------
        self : object
            The fitted imputer; as it was before if `fit` fails.

        Raises
        ------
        ValueError
            Where X has a column already with the name of one that add_indicator adds.
        """
        with unchanged_on_failure(self):
            X = check_table(self, X, reset=True)
            only_draws = getattr(self.estimator, "missing", "exact") == "estimate"
            if self.strategy != "sample" and only_draws:
                raise ValueError(
                    f"missing='estimate' has draws of missing cells and no "
                    f"{self.strategy}: set strategy='sample', or give the estimator "
                    "ordering='agnostic'."
                )
            self.estimator_ = self._unfitted().fit(X, **self._routed(fit_params))
            missing = missing_cells(X)
            self.indicator_features_ = np.flatnonzero(missing.any(0)).tolist()
            names = self.get_feature_names_out()
            twice = sorted(set(names[: X.shape[1]]) & set(names[X.shape[1] :]))
            if twice:
                raise ValueError(
                    f"add_indicator=True adds the columns {twice}, which X has "
                    "already; rename those, or set add_indicator=False."
                )
        return self

    def _default(self) -> MADEDensity:
        return MADEDensity(ordering="agnostic", random_state=self.random_state)

    def transform(self, X):
        """Fill the missing cells.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.

        Returns
        -------
        X : ndarray or frame of shape (n_samples, n_features [+ n_indicators])
            Like X, its known cells as they were.
        """
        check_is_fitted(self)
        X = check_table(self, X, reset=False)
        rounded = {"rounded": True} if self.rounded else {}  # others' may not know it
        filled = self.estimator_.impute(
            X, self.strategy, random_state=self.random_state, **rounded
        )
        if not self.add_indicator:
            return filled
        flags = missing_cells(X)[:, self.indicator_features_]
        return with_flags(filled, flags, list(self.get_feature_names_out()))

    def get_feature_names_out(self, input_features=None) -> np.ndarray:
        """Names of the columns that `transform` returns.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the columns of X; those of `fit` by default.

        Returns
        -------
        names : ndarray of object
        """
        names = super().get_feature_names_out(input_features)
        if not self.add_indicator:
            return names
        flags = [f"missingindicator_{names[j]}" for j in self.indicator_features_]
        return np.concatenate([names, np.array(flags, dtype=object)])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags = get_tags(self._unfitted()).input_tags
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
