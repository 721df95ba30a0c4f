"""Missing cells filled and drawn by a density and by imputers.

    OMP_NUM_THREADS=1 python benchmarks/imputation.py
    python benchmarks/imputation.py --sets iris --models "MADE agnostic" mean

Of the cells of training and test rows 30 % go missing, drawn cell by cell; everything
is fitted to the training rows, and test rows (a fifth) are filled. Of missing test
cells:

rmse      of real columns, in standard deviations of what is known in training;
error     rate of wrong categories;
crps      of real columns, in the same units: E|x' − x| − E|x' − x''| / 2 of `N_DRAWS`
          draws, the absolute error of an imputer that has no draws;
coverage  by the 5 and 95 % quantiles of the draws;
shared    the same by the rank of a cell among its draws. A closed interval covers more
          than it says where values have much mass: of two values with a half each it
          covers all. So cells and draws are moved to the nearest value that is known
          in training, and where a cell ties with draws it has each of their ranks in
          part, as in a randomised probability integral transform (Czado, Gneiting &
          Held 2009). Of draws from the truth 91 of 101 ranks lie between 5 and 95 %,
          whatever ties;
exact     by the interval that `quantile` has of the cell, given what is known of its
          row;
integral  by its `cdf`, ties shared as above: of all that is nearer to the cell than to
          other known values it has what lies between 5 and 95 %.

Ours is fitted as it is and fills in means and modes (`impute`); its draws are those of
`sample_conditional`. The rivals are scikit-learn's imputers with their defaults but for
the forest's (`FOREST`), on numbers standardised by what is known and on bits of
categories, of which the largest decides (`rivals.Coder`): for neighbours that is a
vote, for a forest the probabilities of a classifier, for means the most frequent
category. "BayesianRidge draws" are multiple imputations, `sample_posterior=True`, and
fill in their mean (a category of one of them would be no guess: that of the plain one
is). "GMM" is the conditional of the Gaussian mixture of the smallest
BIC, fitted to training rows that the iterative imputer has filled.
"""

import argparse
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
import queries
from rivals import Coder, FrameImputer, MixtureImputer, conditionals
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from skdensity_ar import MADEDensity

HOLES, N_DRAWS = 0.3, 100
# Thirty columns, ten rounds and a hundred trees would take half an hour a fit.
FOREST = IterativeImputer(
    RandomForestRegressor(n_estimators=50, min_samples_leaf=2, random_state=0),
    max_iter=5,
    random_state=0,
)
OURS = "MADE agnostic"
IMPUTERS: dict[str, BaseEstimator] = {
    "mean": SimpleImputer(),
    "kNN": KNNImputer(),
    "BayesianRidge": IterativeImputer(random_state=0),
    "forest": FOREST,
    "BayesianRidge draws": IterativeImputer(sample_posterior=True, random_state=0),
    "GMM": MixtureImputer(),
}
DRAWING = ("BayesianRidge draws", "GMM")
MEASURES = {"rmse": "RMSE", "error": "rate of wrong categories", "crps": "CRPS"}
COVERAGES = {
    "coverage": "Share covered by central 90 % intervals",
    "shared": "The same by ranks, a cell that ties with draws having each in part",
    "exact": "Share covered by the intervals of `quantile`",
    "integral": "The same by `cdf`, a cell having in part what is nearest to it",
}
SETS = (*queries.SETS, "uci_energy", "uci_yacht", "penguins", "titanic", "adult")


@dataclass
class Filled:
    """Rows made complete, and draws of their real columns (n, k, n_real)."""

    table: pd.DataFrame
    draws: np.ndarray | None


def filled(density: MADEDensity, test: pd.DataFrame) -> Filled:
    draws = density.sample_conditional(test, N_DRAWS, random_state=0)
    real = test.columns.get_indexer(queries.real_columns(test))
    return Filled(density.impute(test), draws[:, :, real].astype(float))


