"""The part of the docstrings that all estimators share, written once."""

from __future__ import annotations

import re

# Of tables with mixtures; [2]_ is their second reference.
_MIXTURES = """
n_components : int or "auto", default="auto"
    Components per mixture. "auto" is 5 for fewer than 50 rows per column; for a
    table of one real column four for every row, at most 4000; otherwise 200 shared
    out among real columns, counts and levels, at least 10 and at most 30 for each.
    From 200 on, and with 20 rows or more, they start as kernels of four widths on the
    values, those on values that many rows share apart: the likelihood of values left
    out chooses and weighs the widths.
n_frequencies : int or "auto", default="auto"
    F: of a real value x, in units of its spread, hidden units see sin(2ᵏ x) / 2ᵏ
    and cos(2ᵏ x) / 2ᵏ for k = 0 … F - 1 besides x itself, so that what comes after
    may depend on it in detail [2]_. 0 is the paper's model. "auto" is 8, and 2
    for fewer than 50 rows per column; in a table of one column there is nothing to
    see, and it is 0. Columns of a context count as columns here, and their real
    values are seen likewise. At most 16.
"""

# Of those that train a NADE.
_COMPILE = """
compile : bool, default=False
    Whether training steps of a single hidden layer run NADE's recursion as
    `torch.compile` translates it, which takes half a minute, once, and a C++ compiler
    (on a GPU, Triton). Worth it for fits that take several minutes: a step then takes
    half of the time for bits, and nine tenths with mixtures. Scores are computed
    without it.
"""

# Of those whose networks can serve all orderings.
_NETWORKS = """
n_networks : int or "auto", default="auto"
    With ordering="agnostic", networks trained side by side, each with its own weights
    and its own validation rows. Every conditional is their average, in every ordering,
    once what they say of it went a share of the way to its mean over networks, as far
    as training rows say. "auto" is 8, or as many as there are orderings. Other
    orderings have a network each and take "auto" only.
missing : {"exact", "estimate"}, default="exact"
    What becomes of cells that are missing, NaN. With "exact" they may be so where
    log p of what is known is exact, with ordering="agnostic". "estimate" is for
    orderings that are fixed: columns visited before one that is known are drawn
    `n_draws` times and p is the mean over the draws (importance sampling), without
    bias, so that its logarithm is too low in the mean, by about half its variance.
    `score_samples(X, return_std=True)` says how far it is off; where no missing column
    comes before a known one the score is exact. `fit` draws the missing cells of
    every row given the known ones before every epoch (stochastic EM). Draws of many
    columns seldom fit what is known: ordering="agnostic" is then better and faster.
n_draws : int, default=100
    Draws for each row and ordering with missing="estimate", whenever rows are scored:
    more may be set after `fit`. The deviation falls with their root.
"""

