"""Held-out log-density of ours and of tuned rivals, in nats per row.

    python benchmarks/accuracy.py --suite real
    python benchmarks/accuracy.py --suite real winequality_red ionosphere --noise
    python benchmarks/accuracy.py --suite binary nltcs --models MADE ChowLiuTree

Reads the folder in the environment variable SKDENSITY_AR_DATA; `tables.py` says what
becomes of its files, `rivals.py` how the rivals choose their settings. Every model sees
the training rows, and the validation rows where a table has its own; test rows are
scored once. What was fitted is kept in the cache, under the model's parameters, the
rows and, for ours, the source of the package (its comments and docstrings apart): a run
that is broken off goes on where it stopped. What the models give to each test row also
stays in `record/rows`, so that a change of ours is held against the rivals without
fitting them anew. (After a change to a rival's code its results must be deleted in both
places.)

`--models` and `--splits` say what to fit, `--models none` nothing; the tables show
whatever else is known of them. The record keeps its other tables as they are. "±" is
the standard error over test rows, those of all splits taken as independent; a
difference is per row, ours minus the other, over the splits that both have.
"""

import argparse
import ast
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import rivals
import tables
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import ConvergenceWarning
from timing import described

import skdensity_ar
from skdensity_ar import MADEDensity, NADEDensity, RNADEDensity
from skdensity_ar._baselines import IndependentColumns, PerClassGaussian

# Of ours: by suite and table, "" for every table that is not named.
# Chosen on validation rows, of real tables on divisions of the training part; those of
# bits when the default had a weight decay.
LONG = {"n_orderings": 8, "max_iter": 200, "learning_rate_init": 0.003}
BITS = NADEDensity(**LONG, weight_decay=0.01)
WIDE = MADEDensity(**LONG, weight_decay=0.01)
REFERENCE: dict[str, dict[str, BaseEstimator]] = {
    "real": {"": MADEDensity((256, 256), dropout=0.1, n_iter_no_change=20)},
    "binary": {
        "": BITS,
        **dict.fromkeys(("ad", "c20ng", "cwebkb"), WIDE),
        **dict.fromkeys(
            ("dna", "nade_dna"),
            MADEDensity(
                (1000,),
                n_orderings=8,
                max_iter=600,
                n_iter_no_change=60,
                weight_decay=0.01,
                dropout=0.6,
                input_dropout=0.3,
            ),
        ),
        "nade_mushrooms": clone(BITS).set_params(learning_rate_init=0.01),
    },
    "images": {"": MADEDensity((1024, 1024), n_orderings=8, max_iter=100)},
    "mixed": {"": MADEDensity(n_orderings=8, max_iter=160)},
}
OURS = "MADE"  # what the others are compared with
ALL_OURS = (OURS, "NADE", "RNADE", "reference")
HERE = Path(__file__).parent


@dataclass
class Result:
    """One fit: log-density of the test rows, seconds to fit, what the model says."""

    log_p: np.ndarray
    seconds: float
    note: str = ""


def models(
    suite: str,
    table: str,
    split: tables.Split,
    *,
    seed: int,
    quick: bool,
    noise: bool,
    limit: float,
) -> dict[str, BaseEstimator]:
    """The models of a suite by name, ours first; a flow trains `limit` seconds."""
    reference = REFERENCE[suite].get(table, REFERENCE[suite][""])
    ours = {
        "MADE": MADEDensity(random_state=seed),
        "reference": clone(reference).set_params(random_state=seed),
    }
    options = {"quick": quick, "random_state": seed}
    n, n_columns = split.train.shape
    if suite == "real":
        flow = {"time_limit": limit, "random_state": seed}
        zuko = flow | {"max_epochs": 20 if quick else 500}
        real = {
            "RNADE": RNADEDensity(random_state=seed),
            "Gaussian": rivals.full_gaussian(),
            "GMM": rivals.gaussian_mixture(n, **options),
            "KDE": rivals.kernel_density(**options),
            "zuko MAF": rivals.ZukoFlow("MAF", **zuko),
            "zuko NSF": rivals.ZukoFlow("NSF", **zuko),
        }
        if n_columns > 1:  # denmarf has no density of a single column
            epochs = {"max_epochs": 20 if quick else 1000, "patience": 50}
            real["denmarf"] = rivals.DenmarfFlow("MAF", **flow, **epochs)
        return ours | real
    if suite == "mixed":
        mixed = {
            "IndependentColumns": IndependentColumns(random_state=seed),
            "MixedMixture": rivals.mixed_mixture(n, noise=noise, **options),
        }
        if n < rivals.MANY_ROWS:  # tries all subsets of the categorical columns
            mixed["PerClassGaussian"] = PerClassGaussian(random_state=seed)
        return ours | mixed
    if suite == "binary":
        ours["NADE"] = NADEDensity(random_state=seed)
    return ours | {
        "BernoulliMixture": rivals.bernoulli_mixture(**options),
        "ChowLiuTree": rivals.chow_liu_tree(random_state=seed),
    }


