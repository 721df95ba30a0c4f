"""
Who is speaking?
================

Nine men say the same two vowels. One density of sequences for each of them, and Bayes'
rule tells whose voice a new recording is: the density under which it is most probable.
The recordings are those of Kudo, Toyama & Shimbo (1999), 30 of each man to train on.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score

from skdensity_ar import RNNRNADE
from skdensity_ar.datasets import load_japanese_vowels

speech = load_japanese_vowels()
train, test = speech.train_index, speech.test_index
speakers = np.unique(speech.target)

log_p = np.empty((len(test), len(speakers)))
for k, speaker in enumerate(speakers):
    own = [speech.data[i] for i in train if speech.target[i] == speaker]
    density = RNNRNADE(n_orderings=2, random_state=0).fit(own)
    log_p[:, k] = density.score_samples([speech.data[i] for i in test])

# Thirty training recordings of each man: with each as likely beforehand, the largest
# log-density decides.
named = speakers[log_p.argmax(1)]
accuracy = accuracy_score(speech.target[test], named)
print(f"{accuracy:.1%} of the {len(test)} new recordings go to the right speaker")

largest, second = np.sort(log_p, axis=1)[:, :-3:-1].T
fig, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
ConfusionMatrixDisplay.from_predictions(
    speech.target[test], named, ax=axes[0], colorbar=False
)
right = named == speech.target[test]
bins = np.linspace(0, np.quantile(largest - second, 0.99), 40)
axes[1].hist([(largest - second)[right], (largest - second)[~right]], bins)
axes[1].set(xlabel="lead over the next speaker (nats)", ylabel="recordings")
axes[1].legend(["right", "wrong"])
plt.show()
