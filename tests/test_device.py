"""Threads and memory are as before once a fit is over."""

import ctypes
import resource

import pytest
import torch

from skdensity_ar._device import freed_memory_kept, threads_for

ABOVE_MMAP_THRESHOLD = 40 * 2**20


def pages_taken(n_steps: int) -> int:
    """Pages that the system finds for blocks that come and go."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(n_steps):
        torch.ones(ABOVE_MMAP_THRESHOLD, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_steps_take_the_memory_of_the_step_before():
    """Where the C library can be told so: it would ask the system every time."""
    with freed_memory_kept():
        pages_taken(5)
        kept = pages_taken(5) < ABOVE_MMAP_THRESHOLD // resource.getpagesize()
    assert kept == hasattr(ctypes.CDLL(None), "mallopt")


@pytest.mark.parametrize("n_multiplications", [1, 2**40])
def test_threads_come_back(n_multiplications):
    n_threads = torch.get_num_threads()
    with pytest.raises(KeyError), threads_for(n_multiplications):
        assert torch.get_num_threads() == (1 if n_multiplications == 1 else n_threads)
        raise KeyError
    assert torch.get_num_threads() == n_threads