def result_of(
    model: BaseEstimator, split: tables.Split, path: Path, *, fit: bool = True
) -> Result | None:
    """The result in the cache; else fits, if it may, and puts it there."""
    if path.exists():
        with np.load(path) as file:
            return Result(file["log_p"], float(file["seconds"]), str(file["note"]))
    if not fit:
        return None
    valid = {} if split.valid is None else {"X_val": split.valid}
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(split.train, **valid)
    seconds = time.perf_counter() - start
    epochs = f"{model.n_iter_} epochs" if hasattr(model, "n_iter_") else ""
    note = getattr(model, "note_", epochs)
    result = Result(model.score_samples(split.test), seconds, note)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, **vars(result))
    part.replace(path)
    return result


def key(model: BaseEstimator, split: tables.Split) -> str:
    """Hash of all that decides a result."""
    code = source() if is_ours(model) else ""
    parts = (split.train, split.valid, split.test)
    return joblib.hash((code, model.get_params(deep=False), parts))[:12]


def is_ours(model: BaseEstimator) -> bool:
    return type(model).__module__.startswith("skdensity_ar.estimators")


@cache
def source(without: Sequence[str] = ()) -> str:
    """The package's statements, without comments and docstrings, nor some files."""
    files = sorted(Path(skdensity_ar.__file__).parent.rglob("*.py"))
    kept = [path for path in files if path.stem not in without]
    return "".join(statements(path.read_text()) for path in kept)


def statements(text: str) -> str:
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            if ast.get_docstring(node, clean=False) is not None:
                del node.body[0]
    return ast.dump(tree)


