"""One row's log-density, column by column."""

from __future__ import annotations

import ast
from typing import Any, Self

import numpy as np

from skdensity_ar._columns import is_any_of
from skdensity_ar._frames import column_values, missing_cells, rows_of
from skdensity_ar._validation import (
    as_table,
    check_context,
    check_count,
    check_matplotlib_support,
)

MASS, DENSITY = "#16877a", "#9aa5ac"
BELOW, ABOVE = "#d1495b", "#2e6f9e"


class FeatureScoresDisplay:
    """The share of every column in the log-density of one row, lowest first.

    A share is a conditional log-density in nats, log p(x_d | the columns before),
    averaged over orderings, or with given="others" log p(x_d | all others). That of a
    real column depends on its unit: in metres it is log 1000 higher than in
    millimetres, so shares of columns with different units do not compare, nor do they
    with those of categories, which are masses. What can be compared is how far each
    share lies from the one that is typical of its column, `reference`: there the unit
    cancels. Without a reference the bars of masses and of densities have two colours.

    `from_estimator` makes a display of a fitted density; parameters are kept as
    attributes.

    Parameters
    ----------
    scores : array-like of shape (n_features,)
        Shares of the columns, in nats.
    values : sequence of shape (n_features,)
        The row; None where a cell is missing.
    feature_names : sequence of str, default=None
        "x0", "x1", … by default.
    reference : array-like of shape (n_features,), default=None
        Typical shares, which the bars then start from.
    log_density : float, default=None
        Of the whole row, for the title.
    is_density : array-like of bool, shape (n_features,), default=None
        Which of the shares are densities, in units of their own.
    given : str or None, default=None
        "others": the scores are of columns given all others, and no shares.

    Attributes
    ----------
    bars_ : matplotlib BarContainer
        From top to bottom.
    features_ : ndarray of int
        The columns that they are of.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    skdensity_ar.MADEDensity.score_features : What the shares are.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from skdensity_ar import MADEDensity
    >>> from skdensity_ar.datasets import load_penguins
    >>> from skdensity_ar.plotting import FeatureScoresDisplay
    >>> X = load_penguins(dropna=True).frame
    >>> density = MADEDensity(n_orderings=2, max_iter=5, random_state=0).fit(X)
    >>> odd = density.score_samples(X).argmin()
    >>> FeatureScoresDisplay.from_estimator(density, X, row=odd, X_reference=X)
    <...>
    >>> plt.show()
    """

    def __init__(
        self,
        scores,
        *,
        values,
        feature_names=None,
        reference=None,
        log_density=None,
        is_density=None,
        given=None,
    ):
        self.scores = scores
        self.values = values
        self.feature_names = feature_names
        self.reference = reference
        self.log_density = log_density
        self.is_density = is_density
        self.given = given

    @classmethod
    def from_estimator(
        cls,
        estimator,
        X,
        *,
        row=0,
        X_reference=None,
        given=None,
        context=None,
        context_reference=None,
        max_features=10,
        ax=None,
        **kwargs,
    ) -> Self:
        """Score one row column by column, and plot it.

        Parameters
        ----------
        estimator : fitted estimator
            With `score_features` and `score_samples`: a density of tables or a
            `DensityOutlierDetector`.
        X : array-like or frame of shape (n_samples, n_features)
            Rows with the columns of `fit`.
        row : int, default=0
            Which of them to show, by its position; -1 is the last.
        X_reference : array-like or frame of shape (n_others, n_features), default=None
            Rows whose median share of every column the bars start from. A mass and a
            density do not compare: in a column with atoms the median is over rows that
            hold one, if the row does, and otherwise over those that hold none. How
            rare atoms are does not show.
        given : {"others"} or None, default=None
            As in `score_features`.
        context, context_reference : as in `fit`, default=None
            One for each row of X and X_reference, of a density fitted with contexts.
        max_features : int or None, default=10
            Bars to show, those of the lowest columns; None for all.
        ax : matplotlib Axes, default=None
            Where to plot; a new figure by default.
        **kwargs : dict
            For matplotlib's `barh`.

        Returns
        -------
        display : FeatureScoresDisplay

        Raises
        ------
        TypeError
            For an estimator without `score_features`.
        IndexError
            If X has no such row.
        ValueError
            If X_reference tells nothing of a column that the row has.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimator")
        if not hasattr(estimator, "score_features"):
            raise TypeError(
                f"{cls.__name__} needs an estimator with score_features, a density of "
                f"tables or a detector around one; got {type(estimator).__name__}."
            )
        X = as_table(X)
        n = X.shape[0]
        if not -n <= row < n:
            raise IndexError(f"row={row} is not among the {n} rows of X.")
        row = range(n)[row]
        one, asked = rows_of(X, row, row + 1), {}
        if context is not None:
            asked = {"context": rows_of(check_context(context, n), row, row + 1)}
        by = {} if given is None else {"given": given}
        scores = estimator.score_features(one, **by, **asked)[0]
        kinds, names = _kinds(estimator, one)[0], _names(estimator, one)
        reference = None
        if X_reference is not None:
            X_reference = as_table(X_reference)
            if context_reference is not None:
                by["context"] = context_reference
            others = estimator.score_features(X_reference, **by)
            same = _kinds(estimator, X_reference) == kinds
            reference = _medians(others, same, kinds >= 0, names)
        display = cls(
            scores,
            values=_cells(one),
            feature_names=names,
            reference=reference,
            log_density=float(estimator.score_samples(one, **asked)[0]),
            is_density=kinds == 1,
            given=given,
        )
        return display.plot(ax, max_features=max_features, **kwargs)

    def plot(self, ax=None, *, max_features=10, **kwargs) -> Self:
        """Plot the bars.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to plot; a new figure by default.
        max_features : int or None, default=10
            Bars to show, those of the lowest columns; None for all.
        **kwargs : dict
            For matplotlib's `barh`.

        Returns
        -------
        display : FeatureScoresDisplay
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        if max_features is not None:
            check_count(max_features, "max_features")
        import matplotlib.pyplot as plt

        lengths = np.asarray(self.scores, dtype=np.float64)
        if self.reference is not None:
            lengths = lengths - np.asarray(self.reference)
        missing = np.array([value is None for value in self.values])
        lengths = np.where(missing, 0.0, lengths)
        # Lowest first; cells that are missing have no share and come last.
        self.features_ = np.lexsort((lengths, missing))[:max_features]
        lengths = lengths[self.features_]
        if ax is None:
            height = 1.4 + 0.32 * len(lengths)
            _, ax = plt.subplots(figsize=(7.0, height), layout="constrained")
        self.bars_ = ax.barh(
            np.arange(len(lengths)),
            _drawn(lengths),
            **{"color": self._colors(lengths), **kwargs},
        )
        labels = [self._label(j) for j in self.features_]
        ax.set_yticks(np.arange(len(lengths)), labels)
        ax.yaxis.set_inverted(True)  # on axes with bars, too
        ax.axvline(0.0, color="black", linewidth=0.8)
        ax.set_xlabel(self._what_is_shown())
        if self.log_density is not None:
            ax.set_title(f"log p of the row: {self.log_density:.2f} nats")
        if self.reference is None and self.is_density is not None:
            self._explain_colors(ax)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _colors(self, lengths: np.ndarray) -> list[str]:
        if self.reference is not None:
            return [BELOW if length < 0.0 else ABOVE for length in lengths]
        if self.is_density is None:
            return [ABOVE] * len(lengths)
        return [DENSITY if self.is_density[j] else MASS for j in self.features_]

    def _label(self, j: int) -> str:
        name = f"x{j}" if self.feature_names is None else self.feature_names[j]
        if self.values[j] is None:
            return f"{name} is missing"
        infinite = "" if np.isfinite(self.scores[j]) else f" ({self.scores[j]} nats)"
        return f"{name} = {_written(self.values[j])}{infinite}"

    def _what_is_shown(self) -> str:
        of = "other columns" if self.given == "others" else "columns before"
        what = f"log p(column | {of})"
        if self.reference is not None:
            what += " less that of a typical row"
        n, n_shown = len(self.values), len(self.features_)
        shown = "" if n_shown == n else f"; lowest {n_shown} of {n} columns"
        return f"{what}, nats{shown}"

    def _explain_colors(self, ax: Any) -> None:
        from matplotlib.patches import Patch

        there = [j for j in self.features_ if self.values[j] is not None]
        shown = [bool(self.is_density[j]) for j in there]
        labels = {
            False: (MASS, "mass"),
            True: (DENSITY, "density, depends on the unit of its column"),
        }
        handles = [
            Patch(color=c, label=t) for k, (c, t) in labels.items() if k in shown
        ]
        ax.legend(handles=handles, fontsize="small", loc="best")


