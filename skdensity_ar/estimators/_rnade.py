"""RNADE: real-valued tables (Uria, Murray & Larochelle 2013)."""

from __future__ import annotations

from typing import ClassVar

from skdensity_ar._validation import StrOptions
from skdensity_ar.estimators._docs import shared_docs
from skdensity_ar.estimators._tables import MIXTURE_CONSTRAINTS, TableDensity
from skdensity_ar.networks import NADE

_MIXTURES = {"gaussian_mixture", "laplace_mixture", "logistic_mixture"}


@shared_docs
class RNADEDensity(TableDensity):
    """Density of a table with real columns, each conditional a mixture.

    The real-valued neural autoregressive density estimator [1]_ runs NADE's
    recursion over real inputs; the output of each column are the weights, means and
    scales of a mixture,

        a_1 = c,   a_{{d+1}} = a_d + W_d x_d,   h_d = g(ρ_d a_d),
        α_d = softmax(V^α_d h_d + b^α_d),
        μ_d = V^μ_d h_d + b^μ_d,   σ_d = exp(V^σ_d h_d + b^σ_d),
        p(x_d | x_<d) = Σ_k α_dk f((x_d - μ_dk) / σ_dk) / σ_dk

    ([1]_, section 3), so the log-density Σ_d log p(x_d | x_<d) is exact. The
    rescaling ρ_d keeps units from saturating as a_d sums more terms. Beside the
    paper's mixture, each σ has a small floor and each column a wide background
    density of mass 1e-4: see `skdensity_ar.conditionals.Mixture`.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(128,)
        Units of each hidden layer.
    activation : {{"relu", "logistic", "tanh"}}, default="relu"
        g.
    conditional : str, dict or class, default="auto"
        "gaussian_mixture", "laplace_mixture", "logistic_mixture" or a subclass of
        `skdensity_ar.conditionals.Conditional`, for all columns or, by a dict, for
        some of them by name or index. "auto" takes numbers as "gaussian_mixture",
        booleans and columns that are all 0 or 1 as Bernoulli, the labels of a frame
        as categorical and its ordered categories as ordinal.
    {mixtures}
    {compile}
    {networks}
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    MADEDensity : All conditionals in one masked pass; mixed tables.

    References
    ----------
    .. [1] B. Uria, I. Murray, H. Larochelle (2013). RNADE: The real-valued neural
       autoregressive density-estimator. NIPS.
    .. [2] M. Tancik et al. (2020). Fourier Features Let Networks Learn High Frequency
       Functions in Low Dimensional Domains. NeurIPS.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skdensity_ar import RNADEDensity
    >>> X, _ = load_iris(return_X_y=True)
    >>> density = RNADEDensity(max_iter=5, random_state=0).fit(X)
    >>> density.score_samples(X).shape
    (150,)
    """

    _numeric = "gaussian_mixture"

    _parameter_constraints: ClassVar[dict] = {
        **TableDensity._parameter_constraints,
        "conditional": [StrOptions({"auto", *_MIXTURES}), dict, type],
        **MIXTURE_CONSTRAINTS,
        "compile": ["boolean"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(128,),
        activation="relu",
        *,
        conditional="auto",
        n_components="auto",
        n_frequencies="auto",
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
        self.n_components = n_components
        self.n_frequencies = n_frequencies
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
            n_inputs, n_params, ordering, rescale=True, compiled=self.compile, **kwargs
        )
