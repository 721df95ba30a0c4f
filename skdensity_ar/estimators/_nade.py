"""NADE: binary and categorical tables (Larochelle & Murray 2011, Uria et al. 2016)."""

from __future__ import annotations

from typing import ClassVar

from skdensity_ar._validation import StrOptions
from skdensity_ar.estimators._docs import shared_docs
from skdensity_ar.estimators._tables import TableDensity
from skdensity_ar.networks import NADE, EoNADE

DISCRETE = ("bernoulli", "categorical", "ordinal", "count")


@shared_docs
class NADEDensity(TableDensity):
    """Log-mass of a table with binary and categorical columns.

    The neural autoregressive distribution estimator [1]_ [2]_ gives each conditional
    a hidden layer of its own; all of them share W and one running activation a,

        a_1 = c,   a_{{d+1}} = a_d + W_d u_d,   h_d = g(a_d),           ([2]_ eq. 3)
        p(x_d | x_<d) = softmax(b_d + V_d h_d)  (or sigmoid),         ([2]_ eq. 2)
        log p(x) = Σ_d log p(x_d | x_<d),                             ([2]_ eq. 1)

    so a row costs as many operations as one autoencoder pass and its log-mass is
    exact. Further hidden layers act on each h_d ([2]_, section 4: Deep NADE).

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(128,)
        Units of each hidden layer.
    activation : {{"relu", "logistic", "tanh"}}, default="relu"
        g.
    conditional : str, dict or class, default="auto"
        p(x_d | params_d): "bernoulli" for values in {{0, 1}}, "categorical" for
        integers >= 0, "ordinal" for ordered levels, "count" for integers >= 0 by the
        mass of a rounded mixture, or a subclass of
        `skdensity_ar.conditionals.Conditional`, for all columns or, by a dict, for some
        of them by name or index. "auto" takes booleans and columns that are all 0 or 1
        as Bernoulli, other integers and the labels of a frame as categorical, ordered
        categories as ordinal.
    tied : bool, default=False
        Whether V = Wᵀ, as in the restricted Boltzmann machine; the first and the
        last hidden layer must then be of one size. Not with ordering="agnostic".
    {compile}
    {networks}
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    MADEDensity : All conditionals in one masked pass; also real and mixed columns.
    RNADEDensity : The same recursion for real columns.

    References
    ----------
    .. [1] H. Larochelle, I. Murray (2011). The Neural Autoregressive Distribution
       Estimator. AISTATS.
    .. [2] B. Uria, M.-A. Côté, K. Gregor, I. Murray, H. Larochelle (2016). Neural
       Autoregressive Distribution Estimation. JMLR 17.

    Examples
    --------
    >>> import numpy as np
    >>> from skdensity_ar import NADEDensity
    >>> X = np.random.default_rng(0).integers(0, 2, size=(100, 3))
    >>> density = NADEDensity(max_iter=5, random_state=0).fit(X)
    >>> corners = np.array([[a, b, c] for a in (0, 1) for b in (0, 1) for c in (0, 1)])
    >>> bool(np.isclose(np.exp(density.score_samples(corners)).sum(), 1.0))
    True
    """

    _numeric = "categorical"

    _parameter_constraints: ClassVar[dict] = {
        **TableDensity._parameter_constraints,
        "conditional": [StrOptions({"auto", *DISCRETE}), dict, type],
        "tied": ["boolean"],
        "compile": ["boolean"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(128,),
        activation="relu",
        *,
        conditional="auto",
        tied=False,
        compile=False,
        n_networks="auto",
        missing="exact",
        n_draws=100,
        ordering="natural",
        n_orderings="auto",
        handle_unknown="score",
        bounds=None,
        atoms=None,
        max_categories=None,
        max_iter="auto",
        batch_size="auto",
        learning_rate="cosine",
        learning_rate_init=0.01,
        weight_decay=0.0,
        dropout="auto",
        input_dropout=0.0,
        max_grad_norm=1.0,
        weight_averaging=0.95,
        early_stopping=True,
        validation_fraction=0.1,
        n_iter_no_change=10,
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
        self.compile = compile
        self.n_networks = n_networks
        self.missing = missing
        self.n_draws = n_draws
        self.ordering = ordering
        self.n_orderings = n_orderings
        self.handle_unknown = handle_unknown
        self.bounds = bounds
        self.atoms = atoms
        self.max_categories = max_categories
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.weight_decay = weight_decay
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.max_grad_norm = max_grad_norm
        self.weight_averaging = weight_averaging
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
        return NADE(
            n_inputs,
            n_params,
            ordering,
            tied=self.tied,
            compiled=self.compile,
            **kwargs,
        )

    def _make_agnostic(self, n_inputs, n_params, ordering, **kwargs) -> EoNADE:
        if self.tied:
            raise ValueError(
                'tied=True ties V to the W of NADE; with ordering="agnostic" the '
                "network also sees which columns are visible: set tied=False."
            )
        return super()._make_agnostic(n_inputs, n_params, ordering, **kwargs)