_PARAMETERS = """
ordering : str or permutation, default="natural"
    In which order the columns are visited: "natural", "reversed", "random" or a
    permutation; ordering[t] is the column at position t. "agnostic" trains every
    network for all orderings, by one drawn for every row anew, and tells it which
    columns it sees (EoNADE: Uria, Murray & Larochelle 2014, A Deep and Tractable
    Density Estimator, section 3); it takes more epochs, and scoring a pass per column.
    Cells may then be missing, NaN, in `fit` and in what is scored.
n_orderings : int or "auto", default="auto"
    Members of the ensemble, trained side by side. The first takes `ordering`, the
    others draw theirs; each has its own weights and its own validation rows. The
    density is the average of their densities. With ordering="agnostic" these are the
    drawn orderings by which all networks score and sample: with `n_networks` as it is,
    fewer make both faster. "auto" is 8 for tables with real columns and fewer than
    10000 rows, otherwise 4; 1 for a single column without a context.
handle_unknown : {"score", "error"}, default="score"
    What scoring does with a category or a level not seen in `fit`: give it the mass
    1e-6 kept for it, or raise an error.
bounds : dict or None, default=None
    For real columns whose values all lie between known ones: {column: (low, high)} by
    name or index, None for an open side. The mixture is then one of the logarithm of
    the distance to the bound, or of the logit between two, and its density, with the
    Jacobian of that map, has all its mass strictly inside.
atoms : dict or None, default=None
    For real columns of which single values have mass: {column: value or values}. The
    log-density of such a value is the logarithm of its mass. Atoms may lie on a bound
    or beyond it: bounds={c: (0, None)}, atoms={c: 0} is the positive column with
    zeros. Never assumed unless asked for.
max_categories : int or None, default=None
    Categorical columns with more labels keep the most frequent max_categories - 1 of
    them. The others share one category, within which each has the share that it has in
    training.
max_iter : int or "auto", default="auto"
    Passes over the training rows (epochs), at most. "auto" is 160 for tables with real
    columns that have 50 rows per column or more (10 for a single column), otherwise
    80; four times as many with ordering="agnostic"; fewer where these were more than
    32000 mini-batches over all members, but at least 10.
batch_size : int or "auto", default="auto"
    Rows per mini-batch; "auto" takes a sixteenth of the training rows, at least 32
    and at most 256.
learning_rate : {"cosine", "constant"}, default="cosine"
    Schedule: "cosine" falls from `learning_rate_init` to 0 over `max_iter` epochs.
learning_rate_init : float, default=0.01
    Step size of Adam at the start.
weight_decay : float, default=0.0
    Decoupled decay of the weights (AdamW); biases are not decayed.
dropout : float or "auto", default="auto"
    Share of hidden units dropped for each training row. "auto" is 0.2 for fewer than 50
    rows per column. For more it is 0.1, and from 1000 rows per column on 0; for tables
    with real columns it is 0 for the first, third, … ordering and 0.1 for the others.
input_dropout : float, default=0.0
    Share of the columns that each training row hides from those visited after them:
    0.2 or 0.3, with more epochs, are worth a try where rows are few. `dropout` alone
    leaves the direct connections. ordering="agnostic" hides columns by itself.
max_grad_norm : float, default=1.0
    Longer gradients are scaled down to this norm.
weight_averaging : float, default=0.95
    Decay of the running average of the weights over the steps, which is what
    validation scores and `fit` keeps; 0 takes the weights as they are.
early_stopping : bool, default=True
    Whether to set validation rows aside (needs at least 10 rows), keep the weights
    that score them best and stop when they no longer improve; networks of
    ordering="agnostic", which are averaged, keep those of up to twice as many epochs.
    Otherwise the training loss decides, and `fit` takes no `X_val`.
validation_fraction : float, default=0.1
    Share of the rows to set aside; not used with `X_val`.
n_iter_no_change : int, default=10
    Epochs without an improvement by `tol` after which training stops; four times as
    many with ordering="agnostic".
tol : float, default=1e-4
    Smallest improvement that counts, in nats per row.
warm_start : bool, default=False
    Whether `fit` goes on from the weights and the scaling of the last `fit`.
dtype : {"float32", "float64"}, default="float32"
    Precision of the network; sums over columns are float64 either way.
device : str or torch.device, default="auto"
    "cpu", "cuda", "cuda:1", …; "auto" takes CUDA if present.
verbose : bool or int, default=False
    Whether to show a progress bar with nats per row on training and validation rows.
random_state : int, RandomState instance or None, default=None
    Decides orderings, weights, splits, mini-batches and dropout.
"""

_ATTRIBUTES = """
module_ : DensityModule
    The fitted torch module.
columns_ : Columns
    Kinds, categories and scaling of the columns.
base_measure_ : dict
    With respect to what every column has a density, by name or index: "counting",
    "Lebesgue", "Lebesgue on (0, inf)" within bounds, "counting at [5.0]" of a column
    that is constant; with atoms "Lebesgue + counting at [0.0]". Of a conditional of
    one's own "that of" and its name.
context_ : Context or None
    Kinds, categories and scaling of the contexts, where `fit` was given some.
ordering_ : ndarray of shape (n_orderings, n_features)
    The ordering of every member.
score_kind_ : str
    "exact": what `score_samples` returns is the log-density itself.
history_ : History
    Losses per epoch, the best epoch of every member, why training stopped.
loss_curve_ : list of float
    Mean training loss over the mini-batches of every epoch, in nats per row of
    standardised data.
validation_scores_ : list of float
    Log-density of the validation rows after every epoch, likewise; empty without
    validation rows. With ordering="agnostic" both are estimates, from orderings drawn
    at random, of the mean over all of them.
n_iter_ : int
    Epochs run.
n_features_in_ : int
    Number of columns seen in `fit`.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the columns, if they are all strings.
"""


