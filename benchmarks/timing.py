"""What the benchmarks share: where they ran, and how long a call took."""

import platform
import sys
import time
from collections.abc import Callable
from typing import Any

import torch


def print_where(device: torch.device) -> None:
    """Print the command, the version of torch and the machine."""
    where = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    print("$ python", *sys.argv)
    print(f"torch {torch.__version__}, {where}, float32")


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
