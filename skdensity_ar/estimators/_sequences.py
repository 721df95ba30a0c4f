"""Densities of sequences: fit, score_samples, score_timesteps, score and sample."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import torch
from scipy.special import logsumexp
from sklearn.utils.validation import check_is_fitted

from skdensity_ar._columns import Columns, repetitions
from skdensity_ar._device import threads_for
from skdensity_ar._frames import container_of, rows_of
from skdensity_ar._random import make_generator
from skdensity_ar._sequences import SequenceRows
from skdensity_ar._validation import (
    _fit_context,
    check_count,
    check_flag,
    check_sequences,
    check_weights,
)
from skdensity_ar.estimators._base import (
    MIN_TO_SPLIT,
    BaseAutoregressiveDensity,
    Examples,
    warn_of_no_validation,
)
from skdensity_ar.estimators._data import Data, Size, relative_weights

# Frames that the inner network scores at a time, however many there are.
_SCORE_FRAMES = 256

# About as many are prepared at a time.
_BLOCK = 2**16


class SequenceDensity(BaseAutoregressiveDensity):
    """The density of a sequence given its length; see `BaseAutoregressiveDensity`."""

    def _auto_orderings(self, size: Size) -> int:
        return 4

    def _auto_epochs(self, size: Size) -> int:
        return 80

    def _auto_components(self, size: Size) -> int:
        return 5

    def _auto_frequencies(self, size: Size) -> int:
        return 0

    def _auto_dropout(self, size: Size, n_members: int) -> float:
        return 0.2

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X, y=None, sample_weight=None, *, X_val=None, sample_weight_val=None
    ) -> Self:
        """Fit the density to the sequences of X.

        Parameters
        ----------
        X : list of arrays or frames (n_timesteps_i, n_features)
            Training sequences, or an object array of such, or one array
            (n_sequences, n_timesteps, n_features) in which rows of NaN at the end of
            a sequence are not part of it. `[X]` is the data set of one sequence X.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_sequences,), default=None
            How often each sequence counts, all of its frames alike; None counts each
            once. A weight of 2 is as the sequence twice, a weight of 0 as none.
        X_val : as X, default=None
            Sequences that early stopping watches; None sets a share of X aside: whole
            sequences, or, of fewer than 10, the last frames of each.
        sample_weight_val : array-like of shape (n_validation_sequences,), default=None
            How often each sequence of X_val counts; None counts each once.

        Returns
        -------
        self : object
            The fitted estimator. If `fit` fails or is interrupted, the estimator is
            left as it was before.

        Raises
        ------
        ValueError, TypeError
            If X is no set of sequences (the message names the sequence by its index)
            or holds values that its columns cannot have (it names the column).
        """
        self._fit(X, X_val, sample_weight, sample_weight_val=sample_weight_val)
        return self

    def _read(
        self, X: Any, *, reset: bool, columns: Columns | None
    ) -> tuple[Any, np.ndarray]:
        labels = columns is not None and columns.reads_labels
        return check_sequences(self, X, reset=reset, reads_labels=labels)

    def _examples(
        self, module: Any, data: Data, n_train: int, generator: torch.Generator
    ) -> Examples:
        x, lengths, weights = data.x, data.lengths, data.weights
        assert lengths is not None
        table, n_members = module.table(x, lengths), module.n_members
        seen = drawn = lengths[:n_train]
        if weights is None:
            weights = np.ones(len(lengths))
        else:
            drawn = seen[repetitions(weights[:n_train])]
            weights = relative_weights(weights, n_train)
        if n_train >= MIN_TO_SPLIT:
            rows = SequenceRows.of_whole(table, lengths, weights, self.bptt_length)
            train_index, valid_index = self._split(
                n_train, len(lengths), n_members, generator
            )
        else:
            heads = seen
            if self.early_stopping and len(lengths) == n_train:
                share = np.ceil(self.validation_fraction * seen).astype(int)
                heads = np.maximum(seen - share, 1)
                if len(x) < MIN_TO_SPLIT or (heads == seen).all():
                    warn_of_no_validation(f"{n_train} sequences of {len(x)} time steps")
                    heads = seen
            rows, n_pieces = SequenceRows.of_few(
                table, lengths, heads, weights, self.bptt_length
            )
            index = torch.arange(len(rows.begins), device=x.device)
            index = index.expand(n_members, -1)
            train_index, valid_index = index[:, :n_pieces], index[:, n_pieces:]
            if valid_index.shape[1] == 0:
                valid_index = None
        n = train_index.shape[1]
        n_timesteps = rows.lengths[train_index[0].cpu().numpy()].mean()
        size = self._batch_size(n, n_timesteps)
        return Examples(
            rows,
            train_index,
            valid_index,
            batch_size=size,
            rows_per_batch=int(size * min(n_timesteps, self.bptt_length)),
            attributes={"n_timesteps_": drawn},
        )

    def _batch_size(self, n: int, n_timesteps: float) -> int:
        """Return the number of sequences per mini-batch."""
        if self.batch_size != "auto":
            return min(self.batch_size, n)
        n_frames = min(max(n * n_timesteps / 16, 256), 1024)
        return min(max(round(n_frames / min(n_timesteps, self.bptt_length)), 1), n)

    @torch.no_grad()
    def _member_log_prob(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return log p_e(x_t | x_<t) of members and frames, (E, N), and the lengths.

        In the units of X: all members' frames have the same Jacobians.
        """
        check_is_fitted(self)
        X, lengths = self._read(X, reset=False, columns=self.columns_)
        device = self.module_.network.ordering.device
        ends = np.cumsum(lengths)
        out = np.empty((self.module_.n_members, ends[-1]))
        # Whole sequences, about so many frames at a time.
        blocks = np.split(
            np.arange(len(ends)), np.flatnonzero(np.diff(ends // _BLOCK)) + 1
        )
        for block in blocks:
            begin, end = ends[block[0]] - lengths[block[0]], ends[block[-1]]
            codes = self.columns_.transform(rows_of(X, begin, end))
            x = torch.as_tensor(codes, device=device)
            with threads_for(_SCORE_FRAMES * self.module_.n_weights):
                log_p = self.module_.frame_log_prob(x, lengths[block], _SCORE_FRAMES)
            log_jacobian = self.columns_.log_jacobians(codes).sum(1)
            out[:, begin:end] = log_p.cpu().numpy() + log_jacobian
        return out, lengths

    def _totals(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return log p of every sequence, and the lengths."""
        log_p, lengths = self._member_log_prob(X)
        totals = np.add.reduceat(log_p, np.cumsum(lengths) - lengths, axis=1)
        return _log_mean_exp(totals), lengths

    def score_samples(self, X) -> np.ndarray:
        """Log-density of every sequence under the model, given its length.

        Parameters
        ----------
        X : list of arrays or frames (n_timesteps_i, n_features)
            Sequences with the columns of `fit`, in any container that `fit` takes.

        Returns
        -------
        log_density : ndarray of shape (n_sequences,)
            log p(x_1, …, x_T | T) in nats, float64, in the units of X: a density with
            respect to Lebesgue measure for real columns, a mass for the others. The
            sum over the time steps, not their mean.

        Raises
        ------
        ValueError, TypeError
            If X is no set of sequences, has other columns than in `fit`, or values
            they cannot have.
        """
        return self._totals(X)[0]

    def score_timesteps(self, X) -> list[np.ndarray]:
        """Log-density of every frame given the frames before it.

        Parameters
        ----------
        X : list of arrays or frames (n_timesteps_i, n_features)
            Sequences with the columns of `fit`, in any container that `fit` takes.

        Returns
        -------
        log_densities : list of ndarray of shape (n_timesteps_i,)
            log p(x_t | x_1, …, x_{t-1}) in nats, float64, in the units of X; they sum
            to `score_samples`. After a frame of density 0 they are -inf.

        Raises
        ------
        ValueError, TypeError
            As `score_samples`.
        """
        log_p, lengths = self._member_log_prob(X)
        cuts = np.cumsum(lengths)[:-1]
        sums = [steps.cumsum(1) for steps in np.split(log_p, cuts, axis=1)]
        # The ensemble's own conditionals: ratios of its densities of prefixes.
        out = []
        for prefixes in np.split(_log_mean_exp(np.concatenate(sums, axis=1)), cuts):
            with np.errstate(invalid="ignore"):
                steps = np.diff(prefixes, prepend=0.0)
            steps[np.isneginf(prefixes)] = -np.inf
            out.append(steps)
        return out

    def score(self, X, y=None, sample_weight=None) -> float:
        """Mean log-density per time step.

        Parameters
        ----------
        X : list of arrays or frames (n_timesteps_i, n_features)
            Sequences with the columns of `fit`, in any container that `fit` takes.
        y : Ignored
            Not used, present for API consistency by convention.
        sample_weight : array-like of shape (n_sequences,), default=None
            How often each sequence counts; None counts each once.

        Returns
        -------
        score : float
            Sum of `score_samples(X)` over the number of frames of all sequences, in
            nats per time step: the convention of the music and speech papers.
        """
        totals, lengths = self._totals(X)
        weights = np.ones(len(lengths))
        if sample_weight is not None:
            weights = check_weights(sample_weight, len(lengths))
        weights = weights / weights.max()  # the sum of large ones is infinite
        some = weights > 0.0  # of the others totals may be infinite
        return float(weights[some] @ totals[some] / (weights[some] @ lengths[some]))

    def sample(
        self, n_samples=1, n_timesteps=None, random_state=None, *, rounded=False
    ) -> list[Any]:
        """Draw sequences from the model.

        Parameters
        ----------
        n_samples : int, default=1
            Number of sequences.
        n_timesteps : int, sequence of int or None, default=None
            Length of all, or of each; None draws each from those seen in `fit`.
        random_state : int, RandomState instance or None, default=None
            Decides the draws; None uses numpy's global generator.
        rounded : bool, default=False
            Whether the draws of a real column are rounded as its values in `fit` are:
            to the nearest of few values that repeat, or to a multiple of 1, 2, 2.5 or 5
            times a power of ten; a column of neither kind stays as drawn. Rounded
            sequences follow the density no more exactly than to half a step.

        Returns
        -------
        X : list of ndarray or frame of shape (n_timesteps_i, n_features)
            As `fit` takes them; frames if it was fitted on frames.

        Raises
        ------
        TypeError, ValueError
            If n_samples or n_timesteps is not an integer >= 1, or n_timesteps has
            another length than n_samples, or rounded is no bool.
        """
        check_is_fitted(self)
        n_samples = check_count(n_samples, "n_samples")
        rounded = check_flag(rounded, "rounded")
        network = self.module_.network
        generator = make_generator(random_state, network.ordering.device)
        lengths = self._lengths(n_samples, n_timesteps, generator)
        multiplications = n_samples * self.module_.n_weights
        with threads_for(multiplications // self.n_features_in_):  # of one column
            codes = self.module_.sample(lengths, generator)
        drawn = torch.cat(codes).double().cpu().numpy()
        table = self.columns_.inverse(drawn, rounded=rounded)
        ends = np.cumsum(lengths).tolist()
        frames = [
            rows_of(table, end - n, end) for n, end in zip(lengths, ends, strict=True)
        ]
        if container_of(table) == "pandas":
            return [frame.reset_index(drop=True) for frame in frames]
        return frames

    def _lengths(
        self, n_samples: int, n_timesteps: Any, generator: torch.Generator
    ) -> list[int]:
        if n_timesteps is None:
            device, n_seen = generator.device, len(self.n_timesteps_)
            index = torch.randint(
                n_seen, (n_samples,), generator=generator, device=device
            )
            return self.n_timesteps_[index.cpu().numpy()].tolist()
        if isinstance(n_timesteps, np.ndarray):
            n_timesteps = n_timesteps.tolist()
        if np.ndim(n_timesteps) == 0:
            return [check_count(n_timesteps, "n_timesteps")] * n_samples
        lengths = [check_count(n, "each of n_timesteps") for n in n_timesteps]
        if len(lengths) != n_samples:
            raise ValueError(
                f"n_timesteps has {len(lengths)} lengths for n_samples={n_samples}; "
                "pass one for each, or a single one for all."
            )
        return lengths

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags


def _log_mean_exp(members: np.ndarray) -> np.ndarray:
    """Average the members' densities: (E, n) -> (n,)."""
    return logsumexp(members, axis=0) - np.log(len(members))
