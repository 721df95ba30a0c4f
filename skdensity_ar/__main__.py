"""``python -m skdensity_ar``: the package on real data, in numbers and one picture."""

import argparse
import sys
import warnings
from functools import partial
from pathlib import Path

from joblib import cpu_count

from skdensity_ar._tour import tour


def main(argv=None):
    """Run the tour and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m skdensity_ar",
        description="Fit the estimators to four small real data sets, compare them "
        "with tuned well-known ones on data held out, and draw a picture.",
    )
    parser.add_argument(
        "--output",
        default="skdensity_ar_tour.png",
        metavar="FILE",
        help="where the picture goes (default: %(default)s, in this directory)",
    )
    parser.add_argument(
        "--splits",
        type=_positive_int,
        metavar="N",
        help="random 80/20 splits to average over (default: 3; with --quick: 1)",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="few rows, few epochs, small grids: a look at the output, not a result",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="default: %(default)s"
    )
    options = parser.parse_args(argv)
    picture = Path(options.output)
    if picture.is_dir() or not picture.parent.is_dir():
        parser.error(f"--output {picture}: not a file in a directory that exists")
    small = {"max_rows": 400, "max_iter": 30, "small_grids": True}
    with warnings.catch_warnings():
        # A reader of the table can do nothing about them; the tests see every one.
        warnings.simplefilter("ignore")
        tour(
            picture,
            n_splits=options.splits or (1 if options.quick else 3),
            seed=options.seed,
            n_jobs=min(4, cpu_count()),
            silent=True,
            say=partial(print, flush=True),
            **(small if options.quick else {}),
        )
    return 0


def _positive_int(text):
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


if __name__ == "__main__":
    sys.exit(main())
