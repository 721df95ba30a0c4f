"""
How much of a wine's sulfur dioxide is free?
============================================

A regression answers with a number. A density of the column given all others,
p(y | context), answers with a distribution: wide where the other measurements tell
little, lopsided where the values are. Does it say more of wines that it has not seen
than regressions whose errors are Gaussian and of one width, and do its intervals hold
what they promise, of wines with little and with much sulfur dioxide alike?
"""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import cross_val_predict, train_test_split

from skdensity_ar import MADEDensity
from skdensity_ar.datasets import load_wine_quality_red

wines = load_wine_quality_red(as_frame=True).data.drop_duplicates()
train, test = train_test_split(wines, test_size=0.3, random_state=0)
asked, total = "free sulfur dioxide", test["total sulfur dioxide"]
context, context_test = train.drop(columns=asked), test.drop(columns=asked)
y, y_test = train[asked], test[asked]

density = MADEDensity(random_state=0).fit(train[[asked]], context=context)
log_p = density.score_samples(test[[asked]], context=context_test)
low, middle, high = density.quantile(
    test[[asked]], asked, [0.05, 0.5, 0.95], context=context_test
).T
answers = {"MADEDensity": (log_p, low, high)}

for regression in (
    RidgeCV(np.logspace(-4, 2, 9)),
    RandomForestRegressor(200, random_state=0),
    HistGradientBoostingRegressor(random_state=0),
):
    width = (y - cross_val_predict(regression, context, y, cv=5)).std()
    mean = regression.fit(context, y).predict(context_test)
    half = norm.ppf(0.95) * width
    answer = norm.logpdf(y_test, mean, width), mean - half, mean + half
    answers[type(regression).__name__] = answer

few = total <= total.median()
print(f"{'':31s}nats   inside of 90 % intervals, and their width,")
print(f"{'':38s}of wines with little       and with much")
for name, (scores, lowest, highest) in answers.items():
    inside, wide = (lowest <= y_test) & (y_test <= highest), highest - lowest
    text = "  ".join(
        f"{inside[some].mean():11.1%} {np.mean(wide[some]):6.1f} mg/l"
        for some in (few, ~few)
    )
    print(f"{name:30s}{scores.mean():6.2f}{text}")

fig, axes = plt.subplots(
    1, 2, figsize=(11, 4.5), layout="constrained", sharex=True, sharey=True
)
for ax, name in zip(axes, ("MADEDensity", "RandomForestRegressor"), strict=True):
    _, lowest, highest = answers[name]
    outside = ((y_test < lowest) | (y_test > highest)).to_numpy()
    ax.vlines(total, lowest, highest, color="#9aa5ac", linewidth=1.0, alpha=0.6)
    ax.scatter(total, y_test, s=8, c=np.where(outside, "#d1495b", "#2e6f9e"))
    ax.set(title=f"{name}: 90 % intervals", xlabel="total sulfur dioxide, mg/l")
axes[0].set_ylabel("free sulfur dioxide, mg/l; red: outside")
axes[0].set(xlim=(0, 170), ylim=(-15, 75))
plt.show()
