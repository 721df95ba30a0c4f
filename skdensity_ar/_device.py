"""Which device to run on, how much memory it has, how many threads to use."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


def _alone() -> None:
    """Use one thread from now on, whatever others have asked for before a fork."""
    torch.set_num_threads(1)
    _threads.reset()


# OpenMP's threads do not survive a fork, and a child that asks them for help waits for
# ever: it works with one thread, as in torch's own DataLoader.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_alone)


def available_devices() -> list[str]:
    """The names that `device` may take on this machine."""
    cuda = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return ["auto", "cpu", *(["cuda", *cuda] if cuda else [])]


def resolve_device(device: str | torch.device) -> torch.device:
    """Turn a `device` parameter into a device that exists.

    Raises
    ------
    ValueError
        For a device that this machine does not have.
    """
    available = available_devices()
    name = str(device)
    if name not in available:
        raise ValueError(
            f"device={name!r} is not available here; choose one of {available}."
        )
    if name == "auto":
        name = "cuda" if "cuda" in available else "cpu"
    return torch.device(name)


def free_memory(device: torch.device) -> int | None:
    """Bytes that can be had on the device; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        # Not the pages that lie free: the cache of files gives way to a program.
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kibibytes = dict(line.split(":") for line in lines).get("MemAvailable")
    return None if kibibytes is None else int(kibibytes.split()[0]) * 1024


# Of glibc's malloc.h, and the values that it comes to by itself (mallopt(3)).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_MMAP_AT_MOST = 32 * 2**20


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Have the C library keep what a step of training frees for the next one.

    glibc's malloc gives large blocks back to the system, which has to find and clear
    their pages again in every step. What is free in the end goes back. Other C
    libraries are left as they are.
    """
    library: Any = ctypes.CDLL(None) if os.name == "posix" else None
    if not hasattr(library, "mallopt"):
        yield
        return
    library.mallopt(_M_MMAP_THRESHOLD, 2**31 - 1)
    library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    try:
        yield
    finally:
        library.mallopt(_M_MMAP_THRESHOLD, _MMAP_AT_MOST)
        library.mallopt(_M_TRIM_THRESHOLD, 2 * _MMAP_AT_MOST)
        library.malloc_trim(0)


# Multiplications below which a second thread costs more than it gives.
_ONE_THREAD_BELOW = 2**25


class _Threads:
    """How many threads torch has while nobody asks for fewer.

    Python threads that score side by side each ask: what the second of them finds is
    what the first has set.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.here = threading.local()
        self.lock = threading.Lock()
        self.n_inside, self.usual = 0, 1

    def enter(self) -> int:
        with self.lock:
            if self.n_inside == 0:
                self.usual = torch.get_num_threads()
            self.n_inside += 1
            return self.usual

    def leave(self) -> None:
        with self.lock:
            self.n_inside -= 1


_threads = _Threads()


@contextmanager
def threads_for(n_multiplications: int) -> Iterator[None]:
    """Run small work on one thread of the CPU.

    Threads of OpenMP wait for each other after every operation. Where the operations
    are small this gains little on an idle machine, and on a busy one, where a thread
    may have to wait for its core, it takes ten to a hundred times as long.
    """
    usual = _threads.enter()
    outer = getattr(_threads.here, "n", usual)
    n_threads = 1 if n_multiplications < _ONE_THREAD_BELOW else outer
    # Torch tells OpenMP and MKL; limits set for OpenMP alone leave MKL's exp and log.
    torch.set_num_threads(n_threads)
    _threads.here.n = n_threads
    try:
        yield
    finally:
        _threads.here.n = outer
        torch.set_num_threads(outer)
        _threads.leave()
