"""What each ingredient of the default fit is worth: the same fit without it.

    python benchmarks/ablation.py
    python benchmarks/ablation.py uci_concrete --variants "no residuals"

Reads `real/` in the folder of SKDENSITY_AR_DATA, cut as in `accuracy.py`, and sees
nothing of its test rows: the training part of the first split is divided anew, 85 to 15
parts, as often as `--repeats` says. "±" is the paired standard error over the held-out
rows of all repeats. What was fitted is kept in the cache, and a run that is broken off
goes on where it stopped. The record keeps its other tables as they are.
"""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import tables
from accuracy import key, mean_and_error, result_of, updated
from sklearn.base import BaseEstimator
from timing import described

from skdensity_ar import MADEDensity, RNADEDensity
from skdensity_ar.conditionals import _mixture_start
from skdensity_ar.estimators import _base

HERE = Path(__file__).parent
SETS = (
    "ionosphere",
    "uci_yacht",
    "uci_energy",
    "uci_concrete",
    "winequality_red",
    "parkinsons",
)
DEFAULT = "default"
VARIANTS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "one ordering": {"n_orderings": 1},
    "four orderings": {"n_orderings": 4},
    "half the epochs": {"max_iter": 80},
    "no weight averaging": {"weight_averaging": 0.0},
    "constant learning rate": {"learning_rate": "constant"},
    "no direct connections": {"direct_connections": False},
    "weight decay 0.01": {"weight_decay": 0.01},
    "no gradient clipping": {"max_grad_norm": 1e9},
    "dropout 0": {"dropout": 0.0},
    "dropout 0.2": {"dropout": 0.2},
    "5 components": {"n_components": 5},
    "no waves": {"n_frequencies": 0},
    "no early stopping": {"early_stopping": False},
    "no residuals": {},
    "no narrow components": {},
    "no kernels": {},
    "RNADE": {},
}
# Ingredients that are no parameters.
PATCHES = {
    "no residuals": (_base, "fit_residuals", lambda *args: None),
    "no narrow components": (_mixture_start, "_MOST_HEAPS", 0),
    "no kernels": (_mixture_start, "_MANY", 10**9),  # tells in tables of one column
}


def divisions(table: str, repeats: int) -> Iterator[tables.Split]:
    """The training part of the first split, divided anew and standardised."""
    X = next(tables.splits("real", table)).train
    for repeat in range(repeats):
        order = np.random.default_rng(repeat).permutation(len(X))
        held_out, train = np.split(X[order], [round(0.15 * len(X))])
        mean, std = train.mean(0), train.std(0)
        yield tables.Split((train - mean) / std, None, (held_out - mean) / std)


def made(variant: str, seed: int) -> BaseEstimator:
    cls = RNADEDensity if variant == "RNADE" else MADEDensity
    return cls(random_state=seed, **VARIANTS[variant])


def study(table: str, variants: list[str], args: argparse.Namespace) -> list[dict]:
    """A row of the record for every variant."""
    log_p: dict[str, list[np.ndarray]] = {}
    seconds: dict[str, list[float]] = {}
    for repeat, split in enumerate(divisions(table, args.repeats)):
        for variant in variants:
            model = made(variant, repeat)
            name = f"{repeat:02d}-{variant.replace(' ', '-')}-{key(model, split)}.npz"
            patch: Any = contextlib.nullcontext()
            if variant in PATCHES:
                patch = mock.patch.object(*PATCHES[variant])
            with patch:
                result = result_of(model, split, args.cache / table / name)
            assert result is not None
            log_p.setdefault(variant, []).append(result.log_p)
            seconds.setdefault(variant, []).append(result.seconds)
    default = np.concatenate(log_p[DEFAULT])
    rows = []
    for variant, parts in log_p.items():
        values = np.concatenate(parts)
        change, error = mean_and_error(values - default)
        rows.append(
            {
                "table": table,
                "variant": variant,
                "repeats": args.repeats,
                "n": len(values),
                "nats": values.mean(),
                "change": change,
                "error": error,
                "seconds": np.median(seconds[variant]),
            }
        )
    return rows


def page(record: pd.DataFrame, where: str) -> str:
    command, machine = where.splitlines()
    names = list(dict.fromkeys(record["table"]))
    lines = [
        "# What each ingredient of the default fit is worth",
        "",
        f"    {command.removeprefix('$ ')}",
        "",
        f"Last run: {machine}. Nats per held-out row of divisions of training rows; in",
        "the first line of the default fit, below it the change without the ingredient",
        "± paired standard error. What the command leaves out comes from earlier runs.",
        "",
        "| | " + " | ".join(names) + " |",
        "|---" * (1 + len(names)) + "|",
    ]
    # Those that the package no longer has come last.
    recorded = list(dict.fromkeys(record["variant"]))
    for variant in sorted(recorded, key=[*VARIANTS, *recorded].index):
        cells = []
        for table in names:
            row = record[(record["table"] == table) & (record["variant"] == variant)]
            if row.empty:
                cells.append("")
            elif variant == DEFAULT:
                cells.append(f"{row['nats'].item():.3f}")
            else:
                change, error = row["change"].item(), row["error"].item()
                cells.append(f"{change:+.3f} ± {error:.3f}")
        lines.append(f"| {variant} | " + " | ".join(cells).replace("-", "−") + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*", help=f"by default {', '.join(SETS)}")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cache", type=Path, default=HERE / ".cache" / "ablation")
    parser.add_argument("--record", type=Path, default=HERE / "record")
    args = parser.parse_args()
    variants = [DEFAULT, *(v for v in args.variants or VARIANTS if v != DEFAULT)]
    where = described()
    path = args.record / "ablation.csv"
    for table in args.tables or SETS:
        record = updated(path, study(table, variants, args))
        args.record.mkdir(parents=True, exist_ok=True)
        record.to_csv(path, index=False, float_format="%.6g")
        text = page(record, where)
        path.with_suffix(".md").write_text(text)
        print(text, flush=True)


if __name__ == "__main__":
    main()
