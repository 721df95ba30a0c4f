"""The one fit of every estimator here."""

from __future__ import annotations

import copy
import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from skdensity_ar._agnostic import AgnosticModule
from skdensity_ar._columns import Columns, fit_columns
from skdensity_ar._device import freed_memory_kept, resolve_device, threads_for
from skdensity_ar._em import fit_gaussians
from skdensity_ar._estimate import EstimateModule
from skdensity_ar._module import DensityModule, initial_bias
from skdensity_ar._random import make_generator
from skdensity_ar._residuals import fit_residuals
from skdensity_ar._training import History, Rows, train
from skdensity_ar._validation import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
    check_context,
    check_weights,
    errors_about,
    unchanged_on_failure,
)
from skdensity_ar.conditionals import Conditional
from skdensity_ar.estimators._build import (
    check_memory,
    column_widths,
    conditional_blocks,
    layer_sizes,
    make_orderings,
    mixture_columns,
    with_predictions,
)
from skdensity_ar.estimators._context import Context, fit_context
from skdensity_ar.estimators._data import Data, Given, Size
from skdensity_ar.estimators._monitor import FitMonitor
from skdensity_ar.networks import ACTIVATIONS, NADE, EoNADE, Network

# The `ordering` that has one network serve all of them.
AGNOSTIC = "agnostic"

# What max_iter="auto" keeps to: mini-batches of all members, and epochs.
_MAX_BATCHES, MIN_EPOCHS = 32000, 10
_AGNOSTIC_EPOCHS = 4  # times as many where each shows a network one ordering of many

# Fewer rows than this leave no validation share worth the name.
MIN_TO_SPLIT = 10


@dataclass
class Examples:
    """What a fit trains on.

    Attributes
    ----------
    rows : Rows
        Where mini-batches come from.
    train_index, valid_index : Tensor of int, shape (members, n)
        Rows, or sequences, of every member; no valid_index without early stopping.
    batch_size : int
        How many of them make a mini-batch.
    rows_per_batch : int
        Rows, or frames, in one.
    attributes : dict
        Fitted attributes that tell of them.
    """

    rows: Rows
    train_index: Tensor
    valid_index: Tensor | None
    batch_size: int
    rows_per_batch: int
    attributes: dict[str, Any] = field(default_factory=dict)


