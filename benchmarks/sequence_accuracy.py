"""Sequences: held-out nats per frame of RNNRNADE and its rivals.

    python benchmarks/sequence_accuracy.py jsb_chorales
    python benchmarks/sequence_accuracy.py japanese_vowels mocap_cmu35_50 mocap_walk49

Reads `sequences/` of the folder in the environment variable SKDENSITY_AR_DATA. Every
model is fitted to the training sequences: ours with default parameters (where a set has
validation sequences of its own, they are `X_val`); the vector autoregression with the
settings that score best on these, or in cross-validation over the training sequences
where there are none; the hidden Markov model with cross-validated settings; a RNADE of
frames by themselves with default parameters. The test sequences are scored once.
Columns that are constant in training are dropped for all.

"minus": ours minus the rival per frame, with the standard error over test sequences.
"""

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import ParameterGrid

from skdensity_ar import RNNRNADE, RNADEDensity
from skdensity_ar._sequence_baselines import (
    FrameDensity,
    GaussianVAR,
    hmm_search,
    var_search,
)

RIDGES = (1e-3, 1e-2, 0.1, 1.0, 10.0)


def load(name: str) -> dict[str, list[np.ndarray]]:
    """Training, validation and test sequences, as far as there are."""
    folder = Path(os.environ.get("SKDENSITY_AR_DATA", "../shared/data"))
    with np.load(folder / "sequences" / f"{name}.npz") as file:
        parts = {
            part: np.split(
                file[f"{part}_X"].astype(float),
                np.cumsum(file[f"{part}_lengths"])[:-1],
            )
            for part in ("train", "valid", "test")
            if f"{part}_X" in file
        }
    moving = np.concatenate(parts["train"]).std(0) > 1e-6
    if (np.concatenate(parts["train"]) % 1 == 0).all():
        moving[:] = True  # a key that is never struck still has a probability
    return {part: [x[:, moving] for x in X] for part, X in parts.items()}


class IndependentBits:
    """Every column a coin of its own, with half a count added."""

    def fit(self, X):
        frames = np.concatenate(X)
        self.p_ = (frames.sum(0) + 0.5) / (len(frames) + 1.0)
        return self

    def score_samples(self, X):
        log_p = [np.where(x == 1, np.log(self.p_), np.log1p(-self.p_)) for x in X]
        return np.array([x.sum() for x in log_p])


class ValidatedVAR:
    """A vector autoregression, its settings chosen on validation sequences."""

    def __init__(self, valid):
        self.valid = valid

    def fit(self, X):
        grid = ParameterGrid({"order": (1, 2, 3, 4), "ridge": RIDGES})
        models = [GaussianVAR(**setting).fit(X) for setting in grid]
        self.best_ = max(models, key=lambda model: model.score(self.valid))
        self.best_params_ = self.best_.get_params()
        return self

    def score_samples(self, X):
        return self.best_.score_samples(X)


def rivals(binary: bool, seed: int, parts):
    """The models that are held against ours, by name."""
    if binary:
        return {"independent columns": IndependentBits()}
    folds = {"n_splits": min(5, len(parts["train"]))}
    if "valid" in parts:
        var = {"GaussianVAR (validated)": ValidatedVAR(parts["valid"])}
    else:
        search = var_search(ridge=RIDGES, random_state=seed, **folds)
        var = {"GaussianVAR (CV)": search}
    return var | {
        "GaussianHMM (CV)": hmm_search(random_state=seed, **folds),
        "RNADE by frame": FrameDensity(RNADEDensity(random_state=seed)),
    }


def study(name: str, seed: int, only_ours: bool, options: dict) -> None:
    parts = load(name)
    train, test = parts["train"], parts["test"]
    n_frames = np.array([len(x) for x in test])
    binary = bool(np.isin(np.concatenate(train), (0, 1)).all())
    print(
        f"\n{name}: {len(train)} sequences of {sum(map(len, train))} frames to train, "
        f"{len(test)} of {n_frames.sum()} to test, {train[0].shape[1]} columns"
    )
    print(f"{'model':28}{'nats/frame':>12}{'minus':>10}{'s.e.':>8}{'fit (s)':>10}")
    models = {"RNNRNADE": RNNRNADE(random_state=seed, **options)}
    if not only_ours:
        models |= rivals(binary, seed, parts)
    ours = None
    for label, model in models.items():
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if ours is None and "valid" in parts:
                model.fit(train, X_val=parts["valid"])
            else:
                model.fit(train)
        seconds = time.perf_counter() - start
        log_p = model.score_samples(test)
        line = f"{label:28}{log_p.sum() / n_frames.sum():12.3f}"
        if ours is None:
            ours, line = log_p, line + f"{'':18}"
            note = f"   {model.n_iter_} epochs, best {model.history_.best_iter}"
        else:
            difference = ours - log_p
            mean = difference.sum() / n_frames.sum()
            # Ratio of sums over sequences: the spread of what is left of each.
            left = difference - mean * n_frames
            error = np.sqrt((left**2).sum()) / n_frames.sum()
            line += f"{mean:+10.3f}{error:8.3f}"
            note = "   " + ", ".join(
                f"{key}={value}"
                for key, value in getattr(model, "best_params_", {}).items()
            )
        print(line + f"{seconds:10.0f}" + note.rstrip(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+", help="names of files in sequences/")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-ours", action="store_true")
    parser.add_argument(
        "--set",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a parameter of RNNRNADE other than its default",
    )
    args = parser.parse_args()
    options = {}
    for name, value in args.set:
        kind = type(getattr(RNNRNADE(), name))
        options[name] = value if kind is str else kind(float(value))
    print("$ python", *sys.argv)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    for name in args.sets:
        study(name, args.seed, args.only_ours, options)


if __name__ == "__main__":
    main()
