"""MADE: any table, by one masked network (Germain et al. 2015)."""

from __future__ import annotations

from typing import ClassVar

from skdensity_ar._validation import StrOptions
from skdensity_ar.conditionals import CONDITIONALS
from skdensity_ar.estimators._docs import shared_docs
from skdensity_ar.estimators._tables import MIXTURE_CONSTRAINTS, TableDensity
from skdensity_ar.networks import MADE


@shared_docs
class MADEDensity(TableDensity):
    """Density of a table with real, binary and categorical columns.

    The masked autoencoder for distribution estimation [1]_ is a feed-forward network
    whose masks leave only paths from the columns before d to the parameters of
    column d,

        h¹ = g(b¹ + (W¹ ⊙ M¹) u),  h² = g(b² + (W² ⊙ M²) h¹), …   (masks: eq. 8)
        params = c + (V ⊙ M^V) hᴸ + (A ⊙ M^A) u,                   (masks: eq. 9)
        log p(x) = Σ_d log p(x_d | params_d),                      (eq. 4)

    so one pass gives all conditionals and the log-density is exact. Without a hidden
    layer it is a fully visible sigmoid (softmax) belief network.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(128, 128)
        Units of each hidden layer; () for none.
    activation : {{"relu", "logistic", "tanh"}}, default="relu"
        g.
    conditional : str, dict or class, default="auto"
        p(x_d | params_d): "bernoulli", "categorical", "ordinal" (ordered levels),
        "count" (integers >= 0), "gaussian_mixture", "laplace_mixture",
        "logistic_mixture" or a subclass of `skdensity_ar.conditionals.Conditional`,
        for all columns or, by a dict, for some of them by name or index. "auto" takes
        booleans and numbers that are all 0 or 1 as Bernoulli, other numbers as
        "gaussian_mixture", the labels of a frame as categorical and its ordered
        categories as ordinal.
    {mixtures}
    direct_connections : bool, default=True
        Whether A is there.
    {networks}
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    RNADEDensity : Real columns by the recursion of NADE.
    NADEDensity : Binary and categorical columns by the recursion of NADE.

    References
    ----------
    .. [1] M. Germain, K. Gregor, I. Murray, H. Larochelle (2015). MADE: Masked
       Autoencoder for Distribution Estimation. ICML.
    .. [2] M. Tancik et al. (2020). Fourier Features Let Networks Learn High Frequency
       Functions in Low Dimensional Domains. NeurIPS.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdensity_ar import MADEDensity
    >>> X, _ = load_iris(return_X_y=True)
    >>> density = MADEDensity(max_iter=5, random_state=0).fit(X)
    >>> density.score_samples(X).shape
    (150,)
    >>> density.sample(2, random_state=0).shape
    (2, 4)
    """

    _numeric = "gaussian_mixture"

    _parameter_constraints: ClassVar[dict] = {
        **TableDensity._parameter_constraints,
        "conditional": [StrOptions({"auto", *CONDITIONALS}), dict, type],
        **MIXTURE_CONSTRAINTS,
        "direct_connections": ["boolean"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(128, 128),
        activation="relu",
        *,
        conditional="auto",
        n_components="auto",
        n_frequencies="auto",
        direct_connections=True,
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
        self.n_components = n_components
        self.n_frequencies = n_frequencies
        self.direct_connections = direct_connections
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

    def _make_network(self, n_inputs, n_params, ordering, **kwargs) -> MADE:
        direct = self.direct_connections
        return MADE(n_inputs, n_params, ordering, direct=direct, **kwargs)
