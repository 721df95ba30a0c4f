"""What the benchmarks share: where they ran, and how long a call took."""

import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import torch


def described(device: torch.device | None = None) -> str:
    """The command, the version of torch and the machine, a line and a line."""
    if device is None:
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    where = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    command = " ".join(["$ python", *sys.argv])
    return f"{command}\ntorch {torch.__version__}, {where}, float32"


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
