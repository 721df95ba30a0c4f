"""One column given all others: a density with a context against regressions.

    OMP_NUM_THREADS=1 python benchmarks/regression.py
    python benchmarks/regression.py --sets uci_yacht --divisions 2

Ours is `MADEDensity().fit(y, context=X)` with its defaults, on rows as they are. The
tables and their splits are those of Hernández-Lobato & Adams (2015), a division being
one of them; the last column is y. Of test rows:

nll    mean -log p(y | X), in the units of y;
crps   the mean over q = 0.05, 0.10, …, 0.95 of twice the quantile loss, divided by the
       spread of y in training: nearly the continuous ranked probability score.

Rivals are scikit-learn's regressions with Gaussian errors of one width, that of their
errors in five folds of the training rows: ridge regression, boosted trees, a forest,
and a Gaussian process on at most `GP_ROWS` rows, with the widths it says itself.
"""

import argparse
from collections.abc import Iterator

import numpy as np
import queries
import tables
from scipy.stats import norm
from sklearn.base import RegressorMixin
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict
from sklearn.preprocessing import StandardScaler

OURS, GP, GP_ROWS = "MADE", "Gaussian process", 1000
REGRESSIONS: dict[str, RegressorMixin] = {
    "ridge": RidgeCV(np.logspace(-3, 3, 13)),
    "boosted trees": HistGradientBoostingRegressor(random_state=0),
    "forest": RandomForestRegressor(200, random_state=0),
}
SETS = ("uci_yacht", "uci_energy", "uci_concrete", "uci_power_plant")
LEVELS = np.arange(1, 20) / 20
MEASURES = {"nll": "Mean −log p(y | X)", "crps": "Loss of quantiles"}

# Of these tables and splits, all from memory and rounded as printed there:
# probabilistic backpropagation (Hernández-Lobato & Adams 2015), dropout (Gal &
# Ghahramani 2016), deep ensembles (Lakshminarayanan et al. 2017, table 1).
PUBLISHED = {
    "uci_concrete": "3.16, 3.04, 3.06",
    "uci_energy": "2.04, 1.99, 1.38",
    "uci_power_plant": "2.84, 2.80, 2.79",
    "uci_yacht": "1.63, 1.55, 1.18",
}


def splits(name: str, n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Training and test rows of the first n splits, y the last column."""
    with np.load(tables.folder() / "real" / f"{name}.npz") as file:
        X, tests = file["X"].astype(np.float64), file["test_index"]
    for test in tests[:n]:
        is_test = np.isin(np.arange(len(X)), test)
        yield X[~is_test], X[is_test]


def computed(
    model: str, train: np.ndarray, test: np.ndarray, args: argparse.Namespace
) -> list[dict]:
    scaler = StandardScaler().fit(train[:, :-1])
    X, X_test = scaler.transform(train[:, :-1]), scaler.transform(test[:, :-1])
    y, y_test = train[:, -1], test[:, -1]
    if model == OURS:
        density = queries.made(0, args).fit(y[:, None], context=X)
        log_p = density.score_samples(y_test[:, None], context=X_test)
        quantiles = density.quantile(y_test[:, None], 0, LEVELS, context=X_test)
    else:
        mean, width = predicted(model, X, y, X_test)
        log_p = norm.logpdf(y_test, mean, width)
        quantiles = mean[:, None] + np.outer(width, norm.ppf(LEVELS))
    above = y_test[:, None] - quantiles
    loss = np.where(above > 0.0, LEVELS * above, (LEVELS - 1.0) * above)
    return [{"nll": -float(log_p.mean()), "crps": 2.0 * float(loss.mean()) / y.std()}]


def predicted(
    model: str, X: np.ndarray, y: np.ndarray, X_test: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and width of a Gaussian for every test row."""
    if model == GP:
        kernel = ConstantKernel() * RBF(np.ones(X.shape[1])) + WhiteKernel(0.1)
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        rows = np.random.default_rng(0).permutation(len(X))[:GP_ROWS]
        return process.fit(X[rows], y[rows]).predict(X_test, return_std=True)
    regression = REGRESSIONS[model]
    errors = y - cross_val_predict(regression, X, y, cv=5)
    mean = regression.fit(X, y).predict(X_test)
    return mean, np.full(len(mean), errors.std())


def body(record) -> list[str]:
    out = []
    for measure, title in MEASURES.items():
        mean_ranks = queries.ranks(record, measure)
        table = queries.means(record, measure)[list(mean_ranks.index)]
        if measure == "nll":
            table["published"] = table.index.map(PUBLISHED)
        table.loc["mean rank"] = mean_ranks.map("{:.2f}".format)
        out += [f"## {title}", "", *queries.lines(table.fillna("")), ""]
        rivals = [model for model in mean_ranks.index if model != OURS]
        against = queries.against_best(record, measure, OURS, rivals)
        out += [queries.standing(against), ""]
    return out


TEXT = """\
Means over splits ± standard error; smaller is better. `regression.py` says what is
measured. "published", quoted from memory: probabilistic backpropagation, dropout, deep
ensembles; means over all twenty splits."""


def main() -> None:
    models = [OURS, *REGRESSIONS, GP]
    args = queries.arguments(__doc__, models=models, sets=SETS, divisions=5)
    rows = queries.Rows("regression", ["set", "division", "model"], args)
    code = [splits, computed, predicted]
    for name in args.sets:
        for division, parts in enumerate(splits(name, args.divisions)):
            train, test = (
                part[np.random.default_rng(division).permutation(len(part))]
                for part in parts
            )
            for model in models:
                rows.add(
                    {"set": name, "division": division, "model": model},
                    [train, test, GP_ROWS, args.max_iter],
                    code,
                    lambda model=model, train=train, test=test: computed(
                        model, train, test, args
                    ),
                )
        rows.write("One column given all others", TEXT, body)


if __name__ == "__main__":
    main()
