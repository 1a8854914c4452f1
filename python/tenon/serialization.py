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

    Errors: TypeError for what is no dictionary of tensors by name and no text in metadata, with the
    key; ValueError for a dtype that the format lacks, for the name "__metadata__" and for a text
    that UTF-8 can't hold; OSError for what the file system refuses; the old file is then as it was.
    Source: the safetensors format, https://github.com/huggingface/safetensors.

    Example::

        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/linear.safetensors"
        >>> tn.save(nn.Linear(2, 3).state_dict(), path)
        >>> sorted(tn.load(path))
        ['bias', 'weight']
    """
    _C._save_safetensors(os.fspath(path), dict(tensors), dict(metadata or {}))


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name.

    Errors: ValueError, saying what is wrong, for a file that is damaged (nothing was allocated by
    then); OSError for one that can't be read.

    Example::

        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/x.safetensors"
        >>> tn.save({"x": tn.tensor([1, 2])}, path)
        >>> tn.load(path)
        {'x': tensor([1, 2])}
    """
    return _load(path)[0]


def load_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The texts that were saved beside the tensors.

    Example::

        >>> import tempfile
        >>> from tenon.serialization import load_metadata
        >>> path = tempfile.mkdtemp() + "/x.safetensors"
        >>> tn.save({"x": tn.ones(1)}, path, {"step": "7"})
        >>> load_metadata(path)
        {'step': '7'}
    """
    return _load(path)[1]


def _load(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    os.stat(path)  # FileNotFoundError and the like, as Python has them
    return _C._load_safetensors(os.fspath(path))


save_safetensors = save
load_safetensors = load
