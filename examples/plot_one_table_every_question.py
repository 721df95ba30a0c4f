"""
What can one fit answer of a table as it comes?
===============================================

Claims at an insurance: strings, booleans, counts, an amount that is exactly 0 for the
rejected ones, and holes. One `fit` of the frame as it is, no encoder, scaler or imputer
before it, and then five questions.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skdensity_ar import MADEDensity
from skdensity_ar.plotting import FeatureScoresDisplay

# A table with a known story: dear cars have dear damages, and young drivers more of
# them; about one claim in five is rejected, more often without a police report.
rng = np.random.default_rng(0)
n = 1200
car = rng.choice(["small", "family", "sports"], n, p=[0.5, 0.4, 0.1])
age = 18.0 + rng.gamma(4.0, 7.0, n)
value = np.exp(rng.normal(9.2, 0.3, n) + 0.9 * (car == "sports"))
police = rng.random(n) < 0.4
earlier = rng.poisson(np.where(age < 30.0, 2.0, 0.7))
rejected = rng.random(n) < np.where(police, 0.1, 0.3)
share = np.exp(rng.normal(-2.0, 0.4, n) + 0.5 * police)
claims = pd.DataFrame(
    {
        "car": car,
        "age": age.round(1),
        "car_value": value.round(),
        "police_report": pd.array(police, dtype="boolean"),
        "earlier_claims": earlier,
        "paid": np.where(rejected, 0.0, share * value).round(2),
    }
)
# One cell in ten of four columns was never written down.
for name in ("car", "age", "car_value", "police_report"):
    claims.loc[rng.random(n) < 0.1, name] = None

fit_on, new = claims[:1000], claims[1000:]
density = MADEDensity(
    ordering="agnostic",  # any columns given any others: takes holes
    conditional={"earlier_claims": "count"},
    bounds={"paid": (0, None)},
    atoms={"paid": 0},
    n_orderings=2,
    max_iter=80,
    random_state=0,
).fit(fit_on)
print("measures:", density.base_measure_)

# 1. How probable is a row? Exactly, of whatever is known of it.
log_p = density.score_samples(new)
print(f"\n1. mean log p of 200 new claims: {log_p.mean():.2f} nats per row")

# 2. What do more such rows look like? A frame with the same dtypes.
drawn = density.sample(1000, random_state=0)
assert (drawn.dtypes == claims.dtypes).all()
rates = [(table["paid"] == 0.0).mean() for table in (claims, drawn)]
print(f"\n2. drawn, of which {rates[1]:.0%} are paid nothing (data: {rates[0]:.0%})")
print(drawn.head(3).to_string())

# 3. What was in the holes?
holes = new[new.isna().any(axis=1)].head(3)
print("\n3. rows with holes, and filled by the median or the likeliest")
print(holes.to_string())
print(density.impute(holes, strategy="median").to_string())

# 4. What if? Probability of a rejection, given the rest.
asked = pd.concat([new.iloc[[0]]] * 2, ignore_index=True).assign(paid=0.0)
asked["police_report"] = pd.array([False, True], dtype="boolean")
others = [name for name in claims if name != "paid"]
p = np.exp(density.score_samples(asked, given=others))
print(f"\n4. p(paid nothing): {p[0]:.2f} without a police report (true 0.30)")
print(f"                    {p[1]:.2f} with one (true 0.10)")

# 5. Which row is odd, and what about it? A sports car's price on a small car.
odd = new.iloc[[0]].assign(car="small", car_value=60000.0, paid=1500.0)
table = pd.concat([new, odd], ignore_index=True)
row = int(density.score_samples(table).argmin())
print(f"\n5. the least probable row: {table.iloc[row].to_dict()}")
FeatureScoresDisplay.from_estimator(
    density, table, row=row, X_reference=fit_on, given="others"
)
plt.show()
