"""What the benchmarks of queries share: tables, holes, rows of results and pages.

`known_truths.py`, `missing.py`, `imputation.py`, `explanations.py`, `two_sample.py`.
Every result is a file in the cache as soon as it is there, under a hash of all that
decides it: the rows, the model's parameters, the code that measures and, for ours, the
source of the package. The csv in `record/` keeps the hash too, so that a run computes
only what neither of them has, and one that is broken off goes on where it stopped.
"""

import argparse
import inspect
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import sklearn
import tables
from accuracy import mean_and_error, source
from timing import described

from skdensity_ar import MADEDensity

HERE = Path(__file__).parent
# In most of them, which leave out some and add others.
SETS = (
    "iris",
    "wine",
    "diabetes",
    "breast_cancer",
    "winequality_red",
    "uci_concrete",
    "uci_power_plant",
)
# Files of the package that decide nothing of the density of a table.
ELSEWHERE = (
    "_around",
    "_baselines",
    "_bijections",
    "_docs",
    "_feature_scores",
    "_imputer",
    "_innovations",
    "_outlier",
    "_recurrent",
    "_rnn_rnade",
    "_sequence_baselines",
    "_sequences",
    "_tour",
    "_tour_picture",
    "_transformed",
    "__main__",
    "checks",
)
Compute = Callable[[], list[dict]]


def arguments(
    doc: str,
    *,
    models: Sequence[str],
    sets: Sequence[str],
    divisions: int,
    more: Mapping[str, dict] | None = None,
) -> argparse.Namespace:
    """What all five may be told, and `more` options of one."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--sets", nargs="+", default=list(sets))
    parser.add_argument(
        "--models",
        nargs="+",
        choices=[*models, "none"],
        default=list(models),
        help="compute these only, or none; the page shows whatever is known",
    )
    parser.add_argument("--divisions", type=int, default=divisions)
    parser.add_argument(
        "--max-rows", type=int, default=2000, help="of a set, drawn anew each time"
    )
    parser.add_argument(
        "--max-seconds", type=float, default=np.inf, help="begin nothing new after them"
    )
    parser.add_argument(
        "--max-iter", type=int, help="epochs of ours; for a trial, with its own record"
    )
    parser.add_argument("--cache", type=Path, default=HERE / ".cache")
    parser.add_argument("--record", type=Path, default=HERE / "record")
    for option, settings in (more or {}).items():
        parser.add_argument(option, **settings)
    return parser.parse_args()


def tasks(
    args: argparse.Namespace,
    *,
    test_share: float,
    few_values: bool = True,
    noise: bool = False,
) -> Iterator[tuple[dict, pd.DataFrame, pd.DataFrame]]:
    """Set and division; training rows; test rows."""
    for name in args.sets:
        table = tables.whole(name, few_values=few_values, noise=noise)
        for division in range(args.divisions):
            parts = tables.divided(
                table, division, test_share=test_share, max_rows=args.max_rows
            )
            yield {"set": name, "division": division}, *parts


def made(seed: int, args: argparse.Namespace, **params: Any) -> MADEDensity:
    """Ours with its defaults but for `params`."""
    epochs = {} if args.max_iter is None else {"max_iter": args.max_iter}
    return MADEDensity(random_state=seed, **params, **epochs)


def is_ours(model: str) -> bool:
    """Whether a model's results change with the source of the package."""
    return model.startswith("MADE")


def with_holes(table: pd.DataFrame, rate: float, seed: int) -> pd.DataFrame:
    """The table with a share of its cells missing, each drawn by itself."""
    return table.mask(np.random.default_rng(seed).random(table.shape) < rate)


def real_columns(table: pd.DataFrame) -> list[str]:
    return list(table.select_dtypes("number").columns)


class Rows:
    """The rows of a record, each computed once; `by` names what tells results apart."""

    def __init__(self, name: str, by: Sequence[str], args: argparse.Namespace):
        stem = name if args.max_iter is None else f"{name}_quick"
        self.path = args.record / f"{stem}.csv"
        self.cache = args.cache / stem
        self.by, self.args = list(by), args
        self.end = time.perf_counter() + args.max_seconds
        self.where = described()
        self.new: list[dict] = []
        print(self.where, flush=True)

    def add(
        self, what: dict, decides: Any, code: Sequence[Any], compute: Compute
    ) -> None:
        """The result of `compute` for `what`, unless it is known.

        It may have many rows. `decides` are parameters and frames, `code` the functions
        and classes that the result comes from.
        """
        stem = "-".join(str(what[name]).replace(" ", "_") for name in self.by)
        hashed = key(what, decides, code)
        path = self.cache / f"{stem}-{hashed}.json"
        found = self._recorded(hashed)
        if not found:
            asked = what["model"] in self.args.models
            if not path.exists() and not (asked and time.perf_counter() < self.end):
                return
            if not path.exists():
                try:
                    self._compute(path, compute)
                except ValueError as error:  # too few rows for a rival, for one
                    print(f"{path.stem}: {error}", flush=True)
                    return
                print(path.stem, flush=True)
            found = json.loads(path.read_text())
        self.new += [what | row | {"key": hashed} for row in found]

    def _recorded(self, hashed: str) -> list[dict]:
        if not self.path.exists():
            return []
        record = pd.read_csv(self.path)
        return record[record["key"] == hashed].to_dict("records")

    def _compute(self, path: Path, compute: Compute) -> None:
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = compute()
        seconds = time.perf_counter() - start
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(json.dumps([row | {"seconds": seconds} for row in found]))
        part.replace(path)

    def record(self) -> pd.DataFrame:
        """What is known: earlier rows too, unless they were computed anew."""
        new = pd.DataFrame(self.new, columns=None if self.new else [*self.by, "key"])
        if not self.path.exists():
            return new
        old = pd.read_csv(self.path)
        of_new = pd.MultiIndex.from_frame(new[self.by])
        stays = ~pd.MultiIndex.from_frame(old[self.by]).isin(of_new)
        return pd.concat([old[stays], new], ignore_index=True)

    def write(self, title: str, text: str, body: Callable) -> None:
        """The record as a file of values and as a page, `body` says its lines."""
        record = self.record().sort_values(self.by, kind="stable")
        if record.empty:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        record.to_csv(self.path, index=False, float_format="%.6g")
        command, machine = self.where.splitlines()
        lines = [
            f"# {title}",
            "",
            f"    {command.removeprefix('$ ')}",
            "",
            f"Last run: {machine}, scikit-learn {sklearn.__version__}.",
            "What the command leaves out comes from earlier runs.",
            "",
            text,
            "",
            *body(record),
        ]
        page = "\n".join(lines).rstrip() + "\n"
        self.path.with_suffix(".md").write_text(page)