# Where a density of tables has more to say.
_OF_TABLES = {
    "score_kind_": """
score_kind_ : str
    "exact": what `score_samples` returns is the log-density itself. "estimate", of
    missing="estimate": that of rows with missing cells is estimated.
seed_ : int
    Of the draws of missing="estimate".
"""
}

# Where a density of sequences has something else to say.
_OF_SEQUENCES = {
    "ordering": """
ordering : {"natural", "reversed", "random"} or permutation, default="natural"
    In which order the columns of a frame are visited: ordering[t] is the column at
    position t.
""",
    "n_orderings": """
n_orderings : int or "auto", default="auto"
    Members of the ensemble, trained side by side. The first takes `ordering`, the
    others draw theirs; each has its own weights and its own validation sequences. The
    density is the average of their densities of whole sequences. "auto" is 4.
""",
    "max_iter": """
max_iter : int or "auto", default="auto"
    Passes over the training frames (epochs), at most. "auto" is 80, fewer where these
    were more than 32000 mini-batches over all members, but at least 10.
""",
    "batch_size": """
batch_size : int or "auto", default="auto"
    Sequences per mini-batch; "auto" takes as many as hold a sixteenth of the frames,
    at least 256 frames and at most 1024.
""",
    "dropout": """
dropout : float or "auto", default="auto"
    Share of hidden units dropped for each training frame, also of recurrent units on
    their way to the frame or to the next layer, never from step to step; "auto" is 0.2.
""",
    "input_dropout": """
input_dropout : float, default=0.0
    Share of the columns that each training frame hides from those visited after them
    in the same frame; the recurrent units see them all.
""",
    "early_stopping": """
early_stopping : bool, default=True
    Whether to set validation frames aside (needs at least 10 sequences, or as many
    frames), keep the weights that score them best and stop when they no longer
    improve. Otherwise the training loss decides, and `fit` takes no `X_val`.
""",
    "validation_fraction": """
validation_fraction : float, default=0.1
    Share of the sequences to set aside; of fewer than 10, the share of each at its
    end, which is scored given what comes before. Not used with `X_val`.
""",
    "tol": """
tol : float, default=1e-4
    Smallest improvement that counts, in nats per frame.
""",
    "verbose": """
verbose : bool or int, default=False
    Whether to show a progress bar with nats per frame on training and validation
    sequences.
""",
    "loss_curve_": """
loss_curve_ : list of float
    Mean training loss over the mini-batches of every epoch, in nats per frame of
    standardised data.
""",
    "validation_scores_": """
validation_scores_ : list of float
    Log-density of the validation frames after every epoch, likewise; empty without
    validation frames.
""",
    "module_": """
module_ : SequenceModule
    The fitted torch module.
""",
    "context_": """
context_ : None
    There is none beside the frames.
""",
    "n_features_in_": """
n_timesteps_ : ndarray of int
    Lengths of the sequences seen in `fit`, each as often as its sequence counts.
n_features_in_ : int
    Number of columns seen in `fit`.
""",
}


def shared_docs(cls: type) -> type:
    """Fill the parts that tables share into the docstring of a density."""
    return _fill(cls, _OF_TABLES)


def shared_sequence_docs(cls: type) -> type:
    """Fill them into the docstring of a density of sequences."""
    return _fill(cls, _OF_SEQUENCES)


def _fill(cls: type, instead: dict[str, str]) -> type:
    if cls.__doc__ is not None:  # python -OO strips it
        cls.__doc__ = cls.__doc__.format(
            mixtures=_entries(_MIXTURES, instead),
            compile=_entries(_COMPILE, instead),
            networks=_entries(_NETWORKS, instead),
            parameters=_entries(_PARAMETERS, instead),
            attributes=_entries(_ATTRIBUTES, instead),
        )
    return cls


def _entries(text: str, instead: dict[str, str]) -> str:
    """Indent the entries of a numpydoc section, some of them replaced."""
    entries = re.split(r"\n(?=\w)", text.strip())
    chosen = [instead.get(entry.split(" : ")[0], entry).strip() for entry in entries]
    return "\n".join(chosen).replace("\n", "\n    ")
