"""The same example in another framework: `gpt.py` or `resnet.py` with its imports changed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType


def load(framework: str, example: str = "gpt") -> ModuleType:
    """`gpt.py` (or another example) as a module that uses `framework`, which is tenon or torch."""
    path = Path(__file__).with_name(f"{example}.py")
    source = path.read_text()
    if framework != "tenon":
        for line in (
            "import tenon as tn",
            "import tenon.nn.functional as F",
            "from tenon import nn",
        ):
            assert source.count(line) == 1, f"{path} no longer has the line {line!r}"
            source = source.replace(line, line.replace("tenon", framework))
    module = ModuleType(f"{example}_{framework}")
    # Dataclasses look their module up by name.
    sys.modules[module.__name__] = module
    exec(compile(source, str(path), "exec"), module.__dict__)
    return module
