"""
Which penguins are unlike the others?
=====================================

A table with strings and numbers goes into one `fit`; the rows of lowest log-density
are the odd ones. To score a row by a model that has not seen it, the rows are dealt
into five folds.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import KFold

from skdensity_ar import MADEDensity
from skdensity_ar.datasets import load_penguins

penguins = load_penguins(dropna=True).frame

log_p = np.empty(len(penguins))
for train, test in KFold(5, shuffle=True, random_state=0).split(penguins):
    density = MADEDensity(random_state=0).fit(penguins.iloc[train])
    log_p[test] = density.score_samples(penguins.iloc[test])

odd = np.argsort(log_p)[:5]
print(f"mean log p: {log_p.mean():.2f} nats per row")
print(penguins.iloc[odd].assign(log_p=log_p[odd].round(1)).to_string())

fig, ax = plt.subplots(layout="constrained")
points = ax.scatter(
    penguins["bill_length_mm"], penguins["bill_depth_mm"], c=log_p, cmap="viridis"
)
ax.scatter(
    penguins["bill_length_mm"].iloc[odd],
    penguins["bill_depth_mm"].iloc[odd],
    s=120,
    facecolors="none",
    edgecolors="tab:red",
    label="five least probable",
)
ax.set(xlabel="bill length (mm)", ylabel="bill depth (mm)")
ax.legend()
fig.colorbar(points, label="log p (nats)")
plt.show()
