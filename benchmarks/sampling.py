"""Sampling column by column: the incremental sampler against `forward` per column.

    OMP_NUM_THREADS=2 python benchmarks/sampling.py

784 binary columns, 1000 rows, one ordering: MADE with 2 x 1024 hidden units, NADE with
1024. The naive sampler calls `network.forward` on the row so far, once per column, and
reads off one conditional; both draw the same uniforms. With `--columns` fewer than 784
naive columns are timed and the time of all is extrapolated in proportion: every call
costs the same, whatever the column. NADE is extrapolated by default (one `forward` of
it runs over all columns), which the table says.
"""

import argparse

import torch
from timing import described, seconds

from skdensity_ar._module import DensityModule
from skdensity_ar.conditionals import Bernoulli
from skdensity_ar.networks import MADE, NADE


def make_module(name: str, n_columns: int, n_hidden: int, device) -> DensityModule:
    """Random weights; sampling costs the same whatever they are."""
    generator = torch.Generator(device).manual_seed(0)
    ordering = torch.randperm(n_columns, generator=generator, device=device)[None]
    shape = ([1] * n_columns, [1] * n_columns, ordering)
    if name == "MADE":
        network = MADE(*shape, hidden_layer_sizes=(n_hidden,) * 2, device=device)
    else:
        network = NADE(
            *shape,
            hidden_layer_sizes=(n_hidden,),
            activation="logistic",
            device=device,
        )
    network.reset_parameters(generator, torch.zeros(n_columns, device=device))
    with torch.no_grad():
        for parameter in network.parameters():
            noise = torch.randn(parameter.shape, generator=generator, device=device)
            parameter += 0.02 * noise
    return DensityModule(network, [(Bernoulli(), list(range(n_columns)))])


@torch.no_grad()
def sample_by_forward(
    module: DensityModule, n: int, generator: torch.Generator, n_columns: int
) -> torch.Tensor:
    """The first `n_columns` columns visited, by one `forward` each."""
    device = generator.device
    torch.randint(1, (n,), generator=generator, device=device)  # the member drawn
    network, conditional = module.network.member(0), module.conditionals[0]
    x = torch.zeros((n, len(network.ordering)), device=device)
    for d in network.ordering[:n_columns].tolist():
        params = network(module.encode(x))[:, d, None, None]
        x[:, d] = conditional.sample(params, generator).squeeze(-1)
    return x


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--visible", type=int, default=784)
    parser.add_argument("--hidden", type=int, default=1024)
    parser.add_argument(
        "--columns",
        type=int,
        nargs=2,
        default=[784, 2],
        metavar=("MADE", "NADE"),
        help="columns that the naive sampler is timed on",
    )
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device = torch.device(args.device)

    print(described(device))
    print(f"{args.rows} rows of {args.visible} binary columns, {args.hidden} hidden")
    print()
    row = "{:8} {:>11} {:>9} {:>10} {:>12} {:>12} {:>14} {:>7}"
    titles = ("network", "incremental", "forward", "naive", "timed on")
    print(row.format(*titles, "naive / inc.", "inc. / forward", "same x"))
    for name, n_timed in zip(("MADE", "NADE"), args.columns, strict=True):
        module = make_module(name, args.visible, args.hidden, device)
        n_timed = min(n_timed, args.visible)

        def generator():
            return torch.Generator(device).manual_seed(1)

        def incremental(module=module, generator=generator):
            return module.sample(args.rows, generator())

        def naive(module=module, generator=generator, n=n_timed):
            return sample_by_forward(module, args.rows, generator(), n)

        naive_times, slow = seconds(naive, device, repeats=1)
        naive_time = min(naive_times) * args.visible / n_timed
        incremental_times, x = seconds(incremental, device, repeats=3)
        incremental_time = min(incremental_times)

        @torch.no_grad()
        def forward(module=module, x=x):
            return module.network(x)

        forward_time = min(seconds(forward, device, repeats=3)[0])
        visited = module.network.ordering[0, :n_timed]
        same = (x[:, visited] == slow[:, visited]).float().mean().item()
        print(
            row.format(
                name,
                f"{incremental_time:.3f} s",
                f"{forward_time:.3f} s",
                f"{naive_time:.1f} s",
                f"{n_timed} columns",
                f"{naive_time / incremental_time:.0f} x",
                f"{incremental_time / forward_time:.1f} x",
                f"{same:.2%}",
            )
        )


if __name__ == "__main__":
    main()
