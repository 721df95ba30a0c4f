"""NADEDensity: binary and categorical tables, by a shared running activation."""

from __future__ import annotations

from typing import ClassVar

from skdensity_ar._validation import StrOptions
from skdensity_ar.estimators._base import BaseAutoregressiveDensity
from skdensity_ar.networks import NADE


class NADEDensity(BaseAutoregressiveDensity):
    """NADE."""

    _numeric = "categorical"

    _parameter_constraints: ClassVar[dict] = {
        **BaseAutoregressiveDensity._parameter_constraints,
        "conditional": [StrOptions({"auto", "bernoulli", "categorical"}), dict, type],
        "tied": ["boolean"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(128,),
        activation="logistic",
        *,
        conditional="auto",
        tied=False,
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
        self.tied = tied
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

    def _make_network(self, n_inputs, n_params, ordering, **kwargs) -> NADE:
        return NADE(n_inputs, n_params, ordering, tied=self.tied, **kwargs)
