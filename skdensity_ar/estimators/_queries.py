"""What else a density of tables can be asked: conditionals, missing cells, reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skdensity_ar._device import threads_for
from skdensity_ar._frames import (
    column_dtype,
    column_values,
    missing_cells,
    rows_of,
    unknown_column,
    with_cells,
    without_values,
)
from skdensity_ar._predictive import Predictive
from skdensity_ar._random import make_generator
from skdensity_ar._validation import check_columns, check_count, check_flag
from skdensity_ar.conditionals import Conditional
from skdensity_ar.estimators._base import BaseAutoregressiveDensity

# Numbers made while a block of rows is scored.
_SCORE_BLOCK = 2**20

STRATEGIES = ("mean", "median", "mode", "sample")


class ConditionalQueries(BaseAutoregressiveDensity):
    """Answers that follow from log p of some columns given others.

    With ordering="agnostic" all are exact: p(x_d | known columns) is what the networks
    are trained to say, whichever these are.
    """

    @torch.no_grad()
    def score_features(self, X, *, given=None, context=None, return_remainder=False):
        """Share of every column in the log-density of a row.

        The mean over orderings of log p(x_d | columns before d). The density is the
        average of one per ordering, whose logarithm is at least the mean of theirs;
        this remainder is shared out equally, so that rows sum to `score_samples`.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.
        given : {"others"} or None, default=None
            "others" asks for log p(x_d | all other known cells of the row) instead,
            that of `score_samples` with all columns but d given. These are no shares:
            what two columns have in common counts in both, and they do not sum to the
            score. Needs ordering="agnostic", and a pass per column.
        context : as in `fit`, default=None
            One for each row, of a density fitted with contexts.
        return_remainder : bool, default=False
            Whether to return the remainder as well.

        Returns
        -------
        log_conditionals : ndarray of shape (n_samples, n_features)
            In nats, in the units of X; 0 for missing cells.
        remainder : ndarray of shape (n_samples,)
            What was shared out among the cells of a row, at least 0. Only with
            return_remainder=True.

        Raises
        ------
        ValueError
            If cells are missing with missing="estimate": an estimate has no shares.
            For another `given`; with given="others" where there is no remainder to
            return, or the ordering is not "agnostic".
        """
        check_is_fitted(self)
        if given is not None:
            self._check_given_others(given, return_remainder)
            log_p, codes = self._of_cells(X, context, "cell_log_prob")
            return log_p + self.columns_.log_jacobians(codes)
        X, _ = self._read(X, reset=False, columns=self.columns_)
        if self._is_estimate and missing_cells(X).any():
            raise ValueError(
                "score_features knows no shares of an estimate: rows with missing "
                "cells need ordering='agnostic'; leave them out, or fit with it."
            )
        out = np.empty(X.shape)
        remainder = np.empty(X.shape[0])
        for begin, codes, x, cells in self._blocks_of(X, context):
            rows = slice(begin, begin + len(codes))
            with threads_for(len(x) * self.module_.n_weights):
                each = self.module_.member_log_conditionals(x, **cells)
                each = each.double()[:, : len(codes)].cpu().numpy()
            known = ~np.isnan(codes)
            totals = each.sum(-1)  # (E, n)
            log_mean = np.logaddexp.reduce(totals, axis=0) - np.log(len(totals))
            finite = np.isfinite(log_mean)  # of -inf every ordering says the same
            of_rows = np.subtract(
                log_mean, totals.mean(0), where=finite, out=np.zeros(len(codes))
            )
            remainder[rows] = np.maximum(of_rows, 0.0)
            equally = remainder[rows] / np.maximum(known.sum(1), 1)
            shares = each.mean(0) + equally[:, None]
            shares += self.columns_.log_jacobians(codes)
            out[rows] = np.where(known, shares, 0.0)
        return (out, remainder) if return_remainder else out

    def _check_given_others(self, given: Any, return_remainder: bool) -> None:
        if not (isinstance(given, str) and given == "others"):
            raise ValueError(
                f"given must be None or 'others', got {given!r}; score_samples takes "
                "columns."
            )
        if return_remainder:
            raise ValueError(
                "With given='others' nothing is shared out, so there is no remainder; "
                "set return_remainder=False."
            )
        self._check_agnostic("score_features(given='others')")

    def _of_cells(
        self, X: Any, context: Any, method: str
    ) -> tuple[np.ndarray, np.ndarray]:
        """Ask the module for a number for every cell, (n, D); return the codes too."""
        X, _ = self._read(X, reset=False, columns=self.columns_)
        out, all_codes = np.empty(X.shape), np.empty(X.shape)
        for begin, codes, x, cells in self._blocks_of(X, context):
            with threads_for(len(x) * self.module_.n_weights):
                each = getattr(self.module_, method)(x, cells.get("context"))
            rows = slice(begin, begin + len(codes))
            out[rows], all_codes[rows] = each[: len(codes)].cpu().numpy(), codes
        return out, all_codes

    @torch.no_grad()
    def score_cells(self, X, *, context=None) -> np.ndarray:
        """Log-odds that a cell holds what belongs there, given the others of its row.

        log p(x_d | all other known cells) - log r_d(x_d), where r_d is what a wrong
        cell may hold: with probability 1/2 the value of any other row, p(x_d), and with
        1/2 anything: a Cauchy density of three spreads, of counts and levels the masses
        of one of a single spread, equal masses of all categories, of all atoms and the
        values beside them. Units cancel: columns of all kinds compare. The lowest entry
        of a row is the cell that the others contradict most.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.
        context : as in `fit`, default=None
            One for each row, of a density fitted with contexts.

        Returns
        -------
        log_odds : ndarray of shape (n_samples, n_features)
            In nats; 0 for missing cells.

        Raises
        ------
        ValueError
            With other orderings than "agnostic".
        """
        check_is_fitted(self)
        self._check_agnostic("score_cells")
        return self._of_cells(X, context, "cell_log_odds")[0]

    @torch.no_grad()
    def cdf(self, X, column, *, context=None) -> np.ndarray:
        """Probability that a column is at most what it is, given the others.

        P(X_d ≤ x_d | the other cells of the row). With ordering="agnostic" of any
        column, given those cells that are known, by the density that
        `score_features(X, given="others")` has; otherwise of one that comes last in
        every ordering, given all others.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.
        column : hashable or int
            Name or index of the column: any but a categorical one, whose values have
            no order.
        context : as in `fit`, default=None
            One for each row, of a density fitted with contexts.

        Returns
        -------
        cdf : ndarray of shape (n_samples,)
            NaN where x_d is missing, or a level not seen in `fit`. If the density is
            right, it is uniform on [0, 1] for a real column (the probability integral
            transform).

        Raises
        ------
        ValueError
            For a column without an order, or one that others come after.
        """
        d, out = self._column_asked(column, "cdf"), []
        for codes, predictive in self._predictives(X, d, context):
            x_d = torch.as_tensor(codes[:, d]).to(predictive.params)
            cdf = predictive.cdf(x_d.nan_to_num(nan=0.0))
            out.append(cdf.masked_fill(x_d.isnan(), torch.nan).cpu().numpy())
        return np.concatenate(out)

    @torch.no_grad()
    def quantile(self, X, column, q, *, context=None) -> np.ndarray:
        """Quantiles of a column given the others.

        The least x of P(X_d ≤ x | the other cells of the row) ≥ q; of which columns,
        and given which cells, as in `cdf`.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`; what stands in the column itself, NaN or
            a value that `fit` has not seen, is not looked at.
        column : hashable or int
            Name or index of the column.
        q : float or sequence of float
            Probabilities between 0 and 1, both excluded.
        context : as in `fit`, default=None
            One for each row, of a density fitted with contexts.

        Returns
        -------
        quantiles : ndarray of shape (n_samples,) or (n_samples, len(q))
            In the units of X; of levels the labels.

        Raises
        ------
        ValueError
            As `cdf`, and for a q outside of (0, 1).
        """
        d = self._column_asked(column, "quantile")
        try:
            probabilities = np.asarray(q, dtype=np.float64)
        except (TypeError, ValueError):
            probabilities = np.empty(0)
        inside = (probabilities > 0.0) & (probabilities < 1.0)
        if probabilities.ndim > 1 or not (inside.size and inside.all()):
            raise ValueError(
                f"q must be a number between 0 and 1, both excluded, or a sequence of "
                f"such, got {q!r}."
            )
        listed, parts = probabilities.reshape(-1).tolist(), []
        for _, predictive in self._predictives(X, d, context, looks_at_d=False):
            each = [predictive.quantile(p).cpu().numpy() for p in listed]
            parts.append(np.reshape(each, (len(listed), -1)).T)
        codes = np.concatenate(parts)
        # As floats: a rounded one would not be the least.
        column_of = replace(self.columns_.columns[d], dtype=None)
        values = column_of.inverse(codes.reshape(-1))
        return values.reshape(len(codes), *probabilities.shape)

    def _column_asked(self, column: Any, method: str) -> int:
        """Check that p(column | others) is known and has an order."""
        check_is_fitted(self)
        names = self.columns_.names
        if isinstance(column, (bool, np.bool_)):  # flags say of all columns which
            raise ValueError(unknown_column(column, names, "column"))
        (d,) = check_columns([column], names, "column")
        if not self._is_agnostic and (self.ordering_[:, -1] != d).any():
            raise ValueError(
                f"{method} of column {names[d]!r} given the others needs an ordering "
                "that visits it last in every member: fit with n_orderings=1 and such "
                "an ordering, or with ordering='agnostic', which takes any column."
            )
        conditional = self.columns_.columns[d].conditional
        if getattr(conditional, method) is getattr(Conditional, method):
            other = "quantile" if method == "cdf" else "cdf"
            if getattr(conditional, other) is not getattr(Conditional, other):
                raise ValueError(
                    f"{method} of column {names[d]!r}: its conditional "
                    f"{conditional.__name__} has {other} but no {method}; define it, "
                    "or ask for draws by sample_conditional."
                )
            raise ValueError(
                f"{method} of column {names[d]!r}: its conditional "
                f"{conditional.__name__} knows no order of its values; "
                "sample_conditional draws them, conditional='ordinal' is for levels "
                "that have one."
            )
        return d

    def _predictives(
        self, X: Any, d: int, context: Any, *, looks_at_d: bool = True
    ) -> Iterator[tuple[np.ndarray, Predictive]]:
        """Rows block by block: their codes, and the density of column d."""
        X, _ = self._read(X, reset=False, columns=self.columns_)
        if not self._is_agnostic:
            self._check_others_known(X, d)
        if not looks_at_d:
            X = without_values(X, d)
        for _, codes, x, cells in self._blocks_of(X, context, with_missing=True):
            with threads_for(len(x) * self.module_.n_weights):
                predictive = self.module_.predictive(x, d, cells.get("context"))
            yield codes, predictive.first(len(codes))

    def _check_others_known(self, X: Any, d: int) -> None:
        names = self.columns_.names
        for j in np.flatnonzero(missing_cells(X).any(0)):
            if j != d:
                raise ValueError(
                    f"Input X contains NaN (missing values) in column {names[j]!r}; "
                    f"what is asked of column {names[d]!r} is known given all others, "
                    "or, with ordering='agnostic', given any of them."
                )

    def sample_conditional(
        self, X, n_samples=1, random_state=None, *, context=None, rounded=False
    ) -> np.ndarray:
        """Draw the missing cells of rows given the others.

        With ordering="agnostic" by an ordering of the missing columns drawn for each;
        with missing="estimate" one of `n_draws` for every ordering, by its weight,
        which is nearly so.

        Parameters
        ----------
        X : array-like or frame of shape (n_rows, n_features)
            Rows with the columns of `fit`, NaN where to draw.
        n_samples : int, default=1
            Draws per row.
        random_state : int, RandomState instance or None, default=None
            Decides the draws; None uses numpy's global generator.
        context : as in `fit`, default=None
            One for each row, of a density fitted with contexts.
        rounded : bool, default=False
            Whether what is drawn is rounded as the values of `fit` are; see `sample`.

        Returns
        -------
        draws : ndarray of shape (n_rows, n_samples, n_features)
            Rows of X completed; float64, of objects where X is a frame with labels.
            Draws of a real column that `fit` saw as integers are rounded.

        Raises
        ------
        TypeError, ValueError
            If n_samples is not an integer >= 1, or rounded no bool; with a fixed
            ordering and missing="exact".
        """
        check_is_fitted(self)
        self._check_draws("sample_conditional")
        n_samples = check_count(n_samples, "n_samples")
        rounded = check_flag(rounded, "rounded")
        X, _ = self._read(X, reset=False, columns=self.columns_)
        generator = make_generator(random_state, self.module_.network.ordering.device)
        parts = []
        for _, codes, x, cells in self._blocks_of(X, context):
            outside, device = cells.get("context"), x.device
            # As many draws at a time as rows in a block, of however few rows.
            draws = torch.arange(len(codes) * n_samples, device=device)
            for rows in (draws // n_samples).split(len(x)):
                given = None if outside is None else outside[rows]
                drawn = self._completed(x[rows], generator, given)
                parts.append(drawn.double().cpu().numpy())
        return self._draws(X, np.concatenate(parts), n_samples, rounded)

    def _draws(
        self, X: Any, codes: np.ndarray, n_samples: int, rounded: bool
    ) -> np.ndarray:
        """Draws (n_rows, n_samples, n_features) of codes, with known cells as in X."""
        # What is known stays as it is in X: categories too that training had not.
        missing = np.repeat(missing_cells(X), n_samples, axis=0)
        drawn = np.where(missing, codes, 0.0)
        table = self.columns_.inverse(drawn, rounded=rounded)
        draws = np.asarray(table.to_numpy() if hasattr(table, "columns") else table)
        # Integers, or float32, need not hold what is known.
        dtype = object if self.columns_.reads_labels else np.float64
        draws = draws.astype(dtype).reshape(X.shape[0], n_samples, X.shape[1])
        for j in range(X.shape[1]):
            values, missing = column_values(X, j)
            draws[~missing, :, j] = values[:, None]
        return draws

    @torch.no_grad()
    def impute(
        self, X, strategy="mean", random_state=None, *, context=None, rounded=False
    ):
        """Fill the missing cells of rows by what the others say of them.

        Parameters
        ----------
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`, NaN where to fill.
        strategy : {"mean", "median", "mode", "sample"}, default="mean"
            Of p(x_d | known cells of the row), for every missing cell by itself;
            "sample" draws all of them together, as `sample_conditional` does, and is
            the only one with missing="estimate". A category has a mode, whichever of
            the first three is asked for; a count or a level is rounded; in a column
            with bounds the mean is that of what its mixture is of, mapped back; a
            column with atoms is filled by the likeliest of these, unless all values
            that are none are together likelier.
        random_state : int, RandomState instance or None, default=None
            Decides the draws of "sample".
        context : as in `fit`, default=None
            One for each row, of a density fitted with contexts.
        rounded : bool, default=False
            Whether what is filled in, by whichever strategy, is rounded as the values
            of `fit` are; see `sample`.

        Returns
        -------
        X : ndarray or frame of shape (n_samples, n_features)
            Like X, its known cells as they were.

        Raises
        ------
        TypeError, ValueError
            For another strategy, or with other orderings than "agnostic", of which
            missing="estimate" knows "sample". If rounded is no bool.
        """
        check_is_fitted(self)
        rounded = check_flag(rounded, "rounded")
        if not isinstance(strategy, str) or strategy not in STRATEGIES:
            raise ValueError(f"strategy must be one of {STRATEGIES}, got {strategy!r}.")
        if strategy == "sample":
            self._check_draws("impute")
        else:
            draws = " strategy='sample' draws them." if self._is_estimate else ""
            self._check_agnostic(f"impute by the {strategy}", draws)
        X, _ = self._read(X, reset=False, columns=self.columns_)
        generator = None
        if strategy == "sample":
            device = self.module_.network.ordering.device
            generator = make_generator(random_state, device)
        parts = []
        for _, codes, x, cells in self._blocks_of(X, context):
            x, outside = x[: len(codes)], cells.get("context")
            outside = None if outside is None else outside[: len(codes)]
            known = ~x.isnan()
            if generator is not None:
                filled = self._completed(x, generator, outside)
            else:
                filled = self._centers(x, known, strategy, outside)
            parts.append(filled.double().cpu().numpy())
        codes, cells_of = np.concatenate(parts), {}
        for j, fitted in enumerate(self.columns_.columns):
            missing = column_values(X, j)[1]
            if missing.any():
                column = replace(fitted, dtype=column_dtype(X, j))
                values = column.inverse(codes[missing, j])
                values = column.on_grid(values) if rounded else values
                cells_of[j] = missing, values, fitted.dtype
        return with_cells(X, cells_of)

    def _centers(
        self, x: Tensor, known: Tensor, kind: str, context: Tensor | None
    ) -> Tensor:
        """Codes (n, D) whose missing cells are the means, medians or modes."""
        with threads_for(len(x) * self.module_.n_weights):
            params = self.module_.cell_params(x, known, context)
        filled = x.clone()
        for d, (conditional, params_d) in enumerate(self.module_.by_column(params)):
            rows = (~known[:, d]).nonzero().squeeze(-1)
            if len(rows) > 0:
                center = conditional.center(params_d[:, rows], kind)
                filled[rows, d] = center.squeeze(-1)
        return filled

    @property
    def _is_estimate(self) -> bool:
        """Whether the fitted density estimates that of rows with missing cells."""
        return self.module_.score_kind == "estimate"

    def _contexts(self, context: Any, n: int | None = None) -> Tensor | None:
        """Encode contexts, of n rows or as many as there are, on the device."""
        if self.context_ is None:
            if context is None:
                return None
            raise ValueError(
                f"{type(self).__name__} was fitted without context; pass context to "
                "fit as well, or leave it out here."
            )
        if context is None:
            raise ValueError(
                f"{type(self).__name__} was fitted with contexts, of the columns "
                f"{self.context_.columns.names}; pass context, one for each row."
            )
        if n is None:  # as many as there are
            shape = getattr(context, "shape", None)
            if shape is None:
                shape = (len(context),) if hasattr(context, "__len__") else ()
            n = shape[0] if shape else 1
            if n == 0:
                raise ValueError("context has 0 rows; pass one at least.")
        network = self.module_.network
        encoded = self.context_.encode(self.context_.read(context, n))
        return encoded.to(network.ordering.device, network.dtype)

    def _blocks_of(
        self, X: Any, context: Any, *, with_missing: bool = False
    ) -> Iterator[tuple[int, np.ndarray, Tensor, dict[str, Tensor]]]:
        """Rows of X block by block: where they begin, their codes, and both as tensors.

        Blocks are of one size, the last one padded: a row's score does not depend on
        how many rows come with it. The last entry tells a module of missing cells, and
        holds contexts.
        """
        network = self.module_.network
        contexts = self._contexts(context, X.shape[0])
        with_missing = with_missing or self._is_agnostic or self._is_estimate
        size = _power_of_two(_SCORE_BLOCK // network.n_activations, 16, 4096)
        padded = np.zeros((size, X.shape[1]))
        for begin in range(0, X.shape[0], size):
            rows = rows_of(X, begin, begin + size)
            codes = self.columns_.transform(rows, with_missing=with_missing)
            padded[: len(codes)], padded[len(codes) :] = codes, 0.0
            x = torch.as_tensor(
                padded, dtype=network.dtype, device=network.ordering.device
            )
            cells = {"known": ~x.isnan()} if bool(np.isnan(codes).any()) else {}
            if contexts is not None:
                of_block = contexts.new_zeros((size, contexts.shape[1]))
                of_block[: len(codes)] = contexts[begin : begin + len(codes)]
                cells["context"] = of_block
            yield begin, codes, x, cells

    def _completed(
        self, x: Tensor, generator: torch.Generator, context: Tensor | None
    ) -> Tensor:
        """Codes (n, D) whose missing cells are drawn given the others."""
        how = {}
        if self._is_estimate:
            how["n_draws"] = check_count(self.n_draws, "n_draws", least=2)
        return self.module_.complete(x, ~x.isnan(), generator, context, **how)

    def _check_draws(self, method: str) -> None:
        if not self._is_estimate:
            self._check_agnostic(method, " missing='estimate' has draws of it.")

    def _check_agnostic(self, method: str, otherwise: str = "") -> None:
        if not self._is_agnostic:
            raise ValueError(
                f"{method} needs the probability of any columns given any others, "
                f"which ordering='agnostic' has; fit with it.{otherwise}"
            )


def _power_of_two(n: int, low: int, high: int) -> int:
    """Round n down to a power of two, within [low, high]."""
    return min(max(1 << max(n, 1).bit_length() - 1, low), high)
