"""What estimators with a density inside have in common."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
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

    @abstractmethod
    def _default(self) -> Any:
        """Make the density that `estimator=None` stands for."""

    def _unfitted(self) -> Any:
        return self._default() if self.estimator is None else clone(self.estimator)

    def _fitted(self, X: Any, fit_params: dict[str, Any]) -> Any:
        """Fit the density to X."""
        if fit_params.get("context") is not None:
            raise ValueError(
                f"{type(self).__name__} asks its density of rows alone, so context is "
                "not for it; the density's own methods take contexts."
            )
        if sklearn.get_config()["enable_metadata_routing"]:
            fit_params = process_routing(self, "fit", **fit_params).estimator.fit
        return self._unfitted().fit(X, **fit_params)

    def get_metadata_routing(self) -> MetadataRouter:
        """Say which metadata reach the density.

        Returns
        -------
        routing : MetadataRouter
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        router = MetadataRouter(owner=type(self).__name__)
        return router.add(estimator=self._unfitted(), method_mapping=mapping)
