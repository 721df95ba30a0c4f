"""The suites of `speed.py` that time modules.

sampling, sequences, nade, rnade, roofline. Weights are random: no time here depends on
them.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from memory import peak_bytes
from speed_rows import Options, Row, cost, figure, speed_up
from timing import seconds, slope, summary
from torch import Tensor
from twins import (
    NADELoop,
    PlainLoops,
    RNADELoop,
    dense_network,
    gradient_step,
    relative_difference,
    sample_by_forward,
)

from skdensity_ar._device import freed_memory_kept
from skdensity_ar._module import DensityModule
from skdensity_ar._sequences import SequenceModule, SequenceRows
from skdensity_ar.conditionals import Bernoulli, Conditional, GaussianMixture
from skdensity_ar.networks import MADE, NADE, Network, Recurrent

# Modules -----------------------------------------------------------------------------


def bernoulli(n_columns: int) -> Conditional:
    return Bernoulli()


def gaussians(n_columns: int, n_components: int = 10) -> Conditional:
    """The paper's mixture: no floor under the scales, no background."""
    floor = torch.zeros(n_columns, dtype=torch.float64)
    return GaussianMixture(n_components, floor, background=0.0)


def make_module(
    network: type[Network],
    conditional: Conditional,
    n_columns: int,
    sizes: Sequence[int],
    generator: torch.Generator,
    **kwargs: Any,
) -> DensityModule:
    """One member in a random ordering, every weight with some noise."""
    device = generator.device
    ordering = torch.randperm(n_columns, generator=generator, device=device)[None]
    n_params = [conditional.n_params] * n_columns
    made = network(
        [1] * n_columns,
        n_params,
        ordering,
        hidden_layer_sizes=tuple(sizes),
        device=device,
        **kwargs,
    )
    made.reset_parameters(generator, torch.zeros(sum(n_params), device=device))
    _add_noise(made, 0.02, generator)
    blocks = [(conditional.to(device), list(range(n_columns)))]
    return DensityModule(made, blocks)


def make_sequence_module(
    n_columns: int, n_hidden: int, generator: torch.Generator
) -> SequenceModule:
    """LSTM → NADE of binary columns."""
    device = generator.device
    recurrent = Recurrent(
        n_columns, (1,), layer_sizes=(n_hidden,), cell="lstm", device=device
    )
    recurrent.reset_parameters(generator)
    network = NADE(
        [1] * n_columns,
        [1] * n_columns,
        torch.arange(n_columns, device=device)[None],
        hidden_layer_sizes=(n_hidden,),
        activation="logistic",
        n_context=n_hidden,
        device=device,
    )
    network.reset_parameters(generator, torch.zeros(n_columns, device=device))
    _add_noise(network, 0.05, generator)
    frame = DensityModule(network, [(Bernoulli(), list(range(n_columns)))])
    return SequenceModule(recurrent, frame)


@torch.no_grad()
def _add_noise(network: Network, sd: float, generator: torch.Generator) -> None:
    for p in network.parameters():
        p.add_(sd * torch.randn(p.shape, generator=generator, device=p.device))


def bits(shape: Sequence[int], share: float, generator: torch.Generator) -> Tensor:
    u = torch.rand(tuple(shape), generator=generator, device=generator.device)
    return (u < share).float()


# Sampling ----------------------------------------------------------------------------


