"""Densities fitted to rows with holes against those fitted to rows made complete.

    OMP_NUM_THREADS=1 python benchmarks/missing.py
    OMP_NUM_THREADS=1 python benchmarks/missing.py --rounded
    python benchmarks/missing.py --sets iris --divisions 1
    python benchmarks/missing.py --development --divisions 1 \
        --models "MADE agnostic, holes"

Of the training cells 20 and 50 % go missing, drawn cell by cell. `MADEDensity` with
ordering="agnostic" is fitted to what is left; the rivals are the same estimator, and
the default one, fitted to the complete rows alone, to rows with the column's mean (the
most frequent category) for what is missing, and to rows completed by scikit-learn's
`IterativeImputer` on standardised numbers and bits of categories. All are scored on the
same complete test rows, a fifth of the set, in the units of the set. With fewer than
`FEWEST` complete rows there is nothing to fit: that rival has lost.

Columns of numbers with few values are left out, as in `accuracy.py`, and the rounding
of the others is hidden by uniform noise of its width, in training and test rows, before
any cell goes missing. With `--rounded` it is left, in a record of its own, which is not
kept: on heaps of rounded values a density grows without bound, and the mean over test
rows tells of a few of them (0.2 cm of petals) rather than of how well columns are known
by each other.
"""

import argparse

import numpy as np
import pandas as pd
import queries
import tables
from rivals import Coder, FrameImputer
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, SimpleImputer

RATES = (0.2, 0.5)
FEWEST = 10
DEVELOPMENT = 7  # divisions of training rows are numbered from there on
OURS = "MADE agnostic, holes"
ORDERINGS = {"agnostic": "agnostic", "default": "natural"}
FILLED = {"mean": SimpleImputer(), "iterative": IterativeImputer(random_state=0)}
MODELS = {OURS: ("agnostic", "holes")} | {
    f"MADE {ordering}, {rows}": (ordering, rows)
    for rows in ("complete rows", *FILLED)
    for ordering in ORDERINGS
}
SETS = (*queries.SETS, "penguins", "titanic")


def training_rows(train: pd.DataFrame, rows: str) -> pd.DataFrame:
    """What is fitted of rows with holes."""
    if rows == "holes":
        return train
    if rows == "complete rows":
        return train.dropna(ignore_index=True)
    return FrameImputer(FILLED[rows]).fit(train).transform(train)


def computed(
    model: str, train: pd.DataFrame, test: pd.DataFrame, args: argparse.Namespace
) -> list[dict]:
    ordering, rows = MODELS[model]
    fitted = training_rows(train, rows)
    if len(fitted) < FEWEST:
        return [{"n_rows": len(fitted), "nats": np.nan, "median": np.nan}]
    density = queries.made(0, args, ordering=ORDERINGS[ordering]).fit(fitted)
    log_p = density.score_samples(test)
    return [
        {
            "n_rows": len(fitted),
            "nats": float(log_p.mean()),
            "median": float(np.median(log_p)),
        }
    ]


def body(record: pd.DataFrame) -> list[str]:
    out = []
    for rate, part in record.groupby("rate"):
        leads = pd.DataFrame(_leads(part)).T
        leads.index.name = None
        out += [
            f"## {rate:.0%} of the training cells missing",
            "",
            "Held-out nats per row, and what it has over the others:",
            "",
            *queries.lines(
                queries.means(part[part["model"] == OURS], "nats").join(leads.T)
            ),
            "",
            *_counts(part),
            "",
        ]
    return out


def _leads(record: pd.DataFrame) -> dict[str, dict[str, str]]:
    """By model and set: nats of ours less the model's."""
    out: dict[str, dict[str, str]] = {}
    for model in MODELS:
        if model == OURS:
            continue
        lead = queries.paired(record, "nats", OURS, model)
        out[model] = {}
        for name, rows in record[record["model"] == model].groupby("set"):
            few = rows["nats"].isna().sum()
            text = f"too few rows ({few})" if few else ""
            if name in lead:
                mean, error, _ = lead[name]
                text = f"{queries.cell(mean, error, sign=True)} {text}".strip()
            out[model][name] = text
    return {model: cells for model, cells in out.items() if cells}


def _counts(record: pd.DataFrame) -> list[str]:
    """Against every rival: on how many sets ahead, level, behind."""
    out = []
    for model in MODELS:
        of_model = record[record["model"] == model]
        if model == OURS or of_model.empty:
            continue
        lead = queries.paired(record, "nats", OURS, model)
        lost = set(of_model.loc[of_model["nats"].isna(), "set"]) - set(lead)
        ahead, behind = queries.outcome(lead)
        out.append(
            f"- {model}: ours ahead by more than one standard error on {len(ahead)} of "
            f"{len(lead)} sets, behind on {queries.named(behind)}; too few rows on "
            f"{len(lost)} more."
        )
    return out


TEXT = """\
± is the paired standard error over divisions. (k): in k divisions fewer than ten
complete rows were left, which the difference leaves out."""


def main() -> None:
    more = {
        "--rounded": {"action": "store_true", "help": "leave numbers rounded"},
        "--development": {"action": "store_true", "help": "divide training rows"},
    }
    args = queries.arguments(
        __doc__, models=list(MODELS), sets=SETS, divisions=3, more=more
    )
    name = "missing_rounded" if args.rounded else "missing"
    name += "_development" if args.development else ""
    rows = queries.Rows(name, ["set", "division", "rate", "model"], args)
    code = [training_rows, computed, queries.with_holes, FrameImputer, Coder]
    noise = not args.rounded
    for what, complete, test in queries.tasks(
        args, test_share=0.2, few_values=False, noise=noise
    ):
        seed = what["division"]
        if args.development:
            seed += DEVELOPMENT
            complete, test = tables.divided(
                complete, seed, test_share=0.25, max_rows=None
            )
        for rate in RATES:
            train = queries.with_holes(complete, rate, seed)
            for model in MODELS:
                rows.add(
                    what | {"rate": rate, "model": model},
                    [train, test, FEWEST, args.max_iter],
                    code,
                    lambda model=model, train=train, test=test: computed(
                        model, train, test, args
                    ),
                )
        how = ", numbers rounded as they are" if args.rounded else ""
        rows.write(f"Densities of rows with holes{how}", TEXT, body)


if __name__ == "__main__":
    main()
