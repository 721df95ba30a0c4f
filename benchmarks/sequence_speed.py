"""Sequences: training and sampling against plain loops, in one process.

    OMP_NUM_THREADS=2 python benchmarks/sequence_speed.py

Training: one step (loss and gradient) of an LSTM of 128 before a NADE of 128 hidden
units on packed sequences of 88 binary columns, one member, against a plain PyTorch
loop over time and notes: `nn.LSTMCell` frame by frame, NADE's recursion note by note,
every sequence of the batch at once. The loops are timed on fewer time steps where
`--naive-steps` is smaller; both are given per frame. Their losses are compared.

Sampling: T frames for T = 25 … 200 against T draws of the inner network alone with a
context that stays; a straight line through the times has to go through the origin.
"""

import argparse
import statistics

import numpy as np
import torch
from timing import described, seconds
from torch import nn

from skdensity_ar._module import DensityModule
from skdensity_ar._sequences import SequenceModule, SequenceRows
from skdensity_ar.conditionals import Bernoulli
from skdensity_ar.networks import NADE, Recurrent


def make_module(n_columns: int, n_hidden: int, device) -> SequenceModule:
    """LSTM → NADE with random weights; the time does not depend on them."""
    generator = torch.Generator(device).manual_seed(0)
    recurrent = Recurrent(
        n_columns, (1,), layer_sizes=(n_hidden,), cell="lstm", device=device
    )
    recurrent.reset_parameters(generator)
    ordering = torch.arange(n_columns, device=device)[None]
    network = NADE(
        [1] * n_columns,
        [1] * n_columns,
        ordering,
        hidden_layer_sizes=(n_hidden,),
        activation="logistic",
        n_context=n_hidden,
        device=device,
    )
    network.reset_parameters(generator, torch.zeros(n_columns, device=device))
    with torch.no_grad():
        for p in network.parameters():
            p += 0.05 * torch.randn(p.shape, generator=generator, device=device)
    frame = DensityModule(network, [(Bernoulli(), list(range(n_columns)))])
    return SequenceModule(recurrent, frame)


class PlainLoops(nn.Module):
    """The same model as its equations read, with the weights of `module`."""

    def __init__(self, module: SequenceModule):
        super().__init__()
        recurrent, network = module.recurrent, module.network
        n_hidden, n_columns = recurrent.layer_sizes[0], len(network.n_inputs)
        self.cell = nn.LSTMCell(n_columns, n_hidden, device=recurrent.W_in0.device)
        # torch's gates are in the order i, f, g, o; ours i, f, o, g.
        swap = torch.arange(4 * n_hidden).view(4, n_hidden)[[0, 1, 3, 2]].flatten()
        with torch.no_grad():
            self.cell.weight_ih.copy_(recurrent.W_in0[0, swap])
            self.cell.weight_hh.copy_(recurrent.W_rec0[0, swap])
            self.cell.bias_ih.copy_(recurrent.b_h0[0, swap])
            self.cell.bias_hh.zero_()
        named = {name: getattr(network, name) for name in ("W", "c", "V", "b", "C")}
        named |= {"C_hidden": network.C_hidden, "h_0": recurrent.h_00}
        for name, value in named.items():
            self.register_parameter(name, nn.Parameter(value.detach()[0].clone()))

    def forward(self, sequences: list[torch.Tensor]) -> torch.Tensor:
        """Sum of -log p over all frames of sequences of one length."""
        x = torch.stack(sequences, 1)  # (T, B, D)
        h = self.h_0.expand(x.shape[1], -1)
        c = torch.zeros_like(h)
        loss = x.new_zeros(())
        for x_t in x:
            a = self.c + h @ self.C_hidden.T
            b = self.b + h @ self.C.T
            for d in range(x.shape[2]):
                logit = b[:, d] + torch.sigmoid(a) @ self.V[d]
                loss = loss + nn.functional.binary_cross_entropy_with_logits(
                    logit, x_t[:, d], reduction="sum"
                )
                a = a + x_t[:, d, None] * self.W[d]
            h, c = self.cell(x_t, (h, c))
        return loss


