"""What a user sees of a running `fit`: a progress bar and scikit-learn's callbacks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Self

from sklearn.base import BaseEstimator
from tqdm.auto import tqdm

from skdensity_ar._training import History


class FitMonitor:
    """Shows epochs if the estimator is verbose; runs its callbacks where it has any.

    Parameters
    ----------
    estimator : BaseEstimator
        With `verbose`. Callbacks are scikit-learn's (1.9 or newer), set
        by `estimator.set_callbacks`: one task "fit" with a subtask "epoch" each.
    X : object
        The training rows as passed to `fit`.
    n_epochs : int or None
        As many at most; None if the rows have yet to decide.
    """

    def __init__(self, estimator: BaseEstimator, X: Any, n_epochs: int | None):
        self._estimator, self._X, self._n_epochs = estimator, X, n_epochs
        self._fit_task: Any = None
        self._epoch_task: Any = None
        if hasattr(estimator, "_init_callback_context"):
            self._fit_task = estimator._init_callback_context(max_subtasks=n_epochs)
        self._attributes: Callable[[History], dict[str, Any]] = lambda history: {}
        self._bar: tqdm | None = None

    def watch(
        self, attributes: Callable[[History], dict[str, Any]], n_epochs: int
    ) -> Self:
        """Say which attributes the estimator has after an epoch, of so many at most."""
        self._attributes = attributes
        if self._bar is not None:
            self._bar.reset(total=n_epochs)
        return self

    def __enter__(self) -> Self:
        if self._fit_task is not None:
            self._fit_task.call_on_fit_task_begin(estimator=self._estimator, X=self._X)
        if self._estimator.verbose:
            name = type(self._estimator).__name__
            self._bar = tqdm(total=self._n_epochs, unit="epoch", desc=name)
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._fit_task is not None and kind is None:
            self._fit_task.call_on_fit_task_end(
                estimator=self._estimator, X=self._X, reconstruction_attributes={}
            )

    def begin_epoch(self) -> None:
        if self._fit_task is not None:
            self._epoch_task = self._fit_task.subcontext(task_name="epoch")
            self._epoch_task.call_on_fit_task_begin(
                estimator=self._estimator, X=self._X
            )

    def end_epoch(self, history: History) -> bool:
        if self._bar is not None:
            nats = {"train": f"{-history.loss_curve[-1]:.3f} nats"}
            if history.validation_scores:
                nats["validation"] = f"{history.validation_scores[-1]:.3f} nats"
            self._bar.set_postfix(nats, refresh=False)
            self._bar.update()
        if self._epoch_task is None:
            return False
        return self._epoch_task.call_on_fit_task_end(
            estimator=self._estimator,
            X=self._X,
            reconstruction_attributes=lambda: copy.deepcopy(self._attributes(history)),
        )
