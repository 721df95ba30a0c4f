"""Marginals and conditionals of order-agnostic densities against exact ones.

    OMP_NUM_THREADS=1 python benchmarks/known_truths.py
    python benchmarks/known_truths.py --sets gaussian --sizes 500 --divisions 1

The truths: a Gaussian with a covariance drawn from a Wishart distribution, a mixture of
two of them, both of six columns, and a Bayesian network of eight binary nodes. A
division is a truth of its own. Of `N_TEST` rows drawn from it the mean absolute
difference to the exact log-density, in nats:

joint        log p(x),
marginal     log p(x_S), the other cells missing,
conditional  log p(x_R | x_G) of complete rows,
partly       the same where 30 % of all cells are missing,
gap          log p(x_G) + log p(x_R | x_G) − log p(x), both ours: zero if the answers
             were those of one density. Orderings have networks or a network in common,
             and nothing but training makes them agree.

S and G are drawn, `N_PATTERNS` of each, by division. "worst" is the pattern with the
largest mean. The family that the truth is from, fitted by maximum likelihood, says what
could be had of so few rows: `GaussianMixture` with the right number of components, the
network with the right arrows and half a row added to every count.
"""

import argparse
from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
from accuracy import mean_and_error
from queries import Rows, arguments, cell, lines, made
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, wishart
from sklearn.mixture import GaussianMixture

N_TEST, N_PATTERNS, HOLES = 1000, 10, 0.3
SIZES = (500, 1500, 6000)
TARGET = 0.1
OURS, FAMILY = "MADE agnostic", "right family"
QUANTITIES = ("joint", "marginal", "conditional", "partly", "gap")


class Mixture:
    """Gaussians with drawn means and covariances."""

    def __init__(self, n_components: int, seed: int, n_columns: int = 6):
        rng = np.random.default_rng(seed)
        k, D = n_components, n_columns
        self.weights = rng.dirichlet(np.full(k, 5.0))
        self.means = rng.normal(scale=1.5, size=(k, D))
        draws = wishart(D + 2, np.eye(D) / D).rvs(k, random_state=rng)
        self.covariances = np.reshape(draws, (k, D, D))

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        counts = rng.multinomial(n, self.weights)
        parts = [
            rng.multivariate_normal(*moments, size=count)
            for count, *moments in zip(
                counts, self.means, self.covariances, strict=True
            )
        ]
        return rng.permutation(np.concatenate(parts))

    def log_prob(self, X: np.ndarray) -> np.ndarray:
        """Log p of the cells of every row that are not NaN."""
        return by_pattern(X, self._log_marginal)

    def _log_marginal(self, X: np.ndarray, S: np.ndarray) -> np.ndarray:
        parts = [
            multivariate_normal(mean[S], covariance[np.ix_(S, S)]).logpdf(X)
            for mean, covariance in zip(self.means, self.covariances, strict=True)
        ]
        log_weights = np.log(self.weights)[:, None]
        return logsumexp(log_weights + np.reshape(parts, (-1, len(X))), axis=0)

    def refitted(self, X: np.ndarray) -> "Mixture":
        k = len(self.weights)
        fitted = GaussianMixture(k, n_init=5, random_state=0).fit(X)
        family = Mixture(k, 0, X.shape[1])
        family.weights, family.means = fitted.weights_, fitted.means_
        family.covariances = fitted.covariances_
        return family