def _drawn(lengths: np.ndarray) -> np.ndarray:
    """Lengths that can be drawn: infinite ones reach beyond all others."""
    finite = np.abs(lengths[np.isfinite(lengths)])
    most = 1.5 * max(finite.max(initial=0.0), 1.0)
    return np.nan_to_num(lengths, posinf=most, neginf=-most)


def _written(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    return str(value)


def _names(estimator: Any, X: Any) -> list[str]:
    if hasattr(X, "columns"):
        return [str(name) for name in X.columns]
    names = getattr(estimator, "feature_names_in_", None)
    return [f"x{j}" for j in range(X.shape[1])] if names is None else list(names)


def _cells(X: Any) -> list[Any]:
    """Read the cells of a table of one row, None where there is no value."""
    cells = [column_values(X, j)[0] for j in range(X.shape[1])]
    return [values[0] if len(values) > 0 else None for values in cells]


def _kinds(estimator: Any, X: Any) -> np.ndarray:
    """Of every cell, (n, D): -1 missing, 0 a mass, 1 a density.

    As the density says itself in `base_measure_`; another one has densities alone.
    """
    kinds = 1 - 2 * missing_cells(X).astype(int)
    density = getattr(estimator, "estimator_", estimator)
    measures = list(getattr(density, "base_measure_", {}).values())
    for j, measure in enumerate(measures):
        _, _, atoms = measure.partition("counting at ")
        present = kinds[:, j] == 1
        if not measure.startswith("Lebesgue"):
            kinds[present, j] = 0
        elif atoms:
            at_atom = is_any_of(column_values(X, j)[0], ast.literal_eval(atoms))
            kinds[present, j] = ~at_atom
    return kinds


def _medians(
    scores: np.ndarray, same: np.ndarray, asked: np.ndarray, names: list[str]
) -> np.ndarray:
    """Median score (D,) of every column over the rows (n, D) that compare."""
    medians = np.zeros(scores.shape[1])
    for j in np.flatnonzero(asked):
        if not same[:, j].any():
            raise ValueError(
                f"X_reference holds no cell in column {names[j]!r} with which that of "
                "the row compares; pass other rows, or leave X_reference out."
            )
        medians[j] = np.median(scores[same[:, j], j])
    return medians
