"""
What does a classifier gain from a density of every class?
==========================================================

One fit of p(x | class), with the class as a context, and the shares of the classes make
a classifier by Bayes' rule. How does it do beside three classifiers of scikit-learn?
And what does it make of two kinds of rows of which these cannot say anything by
themselves: penguins of which half is not known, and penguins of another species?
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import log_softmax, logsumexp
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skdensity_ar import MADEDensity
from skdensity_ar.datasets import load_penguins

penguins = load_penguins().frame  # holes and all
X, y = penguins.drop(columns=["species", "island", "year"]), penguins["species"]
stranger = y == "Gentoo"  # which no classifier is told of
X_train, X_test, y_train, y_test = train_test_split(
    X[~stranger], y[~stranger], test_size=0.5, stratify=y[~stranger], random_state=0
)
classes, counts = np.unique(y_train, return_counts=True)
log_share = np.log(counts / len(y_train))

density = MADEDensity(ordering="agnostic", random_state=0)
density.fit(X_train, context=y_train)


def log_joint(X):
    """log p(x, class) of every class, (n, n_classes); of x what is known."""
    log_p = [density.score_samples(X, context=[c] * len(X)) for c in classes]
    return np.stack(log_p, axis=1) + log_share


def prepared(classifier):
    """The classifier behind what it needs before it."""
    columns = make_column_transformer(
        (
            make_pipeline(SimpleImputer(strategy="median"), StandardScaler()),
            make_column_selector(dtype_include="number"),
        ),
        (
            make_pipeline(
                SimpleImputer(strategy="most_frequent"),
                OneHotEncoder(drop="first", sparse_output=False),
            ),
            make_column_selector(dtype_exclude="number"),
        ),
    )
    return make_pipeline(columns, classifier).fit(X_train, y_train)


rivals = [
    prepared(classifier)
    for classifier in (GaussianNB(), LinearDiscriminantAnalysis(), LogisticRegression())
]


def log_posteriors(X):
    """log p(class | x) of every model, (n, n_classes)."""
    named = {"density, Bayes' rule": log_softmax(log_joint(X), axis=1)}
    for rival in rivals:
        named[type(rival[-1]).__name__] = rival.predict_log_proba(X)
    return named


rng = np.random.default_rng(0)
half = X_test.mask(rng.random(X_test.shape) < 0.5)
for title, rows in (("as they are", X_test), ("with half of the cells", half)):
    print(f"{f'{len(rows)} penguins {title}':38} accuracy  log-loss")
    for name, log_p in log_posteriors(rows).items():
        accuracy = accuracy_score(y_test, classes[log_p.argmax(axis=1)])
        print(f"  {name:36} {accuracy:8.1%} {log_loss(y_test, np.exp(log_p)):9.3f}")

# The third species: p(x) = Σ p(x, class) says that no class explains these rows. A
# classifier can only be unsure. Both by the limit beyond which 5 % of the held-out rows
# of the known species are. Scores of rows compare where the same cells are known.
print("Gentoos told from the two known species (AUROC), and beyond a limit of 5 %")
everyone = [X_test.dropna(), X[stranger].dropna()]
is_stranger = np.repeat([0, 1], [len(rows) for rows in everyone])
log_p = [logsumexp(log_joint(rows), axis=1) for rows in everyone]
oddness = {"density, log p(x)": [-each for each in log_p]}
posteriors = [log_posteriors(rows) for rows in everyone]
for name in posteriors[0]:
    oddness[f"{name}, how unsure"] = [-each[name].max(axis=1) for each in posteriors]
for name, (known, other) in oddness.items():
    auroc = roc_auc_score(is_stranger, np.concatenate([known, other]))
    beyond = np.mean(other > np.quantile(known, 0.95))
    print(f"  {name:40} {auroc:5.3f} {beyond:6.0%}")

fig, ax = plt.subplots(layout="constrained")
bins = np.linspace(np.concatenate(log_p).min(), np.concatenate(log_p).max(), 40)
for each, label in zip(
    log_p, ("Adelie and Chinstrap, held out", "Gentoo"), strict=True
):
    ax.hist(each, bins, alpha=0.6, label=label)
limit = np.quantile(log_p[0], 0.05)
ax.axvline(limit, color="black", ls="--", label="5 % of the held-out rows below")
ax.set(xlabel="log p(x) (nats)", ylabel="penguins")
ax.legend()
plt.show()