class Network:
    """Binary nodes, each with up to three drawn parents among those before it."""

    def __init__(self, seed: int, n_nodes: int = 8):
        rng = np.random.default_rng(seed)
        self.parents = [
            np.sort(rng.choice(d, size=min(d, rng.integers(1, 4)), replace=False))
            for d in range(n_nodes)
        ]
        # p(x_d = 1 | parents), an axis for each of them
        tables = [rng.beta(0.7, 0.7, size=(2,) * len(p)) for p in self.parents]
        self._set([np.clip(table, 0.05, 0.95) for table in tables])

    def _set(self, tables: list[np.ndarray]) -> None:
        rows = np.array(list(product((0, 1), repeat=len(self.parents))))
        log_p = np.zeros(len(rows))
        for d, (parents, table) in enumerate(zip(self.parents, tables, strict=True)):
            one = table[tuple(rows[:, parents].T)]
            log_p += np.log(np.where(rows[:, d] == 1, one, 1 - one))
        self.joint = np.exp(log_p).reshape((2,) * len(self.parents))
        self.rows = rows.astype(float)

    def sample(self, n: int, rng: np.random.Generator) -> np.ndarray:
        return rng.choice(self.rows, size=n, p=self.joint.ravel())

    def log_prob(self, X: np.ndarray) -> np.ndarray:
        """Log p of the cells of every row that are not NaN."""
        return by_pattern(X, self._log_marginal)

    def _log_marginal(self, X: np.ndarray, S: np.ndarray) -> np.ndarray:
        summed = self.joint.sum(axis=tuple(np.flatnonzero(~S)))
        return np.log(summed[tuple(X.astype(int).T)])

    def refitted(self, X: np.ndarray) -> "Network":
        family = Network(0, len(self.parents))
        family.parents = self.parents
        bits, tables = X.astype(int), []
        for d, parents in enumerate(self.parents):
            counts = np.full((2,) * (len(parents) + 1), 0.5)
            np.add.at(counts, (*bits[:, parents].T, bits[:, d]), 1.0)
            tables.append(counts[..., 1] / counts.sum(axis=-1))
        family._set(tables)
        return family


def by_pattern(X: np.ndarray, log_marginal: Callable) -> np.ndarray:
    """Log p of what is known of every row, rows with the same holes together."""
    known = ~np.isnan(X)
    log_p = np.zeros(len(X))
    patterns, which = np.unique(known, axis=0, return_inverse=True)
    for p, S in enumerate(patterns):
        if S.any():
            rows = which.ravel() == p
            log_p[rows] = log_marginal(X[rows][:, S], S)
    return log_p


def truth(name: str, seed: int) -> Mixture | Network:
    if name == "network":
        return Network(seed)
    return Mixture({"gaussian": 1, "mixture": 2}[name], seed)


SETS = ("gaussian", "mixture", "network")


class Exact:
    """A truth with the one method by which a fitted density is asked."""

    def __init__(self, truth: Mixture | Network):
        self.truth = truth

    def score_samples(self, X, *, given=()) -> np.ndarray:
        alone = without(X, np.setdiff1d(np.arange(X.shape[1]), given))
        return self.truth.log_prob(X) - self.truth.log_prob(alone)


