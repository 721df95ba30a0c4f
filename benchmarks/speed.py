"""Speed and memory against plain PyTorch, flows and scikit-learn, and how they scale.

    OMP_NUM_THREADS=2 python benchmarks/speed.py
    OMP_NUM_THREADS=2 python benchmarks/speed.py --suite nade rnade --repeats 15
    OMP_NUM_THREADS=2 python benchmarks/speed.py --suite fit --sizes 4000x8

Calls that are compared run in turns in one process; a ratio is one of medians, and
"low" and "high" are the least and the largest of a round. Targets stand beside what was
measured and decide nothing. Suites that a run leaves out keep their rows in the record;
with `--sizes`, or where a suite fails, so do the cases that it did not come to.

sampling    column by column against one pass of the network for every column
sequences   RNNRNADE's sampling by length; its training against plain loops
nade        a training step against autograd's loop over the columns, and its memory
rnade       likewise with mixtures of ten Gaussians
made        a step of `train` against flows and masked linear layers; the loop's share
fit         whole fits against flows, and the held-out nats that they buy
scoring     a million rows against a mixture and a kernel density, and the memory
scaling     times against rows, columns, hidden units and batch sizes
joblib      a grid search on two processes, and the threads within them
roofline    MADE against plain products of its sizes, its optimiser against a copy
"""

import argparse
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path

import matplotlib
import pandas as pd
import speed_estimators
import speed_networks
import speed_training
import torch
from speed_rows import Options, Row
from timing import described

HERE = Path(__file__).parent
SUITES: dict[str, Callable[[Options], Iterable[Row]]] = {
    "sampling": speed_networks.sampling,
    "sequences": speed_networks.sequences,
    "nade": speed_networks.nade,
    "rnade": speed_networks.rnade,
    "made": speed_training.made,
    "fit": speed_training.fit,
    "scoring": speed_estimators.scoring,
    "scaling": speed_estimators.scaling,
    "joblib": speed_estimators.parallel,
    "roofline": speed_networks.roofline,
}
COLUMNS = [
    *("suite", "case", "what", "ours_ms", "rival", "rival_ms"),
    *("ratio", "ratio_low", "ratio_high", "target", "note", "command", "machine"),
]
TEXT = ["suite", "case", "what", "rival", "target", "note", "command", "machine"]


def run(
    suite: str, options: Options, command: str, machine: str
) -> tuple[list[dict], bool]:
    """The suite's rows, printed as they come, and whether it came to its end."""
    rows = []
    try:
        for row in SUITES[suite](options):
            of_run = {"suite": suite, "command": command, "machine": machine}
            rows.append(asdict(row) | of_run)
            print(line(rows[-1]), flush=True)
    except Exception:
        print(f"{suite} failed:\n{traceback.format_exc()}", flush=True)
        return rows, False
    return rows, True


def line(row: dict) -> str:
    """One row in print."""
    parts = [row["suite"], row["case"], f"{row['what']}: {ratio_text(row)}"]
    if row["target"]:
        parts.append(f"target {row['target']}")
    parts += [text for text in (times_text(row), row["note"]) if text]
    return " | ".join(parts)


def ratio_text(row: dict) -> str:
    value, low, high = (row[key] for key in ("ratio", "ratio_low", "ratio_high"))
    spread = "" if pd.isna(low) else f" ({low:.3g} … {high:.3g})"
    return f"{value:.3g}{spread}"


def times_text(row: dict) -> str:
    """Ours and theirs, where they were timed."""
    return " / ".join(
        _duration(row[key]) for key in ("ours_ms", "rival_ms") if pd.notna(row[key])
    )


def _duration(milliseconds: float) -> str:
    for unit, size in (("s", 1e3), ("ms", 1.0), ("µs", 1e-3)):
        if milliseconds >= size:
            return f"{milliseconds / size:.3g} {unit}"
    return f"{1e6 * milliseconds:.3g} ns"


def updated(path: Path, suite: str, new: list[dict], *, whole: bool) -> pd.DataFrame:
    """The record in the file with the suite's rows replaced: all, or by case."""
    record = pd.DataFrame(new, columns=COLUMNS)
    if path.exists():
        old = pd.read_csv(path, dtype=dict.fromkeys(TEXT, str), keep_default_na=False)
        numbers = [name for name in COLUMNS if name not in TEXT]
        old[numbers] = old[numbers].apply(pd.to_numeric)
        replaced = old["suite"] == suite
        if not whole:
            replaced &= old["case"].isin(record["case"])
        parts = [part for part in (old[~replaced], record) if len(part)]
        record = pd.concat(parts) if parts else record
    order = {name: i for i, name in enumerate(SUITES)}
    return record.sort_values("suite", key=lambda s: s.map(order), kind="stable")


