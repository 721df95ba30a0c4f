"""From scikit-learn's `random_state` to a private torch generator."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.utils import check_random_state


def make_generator(
    random_state: int | np.random.RandomState | None, device: torch.device
) -> torch.Generator:
    """Seed a generator of its own, so that torch's global ones are never touched.

    As everywhere in scikit-learn, None draws the seed from numpy's global generator.
    """
    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    return torch.Generator(device).manual_seed(int(seed))