class Shelf(dict[str, Result]):
    """The results of one table that are kept in a file, by name."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        if path.exists():
            with np.load(path) as file:
                names = [n.removesuffix(".log_p") for n in file if n.endswith(".log_p")]
                for name in names:
                    note, seconds = file[f"{name}.note"], file[f"{name}.seconds"]
                    log_p = file[f"{name}.log_p"].astype(float)
                    self[name] = Result(log_p, float(seconds), str(note))

    def replace(self, results: dict[str, Result]) -> None:
        """Keep these, to the 7 digits of a float32, and no others."""
        if results.keys() == self.keys():
            return
        self.clear()
        self.update(results)
        values: dict[str, np.ndarray] = {}
        for name, result in sorted(self.items()):
            values[f"{name}.log_p"] = result.log_p.astype(np.float32)
            values[f"{name}.seconds"] = np.array(result.seconds)
            values[f"{name}.note"] = np.array(result.note)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_suffix(".part.npz")
        np.savez_compressed(part, **values)  # type: ignore[arg-type]
        part.replace(self.path)


def study(table: str, args: argparse.Namespace) -> dict[str, dict[int, Result]]:
    """What is known of every model, split by split, after fitting what is asked for."""
    results: dict[str, dict[int, Result]] = {}
    shelf = Shelf(args.record / "rows" / record_stem(args) / f"{table}.npz")
    current: dict[str, Result] = {}
    for i, split in enumerate(tables.splits(args.suite, table, noise=args.noise)):
        within = args.splits is None or i < args.splits
        known = models(
            args.suite,
            table,
            split,
            seed=args.seed,
            quick=args.quick,
            noise=args.noise,
            limit=args.time_limit,
        )
        if i == 0 and not known.keys() | {"none"} >= set(args.models or ()):
            print(f"{table}: there are only the models {', '.join(known)}")
        for name, model in known.items():
            stem = f"{i:02d}-{name.replace(' ', '-')}-{key(model, split)}"
            path = args.cache / args.suite / table / f"{stem}.npz"
            is_new = stem not in shelf and not path.exists()
            fit = name in (args.models or known) and within
            try:
                result = shelf.get(stem) or result_of(model, split, path, fit=fit)
            except (ImportError, ValueError) as error:
                print(f"{table} {i} {name}: {error}", flush=True)
                continue
            if result is None:
                continue
            results.setdefault(name, {})[i] = result
            current[stem] = result
            if is_new:
                print(
                    f"{table} {i} {name:20}{result.log_p.mean():10.3f}"
                    f"{result.seconds:8.0f} s  {result.note}",
                    flush=True,
                )
    # Of ours only what the package now gives stays; rivals stay whatever was asked for.
    names = {name.replace(" ", "-") for name in ALL_OURS}
    kept = {s: r for s, r in shelf.items() if s.split("-")[1] not in names}
    shelf.replace(kept | current)
    return results


def record_stem(args: argparse.Namespace) -> str:
    noise, quick = "_noise" * args.noise, "_quick" * args.quick
    return f"accuracy_{args.suite}{noise}{quick}"


def rows(table: str, results: dict[str, dict[int, Result]]) -> list[dict]:
    """The rows of the record for one table, ranked by the difference to ours."""
    ours = results.get(OURS, {})
    rows_ = []
    for name, by_split in results.items():
        values = np.concatenate([result.log_p for result in by_split.values()])
        mean, error = mean_and_error(values)
        differences = [
            ours[i].log_p - result.log_p for i, result in by_split.items() if i in ours
        ]
        minus, minus_error = mean_and_error(np.concatenate(differences or [[np.nan]]))
        rows_.append(
            {
                "table": table,
                "model": name,
                "splits": len(by_split),
                "n_test": len(values),
                "nats": mean,
                "error": error,
                "minus": minus,
                "minus_error": minus_error,
                "seconds": np.median([r.seconds for r in by_split.values()]),
                "notes": "; ".join(r.note for r in by_split.values()),
            }
        )
    behind = np.array([row["minus"] if ours else -row["nats"] for row in rows_])
    for row, b in zip(rows_, behind, strict=True):  # no rank without a split of ours
        row["rank"] = np.nan if np.isnan(b) else 1 + int((behind < b).sum())
    return rows_


def updated(path: Path, new: list[dict]) -> pd.DataFrame:
    """The record in the file, if there is one, with its tables in `new` replaced."""
    record = pd.DataFrame(new)
    if path.exists():
        old = pd.read_csv(path)
        record = pd.concat([old[~old["table"].isin(record["table"])], record])
    return record


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error; a row of probability zero makes the latter NaN."""
    if len(values) < 2:
        return values.mean(), np.nan
    with np.errstate(invalid="ignore"):
        return values.mean(), values.std(ddof=1) / np.sqrt(len(values))


def markdown(record: pd.DataFrame, *columns: str) -> Iterator[str]:
    """Lines of a table: a row per table, a column per model, by mean rank."""
    ranks = record.groupby("model")["rank"].mean().sort_values()
    yield "| | " + " | ".join(ranks.index) + " |"
    yield "|---" * (1 + len(ranks)) + "|"
    for table, part in record.groupby("table"):
        cells = []
        part = part.set_index("model")
        n_splits = part["splits"].max()
        for name in ranks.index:
            if name not in part.index or (columns[0] == "minus" and name == OURS):
                cells.append("")
                continue
            row = part.loc[name]
            digits = 0 if columns == ("seconds",) else 3
            text = " ± ".join(f"{row[c]:.{digits}f}" for c in columns)
            if columns[0] == "minus" and row["minus"] > 0:
                text = "+" + text
            if columns[0] == "nats":
                text = f"**{text}**" if row["rank"] == 1 else text
                text += " †" if "time limit" in str(row["notes"]) else ""
            if columns != ("seconds",) and row["splits"] < n_splits:
                text += f" ({row['splits']})"
            cells.append(text.replace("-", "−"))
        yield f"| {table} | " + " | ".join(cells) + " |"
    if columns[0] == "nats":
        yield "| mean rank | " + " | ".join(f"{rank:.2f}" for rank in ranks) + " |"


