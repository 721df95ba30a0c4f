"""MADEDensity: any table, by a masked network."""

from __future__ import annotations

from typing import ClassVar

from numbers import Integral

from skdensity_ar._validation import Interval, StrOptions
from skdensity_ar.conditionals import CONDITIONALS
from skdensity_ar.estimators._base import BaseAutoregressiveDensity
from skdensity_ar.networks import MADE


class MADEDensity(BaseAutoregressiveDensity):
    """MADE."""

    _numeric = "gaussian_mixture"

    _parameter_constraints: ClassVar[dict] = {
        **BaseAutoregressiveDensity._parameter_constraints,
        "conditional": [StrOptions({"auto", *CONDITIONALS}), dict, type],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "direct_connections": ["boolean"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(128, 128),
        activation="relu",
        *,
        conditional="auto",
        n_components=8,
        direct_connections=True,
        ordering="natural",
        n_orderings=4,
        handle_unknown="score",
        max_iter=200,
        batch_size="auto",
        learning_rate="cosine",
        learning_rate_init=0.005,
        weight_decay=0.01,
        dropout=0.1,
        max_grad_norm=1.0,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=20,
        tol=1e-4,
        warm_start=False,
        dtype="float32",
        device="auto",
        verbose=False,
        random_state=None,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.conditional = conditional
        self.n_components = n_components
        self.direct_connections = direct_connections
        self.ordering = ordering
        self.n_orderings = n_orderings
        self.handle_unknown = handle_unknown
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.max_grad_norm = max_grad_norm
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.dtype = dtype
        self.device = device
        self.verbose = verbose
        self.random_state = random_state

    def _make_network(self, n_inputs, n_params, ordering, **kwargs) -> MADE:
        direct = self.direct_connections
        return MADE(n_inputs, n_params, ordering, direct=direct, **kwargs)
