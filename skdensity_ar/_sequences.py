"""Sequences: packed windows of frames, and the density that a recurrence makes of them.

A window of packed sequences holds the frames of all lanes at its first step, then those
at the next, and so on. The longest sequence is in the first lane, so the lanes still
running are always the first ones: nothing is padded, and all frames of a window go
through the inner network in one call. Members train on different sequences; lanes that
have ended in one member but not in another carry a weight of 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from skdensity_ar._innovations import Innovations
from skdensity_ar._module import DensityModule
from skdensity_ar._training import shuffle
from skdensity_ar.conditionals import compress
from skdensity_ar.networks import Dropout, Network, Recurrent, State

# Lanes and steps that scoring runs at a time, whatever the sequences: a score must not
# depend on what comes with it, and products of another shape round otherwise.
_LANES, _STEPS = 16, 16

# Windows in each piece of a long sequence, where there are few of them.
_PIECE = 10

# Sequences of all members validated at a time.
_VALID_LANES = 64


@dataclass
class Carry:
    """The recurrent state between the windows of one group of sequences."""

    state: State | None = None


@dataclass
class Table:
    """The frames of all sequences, one after the other, on the device.

    Attributes
    ----------
    x : Tensor of shape (N, D)
        What the recurrence reads.
    z : Tensor of shape (members, N, D)
        What the networks within the frames model, see `Innovations`.
    log_det : Tensor of shape (members, N)
        log p_e(x_t) = log p_e(z_t) - log_det.
    """

    x: Tensor
    z: Tensor
    log_det: Tensor


@dataclass
class Frames:
    """What `SequenceModule.loss` takes: one window, on the device.

    Attributes
    ----------
    x, z : Tensor of shape (members, N, D)
        Packed frames, see `Table`.
    log_det : Tensor of shape (members, N)
    weight : Tensor of shape (members, N)
        How often a frame counts, 0 for those that do not.
    sizes : list of int
        Lanes at every step; they sum to N.
    carry : Carry
        Holds the state before the window; the module leaves the one after it.
    any_counts : bool
        Whether a weight is not 0.
    is_last : bool
        Whether no window of the group follows.
    """

    x: Tensor
    z: Tensor
    log_det: Tensor
    weight: Tensor
    sizes: list[int]
    carry: Carry
    any_counts: bool
    is_last: bool


@dataclass
class SequenceRows:
    """Examples for training: sequences as stretches of one long table of frames.

    Attributes
    ----------
    table : Table
    begins, lengths : ndarray of int, shape (n_examples,)
        Where each example's frames lie.
    skips : ndarray of int, shape (n_examples,)
        Frames at its beginning that are only read: their log-density does not count.
    weights : ndarray of shape (n_examples,)
        How often each example counts.
    window : int
        Steps that gradients go back. The state goes on from window to window.
    """

    table: Table
    begins: np.ndarray
    lengths: np.ndarray
    skips: np.ndarray
    weights: np.ndarray
    window: int

    @classmethod
    def of_whole(
        cls, table: Table, lengths: np.ndarray, weights: np.ndarray, window: int
    ) -> SequenceRows:
        """Every sequence is an example."""
        begins = np.cumsum(lengths) - lengths
        return cls(table, begins, lengths, np.zeros_like(lengths), weights, window)

    @classmethod
    def of_few(
        cls,
        table: Table,
        lengths: np.ndarray,
        heads: np.ndarray,
        weights: np.ndarray,
        window: int,
    ) -> tuple[SequenceRows, int]:
        """Pieces to train on, from the first `heads` frames, then what validates.

        Few long sequences make no mini-batch: each head is cut into pieces of some
        windows, which run side by side. They start in the learned state, once every
        `_PIECE` windows. What is beyond a head validates, after a piece that is only
        read; further sequences validate as a whole.

        Returns
        -------
        rows : SequenceRows
        n_pieces : int
            Pieces come first.
        """
        begins, n = np.cumsum(lengths) - lengths, len(heads)
        pieces = [
            (begin + start, end - start, weight)
            for begin, head, weight in zip(begins, heads, weights, strict=False)
            for start, end in pairwise(_bounds(head, _PIECE * window))
        ]
        beyond = np.flatnonzero(heads < lengths[:n])
        read = np.minimum(heads[beyond], _PIECE * window)
        start = heads[beyond] - read
        none = np.zeros(len(pieces), int), np.zeros(len(lengths) - n, int)
        rows = cls(
            table,
            begins=np.r_[[b for b, *_ in pieces], begins[beyond] + start, begins[n:]],
            lengths=np.r_[
                [m for _, m, _ in pieces], lengths[beyond] - start, lengths[n:]
            ],
            skips=np.r_[none[0], read, none[1]],
            weights=np.r_[[w for *_, w in pieces], weights[beyond], weights[n:]],
            window=window,
        )
        return rows, len(pieces)

    def n_rows(self, index: Tensor) -> Tensor:
        """Frames that count, or their weights, (members,)."""
        each = np.maximum(self.lengths - self.skips, 0) * self.weights
        counts = each[index.cpu().numpy()].sum(1)
        return torch.as_tensor(counts, dtype=torch.float64, device=self.table.x.device)

    def batches(
        self,
        index: Tensor,
        size: int | None = None,
        generator: torch.Generator | None = None,
    ) -> list[Window]:
        """Windows that hold every frame of the examples `index` (members, n) once.

        Groups of `size` examples run through their windows one after the other.
        """
        if generator is not None:
            index = shuffle(index, generator)
        n_members, n = index.shape
        size = max(1, _VALID_LANES // n_members) if size is None else size
        windows = []
        for group in np.array_split(index.cpu().numpy(), math.ceil(n / size), axis=1):
            order = np.argsort(-self.lengths[group], axis=1, kind="stable")
            group = np.take_along_axis(group, order, axis=1)
            longest = self.lengths[group].max(0)  # by lane, falling
            carry = Carry()
            for begin in range(0, int(longest[0]), self.window):
                steps = range(begin, min(begin + self.window, int(longest[0])))
                sizes = [int(np.searchsorted(-longest, -t)) for t in steps]
                is_last = begin + self.window >= longest[0]
                windows.append(Window(self, group, begin, sizes, carry, is_last))
        # All windows share one denominator, so that every frame counts the same.
        counted = self.n_rows(index)  # none, where no frame of a member counts
        share = counted.where(counted > 0.0, 1.0) / len(windows)
        for window in windows:
            window.share = share
        return windows


def _bounds(length: int, piece: int) -> list[int]:
    """Where to cut so many frames into equal pieces of at most `piece`."""
    n_pieces = -(-length // piece)
    return np.rint(np.linspace(0, length, n_pieces + 1)).astype(int).tolist()


@dataclass
class Window:
    """A batch of `SequenceRows`: some steps of a group of examples."""

    rows: SequenceRows
    group: np.ndarray  # (members, lanes)
    begin: int
    sizes: list[int]
    carry: Carry
    is_last: bool
    share: Tensor = field(init=False)

    @property
    def n(self) -> int:
        return sum(self.sizes)

    def loss(self, module: Any, noise: Any) -> Tensor:
        return module.loss(self.take(), noise=noise)

    def scorer(self, module: Any, *, keep: bool) -> Callable[[], Tensor]:
        return lambda: module.validation_score(self.take())

    def take(self) -> Frames:
        rows, table = self.rows, self.rows.table
        dtype, device = table.x.dtype, table.x.device
        lane = np.concatenate([np.arange(n) for n in self.sizes])
        t = np.repeat(np.arange(len(self.sizes)) + self.begin, self.sizes)
        group = self.group[:, lane]  # (members, N)
        lengths = rows.lengths[group]
        counts = (t < lengths) & (t >= rows.skips[group])
        place = rows.begins[group] + np.minimum(t, lengths - 1)
        index = torch.as_tensor(place, device=device)
        member = torch.arange(len(group), device=device).unsqueeze(-1)
        return Frames(
            x=table.x[index],
            z=table.z[member, index],
            log_det=table.log_det[member, index],
            weight=torch.as_tensor(
                counts * rows.weights[group], dtype=dtype, device=device
            ),
            sizes=self.sizes,
            carry=self.carry,
            any_counts=bool(counts.any()),
            is_last=self.is_last,
        )


class SequenceModule(nn.Module):
    """log p(x_1 … x_T) = Σ_t log p(x_t | h_{t-1}), the context h_{t-1} of all before t.

    An ensemble averages the densities of whole sequences.

    Parameters
    ----------
    recurrent : Recurrent
        Makes the contexts.
    frame : DensityModule
        The density of one frame given its context; as many members.
    innovations : Innovations or None
        Frames are modelled by what a linear prediction leaves of them, where given.
    """

    score_kind: ClassVar[Literal["exact", "estimate", "bound"]] = "exact"

    def __init__(
        self,
        recurrent: Recurrent,
        frame: DensityModule,
        innovations: Innovations | None = None,
    ):
        super().__init__()
        self.recurrent = recurrent
        self.frame = frame
        self.innovations = innovations

    @property
    def network(self) -> Network:
        """The network within a frame."""
        return self.frame.network

    @property
    def conditionals(self) -> Any:
        """Those of a frame's columns."""
        return self.frame.conditionals

    @property
    def n_members(self) -> int:
        return self.frame.n_members

    @property
    def n_weights(self) -> int:
        """Weights of all members: multiplications of one pass of one frame."""
        return sum(p.numel() for p in self.parameters())

    def set_dropout(self, dropout: Dropout, input_dropout: float) -> None:
        self.recurrent.dropout = dropout
        self.frame.set_dropout(dropout, input_dropout)

    def table(self, x: Tensor, lengths: np.ndarray) -> Table:
        """Lay out sequences (N, D) of these lengths for `SequenceRows` and scoring."""
        dtype = self.network.dtype
        if self.innovations is None:
            z = x.to(dtype).expand(self.n_members, -1, -1)
            log_det = x.new_zeros(1, dtype=torch.float64).expand(z.shape[:2])
        else:
            z, log_det = self.innovations.transform(x, lengths)
        return Table(x.to(dtype), z.to(dtype), log_det)

    def draw_noise(
        self, n: int, generator: torch.Generator
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        recurrent = self.recurrent.draw_noise(n, generator)
        return recurrent, self.frame.draw_noise(n, generator)

    def _read(self, x: Tensor, z: Tensor) -> Tensor:
        """What the recurrence takes in of a frame."""
        u = self.frame.encode(x)
        if self.innovations is None:
            return u
        z = compress(z[..., self.innovations.real])
        return torch.cat([u.expand(*z.shape[:-1], -1), z], -1)

    def _contexts(self, frames: Frames, noise: tuple[Tensor, ...] = ()) -> Tensor:
        """Contexts (members, N, C); the state goes on into the next window."""
        state = frames.carry.state
        if state is None:
            state = self.recurrent.start(frames.sizes[0])
        u = self._read(frames.x, frames.z)
        contexts, state = self.recurrent(u, frames.sizes, state, noise=noise)
        # Gradients stop at the window.
        kept = tuple(tuple(s.detach() for s in layer) for layer in state)
        frames.carry.state = None if frames.is_last else kept
        return contexts

    def loss(
        self,
        frames: Frames,
        *,
        noise: tuple[tuple[Tensor, ...], tuple[Tensor, ...]] = ((), ()),
    ) -> Tensor:
        """-log p_e(x_t | x_<t) of packed frames, 0 where they do not count: (E, N)."""
        contexts = self._contexts(frames, noise[0])
        loss = self.frame.loss(frames.z, context=contexts, noise=noise[1])
        return (loss + frames.log_det) * frames.weight

    def validation_score(self, frames: Frames) -> Tensor:
        """log p_e(x_t | x_<t) of packed frames, 0 where they do not count: (E, N)."""
        contexts = self._contexts(frames)
        if not frames.any_counts:
            return torch.zeros_like(frames.weight, dtype=torch.float64)
        log_p = self.frame.member_log_prob(frames.z, context=contexts)
        return (log_p - frames.log_det) * frames.weight

    @torch.no_grad()
    def frame_log_prob(self, x: Tensor, lengths: np.ndarray, block: int) -> Tensor:
        """log p_e(x_t | x_<t) of every frame: (N, D) -> (members, N), float64.

        Sequences lie one after the other. The recurrence runs `_LANES` × `_STEPS`
        frames at a time, the inner network `block` of them, padded where there are
        fewer: what comes out for a sequence does not depend on the others.
        """
        begins = np.cumsum(lengths) - lengths
        by_length = np.argsort(-lengths, kind="stable")
        table = self.table(x, lengths)
        out = x.new_empty((self.n_members, len(x)), dtype=torch.float64)
        waiting = _Waiting(self.frame, table.z, block, out)
        for first in range(0, len(lengths), _LANES):
            group = by_length[first : first + _LANES]
            lanes = np.zeros((2, _LANES), dtype=np.int64)
            lanes[:, : len(group)] = begins[group], lengths[group]
            state = self.recurrent.start(_LANES)
            for begin in range(0, int(lanes[1].max()), _STEPS):
                t = np.arange(begin, begin + _STEPS)[:, None]
                running = t < lanes[1]
                place = np.where(running, lanes[0] + t, 0)
                index = torch.as_tensor(place.ravel(), device=x.device)
                u = self._read(table.x[index], table.z[:, index])
                contexts, state = self.recurrent(u, [_LANES] * _STEPS, state)
                live = torch.as_tensor(np.flatnonzero(running), device=x.device)
                waiting.add(index[live], contexts[:, live])
        waiting.flush()
        return out - table.log_det

    @torch.no_grad()
    def sample(
        self, lengths: Sequence[int], generator: torch.Generator
    ) -> list[Tensor]:
        """Draw sequences of these lengths, each (T, D): a member, then its frames."""
        n, device = len(lengths), generator.device
        member = torch.randint(self.n_members, (n,), generator=generator, device=device)
        out: dict[int, Tensor] = {}
        for e in range(self.n_members):
            chosen = (member == e).nonzero().squeeze(-1).tolist()
            if not chosen:
                continue
            chosen.sort(key=lambda i: -lengths[i])
            drawn = self._sample_member(e, [lengths[i] for i in chosen], generator)
            for i, x in zip(chosen, drawn, strict=True):
                out[i] = x
        return [out[i] for i in range(n)]

    def _sample_member(
        self, e: int, lengths: Sequence[int], generator: torch.Generator
    ) -> list[Tensor]:
        """Draw sequences of these lengths, which fall: each (T, D)."""
        recurrent, sampler = self.recurrent.member(e), self.frame.sampler(e)
        n_lags = 0 if self.innovations is None else self.innovations.n_lags
        n = len(lengths)
        state = recurrent.start(n)
        packed: list[Tensor] = []
        for t in range(lengths[0]):
            while lengths[n - 1] <= t:
                n -= 1
            x = z = sampler(n, generator, recurrent.context(state)[:n])
            if self.innovations is not None:
                past = [frame[:n] for frame in packed[max(t - n_lags, 0) :]]
                x = self.innovations.inverse(z, past, e)
            packed.append(x)
            _, state = recurrent(self._read(x, z), [n], state)
        begins = np.cumsum([0, *map(len, packed)])
        frames = torch.cat(packed)
        return [
            frames[torch.as_tensor(begins[:length] + lane, device=frames.device)]
            for lane, length in enumerate(lengths)
        ]


class _Waiting:
    """Frames with their contexts, on their way to the inner network in full blocks."""

    def __init__(self, frame: DensityModule, z: Tensor, block: int, out: Tensor):
        self.frame, self.z, self.block, self.out = frame, z, block, out
        self.index: list[Tensor] = []
        self.contexts: list[Tensor] = []
        self.n = 0

    def add(self, index: Tensor, contexts: Tensor) -> None:
        self.index.append(index)
        self.contexts.append(contexts)
        self.n += len(index)
        if self.n >= self.block:
            self.flush(keep=self.n % self.block)

    def flush(self, keep: int = 0) -> None:
        """Score all but the last `keep` frames."""
        if self.n == 0:
            return
        index, contexts = torch.cat(self.index), torch.cat(self.contexts, 1)
        for begin in range(0, self.n - keep, self.block):
            rows = index[begin : begin + self.block]
            n_missing = self.block - len(rows)
            z = self.z[:, nn.functional.pad(rows, (0, n_missing))]
            given = contexts[:, begin : begin + self.block]
            given = nn.functional.pad(given, (0, 0, 0, n_missing))
            log_p = self.frame.member_log_prob(z, context=given)
            self.out[:, rows] = log_p[:, : len(rows)]
        rest = slice(self.n - keep, None)
        self.index, self.contexts, self.n = [index[rest]], [contexts[:, rest]], keep