def filled_by_rival(model: str, train: pd.DataFrame, test: pd.DataFrame) -> Filled:
    real = queries.real_columns(train)
    imputer = FrameImputer(IMPUTERS[model]).fit(train)
    table = imputer.transform(test)
    if model not in DRAWING:
        return Filled(table, None)
    draws = imputer.draws(test, N_DRAWS)
    if model == "BayesianRidge draws":  # the table is one of them
        table[real] = draws.mean(axis=1)
        table = table[real]
    return Filled(table, draws)


def crps(draws: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """E|x' − x| − E|x' − x''| / 2 of draws (n, k), pairs of different draws, (n,)."""
    k = draws.shape[1]
    weights = 2 * np.arange(1, k + 1) - k - 1  # Σ|x'−x''| = 2 Σ_i weights_i x_(i)
    spread = np.sort(draws, axis=1) @ weights / (k * (k - 1))
    return np.abs(draws - truth[:, None]).mean(axis=1) - spread


def share_covered(draws: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How much of a truth's ranks among draws (n, k) lies between 5 and 95 %, (n,)."""
    k = draws.shape[1]
    first, last = k // 20, k - k // 20
    below = (draws < truth[:, None]).sum(axis=1)
    ties = (draws == truth[:, None]).sum(axis=1)
    inside = np.minimum(below + ties, last) - np.maximum(below, first) + 1
    return inside.clip(min=0) / (ties + 1)


def to_values(x: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The nearest of these values, which are sorted."""
    return values[np.searchsorted((values[:-1] + values[1:]) / 2, x)]


def integral_covered(
    density: MADEDensity, rows: pd.DataFrame, name: str, x: np.ndarray, v: np.ndarray
) -> np.ndarray:
    """How much of a cell's probability given its row lies between 5 and 95 %, (n,).

    A cell is all that is nearer to x than to others of these values, which are sorted.
    """
    between = (v[:-1] + v[1:]) / 2
    place = np.searchsorted(between, x)

    def cdf(ends: np.ndarray, beyond: float) -> np.ndarray:
        inside = np.isfinite(ends)
        p = density.cdf(rows.assign(**{name: np.where(inside, ends, v[0])}), name)
        return np.where(inside, p, beyond)

    low = cdf(np.append(-np.inf, between)[place], 0.0)
    high = cdf(np.append(between, np.inf)[place], 1.0)
    inside = np.minimum(high, 0.95) - np.maximum(low, 0.05)
    return inside.clip(min=0.0) / np.maximum(high - low, 1e-12)


def intervals(
    density: MADEDensity,
    complete: pd.DataFrame,
    test: pd.DataFrame,
    train: pd.DataFrame,
) -> dict[str, float]:
    """What the density itself says of missing cells, without draws."""
    exact, integral = [], []
    for name in queries.real_columns(complete):
        missing = test[name].isna()
        if not missing.any():
            continue
        rows, truth = test[missing], complete.loc[missing, name].to_numpy()
        low, high = density.quantile(rows, name, (0.05, 0.95)).T
        exact.append((low <= truth) & (truth <= high))
        values = np.unique(train[name].dropna())
        integral.append(integral_covered(density, rows, name, truth, values))
    return {"exact": _mean(exact), "integral": _mean(integral)}


def measures(
    found: Filled, complete: pd.DataFrame, test: pd.DataFrame, train: pd.DataFrame
) -> dict[str, float]:
    """All of `MEASURES` and the coverages; NaN where a table has no such column."""
    errors, scores, covered, shared, wrong = [], [], [], [], []
    scale = train[queries.real_columns(train)].std()
    real = queries.real_columns(complete)
    for name in complete.columns:
        missing = test[name].isna().to_numpy()
        truth = complete.loc[missing, name].to_numpy()
        if name not in found.table:
            continue
        point = found.table.loc[missing, name].to_numpy()
        if name not in real:
            wrong.append(point != truth)
            continue
        errors.append((point - truth) / scale[name])
        if found.draws is None:
            scores.append(np.abs(errors[-1]))
            continue
        draws = found.draws[missing, :, real.index(name)]
        scores.append(crps(draws, truth) / scale[name])
        low, high = np.quantile(draws, (0.05, 0.95), axis=1)
        covered.append((low <= truth) & (truth <= high))
        values = np.unique(train[name].dropna())
        of_values = (to_values(x, values) for x in (draws, truth))
        shared.append(share_covered(*of_values))
    return {
        "rmse": _mean(errors, lambda e: e**2) ** 0.5,
        "error": _mean(wrong),
        "crps": _mean(scores),
        "coverage": _mean(covered),
        "shared": _mean(shared),
    }


def _mean(parts: list[np.ndarray], of=np.asarray) -> float:
    return float(of(np.concatenate(parts)).mean()) if parts else float("nan")


def computed(
    complete: pd.DataFrame,
    train: pd.DataFrame,
    test: pd.DataFrame,
    args: argparse.Namespace,
) -> list[dict]:
    density = queries.made(0, args, ordering="agnostic").fit(train)
    found = measures(filled(density, test), complete, test, train)
    return [found | intervals(density, complete, test, train)]


def computed_by_rival(
    model: str, complete: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame
) -> list[dict]:
    found = filled_by_rival(model, train, test)
    return [measures(found, complete, test, train)]


def body(record: pd.DataFrame) -> list[str]:
    out = []
    for measure, title in MEASURES.items():
        part = record.dropna(subset=measure)
        if part.empty:
            continue
        mean_ranks = queries.ranks(part, measure)
        table = queries.means(part, measure)[list(mean_ranks.index)]
        table.loc["mean rank"] = mean_ranks.map("{:.2f}".format)
        out += [
            f"## {title}",
            "",
            *queries.lines(table),
            "",
            *_behind(part, measure),
            "",
        ]
    for column, title in COVERAGES.items():
        part = record.dropna(subset=column)
        if part.empty:
            continue
        out += [f"## {title}", "", *queries.lines(queries.means(part, column, 2)), ""]
        of_ours = part[part["model"] == OURS].groupby("set")[column].mean()
        if len(of_ours):
            far = of_ours.index[(of_ours - 0.9).abs() > 0.03]
            out += [
                f"Ours within 0.03 of 0.90 on {len(of_ours) - len(far)} of "
                f"{len(of_ours)} sets; not on {queries.named(list(far))}.",
                "",
            ]
    return out


def _behind(record: pd.DataFrame, measure: str) -> list[str]:
    """Where ours is behind the best of the others, and what it leads each one by."""
    against = queries.against_best(record, measure, OURS, list(IMPUTERS))
    if not against:
        return []
    out = [queries.standing(against), ""]
    for model in IMPUTERS:
        lag = queries.paired(record, measure, OURS, model)
        if not lag:
            continue
        worse, better = queries.outcome(lag)
        out.append(
            f"- {model}: ours behind on {len(worse)}, ahead on {len(better)} of "
            f"{len(lag)}."
        )
    return out


TEXT = """\
Of missing test cells, means over divisions ± standard error. `imputation.py` says how
each is measured."""


def main() -> None:
    models = [OURS, *IMPUTERS]
    args = queries.arguments(__doc__, models=models, sets=SETS, divisions=3)
    rows = queries.Rows("imputation", ["set", "division", "model"], args)
    code = [crps, share_covered, to_values, measures, queries.with_holes]
    of_ours = [filled, integral_covered, intervals, computed]
    of_rivals = [filled_by_rival, computed_by_rival, FrameImputer, Coder]
    for what, *complete in queries.tasks(args, test_share=0.2):
        seed = what["division"]
        train, test = (
            queries.with_holes(part, HOLES, seed + 1000 * i)
            for i, part in enumerate(complete)
        )
        for model in models:
            frames = complete[1], train, test
            if model == OURS:
                used, compute = of_ours, partial(computed, *frames, args)
            else:
                used, compute = of_rivals, partial(computed_by_rival, model, *frames)
            if model == "GMM":
                used = [*used, MixtureImputer, conditionals]
            rows.add(
                what | {"model": model},
                [*frames, N_DRAWS, args.max_iter],
                [*code, *used],
                compute,
            )
        rows.write("Imputation", TEXT, body)


if __name__ == "__main__":
    main()
