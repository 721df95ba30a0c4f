"""Plain PyTorch twins of our networks: the papers' lines, our weights copied in.

What `speed.py` is held against: a Python loop over the columns that autograd
differentiates, masked linear layers under a DataLoader, one forward pass per column to
sample. Each is one member of ours; a loss is -log p of every row.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, MixtureSameFamily, Normal
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from skdensity_ar._module import DensityModule
from skdensity_ar._sequences import SequenceModule
from skdensity_ar.networks import MADE, NADE


def relative_difference(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    return ((a - b).abs().max() / b.abs().max()).item()


class _Loop(nn.Module):
    """NADE as in the paper: one running activation, column after column.

    Parameters
    ----------
    network : NADE
        Of one hidden layer; the weights are those of its first member.
    by_index : bool
        Whether a column's weights are taken as V[d], whose gradient is a matrix of
        zeros but for a row, and its log-likelihood at once: what tutorials write.
        Otherwise the weights are unbound, and biases and likelihood are those of all
        columns together.
    """

    W: Tensor
    V: Tensor
    b: Tensor
    c: Tensor
    rho: Tensor | None

    def __init__(self, network: NADE, *, by_index: bool = False):
        super().__init__()
        self.by_index = by_index
        self.ordering = network.ordering[0].tolist()
        self.n_params = network.n_params[0]
        self.g = network.g
        for name in ("W", "V", "b", "c", "rho"):
            value = getattr(network, name)
            copied = None if value is None else nn.Parameter(value.detach()[0].clone())
            self.register_parameter(name, copied)

    def forward(self, x: Tensor) -> Tensor:
        """-log p(x), (n, D) -> (n,)."""
        W: Any = self.W
        V: Any = self._by_column(self.V)
        b = self._by_column(self.b)
        if not self.by_index:
            W, V = W.unbind(), V.unbind()
        a, outputs = self.c.expand(len(x), -1), []
        for t, d in enumerate(self.ordering):
            h = self.g(a if self.rho is None else self.rho[t] * a)
            params = h @ V[d].T  # (n, P)
            if self.by_index:
                outputs.append(self._loss(b[d] + params, x[:, d]))
            else:
                outputs.append(params)
            a = a + x[:, d, None] * W[d]
        if self.by_index:
            return torch.stack(outputs).sum(0)
        params = torch.stack(outputs, 1) + b[self.ordering]  # (n, D, P)
        return self._loss(params, x[:, self.ordering]).sum(1)

    def _by_column(self, flat: Tensor) -> Tensor:
        return flat.unflatten(0, (-1, self.n_params))

    def _loss(self, params: Tensor, x: Tensor) -> Tensor:
        """-log p(x | params), (..., P), (...) -> (...)."""
        raise NotImplementedError


class NADELoop(_Loop):
    """NADE of binary columns (Larochelle & Murray 2011)."""

    def _loss(self, params: Tensor, x: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(params[..., 0], x, reduction="none")


class RNADELoop(_Loop):
    """RNADE with mixtures of Gaussians (Uria, Murray & Larochelle 2013)."""

    def _loss(self, params: Tensor, x: Tensor) -> Tensor:
        z_alpha, mu, z_sigma = params.chunk(3, -1)  # (..., K)
        if self.by_index:
            components = Normal(mu, z_sigma.exp())
            return -MixtureSameFamily(Categorical(logits=z_alpha), components).log_prob(
                x
            )
        z = (x.unsqueeze(-1) - mu) * (-z_sigma).exp()
        log_f = -0.5 * z * z - z_sigma - 0.5 * math.log(2 * math.pi)
        return -(z_alpha.log_softmax(-1) + log_f).logsumexp(-1)


class MaskedLinear(nn.Linear):
    """Linear layer whose weight is multiplied by a fixed 0/1 mask."""

    mask: Tensor

    def __init__(self, weight: Tensor, mask: Tensor, bias: Tensor | None):
        n_out, n_in = weight.shape
        super().__init__(n_in, n_out, bias is not None, device=weight.device)
        self.register_buffer("mask", mask.clone())
        with torch.no_grad():
            self.weight.copy_(weight)
            if bias is not None:
                self.bias.copy_(bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.mask, self.bias)


class MaskedLinearMADE(nn.Module):
    """MADE with a Gaussian per column (Germain et al. 2015).

    The weights are those of the first member of `network`, made for mixtures of one
    component; the component's weight, of which nothing depends, is left out.
    """

    def __init__(self, network: MADE):
        super().__init__()
        one = network.member(0)
        units = torch.arange(sum(one.n_params), device=one.c.device)
        units = units[units % 3 > 0]  # (z^α, μ, log σ) of every column
        layers: list[nn.Module] = []
        for i in range(len(one.hidden_layer_sizes)):
            W, M, b = (getattr(one, f"{name}{i}") for name in ("W", "M", "b"))
            layers += [MaskedLinear(W, M, b), nn.ReLU()]
        layers.append(MaskedLinear(one.V[units], one.M_V[units], one.c[units]))
        self.layers = nn.Sequential(*layers)
        self.direct = MaskedLinear(one.A[units], one.M_A[units], None)

    def forward(self, x: Tensor) -> Tensor:
        """-log p(x), (n, D) -> (n,)."""
        params = self.layers(x) + self.direct(x)
        mu, log_sigma = params.unflatten(-1, (-1, 2)).unbind(-1)
        z = (x - mu) / log_sigma.exp()
        return (0.5 * z**2 + log_sigma + 0.5 * math.log(2 * math.pi)).sum(-1)


def train_as_in_tutorials(
    model: nn.Module, x: Tensor, *, n_epochs: int, batch_size: int
) -> float:
    """DataLoader, Adam and `loss.item()` in every step; the mean loss at the end."""
    loader = DataLoader(TensorDataset(x), batch_size=batch_size, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    mean = math.nan
    for _ in range(n_epochs):
        total = 0.0
        for (batch,) in loader:
            optimizer.zero_grad()
            loss = model(batch).mean()
            loss.backward()
            optimizer.step()
            total += loss.item()
        mean = total / len(loader)
    return mean


def dense_network(sizes: Sequence[int], device: torch.device) -> nn.Sequential:
    """Linear layers of these sizes with ReLU between them, and no masks."""
    layers: list[nn.Module] = []
    for n_in, n_out in pairwise(sizes):
        layers += [nn.Linear(n_in, n_out, device=device), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@torch.no_grad()
def sample_by_forward(
    module: DensityModule, n: int, generator: torch.Generator, n_columns: int
) -> Tensor:
    """The first `n_columns` columns visited, by one `forward` each.

    From the same generator as `module.sample`, of one member and one block of
    columns, come the same draws.
    """
    device = generator.device
    torch.randint(1, (n,), generator=generator, device=device)  # the member drawn
    network, conditional = module.network.member(0), module.conditionals[0]
    x = torch.zeros((n, len(network.ordering)), device=device)
    for d in network.ordering[:n_columns].tolist():
        params = network(module.encode(x))[:, d, None, None]
        x[:, d] = conditional.sample(params, generator).squeeze(-1)
    return x


class PlainLoops(nn.Module):
    """LSTM and NADE as their equations read, with the weights of `module`.

    `nn.LSTMCell` frame by frame, NADE's recursion note by note, all sequences at once.
    """

    W: Tensor
    V: Tensor
    b: Tensor
    c: Tensor
    C: Tensor
    C_hidden: Tensor
    h_0: Tensor

    def __init__(self, module: SequenceModule):
        super().__init__()
        recurrent: Any = module.recurrent
        network: Any = module.network
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

    def forward(self, sequences: Sequence[Tensor]) -> Tensor:
        """Sum of -log p over all frames of sequences of one length."""
        x = torch.stack(list(sequences), 1)  # (T, B, D)
        h = self.h_0.expand(x.shape[1], -1)
        c = torch.zeros_like(h)
        loss = x.new_zeros(())
        for x_t in x:
            a = self.c + h @ self.C_hidden.T
            b = self.b + h @ self.C.T
            for d in range(x.shape[2]):
                logit = b[:, d] + torch.sigmoid(a) @ self.V[d]
                loss = loss + F.binary_cross_entropy_with_logits(
                    logit, x_t[:, d], reduction="sum"
                )
                a = a + x_t[:, d, None] * self.W[d]
            h, c = self.cell(x_t, (h, c))
        return loss


def gradient_step(module: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """Loss and gradient, as one call."""

    def step() -> None:
        module.zero_grad()
        loss().backward()

    return step
