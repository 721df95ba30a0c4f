"""Recurrent networks over frames: what the past says of the frame to come.

Boulanger-Lewandowski, Bengio & Vincent (2012); the RNN-RNADE supplement, Algorithm 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn

from skdensity_ar.networks._base import Dropout, Members, Noise

# h (..., lanes, R) of a layer and, in an LSTM, c likewise.
LayerState = tuple[Tensor, ...]
State = tuple[LayerState, ...]


class Recurrent(Members):
    """States h_t = cell(u_t, h_{t-1}) of whole sequences; the context at t is h_{t-1}.

    Sequences come packed: the frames of all lanes at step 0, then those at step 1, and
    so on. Lanes are in falling order of length, so that those which go on are the first
    `sizes[t]` ones and nothing is padded.

    Parameters
    ----------
    n_inputs : int
        Width of a frame's network inputs u_t.
    members : sequence of int
        Leading axes of every parameter.
    layer_sizes : sequence of int
        Units R of each layer; a layer reads the states of the one below.
    cell : {"rnn", "gru", "lstm"}
        See `CELLS`.
    dropout : float
        Share of units dropped where states leave a layer, never from step to step.
    dtype, device
        Of the parameters, which are left unset until `reset_parameters`.
    """

    def __init__(
        self,
        n_inputs: int,
        members: Sequence[int],
        *,
        layer_sizes: Sequence[int],
        cell: str,
        dropout: Dropout = 0.0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        super().__init__(members, dtype=dtype, device=device)
        self.layer_sizes = tuple(layer_sizes)
        self.cell = cell
        self.dropout = dropout
        n_gates, state_names, _ = CELLS[cell]
        for layer, (n_in, R) in enumerate(pairwise((n_inputs, *self.layer_sizes))):
            self.register_parameter(f"W_in{layer}", self._weights(n_gates * R, n_in))
            self.register_parameter(f"W_rec{layer}", self._weights(n_gates * R, R))
            self.register_parameter(f"b_h{layer}", self._weights(n_gates * R))
            for name in state_names:  # h_0, and c_0, are learned
                self.register_parameter(f"{name}_0{layer}", self._weights(R))

    @property
    def n_context(self) -> int:
        return self.layer_sizes[-1]

    def reset_parameters(self, generator: torch.Generator) -> None:
        for name, p in self.named_parameters():
            if name.startswith("W_in"):
                std = max(p.shape[-1], 1) ** -0.5  # of constant columns none comes in
                nn.init.normal_(p, std=std, generator=generator)
            elif name.startswith("W_rec"):
                R = p.shape[-1]
                for gate in p.data.view(-1, R, R):  # of every member
                    nn.init.orthogonal_(gate, generator=generator)
            elif name.startswith("h_0"):
                # Not 0, where neither it nor the weights that read it would move.
                nn.init.normal_(p, std=0.1, generator=generator)
            else:
                nn.init.zeros_(p)
                if self.cell == "lstm" and name.startswith("b_h"):
                    # Jozefowicz et al. 2015: at first the forget gate is open.
                    p.data.chunk(4, -1)[_FORGET].fill_(1.0)

    def draw_noise(self, n: int, generator: torch.Generator) -> Noise:
        """Dropout masks for n frames, one per layer: (..., n, units)."""
        return self.dropout_masks(self.dropout, n, self.layer_sizes, generator)

    def start(self, n: int) -> State:
        """The learned state before the first frame, in n lanes."""

        def lanes(name: str) -> Tensor:
            s = getattr(self, name)  # (..., R)
            return s.unsqueeze(-2).expand(*self.members, n, s.shape[-1])

        names = CELLS[self.cell].states
        return tuple(
            tuple(lanes(f"{name}_0{layer}") for name in names)
            for layer in range(len(self.layer_sizes))
        )

    def context(self, state: State) -> Tensor:
        """What the next frame's network is given, (..., lanes, n_context)."""
        return state[-1][0]

    def forward(
        self, u: Tensor, sizes: Sequence[int], state: State, *, noise: Noise = ()
    ) -> tuple[Tensor, State]:
        """Contexts (..., N, n_context) of N packed frames, and the state after them.

        Parameters
        ----------
        u : Tensor of shape (..., N, n_inputs)
            Packed frames.
        sizes : sequence of int
            Lanes at every step, never rising; Σ sizes = N.
        state : State
            Before the first step, of at least sizes[0] lanes.
        noise : tuple of Tensor
            As drawn beforehand by `draw_noise`.
        """
        step, sizes = CELLS[self.cell].step, list(sizes)
        below, layers = u, []
        for layer, now in enumerate(state):
            W_in, W_rec = getattr(self, f"W_in{layer}"), getattr(self, f"W_rec{layer}")
            b_h = getattr(self, f"b_h{layer}").unsqueeze(-2)
            a = below @ W_in.mT + b_h  # (..., N, gates R), of all steps at once
            before, after = [], []  # h_{t-1} and h_t of every step
            for a_t in a.split(sizes, -2):
                now = tuple(s[..., : a_t.shape[-2], :] for s in now)
                before.append(now[0])
                now = step(a_t, now, W_rec)
                after.append(now[0])
            layers.append(now)
            last = layer == len(self.layer_sizes) - 1
            below = torch.cat(before if last else after, -2)
            if noise:
                below = below * noise[layer]
        return below, tuple(layers)


class Cell(NamedTuple):
    """How a layer's state moves on."""

    n_gates: int
    states: tuple[str, ...]
    step: Callable[[Tensor, LayerState, Tensor], LayerState]


def _rnn(a: Tensor, state: LayerState, W_rec: Tensor) -> LayerState:
    """h = σ(W_in u + W_rec h + b_h), as in the supplement."""
    (h,) = state
    return (torch.sigmoid(a + h @ W_rec.mT),)


def _gru(a: Tensor, state: LayerState, W_rec: Tensor) -> LayerState:
    """Cho et al. 2014; r, z gates: h = (1 - z) tanh(a_n + r ⊙ (W_rec h)) + z h.

    r acts after the product, as in cuDNN; the paper has W_rec (r ⊙ h).
    """
    (h,) = state
    R = h.shape[-1]
    a_rec = h @ W_rec.mT
    r, z = torch.sigmoid(a[..., : 2 * R] + a_rec[..., : 2 * R]).chunk(2, -1)
    n = torch.tanh(a[..., 2 * R :] + r * a_rec[..., 2 * R :])
    return (torch.lerp(n, h, z),)


_FORGET = 1  # of the chunks below


def _lstm(a: Tensor, state: LayerState, W_rec: Tensor) -> LayerState:
    """Hochreiter & Schmidhuber 1997; i, f, o gates: c = f c + i g, h = o tanh c."""
    h, c = state
    i, f, o, g = (a + h @ W_rec.mT).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


CELLS: dict[str, Cell] = {
    "rnn": Cell(1, ("h",), _rnn),
    "gru": Cell(3, ("h",), _gru),
    "lstm": Cell(4, ("h", "c"), _lstm),
}
