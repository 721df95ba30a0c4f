"""A real column some values of which have mass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor

from skdensity_ar.conditionals._base import Conditional, average
from skdensity_ar.conditionals._categorical import drawn_index

# Atom k has the code `ATOM` + k 2²³, which float32 holds exactly and nothing else has:
# the other values of such a column are held within ± `BESIDE_ATOMS`.
ATOM, _STEP = 2.0**46, 2.0**23
BESIDE_ATOMS = ATOM / 2.0

# Quantiles of the other values are taken within (this, 1 - this): rounding of masses
# must not ask for those at 0 or 1.
_EDGE = 1e-15


class WithAtoms(Conditional):
    """p(a_k) = π_k for J atoms, (1 - Σ_k π_k) f(x) for all other values x.

    A density with respect to Lebesgue measure plus a unit mass on each atom; π is a
    softmax of J + 1 logits, the first of which is that of the others, and f is a
    conditional of real values. Columns have atoms of their own, so this is one of a
    single column.

    Parameters
    ----------
    others : Conditional
        f.
    places : sequence of float
        Where the J atoms lie among the others, in rising order; -inf and inf for those
        beyond them.
    """

    support = "real"
    places: Tensor  # (J, 1)

    def __init__(self, others: Conditional, places: Sequence[float]):
        super().__init__()
        self.others = others
        self.n_atoms = n_atoms = len(places)
        at = torch.tensor(places, dtype=torch.float64, device="cpu").unsqueeze(-1)
        self.register_buffer("places", at)
        self.n_inputs = others.n_inputs + n_atoms
        self.n_params = others.n_params + n_atoms + 1
        if others.n_uniforms is not None:
            self.n_uniforms = 1 + others.n_uniforms
        self.n_seen = others.n_inputs if others.n_direct is None else others.n_direct
        self.n_direct = self.n_seen + n_atoms

    @property
    def n_components(self) -> int | None:
        return getattr(self.others, "n_components", None)

    @property
    def n_frequencies(self) -> int | None:
        return getattr(self.others, "n_frequencies", None)

    def split(self, params: Tensor) -> tuple[Tensor, Tensor]:
        """Parameters -> logits of π (..., 1, J + 1), and those of f."""
        n = self.n_atoms + 1
        return params[..., :n], params[..., n:]

    def encode(self, x: Tensor) -> Tensor:
        """Which atom it is, one-hot, beside what f shows: zeros for an atom."""
        atom = atom_of(x)
        u = self.others.encode(_without_atoms(x)) * (atom < 0).unsqueeze(-1)
        k = torch.arange(self.n_atoms, device=x.device)
        one_hot = (atom.unsqueeze(-1) == k).to(x.dtype)
        return torch.cat([u[..., : self.n_seen], one_hot, u[..., self.n_seen :]], -1)

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        logits, of_others = self.split(params)
        log_pi = logits.log_softmax(-1)
        part = (atom_of(x) + 1).expand(log_pi.shape[:-1]).unsqueeze(-1)
        log_p = self.others.log_prob(of_others, _without_atoms(x))
        is_other = part.squeeze(-1) == 0
        return log_pi.gather(-1, part).squeeze(-1) + torch.where(is_other, log_p, 0.0)

    def log_vague(self, x: Tensor) -> Tensor:
        log_p = self.others.log_vague(_without_atoms(x))
        return log_p.masked_fill(atom_of(x) >= 0, 0.0) - math.log(self.n_atoms + 1.0)

    def sample(self, params: Tensor, generator: torch.Generator) -> Tensor:
        logits, of_others = self.split(params)
        u = torch.rand(
            logits.shape[:-1],
            generator=generator,
            dtype=torch.float64,
            device=logits.device,
        )
        return self._drawn(logits, u, self.others.sample(of_others, generator))

    def from_uniforms(self, params: Tensor, u: Tensor) -> Tensor:
        logits, of_others = self.split(params)
        return self._drawn(logits, u[0], self.others.from_uniforms(of_others, u[1:]))

    def _drawn(self, logits: Tensor, u: Tensor, x: Tensor) -> Tensor:
        part = drawn_index(logits, u)
        return self._value(part, x.clamp(-BESIDE_ATOMS, BESIDE_ATOMS))

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        """As in `Conditional`, of single values where these are atoms."""
        logits, of_others = self.split(params)
        pi, atom = logits.softmax(-1), atom_of(x)
        places = self.places.flatten().to(x.dtype)
        is_atom = atom >= 0
        place = torch.where(is_atom, places[atom.clamp(min=0)], x)
        k = torch.arange(self.n_atoms, device=x.device)
        up_to = torch.where(
            is_atom.unsqueeze(-1), k <= atom.unsqueeze(-1), places <= x.unsqueeze(-1)
        )
        rest = pi[..., 0] * self.others.cdf(of_others, place)
        return (pi[..., 1:] * up_to).sum(-1) + rest

    def quantile(
        self, params: Tensor, q: float | Tensor, weights: Tensor | None = None
    ) -> Tensor:
        logits, of_others = self.split(params)
        q = torch.as_tensor(q, dtype=params.dtype, device=params.device)
        q = q.expand(params.shape[1:-1])
        if weights is None:
            weights = torch.full_like(logits[..., 0], 1.0 / len(logits))
        parts = logits.softmax(-1) * weights.unsqueeze(-1)  # they sum to 1
        masses, of_member = parts[..., 1:].sum(0), parts[..., 0]
        # Atoms that have all of their mass below, and the next, if it reaches q.
        n_below, below, reached = torch.zeros_like(q), torch.zeros_like(q), q < 0.0
        for k in range(self.n_atoms):
            code = torch.full_like(q, code_of_atom(k))
            up_to = average(self.cdf(params, code.expand(logits.shape[:-1])), weights)
            is_below = up_to < q
            n_below = n_below + is_below
            below = below + torch.where(is_below, masses[..., k], 0.0)
            starts = up_to - masses[..., k]
            reached = reached | (~is_below & (starts < q))
        share = of_member.sum(0)
        inside = ((q - below) / share).clamp(_EDGE, 1.0 - _EDGE)
        x = self.others.quantile(of_others, inside, of_member / share)
        x = x.clamp(-BESIDE_ATOMS, BESIDE_ATOMS)
        return torch.where(reached, code_of_atom(n_below), x)

    def center(
        self, params: Tensor, kind: str, weights: Tensor | None = None
    ) -> Tensor:
        """The likeliest of the atoms and the others; of the others as `kind` says."""
        logits, of_others = self.split(params)
        parts = logits.softmax(-1)
        parts = parts / len(parts) if weights is None else parts * weights[..., None]
        of_member = parts[..., 0]
        x = self.others.center(of_others, kind, of_member / of_member.sum(0))
        return self._value(parts.sum(0).argmax(-1), x)

    def _value(self, part: Tensor, x: Tensor) -> Tensor:
        return torch.where(part == 0, x, code_of_atom(part.to(x.dtype) - 1.0))

    def initial_bias(self, x: Tensor) -> Tensor:
        atom = atom_of(x)[:, 0]
        counts = torch.bincount(atom + 1, minlength=self.n_atoms + 1).to(x.dtype)
        logits = ((counts + 0.5) / (counts + 0.5).sum()).log()
        of_others = self.others.initial_bias(self._others_of(x))
        return torch.cat([logits.unsqueeze(0), of_others], -1)

    def adapted(self, x: Tensor) -> Self:
        return self._of(self.others.adapted(self._others_of(x)))

    def divided(self, by: Tensor) -> Self:
        return self._of(self.others.divided(by))

    def with_frequencies(self, n_frequencies: int) -> Self:
        return self._of(self.others.with_frequencies(n_frequencies))

    def _of(self, others: Conditional) -> Self:
        return type(self)(others, self.places.flatten().tolist()).to(self.places.device)

    def _others_of(self, x: Tensor) -> Tensor:
        """Of one column (..., n, 1) the rows with other values, the same for all."""
        is_other = atom_of(x.view(-1, *x.shape[-2:])[0, :, 0]) < 0
        rest = x[..., is_other, :]
        return rest if rest.shape[-2] else torch.zeros_like(x[..., :1, :])


def code_of_atom(k: Any) -> Any:
    """What stands for the k-th atom in a column, of a number or a tensor of them."""
    return ATOM + k * _STEP


def atom_of(x: Tensor) -> Tensor:
    """Which atom a code stands for, -1 for a value that is none."""
    return torch.where(x >= ATOM, (x - ATOM) / _STEP, -1.0).long()


def _without_atoms(x: Tensor) -> Tensor:
    return torch.where(x >= ATOM, 0.0, x)