def training(args, device) -> None:
    module = make_module(args.columns, args.hidden, device)
    generator = torch.Generator(device).manual_seed(1)
    shape = (args.batch * args.steps, args.columns)
    x = (torch.rand(shape, generator=generator, device=device) < 0.05).float()
    lengths = np.full(args.batch, args.steps)
    table = module.table(x, lengths)
    begins = np.cumsum(lengths) - lengths
    rows = SequenceRows(table, begins, lengths, 0 * lengths, args.steps)
    index = torch.arange(args.batch, device=device)[None]

    def ours():
        module.zero_grad()
        (window,) = rows.batches(index, args.batch)
        loss = module.loss(window.take()).sum()
        loss.backward()
        return loss.item()

    plain = PlainLoops(module)
    sequences = [s[: args.naive_steps] for s in x.split(args.steps)]

    def loops():
        plain.zero_grad()
        loss = plain(sequences)
        loss.backward()
        return loss.item()

    with torch.no_grad():
        short = np.full(args.batch, args.naive_steps)
        frames = module.frame_log_prob(torch.cat(sequences), short, 256)
        difference = abs(-frames.sum().item() / plain(sequences).item() - 1.0)
    ours(), loops()  # warm up
    times: dict[str, list[float]] = {"ours": [], "loops": []}
    for _ in range(args.repeats):  # interleaved: both meet the same noise
        times["ours"] += seconds(ours, device, 3)[0]
        times["loops"] += seconds(loops, device, 1)[0]
    n_ours, n_loops = args.batch * args.steps, args.batch * args.naive_steps
    per_frame = {
        "ours": [1e6 * t / n_ours for t in times["ours"]],
        "loops": [1e6 * t / n_loops for t in times["loops"]],
    }
    print(
        f"Training, {args.batch} sequences of {args.steps} frames of {args.columns} "
        f"columns, {args.hidden} hidden units; µs per frame, median (min … max)"
    )
    for name, values in per_frame.items():
        print(
            f"  {name:6} {statistics.median(values):9.1f}  "
            f"({min(values):.1f} … {max(values):.1f})"
        )
    ratio = statistics.median(per_frame["loops"]) / statistics.median(per_frame["ours"])
    print(f"  loops / ours {ratio:.1f} x; losses differ by {difference:.1e} relative")


@torch.no_grad()
def sampling(args, device) -> None:
    module = make_module(args.columns, args.hidden, device)
    inner = module.frame.sampler(0)
    context = module.recurrent.member(0).start(args.batch)[-1][0]
    lengths = [25, 50, 100, 200]
    times: dict[int, list[float]] = {T: [] for T in lengths}
    alone: list[float] = []

    def draw(T):
        return module.sample([T] * args.batch, torch.Generator(device).manual_seed(0))

    def draw_inner(T):
        generator = torch.Generator(device).manual_seed(0)
        for _ in range(T):
            inner(args.batch, generator, context)

    draw(5), draw_inner(5)
    for _ in range(args.repeats):
        for T in lengths:
            times[T] += seconds(lambda T=T: draw(T), device, 1)[0]
        alone += [t / 50 for t in seconds(lambda: draw_inner(50), device, 1)[0]]
    per_draw = statistics.median(alone)
    print(
        f"\nSampling {args.batch} sequences; ms per frame, median; one inner draw "
        f"alone takes {1e3 * per_draw:.2f} ms"
    )
    medians = [statistics.median(times[T]) for T in lengths]
    for T, seconds_T in zip(lengths, medians, strict=True):
        print(
            f"  T = {T:4} {1e3 * seconds_T / T:8.2f}   "
            f"{seconds_T / T / per_draw:.2f} x T inner draws"
        )
    slope = np.polyfit(np.log(lengths), np.log(medians), 1)[0]
    print(f"  slope of log time against log T: {slope:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--columns", type=int, default=88)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--naive-steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device = torch.device(args.device)
    print(described(device))
    print()
    training(args, device)
    sampling(args, device)


if __name__ == "__main__":
    main()
