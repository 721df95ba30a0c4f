"""Densities of tables: fit, score_samples, score and sample, row by row."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skdensity_ar._columns import Columns
from skdensity_ar._completed import CompletedRows
from skdensity_ar._device import threads_for
from skdensity_ar._em import fit_without
from skdensity_ar._random import make_generator
from skdensity_ar._training import TensorRows
from skdensity_ar._validation import (
    Interval,
    StrOptions,
    _fit_context,
    check_columns,
    check_count,
    check_flag,
    check_table,
    weighted_mean,
)
from skdensity_ar.conditionals import N_SETS
from skdensity_ar.estimators._base import (
    AGNOSTIC,
    MIN_EPOCHS,
    BaseAutoregressiveDensity,
    Examples,
    filled,
)
from skdensity_ar.estimators._data import Data, Size, relative_weights
from skdensity_ar.estimators._queries import ConditionalQueries

# Rows per column from which on a fit needs less noise, and can tell more components
# apart, and from which on it needs none if no column is real.
_MANY_ROWS, _ENOUGH_ROWS = 50, 1000

# Components of a single real column, whose shape is all there is to learn: kernels of
# `N_SETS` widths on each row, on so many at most.
_MOST_KERNELS = 1000

# Rows from which on a fit takes long enough with half of the orderings.
_LARGE = 10000

# Networks that serve all orderings, at most; more orderings need no more weights.
_NETWORKS = 8

# Numbers made while a block of rows is sampled.
_SAMPLE_BLOCK = 2**26

# Of those that have mixtures; float32 tells no more than so many frequencies apart.
MIXTURE_CONSTRAINTS = {
    "n_components": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
    "n_frequencies": [StrOptions({"auto"}), Interval(Integral, 0, 16, closed="both")],
}


class TableDensity(ConditionalQueries):
    """The density of a row; see `BaseAutoregressiveDensity`."""

    _parameter_constraints: ClassVar[dict] = {
        **BaseAutoregressiveDensity._parameter_constraints,
        "ordering": [
            StrOptions({"natural", "reversed", "random", AGNOSTIC}),
            "array-like",
        ],
        "n_networks": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "missing": [StrOptions({"exact", "estimate"})],
        "n_draws": [Interval(Integral, 2, None, closed="left")],
    }

    def _auto_orderings(self, size: Size) -> int:
        if size.n_columns == 1:
            return 1
        return 8 if size.columns.real and size.n_rows < _LARGE else 4

    def _n_networks(self, n_orderings: int) -> int:
        """Say how many networks serve that many orderings."""
        n: Any = getattr(self, "n_networks", "auto")
        if not self._is_agnostic:
            if n != "auto":
                raise ValueError(
                    f"n_networks={n} is for ordering='agnostic'; with other orderings "
                    "n_orderings says how many networks there are."
                )
            return n_orderings
        return min(n_orderings, _NETWORKS) if n == "auto" else n

    def _auto_epochs(self, size: Size) -> int:
        if not size.columns.real or _are_few(size):
            return 80
        # A single column is next to done where it starts.
        return MIN_EPOCHS if size.n_columns == 1 else 160

    def _auto_components(self, size: Size) -> int:
        n_mixtures = len(size.columns.mixtures)
        if n_mixtures == 0 or _are_few(size):
            return 5
        if size.n_columns == 1 and size.columns.real:
            return N_SETS * min(size.n_rows, _MOST_KERNELS)
        return min(max(200 // n_mixtures, 10), 30)

    def _auto_frequencies(self, size: Size) -> int:
        if size.n_columns == 1:  # nothing comes after it
            return 0
        return 2 if _are_few(size) else 8

    def _auto_dropout(self, size: Size, n_members: int) -> float | list[float]:
        if _are_few(size):
            return 0.2
        if not size.columns.real:
            return 0.0 if size.n_rows >= _ENOUGH_ROWS * size.n_columns else 0.1
        # What a real column is to a thousandth of its spread, a network that loses
        # units in every step cannot learn; other tables gain: a member for either.
        return [0.1 * (e % 2) for e in range(n_members)]

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X,
        y=None,
        sample_weight=None,
        *,
        X_val=None,
        sample_weight_val=None,
        context=None,
        context_val=None,
    ) -> Self:
        """Fit the density to the rows of X.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Training rows. With ordering="agnostic" or missing="estimate" cells may be
            missing, NaN.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts; None counts each once. A weight of 2 is as the
            row twice, a weight of 0 as none.
        X_val : array-like or frame of shape (n_validation_samples, n_features), \
                default=None
            Rows that early stopping watches; None sets a share of X aside.
        sample_weight_val : array-like of shape (n_validation_samples,), default=None
            How often each row of X_val counts; None counts each once.
        context : array-like, series or frame of shape (n_samples, n_columns) or \
                (n_samples,), default=None
            What the density is conditioned on: p(x | context). Labels and booleans,
            of a frame or an array of strings, are categories; numbers are numbers,
            class labels that are integers too: make them strings. An array holds
            either; a frame may hold both.
        context_val : as context, default=None
            Of the rows of X_val, which need one where X has one.

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
        self._fit(
            X,
            X_val,
            sample_weight,
            sample_weight_val=sample_weight_val,
            context=context,
            context_val=context_val,
        )
        return self

    def _read(
        self, X: Any, *, reset: bool, columns: Columns | None
    ) -> tuple[Any, np.ndarray | None]:
        labels = columns is not None and columns.reads_labels
        return check_table(self, X, reset=reset, reads_labels=labels), None

    def _examples(
        self, module: Any, data: Data, n_train: int, generator: torch.Generator
    ) -> Examples:
        train_index, valid_index = self._split(
            n_train, data.n, module.n_members, generator
        )
        n = train_index.shape[1]
        size = self.batch_size
        size = min(max(n // 16, 32), 256, n) if size == "auto" else min(size, n)
        weights = None
        if data.weights is not None:
            relative = relative_weights(data.weights, n_train)
            weights = torch.as_tensor(relative).to(data.x)
        rows = TensorRows(data.x, data.context, weights)
        # Further training goes on beside the Gaussians that are there.
        if self._is_agnostic and module.predicted and not self._goes_on:
            of_train = None if weights is None else weights[:n_train]
            module.without, which = fit_without(
                module.gaussians, data.x[:n_train], of_train
            )
            # The last set has seen all of X, and nothing of X_val.
            last = which.new_full((data.n - n_train,), module.without.n_sets - 1)
            rows.which = torch.cat([which, last])
        if self._estimates and data.x.isnan().any():
            rows = CompletedRows(
                data.x,
                data.context,
                weights,
                module=module,
                start=filled(data.x, generator),
                train_index=train_index,
            )
        # Seeds of fits are less than 2³¹: draws are none that a fit has seen.
        attributes = {"seed_": generator.initial_seed() + 2**31}
        return Examples(rows, train_index, valid_index, size, size, attributes)

    def _has_mass(self, X: Any) -> np.ndarray | None:
        """Which cells (n, D) have a mass, not a density; None if none ever has."""
        if len(self.columns_.linear) == len(self.columns_.columns):
            return None  # rows need not be read twice
        X, _ = self._read(X, reset=False, columns=self.columns_)
        return self.columns_.has_mass(self.columns_.transform(X, with_missing=True))

    @torch.no_grad()
    def score_samples(self, X, *, given=None, context=None, return_std=False):
        """Log-density of every row under the model.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`. With ordering="agnostic" or
            missing="estimate" cells may be missing, NaN.
        given : column or sequence of columns, default=None
            Names or indices of columns on which the density of the others is
            conditioned. With ordering="agnostic" these are any, as with
            missing="estimate", where the score is the difference of that of the row
            and that of what is given; otherwise such as come before all others in
            every ordering.
        context : as in `fit`, default=None
            One for each row, of a density fitted with contexts.
        return_std : bool, default=False
            Whether to return the standard deviations of the scores as well.

        Returns
        -------
        log_density : ndarray of shape (n_samples,)
            log p(x), or log p(others | given), in nats, float64, in the units of X: a
            density with respect to Lebesgue measure for real columns, a mass for the
            others and for atoms (see `base_measure_`); given the context where there is
            one. Of a row with missing cells that of what is known, 0 where nothing is.
        std : ndarray of shape (n_samples,)
            Standard deviation of log_density over the draws of missing="estimate"; 0 of
            an exact score. The rows have their draws in common, so their errors are
            correlated. Only with return_std=True.

        Raises
        ------
        ValueError, TypeError
            If X has other columns than in `fit`, or values they cannot have, or not
            those that are given.
        """
        check_is_fitted(self)
        X, _ = self._read(X, reset=False, columns=self.columns_)
        is_given = np.zeros(X.shape[1], dtype=bool)
        if given is not None:
            is_given[check_columns(given, self.columns_.names, "given")] = True
            if not self._is_agnostic and not self._is_estimate:
                self._check_come_first(is_given)
        log_density, std = np.empty(X.shape[0]), np.zeros(X.shape[0])
        for begin, codes, x, cells in self._blocks_of(X, context):
            log_jacobians = self.columns_.log_jacobians(codes)
            log_jacobian = np.where(is_given, 0.0, log_jacobians).sum(1)
            columns = torch.as_tensor(is_given, device=x.device)
            with threads_for(len(x) * self.module_.n_weights):
                log_p, of_block = self._scored(x, columns, cells)
            rows = slice(begin, begin + len(codes))
            log_density[rows] = log_p[: len(codes)].cpu().numpy() + log_jacobian
            std[rows] = of_block[: len(codes)].cpu().numpy()
        return (log_density, std) if return_std else log_density

    def _scored(
        self, x: Tensor, given: Tensor, cells: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return log p of rows (n, D) given columns (D,), and its deviation, (n,)."""
        context = cells.get("context")
        if self._is_estimate:
            n_draws = check_count(self.n_draws, "n_draws", least=2)
            how = {"n_draws": n_draws, "seed": self.seed_}
            if given.any():
                return self.module_.conditional_estimate(x, given, context, **how)
            return self.module_.estimate(x, context, **how)
        if given.any():
            log_p = self.module_.conditional_log_prob(x, given, context)
        else:
            log_p = self.module_.log_prob(x, **cells)
        return log_p, torch.zeros_like(log_p)

    def _check_come_first(self, is_given: np.ndarray) -> None:
        first = self.ordering_[:, : is_given.sum()]
        if not is_given[first].all():
            names = [self.columns_.names[d] for d in np.flatnonzero(is_given)]
            raise ValueError(
                f"given={names} do not come before the other columns in every ordering "
                "of the fitted density. ordering='agnostic' takes any, as does "
                "missing='estimate'; otherwise fit with n_orderings=1 and an ordering "
                "that visits them first."
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = self._takes_missing
        return tags

    def score(self, X, y=None, sample_weight=None, *, context=None) -> float:
        """Mean log-density of the rows.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts; None counts each once.
        context : as in `fit`, default=None
            One for each row, of a density fitted with contexts.

        Returns
        -------
        score : float
            Mean of `score_samples(X)`, in nats per row.
        """
        return weighted_mean(self.score_samples(X, context=context), sample_weight)

    def sample(self, n_samples=1, random_state=None, *, context=None, rounded=False):
        """Draw rows from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows, or of rows for each context.
        random_state : int, RandomState instance or None, default=None
            Decides the draws; None uses numpy's global generator.
        context : as in `fit`, default=None
            Of a density fitted with contexts: what to draw given. The draws for the
            first context come first.
        rounded : bool, default=False
            Whether the draws of a real column are rounded as its values in `fit` are:
            to the nearest of few values that repeat, or to a multiple of 1, 2, 2.5 or 5
            times a power of ten; a column of neither kind stays as drawn. Rounded rows
            have the digits of the table, and follow the density no more exactly than to
            half a step.

        Returns
        -------
        X : ndarray or frame of shape (n_samples, n_features)
            A frame with the columns, dtypes and categories of `fit` if it was fitted
            on a frame (draws of a real column held as integers are rounded), an array
            of floats otherwise. Categories are drawn from those seen in `fit`.

        Raises
        ------
        TypeError, ValueError
            If n_samples is not an integer >= 1, or rounded no bool.
        """
        check_is_fitted(self)
        n_samples = check_count(n_samples, "n_samples")
        rounded = check_flag(rounded, "rounded")
        network = self.module_.network
        given = self._contexts(context)
        if given is not None:
            given = given.repeat_interleave(n_samples, 0)
            n_samples = len(given)
        generator = make_generator(random_state, network.ordering.device)
        size = max(1, _SAMPLE_BLOCK // network.n_activations)
        multiplications = n_samples * self.module_.n_weights
        with threads_for(multiplications // self.n_features_in_):  # of one column
            codes = []
            for begin in range(0, n_samples, size):
                n = min(size, n_samples - begin)
                part = None if given is None else given[begin : begin + n]
                codes.append(self.module_.sample(n, generator, part))
        drawn = torch.cat(codes).double().cpu().numpy()
        return self.columns_.inverse(drawn, rounded=rounded)


def _are_few(size: Size) -> bool:
    """Whether a network would learn so many rows by heart."""
    return size.n_rows < _MANY_ROWS * size.n_columns
