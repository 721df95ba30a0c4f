"""The kinds of columns, as they are fitted: values <-> codes."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from skdensity_ar._bounds import OpenInterval
from skdensity_ar._columns._grids import Grid
from skdensity_ar._columns._values import as_integers, as_numbers, is_any_of
from skdensity_ar._frames import held_as, strictly_between
from skdensity_ar.conditionals import (
    BESIDE_ATOMS,
    FARTHEST,
    ColumnSpec,
    Conditional,
    code_of_atom,
)

# Larger counts than this have no neighbours in float64; they score as this one does.
_LARGEST_COUNT = 2.0**53

# What to do with numbers that are no codes.
_CATEGORY_REMEDY = (
    "encode it (sklearn.preprocessing.OrdinalEncoder), or use MADEDensity or "
    "RNADEDensity for real values."
)
_COUNT_REMEDY = "use a mixture for real values."


@dataclass
class Column:
    """One column as it was fitted.

    Attributes
    ----------
    name : hashable
        Its label in a frame, its index in an array.
    conditional : subclass of Conditional
    spec : ColumnSpec
        What the conditional may know.
    dtype : object
        The dtype in the fitted frame; None for an array.
    """

    name: Hashable
    conditional: type[Conditional]
    spec: ColumnSpec = field(default_factory=ColumnSpec)
    dtype: Any = None

    reads_labels: ClassVar[bool] = False  # values that only a frame can hold

    @property
    def base_measure(self) -> str:
        """With respect to what its conditional is a density."""
        return "counting"

    def has_mass(self, codes: np.ndarray) -> np.ndarray:
        """Which of the codes (n,) have a mass, not a density."""
        return np.ones(len(codes), dtype=bool)

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Values (n,) -> what the module takes, float64 (n,)."""
        return as_numbers(values, self.name)

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        """The values (n,) that `transform` turns into `codes`."""
        return codes

    def on_grid(self, values: np.ndarray) -> np.ndarray:
        """Values (n,) that `inverse` made, rounded as those of the fitted table are."""
        return values


@dataclass
class RawColumn(Column):
    """Numbers as they are, for a conditional of a user's own."""

    @property
    def base_measure(self) -> str:
        return f"that of {self.conditional.__name__}"

    def has_mass(self, codes: np.ndarray) -> np.ndarray:
        return np.zeros(len(codes), dtype=bool)  # for all that is known


@dataclass
class RealColumn(Column):
    """(y - center) / scale, where y is x without bounds; atoms have codes of their own.

    Attributes
    ----------
    interval : OpenInterval
        Where all values lie that are no atoms.
    atoms : tuple of float
        Values that have mass, in rising order.
    grid : Grid or None
        What all others are among; None where nothing is rounded.
    """

    center: float = 0.0
    scale: float = 1.0
    interval: OpenInterval = field(default_factory=OpenInterval)
    atoms: tuple[float, ...] = ()
    grid: Grid | None = None

    @property
    def base_measure(self) -> str:
        where = f" on {self.interval}" if self.interval.is_bounded else ""
        atoms = f" + counting at {list(self.atoms)}" if self.atoms else ""
        return f"Lebesgue{where}{atoms}"

    def has_mass(self, codes: np.ndarray) -> np.ndarray:
        """Atoms alone have one."""
        return codes > BESIDE_ATOMS if self.atoms else np.zeros(len(codes), dtype=bool)

    @property
    def places(self) -> tuple[float, ...]:
        """Where the atoms lie among the codes of the others."""
        atoms = np.array(self.atoms)
        places = np.where(atoms <= self.interval.low, -np.inf, np.inf)
        inside = self.interval.holds(atoms)
        y = self.interval.to_line(atoms[inside])
        places[inside] = (y - self.center) / self.scale
        return tuple(places.tolist())

    def transform(self, values: np.ndarray) -> np.ndarray:
        numbers = as_numbers(values, self.name)
        if not self.atoms:
            return self._standardised(numbers, FARTHEST)
        is_other = ~is_any_of(values, self.atoms)
        codes = np.empty(len(values))
        codes[is_other] = self._standardised(numbers[is_other], BESIDE_ATOMS)
        for k, atom in enumerate(self.atoms):
            codes[is_any_of(values, (atom,))] = code_of_atom(k)
        return codes

    def _standardised(self, x: np.ndarray, farthest: float) -> np.ndarray:
        self.check_inside(x)
        with np.errstate(over="ignore"):
            z = (self.interval.to_line(x) - self.center) / self.scale
        return np.clip(z, -farthest, farthest)

    def check_inside(self, x: np.ndarray) -> None:
        bad = x[~self.interval.holds(x)]
        if len(bad):
            raise ValueError(
                f"Column {self.name!r} holds {bad[0]}, which does not lie inside its "
                f"bounds {self.interval}; widen them, or drop such rows. Values that "
                f"lie on a bound may be given mass: atoms={{{self.name!r}: {bad[0]}}}."
            )

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        limit = np.finfo(np.float64).max
        with np.errstate(over="ignore"):
            y = codes * self.scale + self.center
            x = np.clip(self.interval.from_line(y), -limit, limit)
        if self.interval.is_bounded:
            x = strictly_between(x, self.interval.low, self.interval.high, self.dtype)
        for k, atom in enumerate(self.atoms):
            x[codes == code_of_atom(k)] = atom
        return x

    def on_grid(self, values: np.ndarray) -> np.ndarray:
        if self.grid is None:
            return values
        around = self.grid.around(values)
        held = held_as(around, self.dtype)
        # The others leave the atoms their masses, and float32 may round to a bound.
        is_free = ~(is_any_of(around, self.atoms) | is_any_of(held, self.atoms))
        for x in (around, held.astype(np.float64)):
            is_free &= self.interval.holds(x)
        with np.errstate(over="ignore"):
            distances = np.abs(around - values[:, None])
        nearest = np.where(is_free, distances, np.inf).argmin(1)[:, None]
        stays = is_any_of(values, self.atoms) | ~is_free.any(1)
        return np.where(
            stays, values, np.take_along_axis(around, nearest, axis=1)[:, 0]
        )

    def log_jacobian(self, codes: np.ndarray) -> np.ndarray:
        """log |d code / d x| (n,) in nats; 0 for an atom, which has a mass."""
        log_jacobian = np.full(len(codes), -np.log(self.scale))
        if self.interval.is_bounded:
            log_jacobian += self.interval.log_slope(codes * self.scale + self.center)
        return np.where(self.has_mass(codes), 0.0, log_jacobian)