def without(X: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """X with these columns missing."""
    X = X.copy()
    X[:, columns] = np.nan
    return X


def differences(density, exact, X: np.ndarray, seed: int) -> list[dict]:
    """Mean absolute differences of all quantities over rows and patterns."""
    rng = np.random.default_rng(seed)
    D = X.shape[1]
    patterns = [
        rng.permutation(D)[: rng.integers(1, D)] for _ in range(N_PATTERNS)
    ]  # of 1 to D - 1 columns
    holes = np.where(rng.random(X.shape) < HOLES, np.nan, X)
    joint = density.score_samples(X)
    found = {
        "joint": [joint - exact.score_samples(X)],
        **{quantity: [] for quantity in QUANTITIES[1:]},
    }
    for columns in patterns:
        marginal = without(X, np.setdiff1d(np.arange(D), columns))
        log_marginal = density.score_samples(marginal)
        found["marginal"].append(log_marginal - exact.score_samples(marginal))
        log_conditional = density.score_samples(X, given=columns)
        found["conditional"].append(
            log_conditional - exact.score_samples(X, given=columns)
        )
        found["partly"].append(
            density.score_samples(holes, given=columns)
            - exact.score_samples(holes, given=columns)
        )
        found["gap"].append(log_marginal + log_conditional - joint)
    rows = []
    for quantity, each in found.items():
        sizes = np.abs(each).mean(axis=1)
        rows.append(
            {
                "quantity": quantity,
                "nats": float(sizes.mean()),
                "worst": float(sizes.max()),
                "bias": float(np.mean(each)),
            }
        )
    return rows


def computed(
    model: str, name: str, seed: int, n: int, args: argparse.Namespace
) -> list[dict]:
    rng = np.random.default_rng(1000 + seed)
    exact = truth(name, seed)
    X_test, X = exact.sample(N_TEST, rng), exact.sample(n, rng)
    if model == FAMILY:
        density = Exact(exact.refitted(X))
    else:
        density = made(seed, args, ordering="agnostic").fit(X)
    return differences(density, Exact(exact), X_test, seed)


def body(record: pd.DataFrame) -> list[str]:
    out = []
    for model, of_model in record.groupby("model", sort=False):
        largest = of_model[of_model["n"] == of_model["n"].max()]
        mean = largest.groupby(["set", "quantity"])["nats"].mean()
        met = ", ".join(f"{s} {q}" for s, q in mean.index[mean >= TARGET]) or "none"
        out += [
            f"## {model}: mean absolute difference, nats",
            "",
            f"At n = {of_model['n'].max()}, means over divisions below {TARGET}: "
            f"{(mean < TARGET).sum()} of {len(mean)}; not below: {met}. "
            f"{_shrinks(of_model)}",
            "",
        ]
        keys = ["set", "quantity"]
        cells = {}
        for n, part in of_model.groupby("n"):
            by_quantity = part.groupby(keys)
            cells[f"n = {n}"] = by_quantity["nats"].agg(
                lambda x: cell(*mean_and_error(x.to_numpy()))
            )
            cells[f"worst, n = {n}"] = by_quantity["worst"].max().map("{:.3f}".format)
        table = pd.DataFrame(cells).fillna("")
        order = [(s, q) for s in SETS for q in QUANTITIES if (s, q) in table.index]
        table = table.loc[order]
        table.index = pd.Index([", ".join(names) for names in table.index])
        out += [*lines(table), ""]
    return out


def _shrinks(record: pd.DataFrame) -> str:
    """How often a size is better than the one before."""
    mean = record.pivot_table("nats", ["set", "quantity"], "n")
    steps = mean.diff(axis=1).iloc[:, 1:].to_numpy()
    known = ~np.isnan(steps)
    return (
        f"With the next size the mean is smaller in {(steps < 0).sum()} of "
        f"{known.sum()} cases."
    )


def main() -> None:
    args = arguments(
        __doc__,
        models=[OURS, FAMILY],
        sets=SETS,
        divisions=3,
        more={"--sizes": {"nargs": "+", "type": int, "default": list(SIZES)}},
    )
    rows = Rows("known_truths", ["set", "division", "n", "model"], args)
    code = [Mixture, Network, by_pattern, truth, Exact, differences, computed]
    for name in args.sets:
        for seed in range(args.divisions):
            for n in args.sizes:
                for model in (OURS, FAMILY):
                    what = {"set": name, "division": seed, "n": n, "model": model}
                    decides = [N_TEST, N_PATTERNS, HOLES, args.max_iter]
                    rows.add(
                        what,
                        decides,
                        code,
                        lambda what=what: computed(
                            what["model"],
                            what["set"],
                            what["division"],
                            what["n"],
                            args,
                        ),
                    )
            rows.write("Marginals and conditionals of known truths", TEXT, body)


TEXT = f"""\
Held-out rows ({N_TEST}) of drawn truths, {N_PATTERNS} patterns of columns each; ± is
the standard error over truths. "worst" is the pattern and truth with the largest mean.
`known_truths.py` says what the quantities are."""

if __name__ == "__main__":
    main()