class BaseAutoregressiveDensity(
    CallbackSupportMixin, DensityMixin, BaseEstimator, metaclass=ABCMeta
):
    """log p(x) = Σ_d log p(x_d | x_<d), a network times conditionals.

    A subclass in `_tables` or `_sequences` reads the data and scores it. A subclass of
    these is a paper: it names its parameters in `__init__` and says in `_make_network`
    how they make a network.
    """

    # What conditional="auto" makes of numbers that are not all 0 or 1.
    _numeric: ClassVar[str]

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "ordering": [StrOptions({"natural", "reversed", "random"}), "array-like"],
        "n_orderings": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "handle_unknown": [StrOptions({"score", "error"})],
        "bounds": [dict, None],
        "atoms": [dict, None],
        "max_categories": [Interval(Integral, 2, None, closed="left"), None],
        "max_iter": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
        ],
        "learning_rate": [StrOptions({"constant", "cosine"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "dropout": [StrOptions({"auto"}), Interval(Real, 0, 1, closed="left")],
        "input_dropout": [Interval(Real, 0, 1, closed="left")],
        "max_grad_norm": [Interval(Real, 0, None, closed="neither")],
        "weight_averaging": [Interval(Real, 0, 1, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "dtype": [StrOptions({"float32", "float64"})],
        "device": [str, torch.device],
        "verbose": ["verbose"],
        "random_state": ["random_state"],
    }

    @abstractmethod
    def _make_network(self, n_inputs, n_params, ordering, **kwargs) -> Network:
        """Make the network; `kwargs` are those that every network takes."""

    def _make_agnostic(self, n_inputs, n_params, ordering, **kwargs) -> EoNADE:
        """Likewise, the networks of ordering="agnostic"."""
        direct = getattr(self, "direct_connections", False)
        n_networks = self._n_networks(len(ordering))
        kwargs = {"direct": direct, "n_networks": n_networks, **kwargs}
        return EoNADE(n_inputs, n_params, ordering, **kwargs)

    @property
    def _is_agnostic(self) -> bool:
        return isinstance(self.ordering, str) and self.ordering == AGNOSTIC

    @property
    def _goes_on(self) -> bool:
        """Whether `fit` trains the fitted network further."""
        return self.warm_start and hasattr(self, "module_")

    @property
    def _estimates(self) -> bool:
        """Whether rows with missing cells are scored by draws."""
        return getattr(self, "missing", "exact") == "estimate"

    @property
    def _takes_missing(self) -> bool:
        return self._is_agnostic or self._estimates

    @abstractmethod
    def _read(
        self, X: Any, *, reset: bool, columns: Columns | None
    ) -> tuple[Any, np.ndarray | None]:
        """Check X and return it as one table; of sequences, with their lengths.

        `columns` are those that X is held against, None where they are yet to be
        fitted; `reset` as in `check_table`.
        """

    @abstractmethod
    def _auto_orderings(self, size: Size) -> int:
        """Say what n_orderings="auto" stands for."""

    def _n_networks(self, n_orderings: int) -> int:
        """Say how many sets of weights serve that many orderings."""
        return n_orderings

    @abstractmethod
    def _auto_epochs(self, size: Size) -> int:
        """Say what max_iter="auto" stands for, where that is not too much work."""

    @abstractmethod
    def _auto_components(self, size: Size) -> int:
        """Say what n_components="auto" stands for."""

    @abstractmethod
    def _auto_frequencies(self, size: Size) -> int:
        """Say what n_frequencies="auto" stands for."""

    @abstractmethod
    def _auto_dropout(self, size: Size, n_members: int) -> float | list[float]:
        """Say what dropout="auto" stands for, for all members or each."""

    @abstractmethod
    def _examples(
        self, module: Any, data: Data, n_train: int, generator: torch.Generator
    ) -> Examples:
        """Decide what trains and what validates.

        `data` are all rows; from the example `n_train` on they come from X_val.
        """

    def _fit(self, X: Any, X_val: Any, sample_weight: Any, **more: Any) -> None:
        n_epochs = None if self.max_iter == "auto" else self.max_iter
        monitor = FitMonitor(self, X, n_epochs)
        with unchanged_on_failure(self), monitor:
            self._fit_monitored(X, X_val, sample_weight, monitor, **more)

    def _fit_monitored(
        self,
        X: Any,
        X_val: Any,
        sample_weight: Any,
        monitor: FitMonitor,
        sample_weight_val: Any = None,
        context: Any = None,
        context_val: Any = None,
    ) -> None:
        if self._is_agnostic and self.input_dropout > 0.0:
            raise ValueError(
                f"input_dropout={self.input_dropout} hides columns, which "
                "ordering='agnostic' does by itself; set input_dropout=0."
            )
        if self._is_agnostic and self._estimates:
            raise ValueError(
                "missing='estimate' is for orderings that are fixed; "
                "ordering='agnostic' knows the probability of what is there exactly: "
                "leave missing='exact'."
            )
        if X_val is not None and not self.early_stopping:
            raise ValueError(
                "X_val is what early stopping watches, which early_stopping=False "
                "turns off: leave X_val out, or set early_stopping=True."
            )
        if context_val is not None and (context is None or X_val is None):
            without = "X_val" if X_val is None else "context"
            raise ValueError(
                f"context_val is for the rows of X_val, given context: pass {without} "
                "too, or leave context_val out."
            )
        if sample_weight_val is not None and X_val is None:
            raise ValueError(
                "sample_weight_val is for the rows of X_val: pass X_val too, or leave "
                "sample_weight_val out."
            )
        warm = self._goes_on
        known = self.columns_ if warm else None
        fitted = self.context_ if warm else None
        given = self._given(
            X, sample_weight, context, reset=not warm, columns=known, context=fitted
        )
        columns = known or self._fit_columns(given.X, given.row_weights)
        counted, counted_lengths = given.repeated()
        n_rows = len(np.arange(given.X.shape[0])[counted])
        size = Size(columns, n_rows, given.n_context)
        outside = self._fitted_context(given, size, warm)
        device = resolve_device(self.device)
        data = self._data(given, columns, outside, device)
        n_train, start = data.n, data.x[counted]
        of_start = None if data.context is None else data.context[counted]
        if X_val is not None:
            held = self._given(
                X_val,
                sample_weight_val,
                context_val,
                reset=False,
                columns=columns,
                context=outside,
                validates=True,
            )
            with errors_about("X_val"):
                data_val = self._data(held, columns, outside, device)
            columns.check_constants(data_val.x.cpu().numpy(), "X_val")
            data = data.followed_by(data_val)

        generator = make_generator(self.random_state, device)
        if warm:
            self._check_warm_start()
            columns.check_constants(start.cpu().numpy(), "X")
            module = copy.deepcopy(self.module_).to(device)
            n_orderings = len(module.network.ordering)
            dropout = self._dropout(size, n_orderings)
            module.set_dropout(dropout, self.input_dropout)
            if self._is_agnostic:
                module.contraction.zero_()  # until it is trained
        else:
            first = Data(start, counted_lengths, None, of_start, data.linear)
            module = self._make_module(size, first, generator)
        if self._is_agnostic:
            module.has_missing = bool(data.x.isnan().any())
        examples = self._examples(module, data, n_train, generator)

        n_epochs = self._n_epochs(size, examples)
        asked = copy.deepcopy(self._of_columns())

        def attributes(history: History) -> dict[str, Any]:
            return {
                "columns_": columns,
                "base_measure_": columns.base_measure,
                "context_": outside,
                "_asked_of_columns": asked,
                "module_": module,
                "ordering_": module.network.ordering.cpu().numpy(),
                "score_kind_": module.score_kind,
                "history_": history,
                "loss_curve_": history.loss_curve,
                "validation_scores_": history.validation_scores,
                "n_iter_": history.n_iter,
                **examples.attributes,
            }

        n_multiplications = examples.rows_per_batch * module.n_weights
        with threads_for(n_multiplications), freed_memory_kept():
            history = train(
                module,
                examples.rows,
                examples.train_index,
                examples.valid_index,
                max_iter=n_epochs,
                batch_size=examples.batch_size,
                learning_rate=self.learning_rate,
                learning_rate_init=self.learning_rate_init,
                weight_decay=self.weight_decay,
                max_grad_norm=self.max_grad_norm,
                weight_averaging=self.weight_averaging,
                n_iter_no_change=self._patience(),
                tol=self.tol,
                generator=generator,
                monitor=monitor.watch(attributes, n_epochs),
                past_best=module.past_best if self._is_agnostic else 1.0,
            )
        if self._is_agnostic:
            module.without = None
            with threads_for(n_multiplications):
                module.contract(*data.first(n_train))
        if history.stopped_by == "diverged":
            warnings.warn(
                f"The training loss became {history.loss_curve[-1]} in epoch "
                f"{history.n_iter}; weights of an epoch before it are kept. A smaller "
                f"learning_rate_init than {self.learning_rate_init} may help.",
                ConvergenceWarning,
                stacklevel=2,
            )
        for name, value in attributes(history).items():
            setattr(self, name, value)

    def _given(
        self,
        X: Any,
        sample_weight: Any,
        C: Any,
        *,
        reset: bool,
        columns: Columns | None,
        context: Context | None = None,
        validates: bool = False,
    ) -> Given:
        """Check what `fit` is given, rows of X_val too; the rest as in `_read`."""
        with errors_about("X_val" if validates else None):
            table, lengths = self._read(X, reset=reset, columns=columns)
        n = table.shape[0] if lengths is None else len(lengths)
        weights = None
        if sample_weight is not None:
            name = "sample_weight_val" if validates else "sample_weight"
            weights = check_weights(sample_weight, n, name)
        if validates and context is not None and C is None:
            raise ValueError("X_val needs contexts of its own: pass context_val.")
        if C is not None:
            with errors_about("context_val" if validates else None):
                C = check_context(C, n) if context is None else context.read(C, n)
        return Given(table, lengths, weights, C).without_weightless()

    def _fitted_context(self, given: Given, size: Size, warm: bool) -> Context | None:
        """Return the context of the last `fit`, or learn one."""
        if warm:
            if (self.context_ is None) != (given.context is None):
                has = "no context" if self.context_ is None else "a context"
                raise ValueError(
                    f"warm_start=True goes on with the fitted network, which has {has};"
                    " call fit as before, or set warm_start=False to start anew."
                )
            return self.context_
        if given.context is None:
            return None
        return fit_context(
            given.context,
            handle_unknown=self.handle_unknown,
            max_categories=self.max_categories,
            n_frequencies=self._frequencies(size),
            weights=given.row_weights,
        )

    def _data(
        self,
        given: Given,
        columns: Columns,
        context: Context | None,
        device: torch.device,
    ) -> Data:
        dtype = getattr(torch, self.dtype)
        codes = columns.transform(given.X, with_missing=self._takes_missing)
        x = torch.as_tensor(codes, dtype=dtype, device=device)
        if context is None:
            return Data(x, given.lengths, given.weights, None)
        encoded = context.encode(given.context).to(device, dtype)
        return Data(x, given.lengths, given.weights, encoded, context.linear)

    def _n_epochs(self, size: Size, examples: Examples) -> int:
        if self.max_iter != "auto":
            return self.max_iter
        n = self._auto_epochs(size)
        if self._is_agnostic:
            n *= _AGNOSTIC_EPOCHS
        n_members, n_train = examples.train_index.shape
        n_batches = n_members * (n_train // examples.batch_size)
        return max(min(n, _MAX_BATCHES // max(n_batches, 1)), MIN_EPOCHS)

    def _patience(self) -> int:
        n = self.n_iter_no_change
        return n * _AGNOSTIC_EPOCHS if self._is_agnostic else n

    def _structure(self) -> dict[str, tuple[Any, Any]]:
        """Return what the fitted network has and what is asked for, by parameter."""
        network = self.module_.network
        asked = layer_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")
        n_orderings = self.n_orderings
        if n_orderings == "auto":  # as many as there are
            n_orderings = len(network.ordering)
        of_mixtures = {}
        for c in self.module_.conditionals:
            for name in ("n_components", "n_frequencies"):
                fitted, value = getattr(c, name, None), getattr(self, name, "auto")
                if name == "n_components" and fitted is not None:
                    fitted -= getattr(c, "n_predicted", 0)
                if fitted is not None and value != "auto":
                    of_mixtures[name] = (fitted, value)
        of_nade: dict[str, tuple[Any, Any]] = {}
        if isinstance(network, NADE):
            of_nade["compile"] = (network.compiled, getattr(self, "compile", False))
            of_nade["tied"] = (network.tied, getattr(self, "tied", False))
        if hasattr(self, "direct_connections") and network.hidden_layer_sizes:
            direct = getattr(network, "direct", self.direct_connections)
            of_nade["direct_connections"] = (direct, self.direct_connections)
        return {
            **of_mixtures,
            **of_nade,
            "hidden_layer_sizes": (network.hidden_layer_sizes, asked),
            "activation": (network.activation, self.activation),
            "n_orderings": (len(network.ordering), n_orderings),
            "n_networks": (network.members[0], self._n_networks(n_orderings)),
            "missing": (
                "estimate" if isinstance(self.module_, EstimateModule) else "exact",
                "estimate" if self._estimates else "exact",
            ),
            "dtype": (str(network.dtype).removeprefix("torch."), self.dtype),
        }

    def _of_columns(self) -> dict[str, Any]:
        """Return what is asked for of columns, by parameter."""
        names = ("conditional", "bounds", "atoms", "max_categories", "handle_unknown")
        asked = {name: getattr(self, name, None) for name in names}
        is_named = isinstance(self.ordering, str)
        ordering = self.ordering if is_named else np.asarray(self.ordering).tolist()
        return {**asked, "ordering": ordering}

    def _check_warm_start(self) -> None:
        """Refuse to go on with a network that the parameters no longer describe."""
        of_columns = self._of_columns()
        before = getattr(self, "_asked_of_columns", of_columns)
        compared = {name: (before[name], of_columns[name]) for name in of_columns}
        for name, (fitted, asked) in {**compared, **self._structure()}.items():
            if not _same(asked, fitted):
                raise ValueError(
                    f"warm_start=True goes on with the fitted network, which has "
                    f"{name}={fitted!r}, got {asked!r}; set warm_start=False to "
                    "start anew."
                )

    def _fit_columns(self, X, weights) -> Columns:
        columns = fit_columns(
            X,
            conditional=self.conditional,
            numeric=self._numeric,
            handle_unknown=self.handle_unknown,
            bounds=self.bounds,
            atoms=self.atoms,
            max_categories=self.max_categories,
            with_missing=self._takes_missing,
            weights=weights,
        )
        columns.warn_of_constants()
        return columns

    def _make_module(self, size: Size, data: Data, generator: torch.Generator) -> Any:
        """Make the module that trains on such data, each row as often as it counts."""
        x, context = data.x, data.context
        columns, orderings = size.columns, self._orderings(size, generator)
        blocks = self._blocks(size, x.device)
        network: dict[str, Any] = {"dropout": self._dropout(size, len(orderings))}
        if context is not None:
            network |= {"n_context": context.shape[1], "context_as_input": True}
        if self._is_agnostic:
            gaussians = fit_gaussians(x, mixture_columns(blocks))
            if gaussians.columns:
                blocks = with_predictions(blocks, gaussians.n_components)
            x = filled(x, generator)
            made, blocks = self._started(
                self._make_agnostic, blocks, orderings, x, generator, **network
            )
            return AgnosticModule(made, blocks, gaussians)
        floors = np.array([c.spec.scale_floor for c in columns.columns])
        complete = ~x.isnan().any(-1)
        whole, outside = x[complete], None if context is None else context[complete]
        residuals = fit_residuals(
            whole, columns.linear, orderings, floors, outside, data.linear
        )
        x = filled(x, generator)
        if residuals is not None:
            x, s = residuals(whole, outside), residuals.s
            blocks = [(c.divided(s[:, columns]), columns) for c, columns in blocks]
        made, blocks = self._started(
            self._make_network, blocks, orderings, x, generator, **network
        )
        kind = EstimateModule if self._estimates else DensityModule
        return kind(made, blocks, residuals, self.input_dropout)

    def _blocks(
        self, size: Size, device: torch.device
    ) -> list[tuple[Conditional, list[int]]]:
        K: Any = getattr(self, "n_components", "auto")
        K = self._auto_components(size) if K == "auto" else K
        return conditional_blocks(size.columns, K, self._frequencies(size), device)

    def _frequencies(self, size: Size) -> int:
        F: Any = getattr(self, "n_frequencies", "auto")
        return self._auto_frequencies(size) if F == "auto" else F

    def _dropout(self, size: Size, n_orderings: int) -> float | list[float]:
        if self.dropout != "auto":
            return float(self.dropout)
        return self._auto_dropout(size, self._n_networks(n_orderings))

    def _orderings(self, size: Size, generator: torch.Generator) -> Tensor:
        n = self.n_orderings
        n = self._auto_orderings(size) if n == "auto" else n
        n_columns = len(size.columns.columns)
        return make_orderings(self.ordering, n, n_columns, generator)

    def _started(
        self,
        make: Callable[..., Any],
        blocks: list[tuple[Conditional, list[int]]],
        orderings: Tensor,
        x: Tensor,
        generator: torch.Generator,
        **network: Any,
    ) -> tuple[Any, list[tuple[Conditional, list[int]]]]:
        """Make the network and its conditionals, of the columns of x by themselves.

        x is (n, D), or (members, n, D) where members differ; `network` are further
        parameters of the network that `make` makes.
        """
        blocks = [(c.adapted(x[..., columns]), columns) for c, columns in blocks]
        n_inputs, n_params, n_direct = column_widths(blocks)
        sizes = layer_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")
        widths = (sum(n_inputs), *sizes, sum(n_params))
        n_weights = sum(before * after for before, after in pairwise(widths))
        layers = {"hidden_layer_sizes": sizes}
        n_networks = self._n_networks(len(orderings))
        asked = getattr(self, "n_networks", "auto") != "auto"
        check_memory(
            n_networks,
            n_weights,
            layers,
            x.dtype,
            x.device,
            parameter="n_networks" if asked else "n_orderings",
        )
        made = make(
            n_inputs,
            n_params,
            orderings,
            n_direct=n_direct,
            hidden_layer_sizes=sizes,
            activation=self.activation,
            dtype=x.dtype,
            device=x.device,
            **network,
        )
        alone = [
            initial_bias(blocks, n_params, x_e) for x_e in x.view(-1, *x.shape[-2:])
        ]
        made.reset_parameters(generator, torch.stack(alone))
        return made, blocks

    def _split(
        self, n_train: int, n_all: int, n_members: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor | None]:
        """Return what to train and to validate on, (members, n); X_val comes last."""
        device = generator.device
        rows = torch.arange(n_all, device=device).expand(n_members, -1)
        if n_all > n_train:
            return rows[:, :n_train], rows[:, n_train:]
        if not self.early_stopping:
            return rows, None
        if n_train < MIN_TO_SPLIT:
            warn_of_no_validation(f"{n_train} rows")
            return rows, None
        n_valid = max(1, round(self.validation_fraction * n_train))
        if n_valid >= n_train:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of {n_train} rows "
                "leaves none to train on; lower it or pass X_val."
            )
        # Further training validates on the same rows: on the others it has trained.
        kept = getattr(self, "_split_state", None)
        if self._goes_on and kept is not None:
            kind, state = kept
            if kind == device.type:
                generator = torch.Generator(device)
                generator.set_state(torch.as_tensor(state))
        else:
            self._split_state = device.type, generator.get_state().numpy()
        keys = torch.rand(
            rows.shape, generator=generator, dtype=torch.float64, device=device
        )
        shuffled = keys.argsort(1)
        return shuffled[:, n_valid:], shuffled[:, :n_valid]

    def __getstate__(self):
        # Weights are stored for the CPU: a model fitted on a GPU opens without one.
        state = super().__getstate__()
        if "module_" in state and state["module_"].network.ordering.is_cuda:
            state = {**state, "module_": copy.deepcopy(state["module_"]).cpu()}
        return state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        takes_codes = self._numeric == "categorical" or self.conditional in (
            "bernoulli",
            "categorical",
            "count",
        )
        tags.input_tags.categorical = takes_codes
        tags.input_tags.positive_only = takes_codes
        return tags


def _same(one: Any, other: Any) -> bool:
    """Whether two parameters say the same, lists and arrays compared by value."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        same_keys = one.keys() == other.keys()
        return same_keys and all(_same(one[key], other[key]) for key in one)
    try:
        return bool(one == other)
    except ValueError:  # arrays
        return np.array_equal(one, other)


def filled(x: Tensor, generator: torch.Generator) -> Tensor:
    """Rows with values of other rows where they have none, for a start."""
    missing = x.isnan()
    if not missing.any():
        return x
    x = x.clone()
    for d in missing.any(0).nonzero().flatten().tolist():
        there, empty = x[~missing[:, d], d], missing[:, d]
        if len(there) == 0:  # rows that count for little are not among these
            x[empty, d] = 0.0
            continue
        drawn = torch.randint(
            len(there), (int(empty.sum()),), generator=generator, device=x.device
        )
        x[empty, d] = there[drawn]
    return x


def warn_of_no_validation(what: str) -> None:
    """Say that early stopping is off."""
    warnings.warn(
        f"X has {what}, too few to set a validation share aside: early stopping is "
        "off. Pass X_val, or early_stopping=False.",
        UserWarning,
        stacklevel=2,
    )