def published(record: pd.DataFrame) -> Iterator[str]:
    """Lines of a table: what papers report, and by how much we pass it.

    We: the reference settings where they were run, else the default. The better of
    them on test rows would be a choice on test rows.
    """
    figures = pd.read_csv(HERE / "published.csv")
    ours = record[record["model"].isin((OURS, "reference"))].sort_values("model")
    ours = ours.groupby("table").last()  # "reference" comes after "MADE"
    yield "| | published | nats | ours | nats ± se | minus the published | source |"
    yield "|---" * 7 + "|"
    for table, model, nats, source in figures.itertuples(index=False):
        if table in ours.index:
            row = ours.loc[table]
            yield (
                f"| {table} | {model} | {nats:.2f} | {row['model']} "
                f"| {row['nats']:.3f} ± {row['error']:.3f} "
                f"| {row['nats'] - nats:+.3f} | {source} |"
            ).replace("| -", "| −")


def ties(plain: pd.DataFrame, noisy: pd.DataFrame) -> Iterator[str]:
    """Lines of a table: our lead over the best rival with rounding and without it."""
    leads = [
        record[~record["model"].isin(ALL_OURS)]
        .sort_values("minus")
        .groupby("table")
        .first()
        for record in (plain, noisy)
    ]
    yield "| | rival | as it is | rival | with noise |"
    yield "|---" * 5 + "|"
    for table in leads[0].index.intersection(leads[1].index):
        rows_ = (lead.loc[table] for lead in leads)
        cells = (
            f"{row['model']} | {row['minus']:+.3f} ± {row['minus_error']:.3f}"
            for row in rows_
        )
        yield (f"| {table} | " + " | ".join(cells) + " |").replace("| -", "| −")


def write(record: pd.DataFrame, where: str, path: Path) -> None:
    """The record as a file of values and as a page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record.to_csv(path.with_suffix(".csv"), index=False, float_format="%.6g")
    command, machine = where.splitlines()
    sizes = record.groupby("table")[["splits", "n_test"]].max()
    lines = [
        f"# {path.stem.replace('_', ' ').capitalize()}",
        "",
        f"    {command.removeprefix('$ ')}",
        "",
        f"Last run: {machine}. Test rows (splits): "
        + ", ".join(f"{t} {n} ({s})" for t, (s, n) in sizes.iterrows())
        + ".",
        "What the command leaves out comes from earlier runs.",
        "",
        "## Held-out nats per row ± standard error over test rows",
        "",
        *markdown(record, "nats", "error"),
        "",
        "† `--time-limit` ended the training in some split; (k): of the first k splits",
        f"only, so to be compared by the difference to {OURS} below, which also ranks;",
        "mean rank: over the tables that the model has.",
        "",
        f"## {OURS} with default parameters minus the model, nats per row",
        "",
        *markdown(record, "minus", "minus_error"),
        "",
        "## Seconds to fit, with the search for settings",
        "",
        "Medians over splits; other processes were at work on some of them.",
        "",
        *markdown(record, "seconds"),
    ]
    by_table = list(published(record))
    if len(by_table) > 2:
        lines += ["", "## Published figures, and ours", "", *by_table]
    plain = path.with_name(path.name.replace("_noise", ""))
    if plain != path and plain.exists():
        lines += [
            "",
            "## What repeated values are worth",
            "",
            f"{OURS} with default parameters minus the best rival, on the values",
            "as they are and with uniform noise of the rounding width added.",
            "",
            *ties(pd.read_csv(plain), record),
        ]
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suite", choices=list(REFERENCE), required=True)
    parser.add_argument("tables", nargs="*", help="all of the suite by default")
    parser.add_argument("--models", nargs="+", help="fit these only, or none")
    parser.add_argument("--quick", action="store_true", help="2 splits, small grids")
    parser.add_argument("--noise", action="store_true", help="hide rounding by noise")
    parser.add_argument("--splits", type=int, help="the first few only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time-limit", type=float, default=600, help="of a flow, in s")
    parser.add_argument("--cache", type=Path, default=HERE / ".cache" / "accuracy")
    parser.add_argument("--record", type=Path, default=HERE / "record")
    args = parser.parse_args()
    if args.quick:
        args.splits = args.splits or 2
    if args.noise and args.suite in ("binary", "images"):
        parser.error("--noise is for numbers; bits are not rounded")

    where = described()
    print(where)
    path = args.record / f"{record_stem(args)}.csv"
    for table in args.tables or tables.names(args.suite):
        results = study(table, args)
        if not results:
            continue
        record = updated(path, rows(table, results)).sort_values(["table", "rank"])
        write(record, where, path)
    if path.exists():
        print(path.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