@dataclass
class ConstantColumn(Column):
    """0 for the one value seen, -1 for any below it, 1 for any above."""

    value: float = 0.0

    @property
    def base_measure(self) -> str:
        return f"counting at [{self.value}]"

    def transform(self, values: np.ndarray) -> np.ndarray:
        values = as_numbers(values, self.name)
        return (values > self.value) - (values < self.value).astype(np.float64)

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        return np.full(len(codes), self.value)


@dataclass
class BinaryColumn(Column):
    """Values in {0, 1}, booleans included."""

    value_type: type = float

    def transform(self, values: np.ndarray) -> np.ndarray:
        values = as_numbers(values, self.name)
        bad = values[(values != 0.0) & (values != 1.0)]
        if len(bad):
            raise ValueError(
                f"{'Negative values in data: ' if bad.min() < 0 else ''}"
                f"conditional='bernoulli' expects values in {{0, 1}}, got {bad.min()} "
                f"in column {self.name!r}; 'auto' chose it if fit saw no other values. "
                f"conditional={{{self.name!r}: 'categorical'}} takes further ones."
            )
        return values

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        return codes.astype(self.value_type)


@dataclass
class CountColumn(Column):
    """k - offset, so that float32 tells apart large counts that lie close together."""

    offset: float = 0.0

    def transform(self, values: np.ndarray) -> np.ndarray:
        values = as_integers(values, self.name, "count", _COUNT_REMEDY)
        return np.minimum(values, _LARGEST_COUNT) - self.offset

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        return np.maximum(codes + self.offset, 0.0)


@dataclass
class CategoryColumn(Column):
    """Codes of the integers seen in training, the rarest last where they are grouped.

    Attributes
    ----------
    order : ndarray of int
        The label, as the encoder counts them, that has each code.
    """

    encoder: Any = None
    order: Any = None
    handle_unknown: str = "score"

    def read(self, values: np.ndarray) -> np.ndarray:
        return as_integers(values, self.name, "categorical", _CATEGORY_REMEDY)

    def transform(self, values: np.ndarray) -> np.ndarray:
        index = self.encoder.transform(self.read(values)[:, None])[:, 0].astype(int)
        unseen = index < 0
        if unseen.any():
            self.check_unseen(values[unseen])
        codes = np.argsort(self.order)[index]
        return np.where(unseen, len(self.order), codes).astype(np.float64)

    def check_unseen(self, values: np.ndarray) -> None:
        """Refuse values that are no categories, if that is asked for."""
        if self.handle_unknown == "error":
            first = values.tolist()[0]
            raise ValueError(
                f"Column {self.name!r} holds {first!r}, a category not seen in "
                "training; handle_unknown='score' scores such rows low."
            )

    def inverse(self, codes: np.ndarray) -> np.ndarray:
        return self.encoder.categories_[0][self.order[codes.astype(np.intp)]]


@dataclass
class LevelColumn(CategoryColumn):
    """Codes of numbers seen in training, in their order."""

    def read(self, values: np.ndarray) -> np.ndarray:
        return as_numbers(values, self.name)


@dataclass
class LabelColumn(CategoryColumn):
    """Codes of the labels seen in training, in a frame's column of such."""

    reads_labels = True

    def read(self, values: np.ndarray) -> np.ndarray:
        known = None if self.encoder is None else self.encoder.categories_[0][0]
        # One of another type among objects is a label that no row had and scores low.
        if isinstance(known, str) and values.dtype.kind in "biuf" and len(values):
            raise ValueError(self._other_type(values.tolist()[0], known))
        return values.astype(object)

    def check_unseen(self, values: np.ndarray) -> None:
        by_text = {_text(label): label for label in self.encoder.categories_[0]}
        for value in values:
            known = by_text.get(_text(value))
            if known is not None and isinstance(known, str) != isinstance(value, str):
                raise ValueError(self._other_type(value, known))
        super().check_unseen(values)

    def _other_type(self, value: Any, known: Any) -> str:
        return (
            f"Column {self.name!r} holds {value!r} of type {type(value).__name__}, but "
            f"was fitted with labels such as {known!r} of type "
            f"{type(known).__name__}; convert it to these."
        )


def _text(label: Any) -> str:
    """How a label reads, whatever its type."""
    return label.decode(errors="replace") if isinstance(label, bytes) else str(label)
