"""Threads and memory of a fit."""

import ctypes
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from skdensity_ar._device import threads_for

# In a process of its own: what others left of the heap decides where blocks go. Prints
# how many pages the system found for five blocks, of as many as one block has.
PAGES_OF_BLOCKS = """
import resource
import torch
from skdensity_ar._device import freed_memory_kept

SIZE = 40 * 2**20

def pages_of_blocks():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(SIZE, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with freed_memory_kept():
    pages_of_blocks()
    print(pages_of_blocks() / (SIZE / resource.getpagesize()))
"""


def test_a_step_takes_the_memory_of_the_step_before():
    """Where the C library can be told so: it would ask the system every time."""
    done = subprocess.run(
        [sys.executable, "-c", PAGES_OF_BLOCKS],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert (float(done.stdout) < 1.0) == hasattr(ctypes.CDLL(None), "mallopt")


@pytest.mark.parametrize("n_multiplications", [1, 2**40])
def test_threads_come_back(n_multiplications):
    n_threads = torch.get_num_threads()
    with pytest.raises(KeyError), threads_for(n_multiplications):
        assert torch.get_num_threads() == (1 if n_multiplications == 1 else n_threads)
        raise KeyError
    assert torch.get_num_threads() == n_threads


def test_threads_side_by_side_leave_their_number_as_it_was():
    usual = torch.get_num_threads()
    torch.set_num_threads(2)
    entered = threading.Barrier(3)

    def work(n_multiplications):
        with threads_for(n_multiplications):
            n = torch.get_num_threads()
            entered.wait(timeout=60)
            with threads_for(1):
                inside = torch.get_num_threads()
            entered.wait(timeout=60)
        return n, inside, torch.get_num_threads()

    try:
        with ThreadPoolExecutor(3) as pool:
            found = list(pool.map(work, [1, 1, 1]))
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(usual)
    assert [(n, inside) for n, inside, _ in found] == [(1, 1)] * 3
    assert found[-1][2] == 2 or found[0][2] == 2