def sampling(options: Options) -> Iterator[Row]:
    """Rows of binary columns: column by column against passes over whole rows."""
    n, D, H = (50, 40, 32) if options.quick else (1000, 784, 1024)
    generator = options.generator()
    made = make_module(MADE, Bernoulli(), D, (H, H), generator)
    case = f"MADE {D}, 2 x {H}, {n} rows"
    # The naive sampler makes all calls of the same size: some tell the time of all.
    yield from _sampling_of(made, case, n, options, D // 4 if options.quick else D)
    nade = make_module(NADE, Bernoulli(), D, (H,), generator, activation="logistic")
    yield from _sampling_of(nade, f"NADE {D}, {H}, {n} rows", n, options, 2)


def _sampling_of(
    module: DensityModule, case: str, n: int, options: Options, n_timed: int
) -> Iterator[Row]:
    D, is_made = len(module.network.n_inputs), isinstance(module.network, MADE)
    x = module.sample(n, options.generator(1))
    calls = {
        "ours": lambda: module.sample(n, options.generator(1)),
        "forward": torch.no_grad()(lambda: module.network(x)),
        "score": torch.no_grad()(lambda: module.log_prob(x)),
    }
    if is_made:
        sizes = (D, *module.network.hidden_layer_sizes, D)
        dense = dense_network(sizes, options.device)
        calls["dense"] = torch.no_grad()(lambda: dense(x))
    times = options.timed(calls)

    def naive() -> Tensor:
        return sample_by_forward(module, n, options.generator(1), n_timed)

    naive_times, slow = seconds(naive, options.device, 1)
    all_columns = [t * D / n_timed for t in naive_times]
    extrapolated = f", {n_timed} of {D} columns and in proportion"
    visited = module.network.ordering[0, :n_timed]
    same = (x[:, visited] == slow[:, visited]).float().mean().item()
    yield speed_up(
        case,
        "one forward pass per column / ours",
        times["ours"],
        all_columns,
        "a pass per column",
        target="≥ 200" if is_made else "",
        note="timed once" + extrapolated * (n_timed < D),
    )
    yield figure(
        case,
        "share of equal draws, the same seed",
        same,
        target="1",
        note=f"of {n_timed} columns",
    )
    if not is_made:
        yield _cost_of_sampling(case, times, "score", "one scoring pass", "≤ 2")
        return
    masked, unmasked = "network.forward", "nn.Sequential of dense layers"
    yield _cost_of_sampling(case, times, "forward", masked, "≤ 4")
    note = "without the direct connections"
    yield _cost_of_sampling(case, times, "dense", unmasked, "≤ 4", note)


def _cost_of_sampling(
    case: str,
    times: dict[str, list[float]],
    name: str,
    rival: str,
    target: str,
    note: str = "",
) -> Row:
    text = {"target": target, "note": note}
    return cost(case, f"ours / {rival}", times["ours"], times[name], rival, **text)


# Sequences ---------------------------------------------------------------------------


def sequences(options: Options) -> Iterator[Row]:
    """An LSTM before a NADE: sampling by length, and training against plain loops."""
    B, T, D, H = (4, 4, 12, 16) if options.quick else (16, 60, 88, 128)
    module = make_sequence_module(D, H, options.generator())
    yield _sequence_sampling(module, options, B)
    yield from _sequence_training(module, options, B, T, D)


def _sequence_sampling(module: SequenceModule, options: Options, B: int) -> Row:
    lengths = [4, 8, 16] if options.quick else [25, 50, 100, 200]

    def draw(T: int) -> Any:
        return module.sample([T] * B, options.generator())

    times = options.timed({str(T): partial(draw, T) for T in lengths}, once_a_turn=True)
    return figure(
        f"sampling {B} sequences",
        "slope of log time against log T",
        slope(lengths, list(times.values())),
        ours_ms=1e3 * summary(times[str(lengths[-1])]).value,
        target="1",
        note=f"T = {lengths[0]} … {lengths[-1]}; the time is that of the last",
    )


def _sequence_training(
    module: SequenceModule, options: Options, B: int, T: int, D: int
) -> Iterator[Row]:
    x = bits((B * T, D), 0.05, options.generator(1))
    lengths = np.full(B, T)
    begins = np.cumsum(lengths) - lengths
    rows = SequenceRows(
        module.table(x, lengths),
        begins,
        lengths,
        0 * lengths,
        np.ones(len(lengths)),
        T,
    )
    index = torch.arange(B, device=x.device)[None]
    plain = PlainLoops(module)

    def ours() -> Tensor:
        (window,) = rows.batches(index, B)
        return module.loss(window.take()).sum()

    def loops() -> Tensor:
        return plain(x.split(T))

    steps = {
        "ours": gradient_step(module, ours),
        "loops": gradient_step(plain, loops),
    }
    times = options.timed(steps, once_a_turn=True)
    with torch.no_grad():
        log_p = module.frame_log_prob(x, lengths, 256).sum().float()
        difference = relative_difference(-log_p, loops())
    yield speed_up(
        f"training step, {B} sequences of {T} frames of {D}",
        "loops over frames and columns / ours",
        times["ours"],
        times["loops"],
        "PlainLoops",
        note=f"losses differ by {difference:.0e}",
    )


# NADE and RNADE ----------------------------------------------------------------------


def nade(options: Options) -> Iterator[Row]:
    """A training step of binary NADE against autograd's loop over the columns."""
    sizes = (8, 40, 16) if options.quick else (128, 784, 500)
    kwargs = {"activation": "logistic"}
    draw = partial(bits, share=0.2)
    yield from _steps(options, "NADE", sizes, bernoulli, NADELoop, kwargs, draw)


def rnade(options: Options) -> Iterator[Row]:
    """Likewise RNADE with ten Gaussians per column."""
    sizes = (8, 40, 16) if options.quick else (128, 784, 500)
    kwargs = {"activation": "relu", "rescale": True}
    yield from _steps(options, "RNADE", sizes, gaussians, RNADELoop, kwargs, _normal)


def _normal(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return torch.randn(tuple(shape), generator=generator, device=generator.device)


def _steps(
    options: Options,
    name: str,
    sizes: tuple[int, int, int],
    conditional: Callable[[int], Conditional],
    loop: type[NADELoop] | type[RNADELoop],
    kwargs: dict[str, Any],
    draw: Callable[..., Tensor],
) -> Iterator[Row]:
    B, D, H = sizes
    case = f"{name} {D}, {H}, {B} rows"

    def make(n_columns: int) -> tuple[dict[str, Any], Tensor]:
        """Ours and the loop, all with the same weights, and rows for them."""
        module = make_module(
            NADE, conditional(n_columns), n_columns, (H,), options.generator(), **kwargs
        )
        network: Any = module.network
        compiled: Any = copy.deepcopy(module)
        compiled.network.compiled = True
        made = {"eager": module, "compiled": compiled, "loop": loop(network)}
        return made, draw((B, n_columns), generator=options.generator(1))

    made, x = make(D)
    made["tutorial"] = loop(made["eager"].network, by_index=True)
    steps = {each: gradient_step(made[each], _loss_of(made[each], x)) for each in made}
    tutorial = steps.pop("tutorial")
    with freed_memory_kept():  # as fits do, for ours and the loop
        times = options.timed(steps)
    # Every V[d] leaves a gradient of V's size: too slow for RNADE to be repeated.
    times["tutorial"] = seconds(tutorial, options.device, 1)[0]
    losses = {each: _loss_of(made[each], x)().detach() for each in made}
    rivals = {"loop": "loop, unbind", "tutorial": "loop, V[d] by index"}
    for ours, target in (("eager", "≥ 2"), ("compiled", "≥ 4")):
        for theirs, rival in rivals.items():
            difference = relative_difference(losses[theirs], losses[ours])
            yield speed_up(
                case,
                f"{rival} / ours {ours}",
                times[ours],
                times[theirs],
                rival,
                target=target,
                note=f"losses differ by {difference:.0e}"
                + "; timed once" * (theirs == "tutorial"),
            )
        yield _gradient_row(case, ours, made[ours], made["loop"])
    exact = {each: _double(made[each]) for each in ("eager", "loop")}
    for module in exact.values():
        _loss_of(module, x.double())().backward()
    yield _gradient_row(case, "eager in float64", exact["eager"], exact["loop"])
    for ours in ("eager", "compiled", "loop"):
        yield from _memory_rows(name, ours, make, (D, 2 * D if options.quick else 3072))


def _double(module: Any) -> Any:
    """A copy in float64, without gradients."""
    copied = copy.deepcopy(module).double()
    copied.zero_grad()
    if isinstance(copied, DensityModule):
        copied.network.dtype = torch.float64
    return copied


def _loss_of(module: Any, x: Tensor) -> Callable[[], Tensor]:
    """The mean of -log p over the rows of x, of ours or of a twin."""
    if isinstance(module, DensityModule):
        return lambda: module.loss(x[None]).mean()
    return lambda: module(x).mean()


def _backward_of(loss: Callable[[], Tensor]) -> Callable[[], None]:
    return lambda: loss().backward()


def _gradient_row(case: str, which: str, ours: DensityModule, loop: Any) -> Row:
    pairs = [
        (getattr(ours.network, name).grad[0], p.grad)
        for name, p in loop.named_parameters()
    ]
    differences = [relative_difference(*pair) for pair in pairs]
    return figure(
        case,
        f"largest difference of gradients, {which} and loop",
        max(differences),
        note="as a share of the largest entry of each parameter's; a ReLU unit that "
        "rounding takes across zero has another slope",
    )


def _memory_rows(
    name: str,
    which: str,
    make: Callable[[int], tuple[dict[str, Any], Tensor]],
    n_columns: tuple[int, int],
) -> Iterator[Row]:
    """Peak of loss and gradient beyond parameters, outputs and gradients of both."""
    extras, copies = [], []
    for D in n_columns:
        made, x = make(D)
        network, module = made["eager"].network, made[which]
        loss = _loss_of(module, x)
        loss().backward()
        module.zero_grad(set_to_none=True)
        peak = peak_bytes(_backward_of(loss), x.device)
        outputs = len(x) * sum(network.n_params)
        weights = sum(p.numel() for p in module.parameters())
        buffer = 4 * len(x) * network.hidden_layer_sizes[0]
        extras.append((peak - 4 * (2 * outputs + weights)) / buffer)
        copies.append(4 * weights / buffer)
        yield figure(
            f"{name} memory, {D} columns",
            f"extra memory, {which}, in (rows x hidden) buffers",
            extras[-1],
            note=f"peak {peak / 2**20:.3g} MiB; the weights are "
            f"{copies[-1]:.1f} buffers",
        )
    further = n_columns[1] - n_columns[0]
    yield figure(
        f"{name} memory",
        f"buffers per further column, {which}",
        (extras[1] - extras[0]) / further,
        target="" if which == "loop" else "0",
        note=f"a copy of the weights is {(copies[1] - copies[0]) / further:.2g}",
    )


# Roofline ----------------------------------------------------------------------------


def roofline(options: Options) -> Iterator[Row]:
    """MADE against plain products of its sizes, its optimiser against a plain copy."""
    quick = options.quick
    shapes = [(40, (32, 32), 50)] if quick else [(784, (1024,) * 2, 1000)]
    shapes += [(8, (16, 16), 20)] if quick else [(43, (128, 128), 256)]
    for D, sizes, n in shapes:
        module = make_module(MADE, Bernoulli(), D, sizes, options.generator())
        yield from _products(module, f"MADE {D}, {sizes}, {n} rows", n, options)
    yield from _passes(2**14 if quick else 2**23, options)


def _products(
    module: DensityModule, case: str, n: int, options: Options
) -> Iterator[Row]:
    network: Any = module.network
    D = len(network.n_inputs)
    x = bits((n, D), 0.5, options.generator(1))
    # The direct connections are one more layer from the inputs to the outputs.
    layers = [*pairwise((D, *network.hidden_layer_sizes, D)), (D, D)]
    weights = [torch.randn(shape[::-1], device=x.device) for shape in layers]
    inputs = [torch.randn((shape[0], n), device=x.device) for shape in layers]
    outputs = [torch.randn((shape[1], n), device=x.device) for shape in layers]

    def forward_products() -> None:
        for W, h in zip(weights, inputs, strict=True):
            torch.mm(W, h)

    def step_products() -> None:
        forward_products()
        for W, h, g in zip(weights, inputs, outputs, strict=True):
            torch.mm(W.T, g)
            torch.mm(g, h.T)

    calls = {
        "forward": torch.no_grad()(lambda: network(x)),
        "products forward": forward_products,
        "step": gradient_step(module, _loss_of(module, x)),
        "products step": step_products,
    }
    times = options.timed(calls)
    n_flops = 2 * n * sum(W.numel() for W in weights)
    for name, factor in (("forward", 1), ("step", 3)):
        ours, theirs = times[name], times[f"products {name}"]
        rates = [factor * n_flops / summary(t).value / 1e9 for t in (ours, theirs)]
        yield cost(
            f"{case}, {name}",
            "ours / torch.mm of the same sizes",
            ours,
            theirs,
            "torch.mm",
            note=f"{rates[0]:.3g} GFLOP/s of {rates[1]:.3g}",
        )


def _passes(n: int, options: Options) -> Iterator[Row]:
    """What a step does to n weights after the gradient, by the bytes it moves."""
    values, gradient, averaged, copied = torch.randn((4, n), device=options.device)
    parameter = torch.nn.Parameter(values.clone())
    parameter.grad = gradient.clone()
    optimizer = torch.optim.AdamW([parameter], lr=1e-6, fused=True)

    def average() -> None:
        torch._foreach_lerp_([averaged], [parameter.detach()], 0.05)

    calls = {
        "optimiser": optimizer.step,
        "averaging": average,
        "copy": lambda: copied.copy_(values),
    }
    # Adam reads p, g, m, v and writes p, m, v; averaging reads two and writes one.
    n_moved = {"optimiser": 7, "averaging": 3, "copy": 2}
    times = options.timed(calls)
    per_number = {k: [t / n_moved[k] for t in times[k]] for k in times}
    rates = {k: 4 * n / summary(t).value / 1e9 for k, t in per_number.items()}
    for name in ("optimiser", "averaging"):
        yield cost(
            f"{name}, {n} weights",
            "time per byte moved / that of a copy",
            per_number[name],
            per_number["copy"],
            "copy_",
            note=f"{rates[name]:.1f} GB/s of {rates['copy']:.1f}; times per number "
            "of every weight that is read or written",
        )
