"""The examples of all docstrings: every public name has one, and it gives what it shows."""

from __future__ import annotations

import doctest
import types
from collections.abc import Iterator
from typing import Any

import pytest

import tenon as tn
import tenon.autograd.functional
import tenon.nn.attention.flex_attention
import tenon.nn.functional as F
import tenon.reference
from tenon import nn

NAMESPACES = {
    "tn": tn,
    "tn.autograd": tn.autograd,
    "tn.autograd.functional": tn.autograd.functional,
    "tn.distributions": tn.distributions,
    "tn.func": tn.func,
    "tn.bisect": tn.bisect,
    "tn.jit": tn.jit,
    "tn.library": tn.library,
    "tn.profiler": tn.profiler,
    "tn.tuning": tn.tuning,
    "tn.linalg": tn.linalg,
    "tn.masked": tn.masked,
    "tn.optim": tn.optim,
    "tn.optim.lr_scheduler": tn.optim.lr_scheduler,
    "tn.optim.swa_utils": tn.optim.swa_utils,
    "tn.special": tn.special,
    "tenon.reference": tenon.reference,
    "tn.Tensor": tn.Tensor,
    "nn": nn,
    "nn.attention": nn.attention,
    "nn.attention.flex_attention": nn.attention.flex_attention,
    "nn.functional": F,
    "nn.init": nn.init,
    "nn.utils": nn.utils,
    "nn.utils.rnn": nn.utils.rnn,
}
EXCEPTIONS = {"IndexError", "LinAlgError", "OutOfMemoryError", "ZeroDivisionError"}
WITHOUT = {"tn": EXCEPTIONS, "tn.linalg": {"LinAlgError"}}
FLAGS = doctest.ELLIPSIS | doctest.REPORT_NDIFF


def public(namespace: Any) -> Iterator[tuple[str, Any]]:
    """What a namespace offers to be called, without what it imports from elsewhere."""
    for name in getattr(namespace, "__all__", dir(namespace)):
        value = getattr(namespace, name)
        if name.startswith("_") or isinstance(value, types.ModuleType) or not callable(value):
            continue
        if str(getattr(value, "__module__", "")).split(".")[0] in ("typing", "collections"):
            continue
        if value is tn.Tensor and namespace is not tn:
            continue
        yield name, value


def has_example(value: Any) -> bool:
    return ">>> " in (value.__doc__ or "")


def documented() -> dict[str, str]:
    """The first name of each docstring that has examples: an alias shares its original's."""
    names: dict[str, str] = {"tn.jit": tn.jit.__doc__ or "", "nn.Module": nn.Module.__doc__ or ""}
    seen: set[str] = set()
    for place, namespace in NAMESPACES.items():
        for name, value in public(namespace):
            text = value.__doc__ or ""
            examples = text[text.find("Example::") :]
            if has_example(value) and examples not in seen:
                seen.add(examples)
                names[f"{place}.{name}"] = text
    return names


EXAMPLES = documented()


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name):
    globs = {"tn": tn, "nn": nn, "F": F, "inf": tn.inf, "nan": tn.nan}
    test = doctest.DocTestParser().get_doctest(EXAMPLES[name], globs, name, None, None)
    tn.manual_seed(0)
    output: list[str] = []
    result = doctest.DocTestRunner(optionflags=FLAGS).run(test, out=output.append)
    assert result.attempted > 0
    assert result.failed == 0, "".join(output)


@pytest.mark.parametrize("place", NAMESPACES)
def test_every_public_name_has_an_example(place):
    namespace = NAMESPACES[place]
    missing = {name for name, value in public(namespace) if not has_example(value)}
    if namespace is tn.Tensor:  # a method may be described by its function
        missing = {name for name in missing if not has_example(getattr(tn, name, None))}
    assert missing == WITHOUT.get(place, set())
