"""Which device to run on, and how much memory it has."""

from __future__ import annotations

import os

import torch


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
    """Free bytes on the device; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