def key(what: dict, decides: Any, code: Sequence[Any]) -> str:
    """Hash of all that decides a result."""
    parts = [inspect.getsource(part) for part in code]
    if is_ours(what["model"]):
        parts.append(source(ELSEWHERE))
    return joblib.hash((what, parts, _values(decides)))[:12]


def _values(decides: Any) -> Any:
    """Frames by their values: a frame's pickle also tells what was done with it."""
    if isinstance(decides, pd.DataFrame):
        hashes = pd.util.hash_pandas_object(decides, index=False).to_numpy()
        return list(decides.columns), hashes
    if isinstance(decides, list | tuple):
        return [_values(part) for part in decides]
    return decides


def paired(
    record: pd.DataFrame, value: str, other: str, model: str
) -> dict[str, tuple[float, float, int]]:
    """By set, `other` minus `model`: mean over divisions, its error, how many."""
    by_model = record.pivot_table(value, ["set", "division"], "model", dropna=False)
    if not {other, model} <= set(by_model):
        return {}
    differences = (by_model[other] - by_model[model]).dropna()
    return {
        str(name): (*mean_and_error(part.to_numpy()), len(part))
        for name, part in differences.groupby(level="set")
    }


def outcome(
    lead: dict[str, tuple[float, float, int]],
) -> tuple[list[str], list[str]]:
    """Sets on which a lead is more than its error, and those where it is less than −.

    A lead over one division has no error and counts as it is.
    """
    ahead = [name for name, (m, e, _) in lead.items() if m > np.nan_to_num(e)]
    behind = [name for name, (m, e, _) in lead.items() if -m > np.nan_to_num(e)]
    return ahead, behind


def against_best(
    record: pd.DataFrame, value: str, ours: str, rivals: Sequence[str]
) -> dict[str, tuple[float, float, int]]:
    """`paired` with the rival of the smallest mean, set by set."""
    mean = record.groupby(["set", "model"])[value].mean().unstack()
    known = [name for name in rivals if name in mean]
    if ours not in mean or not known:
        return {}
    lags = {name: paired(record, value, ours, name) for name in known}
    best = mean[known].dropna(how="all").idxmin(axis=1)
    return {s: lags[name][s] for s, name in best.items() if s in lags[name]}


def standing(against: dict[str, tuple[float, float, int]]) -> str:
    """Say where ours is behind the best of the others and where it is ahead of it."""
    behind, ahead = outcome(against)  # smaller is better
    return (
        "Against the best of the others on each set, by more than one standard error "
        f"of the paired difference: ours behind on {named(behind)} of "
        f"{len(against)} sets, ahead on {named(ahead)}."
    )


def named(sets: Sequence[str]) -> str:
    """How many they are and, where there are any, which."""
    return f"{len(sets)}" + (f" ({', '.join(sets)})" if sets else "")


def cell(mean: float, error: float, digits: int = 3, *, sign: bool = False) -> str:
    """Mean ± error, as a cell of a table."""
    text = f"{mean:+.{digits}f}" if sign else f"{mean:.{digits}f}"
    return (text if np.isnan(error) else f"{text} ± {error:.{digits}f}").replace(
        "-", "−"
    )


def means(record: pd.DataFrame, value: str, digits: int = 3) -> pd.DataFrame:
    """Cells of sets and models: mean over divisions ± its standard error."""
    known = record.dropna(subset=value)
    cells = known.groupby(["set", "model"], sort=False)[value].agg(
        lambda values: cell(*mean_and_error(values.to_numpy()), digits)
    )
    return cells.unstack().fillna("")


def ranks(record: pd.DataFrame, value: str, *, largest: bool = False) -> pd.Series:
    """Mean rank of the models over sets, by their means; 1 is the best."""
    mean = record.groupby(["set", "model"])[value].mean().unstack().dropna(how="all")
    return mean.rank(axis=1, ascending=not largest).mean().dropna().sort_values()


def lines(table: pd.DataFrame, corner: str = "") -> list[str]:
    """A table of cells in Markdown, its index first."""
    rows = [[str(name), *row] for name, *row in table.itertuples()]
    head = [corner, *map(str, table.columns)]
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
