"""The part of the docstrings that all estimators share, written once."""

from __future__ import annotations

_PARAMETERS = """
ordering : {"natural", "reversed", "random"} or permutation, default="natural"
    In which order the columns are visited: ordering[t] is the column at position t.
n_orderings : int, default=4
    Members of the ensemble, trained side by side. The first takes `ordering`, the
    others draw theirs; each has its own weights and its own validation rows. The
    density is the average of their densities.
handle_unknown : {"score", "error"}, default="score"
    What scoring does with a category not seen in `fit`: give it the mass 1e-6 kept
    for it, or raise an error.
max_iter : int, default=40
    Largest number of epochs.
batch_size : int or "auto", default="auto"
    Rows per mini-batch; "auto" takes a sixteenth of the training rows, at least 32
    and at most 256.
learning_rate : {"cosine", "constant"}, default="cosine"
    Schedule: "cosine" falls from `learning_rate_init` to 0 over `max_iter` epochs.
learning_rate_init : float, default=0.01
    Step size of Adam at the start.
weight_decay : float, default=0.01
    Decoupled decay of the weights (AdamW); biases are not decayed.
dropout : float, default=0.2
    Share of hidden units dropped for each training row.
max_grad_norm : float, default=1.0
    Longer gradients are scaled down to this norm.
weight_averaging : float, default=0.95
    Decay of the running average of the weights over the steps, which is what
    validation scores and `fit` keeps; 0 takes the weights as they are.
early_stopping : bool, default=True
    Whether to set validation rows aside (needs at least 10 rows), keep the weights
    that score them best and stop when they no longer improve. Otherwise the training
    loss decides.
validation_fraction : float, default=0.1
    Share of the rows to set aside; not used with `X_val`.
n_iter_no_change : int, default=10
    Epochs without an improvement by `tol` after which training stops.
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
ordering_ : ndarray of shape (n_orderings, n_features)
    The ordering of every member.
score_kind_ : str
    "exact": what `score_samples` returns is the log-density itself.
history_ : History
    Losses per epoch, the best epoch of every member, why training stopped.
loss_curve_ : list of float
    Training loss after every epoch, in nats per row of standardised data.
validation_scores_ : list of float
    Log-density of the validation rows after every epoch, likewise; empty without
    validation rows.
n_iter_ : int
    Epochs run.
n_features_in_ : int
    Number of columns seen in `fit`.
feature_names_in_ : ndarray of shape (n_features_in_,)
    Names of the columns, if they are all strings.
"""


def shared_docs(cls: type) -> type:
    """Fill {parameters} and {attributes} into the docstring of an estimator."""
    if cls.__doc__ is not None:  # python -OO strips it
        cls.__doc__ = cls.__doc__.format(
            parameters=_indent(_PARAMETERS), attributes=_indent(_ATTRIBUTES)
        )
    return cls


def _indent(text: str) -> str:
    return text.strip().replace("\n", "\n    ")
