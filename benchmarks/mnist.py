"""Fixed binarised MNIST: an ensemble whose members are fitted one after the other.

    python benchmarks/mnist.py --members 4

Reads `images/binarized_mnist.npz` in the folder of SKDENSITY_AR_DATA. Every member is a
fit to all training rows with a seed of its own, watched by the validation rows, and is
kept in the cache: a run that is broken off goes on with the next one. The first visits
the pixels line by line, the others in the further `SCANS`. The ensemble is the average
of the members' densities (published: NADE -88.33, MADE with 32 masks -86.64, deep
EoNADE ensemble -84.65).
"""

import argparse
import time
from pathlib import Path

import joblib
import numpy as np
import tables
from accuracy import mean_and_error
from scipy.special import logsumexp
from sklearn.base import BaseEstimator
from timing import described

from skdensity_ar import MADEDensity, NADEDensity

HERE = Path(__file__).parent
MEMBERS = {
    "NADE": NADEDensity(
        (500,),
        n_orderings=1,
        max_iter=24,
        batch_size=100,
        learning_rate_init=0.005,
        weight_decay=0.01,
    ),
    "MADE": MADEDensity(
        (4000,),
        n_orderings=1,
        max_iter=60,
        batch_size=128,
        learning_rate_init=0.005,
        weight_decay=0.01,
    ),
    "EoNADE": MADEDensity(
        (500, 500),
        ordering="agnostic",
        n_orderings=8,
        n_networks=1,
        max_iter=400,
        batch_size=256,
        learning_rate_init=0.002,
        n_iter_no_change=10,  # times four: see the docstring
        weight_decay=0.01,
        direct_connections=False,
    ),
}

PIXELS = np.arange(28 * 28).reshape(28, 28)
# Line by line or column by column, from each of the four corners.
SCANS = [
    lines.ravel().tolist()
    for turned in (PIXELS, PIXELS[::-1, ::-1], PIXELS[:, ::-1], PIXELS[::-1])
    for lines in (turned, turned.T)
]


def fitted(model: BaseEstimator, seed: int, cache: Path) -> dict[str, np.ndarray]:
    """The member's scores of the validation and test rows, and its learning curve."""
    params = model.get_params() | {"random_state": seed}
    if seed > 0 and params["ordering"] == "natural":
        params["ordering"] = SCANS[seed % len(SCANS)]
    path = cache / f"{type(model).__name__}-{seed}-{joblib.hash(params)[:12]}.npz"
    if not path.exists():
        (split,) = tables.splits("images", "binarized_mnist")
        start = time.perf_counter()
        model = type(model)(**params).fit(split.train, X_val=split.valid)
        seconds = time.perf_counter() - start
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez_compressed(
            part,
            seconds=seconds,
            loss=model.loss_curve_,
            valid_curve=model.validation_scores_,
            valid=model.score_samples(split.valid),
            test=model.score_samples(split.test),
        )
        part.replace(path)
    with np.load(path) as file:
        return dict(file)


def page(name: str, model: BaseEstimator, members: list[dict], where: str) -> str:
    """What was measured so far, as Markdown."""
    command, machine = where.splitlines()
    lines = [
        f"# Fixed binarised MNIST, {name}",
        "",
        f"    {command.removeprefix('$ ')}",
        "",
        f"Last run: {machine}. Members: `{' '.join(str(model).split())}`.",
        "",
        "| members | valid | test ± se | that member alone, test | seconds to fit |",
        "|---|---|---|---|---|",
    ]
    for k, member in enumerate(members, start=1):
        both = {}
        for part in ("valid", "test"):
            log_p = [m[part] for m in members[:k]]
            both[part] = logsumexp(log_p, axis=0) - np.log(k)
        mean, error = mean_and_error(both["test"])
        lines.append(
            f"| {k} | {both['valid'].mean():.2f} | {mean:.2f} ± {error:.2f} "
            f"| {member['test'].mean():.2f} | {float(member['seconds']):.0f} |"
        )
    lines += ["", "Validation rows after each epoch, nats, member by member:", ""]
    for k, member in enumerate(members, start=1):
        curve = " ".join(f"{value:.2f}" for value in member["valid_curve"])
        lines += [f"{k}. {curve}"]
    minus = [line.replace(" -", " −") for line in lines[6:]]
    return "\n".join([*lines[:6], *minus]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=list(MEMBERS), default="NADE")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--cache", type=Path, default=HERE / ".cache" / "mnist")
    parser.add_argument("--record", type=Path, default=HERE / "record")
    args = parser.parse_args()
    where = described()
    model, members = MEMBERS[args.model], []
    for seed in range(args.members):
        members.append(fitted(model, seed, args.cache))
        text = page(args.model, model, members, where)
        args.record.mkdir(parents=True, exist_ok=True)
        (args.record / f"mnist_{args.model.lower()}.md").write_text(text)
        print(text, flush=True)


if __name__ == "__main__":
    main()
