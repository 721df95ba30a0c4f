"""Peak memory: of a step, by its allocations; of a scoring pass, by a process's pages.

As a script, what `scoring_peak` starts: scores rows of noise with a model from a file
and prints by how many bytes the process grew meanwhile.

    python benchmarks/memory.py MODEL N_ROWS N_COLUMNS
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile


def peak_bytes(call: Callable[[], object], device: torch.device) -> int:
    """Most bytes of tensors alive at a time among those made by `call`."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # its notices are not the table's
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        call()
    events = [
        event
        for event in recorded.profiler.kineto_results.events()
        if event.name() == "[memory]"  # an allocation, or, below zero, its end
    ]
    alive = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        peak = max(peak, alive)
    return peak


def scoring_peak(model: Path, n_rows: int, n_columns: int) -> int:
    """Bytes by which a fresh process grows while it scores; X was there before."""
    arguments = [sys.executable, __file__, str(model), str(n_rows), str(n_columns)]
    done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout)


def main() -> None:
    path, n_rows, n_columns = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    model = joblib.load(path)
    X = np.random.default_rng(0).standard_normal((n_rows, n_columns))
    model.score_samples(X[:5000])  # threads and libraries have their memory by now
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    model.score_samples(X)
    print(_resident("VmHWM") - before)


def _resident(field: str) -> int:
    """Bytes of this process in memory, now or at most (Linux)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return 1024 * int(line.split()[1])
    raise OSError(f"/proc/self/status does not tell {field}.")


if __name__ == "__main__":
    main()