def page(record: pd.DataFrame, picture: str | None) -> Iterator[str]:
    """Lines of the record's page."""
    yield "# Speed"
    yield ""
    yield "Calls that are compared ran in turns in one process. A ratio is that of the"
    yield "medians (in brackets the least and the largest of a round); `what` says of"
    yield "what. What a command leaves out comes from earlier runs."
    if not record["command"].str.contains("--device").any():
        yield ""
        yield "The same on a GPU (`--device cuda`) is owed: none was at hand."
    for suite, part in record.groupby("suite", sort=False):
        yield from ("", f"## {suite}", "")
        for command, machine in part[["command", "machine"]].drop_duplicates().values:
            yield f"    {command}"
            yield f"    {machine}"
        yield ""
        yield "| case | what | figure | target | ours / theirs | note |"
        yield "|---" * 6 + "|"
        for row in part.to_dict("records"):
            cells = [row["case"], row["what"], ratio_text(row), row["target"]]
            cells += [times_text(row), row["note"]]
            yield re.sub(r"(?<!\w)-(?=\d)", "−", f"| {' | '.join(cells)} |")
        if suite == "scaling" and picture:
            yield from ("", f"![Times against sizes]({picture})")


def draw(record: pd.DataFrame, path: Path) -> bool:
    """The curves of the suite "scaling", log against log; whether there were any."""
    points = record[record["what"] == speed_estimators.PER_ONE]
    if points.empty:
        return False
    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    curve = points["case"].str.rsplit(": ", n=1, expand=True)
    slopes = record[record["suite"] == "scaling"].set_index("case")["ratio"]
    names = list(curve[0].unique())
    figure, axes = plt.subplots(2, 3, figsize=(12, 7), layout="constrained")
    for ax, name in zip(axes.flat, names, strict=False):
        here = curve[0] == name
        sizes = curve[1][here].astype(float)
        ax.loglog(sizes, points["ours_ms"][here], "o-")
        ax.set(title=f"{name}, slope {slopes[name]:.2f}", ylabel="ms")
    figure.savefig(path, dpi=100)
    plt.close(figure)
    return True


def write(record: pd.DataFrame, path: Path) -> None:
    """The record as a file of values, a page and a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    record.to_csv(path, index=False, float_format="%.6g")
    picture = path.with_name(f"{path.stem}_scaling.png")
    drawn = draw(record, picture)
    lines = page(record, picture.name if drawn else None)
    path.with_suffix(".md").write_text("\n".join(lines) + "\n")


def command_of(suite: str, args: argparse.Namespace) -> str:
    """What to type for one suite; it names no folder."""
    words = ["python benchmarks/speed.py", "--suite", suite]
    if args.sizes and suite == "fit":
        words += ["--sizes", *(f"{n}x{D}" for n, D in args.sizes)]
    words += ["--quick"] * args.quick + ["--full-fit"] * args.full_fit
    words += ["--device", args.device] * (args.device != "cpu")
    words += ["--threads", str(args.threads)] * (args.threads is not None)
    return " ".join([*words, "--repeats", str(args.repeats)])


def size(text: str) -> tuple[int, int]:
    n, D = text.split("x")
    return int(n), int(D)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", nargs="+", choices=SUITES, default=list(SUITES))
    parser.add_argument("--quick", action="store_true", help="tiny sizes: a trial")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, help="of torch; its own choice else")
    parser.add_argument("--repeats", type=int, default=7, help="rounds")
    parser.add_argument("--sizes", type=size, nargs="+", help="of fit, as 4000x8")
    parser.add_argument("--full-fit", action="store_true", help="before scoring")
    parser.add_argument("--time-limit", type=float, default=600, help="of a flow, in s")
    parser.add_argument("--record", type=Path, default=HERE / "record")
    args = parser.parse_args()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    options = Options(
        device=torch.device(args.device),
        repeats=args.repeats,
        quick=args.quick,
        sizes=tuple(args.sizes or ()),
        full_fit=args.full_fit,
        time_limit=args.time_limit,
    )
    machine = described(options.device).splitlines()[1]
    print(machine)
    path, failed = args.record / "speed.csv", []
    for suite in args.suite:
        rows, ended = run(suite, options, command_of(suite, args), machine)
        partial = not ended or (suite == "fit" and args.sizes is not None)
        if rows:
            write(updated(path, suite, rows, whole=not partial), path)
        if not ended:
            failed.append(suite)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
