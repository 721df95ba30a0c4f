"""Whether a classifier tells drawn rows from held-out rows.

    OMP_NUM_THREADS=1 python benchmarks/two_sample.py
    python benchmarks/two_sample.py --sets iris --models independent copula

A third of the rows is held out; a model is fitted to the others and draws as many as
were held out. `HistGradientBoostingClassifier`, whose early stopping is off and which
sees categories as such, tells the two apart in five folds; the measure is the distance
of its AUC from one half, 0 if it cannot. Draws are judged "as drawn" and "rounded". As
drawn, ours are those of `sample(rounded=True)`, which knows a column of few values or
of multiples of a step; the rivals' are those of their models, with all digits unless
they draw training values. A single digit too many gives a draw away. Rounded, a column
of few values, or of multiples of a width (`tables.rounding_width`), has no others, of
any model: all are rounded by this benchmark's own rule.

Memorisation: the median distance of a draw to the nearest training row divided by that
of a held-out row (standardised numbers, bits of categories), and the share of rounded
draws that are training rows; of held-out rows, as they are, none is.

Rivals: the Gaussian mixture of the smallest BIC (of categories it has bits, the largest
is drawn), every column drawn from training by itself, and a Gaussian copula whose
columns are quantiles of training.
"""

import numpy as np
import pandas as pd
import queries
from rivals import (
    Coder,
    CopulaSampler,
    IndependentSampler,
    MixtureSampler,
    mixture_by_bic,
)
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.neighbors import NearestNeighbors
from tables import MAX_LEVELS, rounding_width

OURS = "MADE"
ORDERINGS = {OURS: "natural", "MADE agnostic": "agnostic"}
SAMPLERS = {
    "GMM": MixtureSampler,
    "copula": CopulaSampler,
    "independent": IndependentSampler,
}
# A third of iris or wine is too little to tell anything by.
SETS = (
    *(name for name in queries.SETS if name not in ("iris", "wine")),
    "uci_energy",
    "uci_protein",
    "parkinsons",
    "ionosphere",
    "penguins",
    "titanic",
    "adult",
)


def drawn(model: str, train: pd.DataFrame, n: int, seed: int, args) -> pd.DataFrame:
    if model in ORDERINGS:
        density = queries.made(seed, args, ordering=ORDERINGS[model]).fit(train)
        return density.sample(n, random_state=seed, rounded=True)
    return SAMPLERS[model](random_state=seed).fit(train).sample(n)


def rounded(table: pd.DataFrame, train: pd.DataFrame) -> pd.DataFrame:
    """Numbers as those of training: the nearest of few, or multiples of a width."""
    table = table.copy()
    for name in queries.real_columns(train):
        values = np.unique(train[name])
        if len(values) <= MAX_LEVELS:
            distances = np.abs(np.subtract.outer(table[name].to_numpy(), values))
            table[name] = values[distances.argmin(axis=1)]
        elif (width := rounding_width(train[name].to_numpy())) > 0:
            table[name] = (table[name] / width).round() * width
    return table


def auc(one: pd.DataFrame, other: pd.DataFrame, seed: int) -> float:
    """Held-out AUC of telling two tables apart."""
    X = pd.concat([one, other], ignore_index=True)
    y = np.repeat([0, 1], [len(one), len(other)])
    classifier = HistGradientBoostingClassifier(
        early_stopping=False, categorical_features="from_dtype", random_state=seed
    )
    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    odds = cross_val_predict(classifier, X, y, cv=folds, method="predict_proba")
    return float(roc_auc_score(y, odds[:, 1]))


def memorised(
    draws: pd.DataFrame, train: pd.DataFrame, test: pd.DataFrame
) -> dict[str, float]:
    """How near draws and held-out rows are to training rows; copies of these."""
    coder = Coder().fit(train)
    nearest = NearestNeighbors(n_neighbors=1).fit(coder.encode(train))
    of_draws, of_test = (
        nearest.kneighbors(coder.encode(table))[0].ravel() for table in (draws, test)
    )
    return {
        "distance": float(np.median(of_draws) / np.median(of_test)),
        "copies": float((of_draws < 1e-9).mean()),
    }


def computed(
    model: str, train: pd.DataFrame, test: pd.DataFrame, seed: int, args
) -> list[dict]:
    draws = drawn(model, train, len(test), seed, args)
    plain, exact = rounded(draws, train), rounded(test, train)
    found = {
        "auc_as_drawn": auc(draws, test, seed),
        "auc_rounded": auc(plain, exact, seed),
    } | memorised(plain, train, test)
    return [found]


def body(record: pd.DataFrame) -> list[str]:
    out = []
    for kind in ("rounded", "as_drawn"):
        record = record.assign(off=(record[f"auc_{kind}"] - 0.5).abs())
        mean_ranks = queries.ranks(record, "off")
        table = queries.means(record, "off")[list(mean_ranks.index)]
        by_set = record.groupby(["set", "model"])["off"].mean().unstack()
        table.loc["mean"] = by_set.mean().map("{:.3f}".format)
        table.loc["mean rank"] = mean_ranks.map("{:.2f}".format)
        out += [
            f"## |AUC − 0.5|, draws {kind.replace('_', ' ')}",
            "",
            *queries.lines(table),
            "",
        ]
        out += [*_counts(record), ""]
    for column, title in (
        ("distance", "Distance to the nearest training row, draws / held-out rows"),
        ("copies", "Share of draws that are training rows"),
    ):
        out += [f"## {title}", "", *queries.lines(queries.means(record, column)), ""]
    return out


def _counts(record: pd.DataFrame) -> list[str]:
    """On how many sets ours is harder to tell than each of the others."""
    out = []
    for ours in ORDERINGS:
        against = queries.against_best(record, "off", ours, list(SAMPLERS))
        if against:
            worse, better = queries.outcome(against)
            out.append(
                f"- {ours} against the best of the others on each set: by more than "
                f"one standard error nearer to 0 on {queries.named(better)} of "
                f"{len(against)} sets, farther on {queries.named(worse)}."
            )
        for model in SAMPLERS:
            lag = queries.paired(record, "off", ours, model)
            if not lag:
                continue
            worse, better = queries.outcome(lag)
            nearer = sum(mean < 0 for mean, _, _ in lag.values())
            out.append(
                f"- {ours} against {model}: nearer to 0 on {nearer} of {len(lag)} "
                f"sets, by more than one standard error on {len(better)}, farther by "
                f"more on {queries.named(worse)}."
            )
    return out


TEXT = """\
As many draws as held-out rows; means over divisions ± standard error.
Of two halves of one table it is not 0 either: some hundredths where rows are few.
`two_sample.py` says what is measured."""


def main() -> None:
    models = [*ORDERINGS, *SAMPLERS]
    args = queries.arguments(__doc__, models=models, sets=SETS, divisions=3)
    rows = queries.Rows("two_sample", ["set", "division", "model"], args)
    code = [drawn, rounded, rounding_width, auc, memorised, computed]
    of_rivals = [*SAMPLERS.values(), Coder, mixture_by_bic]
    for what, train, test in queries.tasks(args, test_share=1 / 3):
        for model in models:
            rows.add(
                what | {"model": model},
                [train, test, args.max_iter],
                code if model in ORDERINGS else [*code, *of_rivals],
                lambda model=model, parts=(train, test, what["division"]): computed(
                    model, *parts, args
                ),
            )
        rows.write("Drawn rows against held-out rows", TEXT, body)


if __name__ == "__main__":
    main()
