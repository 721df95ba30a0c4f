"""The one fit, score_samples, score and sample of every estimator here."""

from __future__ import annotations

import copy
import warnings
from abc import ABCMeta, abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skdensity_ar._columns import Columns, fit_columns
from skdensity_ar._device import resolve_device, threads_for
from skdensity_ar._frames import rows_of
from skdensity_ar._module import DensityModule, initial_bias
from skdensity_ar._random import make_generator
from skdensity_ar._training import History, TensorRows, train
from skdensity_ar._validation import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    _fit_context,
    check_n_samples,
    check_table,
    unchanged_on_failure,
)
from skdensity_ar.estimators._build import (
    check_memory,
    column_widths,
    conditional_blocks,
    layer_sizes,
    make_orderings,
)
from skdensity_ar.estimators._monitor import FitMonitor
from skdensity_ar.networks import ACTIVATIONS, Network

# Fewer rows than this leave no validation share worth the name.
_MIN_ROWS_TO_SPLIT = 10

# Numbers made while a block of rows is scored or sampled.
_SCORE_BLOCK, _SAMPLE_BLOCK = 2**21, 2**26


class BaseAutoregressiveDensity(
    CallbackSupportMixin, DensityMixin, BaseEstimator, metaclass=ABCMeta
):
    """log p(x) = Σ_d log p(x_d | x_<d), a network times conditionals.

    A subclass is a paper: it names its parameters in `__init__` and says in
    `_make_network` how they make a network.
    """

    # What conditional="auto" makes of numbers that are not all 0 or 1.
    _numeric: ClassVar[str]

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "ordering": [StrOptions({"natural", "reversed", "random"}), "array-like"],
        "n_orderings": [Interval(Integral, 1, None, closed="left")],
        "handle_unknown": [StrOptions({"score", "error"})],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "learning_rate": [StrOptions({"constant", "cosine"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither")],
        "weight_averaging": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "dtype": [StrOptions({"float32", "float64"})],
        "device": [str, torch.device],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    @abstractmethod
    def _make_network(self, n_inputs, n_params, ordering, **kwargs) -> Network:
        """Make the network; `kwargs` are those that every network takes."""

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, *, X_val=None) -> Self:
        """Fit the density to the rows of X.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Training rows.
        y : Ignored
            Not used, present for API consistency by convention.
        X_val : array-like or frame of shape (n_validation_samples, n_features)
            Rows that early stopping watches; None sets a share of X aside.

        Returns
        -------
        self : object
            The fitted estimator. If `fit` fails or is interrupted, the estimator is
            left as it was before.

        Raises
        ------
        ValueError, TypeError
            If X holds values that its columns cannot have; the message names the
            column and the value.
        """
        monitor = FitMonitor(self, X)
        with unchanged_on_failure(self), monitor:
            self._fit(X, X_val, monitor)
        return self

    def _fit(self, X, X_val, monitor: FitMonitor) -> None:
        warm = self.warm_start and hasattr(self, "module_")
        labels = warm and self.columns_.reads_labels
        X = check_table(self, X, reset=not warm, reads_labels=labels)
        columns = self.columns_ if warm else self._fit_columns(X)
        codes = columns.transform(X)
        n_train = len(codes)
        if X_val is not None:
            labels = columns.reads_labels
            X_val = check_table(self, X_val, reset=False, reads_labels=labels)
            codes_val = columns.transform(X_val)
            columns.check_constants(codes_val)
            codes = np.concatenate([codes, codes_val])

        device = resolve_device(self.device)
        generator = make_generator(self.random_state, device)
        x = torch.as_tensor(codes, dtype=getattr(torch, self.dtype), device=device)
        if warm:
            self._check_warm_start()
            module = copy.deepcopy(self.module_).to(device)
        else:
            module = self._make_module(columns, x[:n_train], generator)
        train_index, valid_index = self._split(
            n_train, len(x), module.n_members, generator
        )

        def attributes(history: History) -> dict[str, Any]:
            return {
                "columns_": columns,
                "module_": module,
                "ordering_": module.network.ordering.cpu().numpy(),
                "score_kind_": module.score_kind,
                "history_": history,
                "loss_curve_": history.loss_curve,
                "validation_scores_": history.validation_scores,
                "n_iter_": history.n_iter,
            }

        batch_size = self._batch_size(train_index.shape[1])
        with threads_for(batch_size * module.n_weights):
            history = train(
                module,
                TensorRows(x),
                train_index,
                valid_index,
                max_iter=self.max_iter,
                batch_size=batch_size,
                learning_rate=self.learning_rate,
                learning_rate_init=self.learning_rate_init,
                weight_decay=self.weight_decay,
                max_grad_norm=self.max_grad_norm,
                weight_averaging=self.weight_averaging,
                n_iter_no_change=self.n_iter_no_change,
                tol=self.tol,
                generator=generator,
                monitor=monitor.watch(attributes),
            )
        if history.stopped_by == "diverged":
            warnings.warn(
                f"The training loss became {history.loss_curve[-1]} in epoch "
                f"{history.n_iter}; the best weights before it are kept. A smaller "
                f"learning_rate_init than {self.learning_rate_init} may help.",
                ConvergenceWarning,
                stacklevel=2,
            )
        for name, value in attributes(history).items():
            setattr(self, name, value)

    def _check_warm_start(self) -> None:
        """Refuse to go on with a network that the parameters no longer describe."""
        network = self.module_.network
        fitted = {
            "hidden_layer_sizes": network.hidden_layer_sizes,
            "n_orderings": self.module_.n_members,
        }
        asked = {
            "hidden_layer_sizes": layer_sizes(self.hidden_layer_sizes),
            "n_orderings": self.n_orderings,
        }
        for name, value in asked.items():
            if value != fitted[name]:
                raise ValueError(
                    f"warm_start=True goes on with the fitted network, which has "
                    f"{name}={fitted[name]}, got {value}; set warm_start=False to "
                    "start anew."
                )

    def _fit_columns(self, X) -> Columns:
        return fit_columns(
            X,
            conditional=self.conditional,
            numeric=self._numeric,
            handle_unknown=self.handle_unknown,
        )

    def _make_module(
        self, columns: Columns, x: Tensor, generator: torch.Generator
    ) -> DensityModule:
        n_components = getattr(self, "n_components", 1)
        blocks = conditional_blocks(columns, n_components, x.device)
        n_inputs, n_params = column_widths(blocks)
        sizes = layer_sizes(self.hidden_layer_sizes)
        all_sizes = (sum(n_inputs), *sizes, sum(n_params))
        check_memory(self.n_orderings, all_sizes, x.dtype, x.device)
        network = self._make_network(
            n_inputs,
            n_params,
            make_orderings(self.ordering, self.n_orderings, x.shape[1], generator),
            hidden_layer_sizes=sizes,
            activation=self.activation,
            dropout=self.dropout,
            dtype=x.dtype,
            device=x.device,
        )
        network.reset_parameters(generator, initial_bias(blocks, n_params, x))
        return DensityModule(network, blocks)

    def _split(
        self, n_train: int, n_rows: int, n_members: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Row indices (members, n) to train and to validate on; X_val comes last."""
        device = generator.device
        rows = torch.arange(n_rows, device=device).expand(n_members, -1)
        if n_rows > n_train:
            return rows[:, :n_train], rows[:, n_train:]
        if not self.early_stopping:
            return rows, None
        if n_train < _MIN_ROWS_TO_SPLIT:
            warnings.warn(
                f"X has {n_train} rows, too few to set a validation share aside: early "
                "stopping is off. Pass X_val, or early_stopping=False.",
                UserWarning,
                stacklevel=2,
            )
            return rows, None
        n_valid = max(1, round(self.validation_fraction * n_train))
        if n_valid >= n_train:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of {n_train} rows "
                "leaves none to train on; lower it or pass X_val."
            )
        keys = torch.rand(
            rows.shape, generator=generator, dtype=torch.float64, device=device
        )
        shuffled = keys.argsort(1)
        return shuffled[:, n_valid:], shuffled[:, :n_valid]

    def _batch_size(self, n_train: int) -> int:
        if self.batch_size != "auto":
            return min(self.batch_size, n_train)
        return min(max(n_train // 16, 32), 256, n_train)

    @torch.no_grad()
    def score_samples(self, X) -> np.ndarray:
        """Log-density of every row under the model.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            log p(x) in nats, float64, in the units of X: a density with respect to
            Lebesgue measure for real columns, a mass for the others.

        Raises
        ------
        ValueError, TypeError
            If X has other columns than in `fit`, or values they cannot have.
        """
        check_is_fitted(self)
        labels = self.columns_.reads_labels
        X = check_table(self, X, reset=False, reads_labels=labels)
        network = self.module_.network
        # Blocks of one size, the last one padded: a row's score does not depend on
        # how many rows come with it.
        size = _power_of_two(_SCORE_BLOCK // network.n_activations, 16, 4096)
        out = np.empty(X.shape[0])
        padded = np.zeros((size, X.shape[1]))
        for begin in range(0, len(out), size):
            codes = self.columns_.transform(rows_of(X, begin, begin + size))
            padded[: len(codes)] = codes
            x = torch.as_tensor(
                padded, dtype=network.dtype, device=network.ordering.device
            )
            with threads_for(size * self.module_.n_weights):
                log_p = self.module_.log_prob(x).cpu().numpy()
            out[begin : begin + size] = log_p[: len(codes)]
        return out + self.columns_.log_jacobian

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
        """Draw rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState instance or None, default=None
            Decides the draws; None uses numpy's global generator.

        Returns
        -------
        X : ndarray or frame of shape (n_samples, n_features)
            A frame with the columns, dtypes and categories of `fit` if it was fitted
            on a frame (draws of a real column held as integers are rounded), an array
            of floats otherwise. Categories are drawn from those seen in `fit`.

        Raises
        ------
        TypeError, ValueError
            If n_samples is not an integer >= 1.
        """
        check_is_fitted(self)
        n_samples = check_n_samples(n_samples)
        network = self.module_.network
        generator = make_generator(random_state, network.ordering.device)
        size = max(1, _SAMPLE_BLOCK // network.n_activations)
        multiplications = n_samples * self.module_.n_weights
        with threads_for(multiplications // self.n_features_in_):  # of one column
            codes = [
                self.module_.sample(min(size, n_samples - begin), generator)
                for begin in range(0, n_samples, size)
            ]
        return self.columns_.inverse(torch.cat(codes).double().cpu().numpy())

    def __getstate__(self):
        # Weights are stored for the CPU: a model fitted on a GPU opens without one.
        state = super().__getstate__()
        if "module_" in state and state["module_"].network.ordering.is_cuda:
            state = {**state, "module_": copy.deepcopy(state["module_"]).cpu()}
        return state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        takes_codes = self._numeric == "categorical" or self.conditional in (
            "bernoulli",
            "categorical",
        )
        tags.input_tags.categorical = takes_codes
        tags.input_tags.positive_only = takes_codes
        return tags


def _power_of_two(n: int, low: int, high: int) -> int:
    """Round n down to a power of two, within [low, high]."""
    return min(max(1 << max(n, 1).bit_length() - 1, low), high)
