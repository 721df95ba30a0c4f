"""A row of the speed record, and what a suite of `speed.py` is told."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from timing import CPU, Figure, interleaved, quotient


@dataclass(frozen=True)
class Row:
    """One figure: mostly a ratio of medians, from the least to the largest of a round.

    `what` says which ratio, or what else `ratio` is; times are in milliseconds, NaN
    where nothing was timed.
    """

    case: str
    what: str
    ratio: float
    ratio_low: float = math.nan
    ratio_high: float = math.nan
    ours_ms: float = math.nan
    rival: str = ""
    rival_ms: float = math.nan
    target: str = ""
    note: str = ""


@dataclass(frozen=True)
class Options:
    """What the command line says to every suite."""

    device: torch.device = CPU
    repeats: int = 7
    quick: bool = False
    sizes: tuple[tuple[int, int], ...] = ()  # (rows, columns) of the suite "fit"
    full_fit: bool = False
    time_limit: float = 600.0

    def timed(
        self,
        calls: Mapping[str, Callable[[], Any]],
        *,
        at_most: int | None = None,
        warm_up: int = 1,
        once_a_turn: bool = False,
    ) -> dict[str, list[float]]:
        """`interleaved` with the repeats, or `at_most` so many, on the device."""
        shortest = 0.0 if once_a_turn else 0.002 if self.quick else 0.05
        repeats = self.repeats if at_most is None else min(self.repeats, at_most)
        return interleaved(
            calls, repeats, warm_up=warm_up, shortest=shortest, device=self.device
        )

    def generator(self, seed: int = 0) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(seed)


def speed_up(
    case: str,
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    rival: str,
    **text: str,
) -> Row:
    """Times of theirs / ours: how many times as fast ours is."""
    return _compared(case, what, quotient(theirs, ours), ours, theirs, rival, text)


def cost(
    case: str,
    what: str,
    ours: Sequence[float],
    theirs: Sequence[float],
    rival: str,
    **text: str,
) -> Row:
    """Times of ours / theirs: how many times as long ours takes."""
    return _compared(case, what, quotient(ours, theirs), ours, theirs, rival, text)


def figure(case: str, what: str, value: Figure | float, **fields: Any) -> Row:
    """Any other number."""
    if isinstance(value, Figure):
        return Row(case, what, value.value, value.low, value.high, **fields)
    return Row(case, what, value, **fields)


def _compared(
    case: str,
    what: str,
    ratio: Figure,
    ours: Sequence[float],
    theirs: Sequence[float],
    rival: str,
    text: Mapping[str, str],
) -> Row:
    times = {"ours_ms": 1e3 * median(ours), "rival_ms": 1e3 * median(theirs)}
    once = len(ours) == len(theirs) == 1
    value = ratio.value if once else ratio
    return figure(case, what, value, rival=rival, **times, **text)
