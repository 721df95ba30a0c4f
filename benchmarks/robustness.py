"""Default fits over many seeds, and early stopping where rows come in groups.

    python benchmarks/robustness.py
    python benchmarks/robustness.py ionosphere --seeds 5

Reads `real/` in the folder of SKDENSITY_AR_DATA, cut as in `accuracy.py`; the first
split of every table. Each seed is a fit of its own: other orderings, weights,
validation rows and mini-batches. The independent model is every column by itself, a
Gaussian or a kernel density, whichever does better in cross-validation.

Grouped rows: those of `parkinsons` are about 140 recordings of each of 42 subjects.
Test subjects are in no other part. Validation rows drawn from all others share their
subjects with training rows; the alternative is to pass rows of further subjects as
`X_val`. What was fitted is kept in the cache: a run that is broken off goes on where
it stopped. The record keeps its other tables as they are, and with `--no-groups` the
grouped rows too.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import tables
from accuracy import Result, key, mean_and_error, result_of, updated
from timing import described

from skdensity_ar import MADEDensity
from skdensity_ar._baselines import IndependentColumns

HERE = Path(__file__).parent
FEW_ROWS, N_SEEDS, N_SEEDS_LARGE = 2000, 20, 5
GROUPED = "parkinsons"
N_TEST_SUBJECTS, N_VALIDATION_SUBJECTS, N_REPEATS = 8, 4, 5


def seeds(table: str, n_seeds: int | None, cache: Path) -> dict:
    """The spread over seeds of one table, as a row of the record."""
    split = next(tables.splits("real", table))
    few = len(split.train) < FEW_ROWS
    n = n_seeds or (N_SEEDS if few else N_SEEDS_LARGE)
    independent = _independent(split, cache / table)
    nats, lead = [], []
    for seed in range(n):
        model = MADEDensity(random_state=seed)
        path = cache / table / f"{seed:02d}-MADE-{key(model, split)}.npz"
        result = result_of(model, split, path)
        assert result is not None
        nats.append(result.log_p.mean())
        lead.append(mean_and_error(result.log_p - independent))
    worst = int(np.argmin(nats))
    return {
        "table": table,
        "seeds": n,
        "mean": np.mean(nats),
        "sd": np.std(nats, ddof=1),
        "worst": nats[worst],
        "best": max(nats),
        "independent": independent.mean(),
        "worst_lead": lead[worst][0],
        "worst_lead_error": lead[worst][1],
    }


def _independent(split: tables.Split, folder: Path) -> np.ndarray:
    frames = [pd.DataFrame(X).add_prefix("x") for X in (split.train, split.test)]
    model = IndependentColumns(random_state=0)
    named = tables.Split(frames[0], None, frames[1])
    result = result_of(model, named, folder / f"independent-{key(model, named)}.npz")
    assert result is not None
    return result.log_p


def groups(cache: Path) -> pd.DataFrame:
    """Test rows of unseen subjects: early stopping by rows and by subjects."""
    data = tables.folder() / "real" / f"{GROUPED}.npz"
    with np.load(data) as file:
        X, subject = file["X"], file["raw"][:, 0].astype(int)
    rows = []
    for repeat in range(N_REPEATS):
        drawn = np.random.default_rng(repeat).permutation(np.unique(subject))
        test = np.isin(subject, drawn[:N_TEST_SUBJECTS])
        rest = drawn[N_TEST_SUBJECTS:]
        by_subject = np.isin(subject, rest[:N_VALIDATION_SUBJECTS])
        mean, std = X[~test].mean(0), X[~test].std(0)
        Z = (X - mean) / std
        parts = {
            "random rows": tables.Split(Z[~test], None, Z[test]),
            "X_val by subject": tables.Split(
                Z[~test & ~by_subject], Z[by_subject], Z[test]
            ),
        }
        for name, split in parts.items():
            model = MADEDensity(random_state=repeat)
            path = cache / GROUPED / f"{repeat:02d}-group-{key(model, split)}.npz"
            result = result_of(model, split, path)
            assert result is not None
            rows.append(_group_row(repeat, name, result))
    return pd.DataFrame(rows)


def _group_row(repeat: int, name: str, result: Result) -> dict:
    return {
        "repeat": repeat,
        "validation": name,
        "nats": result.log_p.mean(),
        "median": np.median(result.log_p),
        "note": result.note,
    }


def page(record: pd.DataFrame, grouped: pd.DataFrame | None, where: str) -> str:
    command, machine = where.splitlines()
    lines = [
        "# Default fits over many seeds",
        "",
        f"    {command.removeprefix('$ ')}",
        "",
        f"Last run: {machine}. Held-out nats per row of `MADEDensity()`; the lead is",
        "what the worst seed has over independent columns, ± paired standard error.",
        "What the command leaves out comes from earlier runs.",
        "",
        "| table | seeds | mean ± sd over seeds | worst | best | lead of the worst |",
        "|---|---|---|---|---|---|",
    ]
    for row in record.to_dict("records"):
        lines.append(
            f"| {row['table']} | {row['seeds']} | {row['mean']:.3f} ± {row['sd']:.3f} "
            f"| {row['worst']:.3f} | {row['best']:.3f} "
            f"| {row['worst_lead']:+.3f} ± {row['worst_lead_error']:.3f} |"
        )
    if grouped is not None:
        lines += ["", f"## Grouped rows ({GROUPED}): test rows of unseen subjects", ""]
        lines += [
            "| validation | nats per repeat | mean | epochs |",
            "|---|---|---|---|",
        ]
        for name, part in grouped.groupby("validation", sort=False):
            each = ", ".join(f"{value:.2f}" for value in part["nats"])
            epochs = ", ".join(note.removesuffix(" epochs") for note in part["note"])
            lines.append(f"| {name} | {each} | {part['nats'].mean():.2f} | {epochs} |")
    minus = [line.replace(" -", " −") if "|" in line else line for line in lines]
    return "\n".join(minus) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", help="all real ones by default")
    parser.add_argument(
        "--seeds", type=int, help=f"{N_SEEDS}, {N_SEEDS_LARGE} if large"
    )
    parser.add_argument("--no-groups", action="store_true")
    parser.add_argument("--cache", type=Path, default=HERE / ".cache" / "robustness")
    parser.add_argument("--record", type=Path, default=HERE / "record")
    args = parser.parse_args()
    where = described()
    args.record.mkdir(parents=True, exist_ok=True)
    path = args.record / "robustness.csv"
    path_of_groups = args.record / "robustness_groups.csv"
    if not args.no_groups:
        groups(args.cache).to_csv(path_of_groups, index=False, float_format="%.6g")
    grouped = pd.read_csv(path_of_groups) if path_of_groups.exists() else None
    for table in args.tables or tables.names("real"):
        record = updated(path, [seeds(table, args.seeds, args.cache)])
        record.to_csv(path, index=False, float_format="%.6g")
        text = page(record, grouped, where)
        path.with_suffix(".md").write_text(text)
        print(text, flush=True)


if __name__ == "__main__":
    main()
