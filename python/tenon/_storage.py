"""The memory behind tensors, as programs ask for it: what is shared, where it lies, how large."""

from __future__ import annotations

import builtins
from typing import Any

from ._C import Tensor, device, dtype


class UntypedStorage:
    """The bytes behind a tensor and all its views.

    Example::

        >>> x = tn.ones(2, 3)
        >>> x[0].untyped_storage().nbytes()
        24
        >>> x[1].untyped_storage() == x.untyped_storage()
        True
    """

    def __init__(self, tensor: Tensor) -> None:
        self._root = tensor if tensor._base is None else tensor._base

    def nbytes(self) -> builtins.int:
        """Size in bytes."""
        return self._root.numel() * self._root.element_size()

    size = nbytes
    __len__ = nbytes

    def data_ptr(self) -> builtins.int:
        """Address of the first byte. From then on the memory is written whenever a call returns."""
        return self._root.detach().data_ptr()

    @property
    def device(self) -> device:
        """Where it lies."""
        return self._root.device

    def element_size(self) -> builtins.int:
        """1: a byte."""
        return 1

    def __eq__(self, other: object) -> builtins.bool:
        return isinstance(other, UntypedStorage) and self._root.is_set_to(other._root)

    def __hash__(self) -> builtins.int:
        return hash(self._root)


class TypedStorage:
    """The elements of one dtype behind a tensor and all its views.

    Example::

        >>> tn.arange(6)[2:].storage().size()
        6
        >>> tn.arange(3)[1:].storage().tolist()
        [0, 1, 2]
    """

    def __init__(self, tensor: Tensor) -> None:
        self._untyped = UntypedStorage(tensor)
        self._root = self._untyped._root

    def size(self) -> builtins.int:
        """Number of elements."""
        return self._root.numel()

    __len__ = size

    def nbytes(self) -> builtins.int:
        """Size in bytes."""
        return self._untyped.nbytes()

    def data_ptr(self) -> builtins.int:
        """Address of the first element."""
        return self._untyped.data_ptr()

    def element_size(self) -> builtins.int:
        """Bytes of an element."""
        return self._root.element_size()

    def untyped(self) -> UntypedStorage:
        """Its bytes."""
        return self._untyped

    @property
    def dtype(self) -> dtype:
        """The elements' dtype."""
        return self._root.dtype

    @property
    def device(self) -> device:
        """Where it lies."""
        return self._root.device

    def _elements(self) -> Tensor:
        return self._root.detach().as_strided((self.size(),), (1,), 0)

    def tolist(self) -> list[Any]:
        """The elements in the order of memory."""
        return list(self._elements().tolist())

    def __getitem__(self, index: Any) -> Any:
        found = self._elements()[index]
        return found.item() if found.ndim == 0 else found.tolist()


def is_storage(obj: Any) -> builtins.bool:
    """Whether the object is a storage.

    Example::

        >>> tn.is_storage(tn.ones(2)), tn.is_storage(tn.ones(2).storage())
        (False, True)
    """
    return isinstance(obj, (UntypedStorage, TypedStorage))


def untyped_storage(self: Tensor) -> UntypedStorage:
    """The bytes of memory that the tensor shows, with all that its views share.

    Example::

        >>> tn.ones(2, 3).untyped_storage().nbytes()
        24
    """
    return UntypedStorage(self)


def storage(self: Tensor) -> TypedStorage:
    """The elements of memory that the tensor shows, with all that its views share.

    Example::

        >>> tn.ones(2, 3)[0].storage().size()
        6
    """
    return TypedStorage(self)
