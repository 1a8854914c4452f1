"""DLPack: memory shared with other libraries, without a copy.

See https://dmlc.github.io/dlpack/latest/python_spec.html and the array API standard 2024.12.
"""

from __future__ import annotations

from typing import Any

from . import _C
from ._C import Tensor

CPU = (1, 0)  # DLPack's kDLCPU
VERSION = (1, 0)


def _checked_device(device: Any, where: str) -> None:
    if device is not None and tuple(device) != CPU:
        raise BufferError(f"{where}: device {tuple(device)} is not the CPU's {CPU}")


def to_dlpack(
    self: Tensor,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: tuple[int, int] | None = None,
    copy: bool | None = None,
) -> Any:
    """A DLPack capsule of the tensor's memory, for another library's `from_dlpack`.

    With `max_version` of (1, 0) or more, one that tells read-only memory; with `copy=True`, of a
    copy. `stream` means nothing on the CPU and must be None. Errors: BufferError for a tensor that
    requires grad, another device, and read-only memory without a version.

    Example::

        >>> import numpy
        >>> numpy.from_dlpack(tn.arange(3)).tolist()
        [0, 1, 2]
    """
    if stream is not None:
        raise BufferError("__dlpack__(): a tensor on the CPU has no stream")
    _checked_device(dl_device, "__dlpack__()")
    if self.requires_grad:
        raise BufferError(
            "Can't export tensors that require gradient, use tensor.detach() instead."
        )
    is_versioned = max_version is not None and max_version[0] >= VERSION[0]
    return _C._to_dlpack(self.clone() if copy else self, is_versioned, bool(copy))


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """DLPack's number of the device's kind, and the device's: (1, 0), the CPU."""
    return CPU


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor that shares the memory of an object with `__dlpack__`, or of a DLPack capsule.

    What either writes, the other sees; memory that its owner calls read-only stays so. With
    `copy=True` the tensor has memory of its own; with `copy=False` none is ever copied.

    Errors: BufferError for another device than the CPU, a dtype that there isn't, negative strides,
    and a capsule that was taken over before. TypeError for an object without `__dlpack__`.

    Example::

        >>> import numpy
        >>> a = numpy.zeros(3)
        >>> x = tn.from_dlpack(a)
        >>> a[0] = 5
        >>> x
        tensor([5., 0., 0.], dtype=tenon.float64)
    """
    if device is not None and _C.device(device).type != "cpu":
        raise BufferError(f"from_dlpack(): can't share memory with device {device}")
    if not hasattr(ext_tensor, "__dlpack__"):
        x = _C._from_dlpack(ext_tensor)
        return x.clone() if copy else x
    if hasattr(ext_tensor, "__dlpack_device__"):
        kind, number = ext_tensor.__dlpack_device__()
        _checked_device((int(kind), int(number)), "from_dlpack()")
    try:
        capsule = ext_tensor.__dlpack__(max_version=VERSION, copy=copy)
    except TypeError:  # a library older than DLPack 1.0
        x = _C._from_dlpack(ext_tensor.__dlpack__())
        return x.clone() if copy else x
    return _C._from_dlpack(capsule)
