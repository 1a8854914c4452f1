"""CUDA devices.

Tensors are put on one with ``device="cuda"``, ``.to("cuda")`` or ``.cuda()``; what is computed from
them is computed there. Where there is none, what asks for one raises RuntimeError with the reason,
and the CPU's work goes on::

    >>> import tenon as tn
    >>> device = "cuda" if tn.cuda.is_available() else "cpu"
    >>> if device == "cpu":
    ...     reason = tn.cuda.unavailable_reason()
    >>> x = tn.ones(3, device=device) * 2

Operations are queued and their results awaited where they are read. `docs/cuda.md` says which
operations have code for devices and which don't yet.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tenon import _C

__all__ = [
    "DeviceProperties",
    "current_device",
    "device",
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
    "reset_peak_memory_stats",
    "set_device",
    "synchronize",
    "unavailable_reason",
]


def is_available() -> bool:
    """Whether tensors can be on a CUDA device; :func:`unavailable_reason` says why not."""
    return unavailable_reason() == ""


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
    return int(_C._cuda_device_count()) if is_available() else 0


def is_initialized() -> bool:
    """Whether a CUDA device has been used."""
    return any(_C._cuda_is_in_use(index) for index in range(device_count()))


def init() -> None:
    """Starts CUDA. Raises RuntimeError where it can't be used; else it starts by itself."""
    _index(None)


def _index(device: Any) -> int:
    """The number of a device given as such, as a `device` or its text, or None, the current one."""
    reason = unavailable_reason()
    if reason:
        raise RuntimeError(f"tenon.cuda: {reason}")
    if device is None:
        return int(_C._cuda_current_device())
    if isinstance(device, int):
        device = _C.device("cuda", device)
    checked = _C._to_device(device)
    if checked.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {device}")
    return int(checked.index)


def current_device() -> int:
    """The number of the device that "cuda" without a number means."""
    return _index(None)


def set_device(device: Any) -> None:
    """Makes a device the current one.

    Errors: RuntimeError where there is none with that number.
    """
    _C._cuda_set_device(_index(device))


class device:
    """Context manager under which another device is the current one."""

    def __init__(self, device: Any) -> None:
        self.idx = _index(device)

    def __enter__(self) -> None:
        self._before = current_device()
        _C._cuda_set_device(self.idx)

    def __exit__(self, *_: Any) -> None:
        _C._cuda_set_device(self._before)


def synchronize(device: Any = None) -> None:
    """Runs what is pending and waits until a device has done all of its work."""
    _C._cuda_synchronize(_index(device))


def get_device_name(device: Any = None) -> str:
    """A device's name, as its driver gives it."""
    return str(_C._cuda_properties(_index(device))[0])


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """A device's compute capability: (9, 0) for an H100."""
    return divmod(int(_C._cuda_properties(_index(device))[1]), 10)


@dataclass(frozen=True)
class DeviceProperties:
    """What is known of a device. `total_memory` counts bytes."""

    name: str
    major: int
    minor: int
    total_memory: int
    max_resident_threads: int


def get_device_properties(device: Any = None) -> DeviceProperties:
    """What is known of a device."""
    index = _index(device)
    name, architecture, threads = _C._cuda_properties(index)
    major, minor = divmod(architecture, 10)
    return DeviceProperties(name, major, minor, mem_get_info(index)[1], threads)


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether a CUDA device has instructions for bfloat16, or may emulate them."""
    return is_available() and (including_emulation or get_device_capability()[0] >= 8)


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Free and total bytes of a device, other programs' included."""
    free, total = _C._cuda_free_and_total(_index(device))
    return int(free), int(total)


# Of no device there is nothing to free, to seed or to count: 0, as in PyTorch.


def _memory(device: Any, which: int) -> int:
    return int(_C._cuda_memory(_index(device))[which]) if is_available() else 0


def memory_allocated(device: Any = None) -> int:
    """Bytes that tensors take on a device."""
    return _memory(device, 0)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that tensors have taken since :func:`reset_peak_memory_stats`."""
    return _memory(device, 1)


def memory_reserved(device: Any = None) -> int:
    """Bytes that the allocator holds on a device, those that it keeps for later included."""
    return _memory(device, 2)


def reset_peak_memory_stats(device: Any = None) -> None:
    """Counts :func:`max_memory_allocated` from now on."""
    if is_available():
        _C._cuda_reset_peak(_index(device))


def empty_cache() -> None:
    """Gives the memory that the allocator keeps for later back to the devices."""
    for index in range(device_count()):
        _C._cuda_trim(index)


def manual_seed(seed: int) -> None:
    """Seeds the generator, that of all devices (`tn.manual_seed`); without a device, nothing."""
    if is_available():
        _C._manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seeds the generator, that of all devices (`tn.manual_seed`); without a device, nothing."""
    if is_available():
        _C._manual_seed(seed)
