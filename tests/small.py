"""Small tables and densities that are fitted in a blink."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl

from skdensity_ar import RNNRNADE, MADEDensity, NADEDensity, RNADEDensity

SMALL = {
    "hidden_layer_sizes": (8,),
    "n_orderings": 2,
    "max_iter": 3,
    "device": "cpu",
    "random_state": 0,
}


def small(cls, **params):
    """A density of this class that trains for three epochs."""
    own = {"recurrent_layer_sizes": (6,)} if cls is RNNRNADE else {}
    return cls(**{**SMALL, **own, **params})


def reals(n=60, D=3, seed=0):
    """Correlated normal columns."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, D)) @ (np.eye(D) + 0.3)


def binaries(n=60, D=4, seed=0):
    """Columns in {0, 1}, each seen with both."""
    X = (np.random.default_rng(seed).random((n, D)) < 0.4).astype(float)
    X[:2] = [[0.0], [1.0]]
    return X


def codes(n=60, D=3, seed=0):
    """Columns of the integers 0 … 3, each seen with all four."""
    X = np.random.default_rng(seed).integers(0, 4, size=(n, D)).astype(float)
    X[:4] = np.arange(4.0)[:, None]
    return X


def mixed_frame(n=60, seed=0):
    """A pandas frame with a column of every kind."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "length": rng.normal(size=n),
            "count": rng.integers(0, 9, size=n),
            "island": pd.Categorical(rng.choice(["Biscoe", "Dream"], n)),
            "species": rng.choice(["Adelie", "Gentoo", "Chinstrap"], n),
            "tagged": rng.random(n) < 0.5,
        }
    )
    frame.loc[:2, "species"] = ["Adelie", "Gentoo", "Chinstrap"]
    frame.loc[:1, "island"] = ["Biscoe", "Dream"]
    frame.loc[:1, "tagged"] = [False, True]
    return frame


def sequences(n=12, D=3, seed=0, longest=7):
    """Smooth real sequences of 1 … `longest` frames."""
    rng = np.random.default_rng(seed)
    lengths = [1 + i % longest for i in range(n)]
    return [rng.normal(size=(T, D)).cumsum(0) for T in lengths]


def to_polars(frame):
    """The same frame in polars (whose own from_pandas needs pyarrow)."""
    categories = [name for name, kind in frame.dtypes.items() if kind == "category"]
    table = pl.DataFrame(
        {
            name: column.astype(object).where(column.notna(), None).to_list()
            for name, column in frame.items()
        }
    )
    return table.with_columns(pl.col(*categories).cast(pl.Categorical))


# Every class with a table that suits it.
DENSITIES = {NADEDensity: codes, MADEDensity: reals, RNADEDensity: reals}
# These and the density of sequences.
EVERY = {**DENSITIES, RNNRNADE: sequences}
TABLES = {"codes": codes, "binaries": binaries, "reals": reals, "mixed": mixed_frame}
