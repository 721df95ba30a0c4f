"""RNN-RNADE: sequences of real, binary, categorical or mixed frames."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import torch

from skdensity_ar._innovations import fit_innovations, smallest_errors
from skdensity_ar._module import DensityModule
from skdensity_ar._sequences import SequenceModule
from skdensity_ar._validation import Interval, StrOptions
from skdensity_ar.conditionals import CONDITIONALS
from skdensity_ar.estimators._base import BaseAutoregressiveDensity
from skdensity_ar.estimators._build import check_memory, layer_sizes
from skdensity_ar.estimators._data import Data, Size
from skdensity_ar.estimators._docs import shared_sequence_docs
from skdensity_ar.estimators._sequences import SequenceDensity
from skdensity_ar.networks import CELLS, MADE, NADE, Network, Recurrent


@shared_sequence_docs
class RNNRNADE(SequenceDensity):
    """Density of sequences of real, binary, categorical or mixed frames.

    A data set of sequences is a list of arrays (n_timesteps_i, n_features), or one
    array (n_sequences, n_timesteps, n_features) whose sequences may end in rows of
    NaN. `score_samples` is log p of each whole sequence; **`score` is the mean per
    time step**, as in the papers on music and speech.

    A recurrent network reads the frames; its state before frame t sets biases of a
    NADE, RNADE or MADE over the columns of that frame ([1]_, section 5; [2]_,
    Algorithm 2),

        h_t = cell(W_in u_t + W_rec h_{{t-1}} + b_h),   h_0 learned,
        b_t = b + C h_{{t-1}},                          context_to="output",
        c_t = c + C_hidden h_{{t-1}}     as well under  context_to="both",
        p(x_1, …, x_T) = Π_t Π_d p(x_td | x_t,<d; b_t, c_t),

    where u_t are the frame's network inputs, b are the biases of the parameters of its
    conditionals (b^α, b^μ, b^σ of a mixture) and c those of its first hidden layer.
    The log-density is exact, and all frames of a mini-batch go through the inner
    network in one call.

    Beyond the papers, with `n_lags` > 0 the mixtures of real columns are those of the
    innovations z_t of a ridge regression on the last frames,

        x_t = m + A (x_{{t-1}}, …, x_{{t-n_lags}}) + L z_t,

    with L lower triangular in the order in which the columns are visited: every
    mixture is moved to a linear prediction and scaled to its error, with the
    log-Jacobian -log det L. Training starts at about a vector autoregression, which
    smooth series need and a network learns slowly. `n_lags=0` is the papers' model.

    Parameters
    ----------
    recurrent_layer_sizes : int or sequence of int, default=(128,)
        Units of each recurrent layer; the last one is the context.
    hidden_layer_sizes : int or sequence of int, default=(128,)
        Units of each hidden layer within a frame.
    activation : {{"relu", "logistic", "tanh"}}, default="relu"
        Of these hidden units.
    cell : {{"lstm", "gru", "rnn"}}, default="lstm"
        How the state moves on; "rnn" is h = σ(·), as in the papers.
    context_to : {{"both", "output"}}, default="both"
        Which biases the state sets: "both" as in [1]_, "output" as in [2]_.
    inner : {{"nade", "made"}}, default="nade"
        The network within a frame; "nade" has RNADE's rescaling, "made" direct
        connections. "made" trains faster on frames of many columns.
    {compile}
    n_lags : int, default=3
        Frames that the linear prediction of real columns looks back; 0 for none.
    conditional : str, dict or class, default="auto"
        "bernoulli", "categorical", "ordinal", "count", "gaussian_mixture",
        "laplace_mixture", "logistic_mixture" or a subclass of
        `skdensity_ar.conditionals.Conditional`, for all columns or, by a dict, for
        some of them by name or index. "auto" takes numbers as "gaussian_mixture",
        booleans and columns that are all 0 or 1 as "bernoulli", the labels of a frame
        as "categorical" and its ordered categories as "ordinal".
    n_components : int or "auto", default="auto"
        Components per mixture; "auto" is 5.
    bptt_length : int, default=100
        Time steps that gradients go back. Longer sequences are trained in windows of
        so many steps, each starting in the state in which the last one ended; of fewer
        than 10 sequences, pieces of ten windows run side by side. Scores do not depend
        on it.
    {parameters}

    Attributes
    ----------
    {attributes}

    See Also
    --------
    RNADEDensity : The density of a frame by itself.
    skdensity_ar.checks.check_sequence_estimator : What holds for such an estimator.

    References
    ----------
    .. [1] N. Boulanger-Lewandowski, Y. Bengio, P. Vincent (2012). Modeling temporal
       dependencies in high-dimensional sequences: application to polyphonic music
       generation and transcription. ICML.
    .. [2] RNN-RNADE: a tractable model for high-dimensional real valued sequences,
       supplementary material.

    Examples
    --------
    >>> import numpy as np
    >>> from skdensity_ar import RNNRNADE
    >>> rng = np.random.default_rng(0)
    >>> X = [rng.normal(size=(n, 2)).cumsum(0) for n in (5, 9, 7, 6) * 5]
    >>> density = RNNRNADE(max_iter=5, random_state=0).fit(X)
    >>> density.score_samples(X[:3]).shape
    (3,)
    >>> [len(log_p) for log_p in density.score_timesteps(X[:3])]
    [5, 9, 7]
    >>> [x.shape for x in density.sample(2, n_timesteps=4, random_state=0)]
    [(4, 2), (4, 2)]
    """

    _numeric = "gaussian_mixture"

    _parameter_constraints: ClassVar[dict] = {
        **BaseAutoregressiveDensity._parameter_constraints,
        "recurrent_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "cell": [StrOptions(set(CELLS))],
        "context_to": [StrOptions({"output", "both"})],
        "inner": [StrOptions({"nade", "made"})],
        "compile": ["boolean"],
        "n_lags": [Interval(Integral, 0, None, closed="left")],
        "conditional": [StrOptions({"auto", *CONDITIONALS}), dict, type],
        "n_components": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "bptt_length": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        recurrent_layer_sizes=(128,),
        hidden_layer_sizes=(128,),
        activation="relu",
        *,
        cell="lstm",
        context_to="both",
        inner="nade",
        compile=False,
        n_lags=3,
        conditional="auto",
        n_components="auto",
        bptt_length=100,
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
        self.recurrent_layer_sizes = recurrent_layer_sizes
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.cell = cell
        self.context_to = context_to
        self.inner = inner
        self.compile = compile
        self.n_lags = n_lags
        self.conditional = conditional
        self.n_components = n_components
        self.bptt_length = bptt_length
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

    def _make_network(self, n_inputs, n_params, ordering, **kwargs) -> Network:
        if self.inner == "made":
            return MADE(n_inputs, n_params, ordering, **kwargs)
        return NADE(
            n_inputs, n_params, ordering, rescale=True, compiled=self.compile, **kwargs
        )

    def _make_module(
        self, size: Size, data: Data, generator: torch.Generator
    ) -> SequenceModule:
        x, lengths = data.x, data.lengths
        assert lengths is not None
        sizes = layer_sizes(self.recurrent_layer_sizes, "recurrent_layer_sizes")
        if not sizes:
            raise ValueError(
                "RNNRNADE needs a recurrent layer, got recurrent_layer_sizes=(); "
                "RNADEDensity takes frames by themselves."
            )
        n_weights = sum(n * CELLS[self.cell].n_gates * n for n in sizes)
        layers = {"recurrent_layer_sizes": sizes}
        orderings = self._orderings(size, generator)
        check_memory(len(orderings), n_weights, layers, x.dtype, x.device)

        columns, dropout = size.columns, self._dropout(size, len(orderings))
        real = columns.linear
        innovations, z = None, x
        if real and self.n_lags:
            floors = np.array([columns.columns[d].spec.scale_floor for d in real])
            smallest = smallest_errors(floors)
            innovations = fit_innovations(
                x, lengths, real, orderings, self.n_lags, smallest
            )
            z = innovations.transform(x, lengths)[0].to(x.dtype)
            size = replace(size, columns=columns.rescaled(real, smallest.tolist()))
        made, blocks = self._started(
            self._make_network,
            self._blocks(size, x.device),
            orderings,
            z,
            generator,
            dropout=dropout,
            n_context=sizes[-1],
            context_to=self.context_to,
        )
        frame = DensityModule(made, blocks, input_dropout=self.input_dropout)
        recurrent = Recurrent(
            sum(frame.network.n_inputs) + (len(real) if innovations else 0),
            (len(orderings),),
            layer_sizes=sizes,
            cell=self.cell,
            dropout=dropout,
            dtype=x.dtype,
            device=x.device,
        )
        recurrent.reset_parameters(generator)
        return SequenceModule(recurrent, frame, innovations)

    def _structure(self) -> dict[str, tuple[Any, Any]]:
        recurrent, network = self.module_.recurrent, self.module_.network
        innovations = self.module_.innovations
        n_lags = 0 if innovations is None else innovations.n_lags
        if not self.columns_.linear:
            n_lags = self.n_lags  # which then decides nothing
        sizes = layer_sizes(self.recurrent_layer_sizes, "recurrent_layer_sizes")
        return {
            **super()._structure(),
            "recurrent_layer_sizes": (recurrent.layer_sizes, sizes),
            "cell": (recurrent.cell, self.cell),
            "n_lags": (n_lags, self.n_lags),
            "context_to": (network.context_to, self.context_to),
            "inner": ("made" if isinstance(network, MADE) else "nade", self.inner),
        }
