"""What estimators with a density inside have in common."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from copy import copy
from inspect import signature
from typing import Any

import sklearn
from sklearn.base import BaseEstimator, clone
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    process_routing,
)


class AroundDensity(BaseEstimator, metaclass=ABCMeta):
    """An estimator whose `fit` fits a clone of its parameter `estimator`.

    Further arguments of `fit`, such as `sample_weight`, reach the density: those that
    it requests where metadata routing is on, otherwise all.
    """

    estimator: Any
    estimator_: Any

    @abstractmethod
    def _default(self) -> Any:
        """Make the density that `estimator=None` stands for."""

    def _unfitted(self) -> Any:
        return self._default() if self.estimator is None else clone(self.estimator)

    def _routed(self, fit_params: dict[str, Any]) -> dict[str, Any]:
        """Return what the density's `fit` gets, by its own names."""
        if sklearn.get_config()["enable_metadata_routing"]:
            fit_params = process_routing(self, "fit", **fit_params).estimator.fit
        if fit_params.get("context") is not None:
            raise ValueError(
                f"{type(self).__name__} asks its density of rows alone, so context is "
                "not for it; the density's own methods take contexts."
            )
        return dict(fit_params)

    def _draws(self, n: int, seed: Any) -> Any:
        """Let the fitted density draw n rows."""
        density = self.estimator_
        try:
            if "random_state" in signature(density.sample).parameters:
                drawn = density.sample(n, random_state=seed)
            else:  # GaussianMixture draws by a parameter, and returns components too
                drawn = copy(density).set_params(random_state=seed).sample(n)
        except NotImplementedError as error:
            raise NotImplementedError(
                f"{density!r} does not draw rows, which {type(self).__name__} needs "
                "here; KernelDensity does with kernel='gaussian' or 'tophat'."
            ) from error
        drawn = drawn[0] if isinstance(drawn, tuple) else drawn
        names = getattr(density, "feature_names_in_", None)
        if names is None or hasattr(drawn, "columns"):
            return drawn
        import pandas as pd

        return pd.DataFrame(drawn, columns=names)  # with which it has been fitted

    def get_metadata_routing(self) -> MetadataRouter:
        """Say which metadata reach the density.

        Returns
        -------
        routing : MetadataRouter
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        router = MetadataRouter(owner=type(self).__name__).add_self_request(self)
        return router.add(estimator=self._unfitted(), method_mapping=mapping)
