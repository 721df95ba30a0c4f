"""What the benchmarks share: where they ran, and how long calls took."""

import platform
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

CPU = torch.device("cpu")


def described(device: torch.device | None = None) -> str:
    """The command, the version of torch and the machine, a line and a line."""
    if device is None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    command = shlex.join(["python", *sys.argv])
    return f"$ {command}\ntorch {torch.__version__}, {where}, float32"


def seconds(
    call: Callable[[], Any], device: torch.device, repeats: int
) -> tuple[list[float], Any]:
    """Time of every run, and the last result."""
    times, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return times, result


def interleaved(
    calls: Mapping[str, Callable[[], Any]],
    repeats: int,
    *,
    warm_up: int = 1,
    shortest: float = 0.0,
    device: torch.device = CPU,
) -> dict[str, list[float]]:
    """Seconds of each call in every round, all calls in turns: A B C A B C …

    What disturbs the machine for a while disturbs all of them. A call that takes less
    than `shortest` seconds runs several times in its turn, and its time is the mean.
    """
    n_runs = dict.fromkeys(calls, 1)
    for _ in range(warm_up):
        for name, call in calls.items():
            took = seconds(call, device, 1)[0][0]
            n_runs[name] = max(1, round(shortest / max(took, 1e-6)))
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            turn = seconds(call, device, n_runs[name])[0]
            times[name].append(sum(turn) / len(turn))
    return times


@dataclass(frozen=True)
class Figure:
    """A value and how far it reached in the rounds that it was measured in."""

    value: float
    low: float
    high: float


def summary(values: Sequence[float]) -> Figure:
    """Median, least and largest."""
    return Figure(median(values), min(values), max(values))


def quotient(above: Sequence[float], below: Sequence[float]) -> Figure:
    """Ratio of medians; the least and the largest ratio within a round.

    Where one was measured in fewer rounds, the extremes of all pairs.
    """
    if len(above) == len(below):
        ratios = [a / b for a, b in zip(above, below, strict=True)]
    else:
        ratios = [a / b for a in above for b in below]
    return Figure(median(above) / median(below), min(ratios), max(ratios))


def slope(sizes: Sequence[float], times: Sequence[Sequence[float]]) -> Figure:
    """Least squares slope of log time against log size, `times` by size and round.

    Of the medians; the least and the largest of a single round.
    """

    def fitted(values: Sequence[float]) -> float:
        return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])

    rounds = [fitted(values) for values in zip(*times, strict=True)]
    return Figure(fitted([median(t) for t in times]), min(rounds), max(rounds))
