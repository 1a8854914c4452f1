"""CUDA devices, on which Tenon keeps no tensors yet.

What asks whether there is a device gets an answer, so that programs fall back to the CPU::

    >>> import tenon as tn
    >>> device = "cuda" if tn.cuda.is_available() else "cpu"
    >>> if device == "cpu":
    ...     reason = tn.cuda.unavailable_reason()

What needs a device raises RuntimeError with that reason, as does every `device="cuda"`.
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from tenon import _C

__all__ = [
    "current_device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_device_properties",
    "init",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "set_device",
    "synchronize",
    "unavailable_reason",
]


def is_available() -> bool:
    """Whether tensors can be on a CUDA device; :func:`unavailable_reason` says why not."""
    return False


@cache
def _find_libraries() -> None:
    """Tells where wheels such as nvidia-cuda-nvrtc have put their libraries."""
    for folder in sys.path:
        for library in sorted(Path(folder or ".").glob("nvidia/*/lib")):
            _C._add_cuda_library_folder(str(library))


def unavailable_reason() -> str:
    """Why :func:`is_available` is False: no driver, one that is too old, no device, no compiler.

    NVIDIA's driver and NVRTC are looked for in the folders of ``TENON_CUDA_LIBRARY_PATH``, in
    installed wheels (``nvidia-cuda-nvrtc``), conda's, CUDA's and the system's.
    """
    _find_libraries()
    return str(_C._why_no_cuda())


def device_count() -> int:
    """The number of CUDA devices that Tenon can use."""
    return 0


def is_initialized() -> bool:
    """Whether CUDA has been used."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether a CUDA device computes in bfloat16."""
    return False


# Without a device, as in PyTorch: nothing to free, to seed or to count.


def empty_cache() -> None:
    """Gives cached device memory back."""


def manual_seed(seed: int) -> None:
    """Seeds the current device's generator. (`tn.manual_seed` seeds the CPU's.)"""


def manual_seed_all(seed: int) -> None:
    """Seeds the generators of all devices."""


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors take on a device."""
    return 0


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors have taken on a device."""
    return 0


def memory_reserved(device: Any = None) -> int:
    """Bytes that the allocator holds on a device."""
    return 0


# What needs a device.


def _needs_device(name: str) -> NoReturn:
    raise RuntimeError(f"cuda.{name}: {unavailable_reason()}")


def init() -> None:
    """Starts CUDA. Raises RuntimeError."""
    _needs_device("init")


def synchronize(device: Any = None) -> None:
    """Waits for a device. Raises RuntimeError."""
    _needs_device("synchronize")


def current_device() -> int:
    """The index of the current device. Raises RuntimeError."""
    _needs_device("current_device")


def set_device(device: Any) -> None:
    """Makes a device the current one. Raises RuntimeError."""
    _needs_device("set_device")


def get_device_name(device: Any = None) -> str:
    """A device's name. Raises RuntimeError."""
    _needs_device("get_device_name")


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """A device's compute capability. Raises RuntimeError."""
    _needs_device("get_device_capability")


def get_device_properties(device: Any = None) -> Any:
    """What is known of a device. Raises RuntimeError."""
    _needs_device("get_device_properties")


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of a device. Raises RuntimeError."""
    _needs_device("mem_get_info")
