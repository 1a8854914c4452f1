"""Tensors in files, in the safetensors format: no code is ever run by loading.

Saving replaces an older file as a whole or not at all, whatever happens meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from . import _C
from ._C import Tensor


def save(
    tensors: Mapping[str, Tensor],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Writes tensors with their names, for example a module's state_dict.

    ValueError: a name that is no text, a dtype that the format lacks. OSError: what the file system
    refuses; the old file is then as it was.

    Example::

        >>> tn.save(nn.Linear(2, 3).state_dict(), "/tmp/linear.safetensors")
        >>> sorted(tn.load("/tmp/linear.safetensors"))
        ['bias', 'weight']
    """
    _C._save_safetensors(os.fspath(path), dict(tensors), dict(metadata or {}))


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    ValueError, saying what is wrong, for a file that is damaged; nothing was allocated by then.
    """
    return _load(path)[0]


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts that were saved beside the tensors."""
    return _load(path)[1]


def _load(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    os.stat(path)  # FileNotFoundError and the like, as Python has them
    return _C._load_safetensors(os.fspath(path))


save_safetensors = save
load_safetensors = load
