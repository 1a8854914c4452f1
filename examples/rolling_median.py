"""Builds an operation written in C++ (rolling_median.cpp), gives it a derivative, and uses it.

A signal with a few wild outliers is fitted by gradient descent through the median filter: what
minimizes the filtered error hardly sees them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import tenon as tn
from tenon import Tensor


def build(folder: str) -> str:
    """Compiles the library with the system's compiler, and gives its path."""
    compiler = os.environ.get("CXX") or shutil.which("c++") or shutil.which("g++")
    if compiler is None:
        raise FileNotFoundError("a C++ compiler (c++ or g++) is needed to build the operation")
    source = Path(__file__).with_name("rolling_median.cpp")
    library = os.path.join(folder, "rolling_median.so")
    flags = ["-std=c++17", "-O2", "-shared", "-fPIC", f"-I{tn.library.include_path()}"]
    subprocess.run([compiler, *flags, str(source), "-o", library], check=True)
    return library


def load() -> tn.library.CustomOpDef:
    """The operation with its derivative: each median's gradient goes to where it stands."""
    with tempfile.TemporaryDirectory() as folder:
        (median,) = tn.library.load_library(build(folder))

    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.save_for_backward(inputs[0], output[1])

    def backward(ctx: Any, of_values: Tensor, of_places: None) -> tuple[Tensor, None]:
        x, places = ctx.saved_tensors
        return tn.zeros_like(x).scatter_add(-1, places, of_values), None

    median.register_autograd(backward, setup_context=setup_context)
    return median


def main() -> None:
    median = load()
    tn.manual_seed(0)
    time = tn.linspace(0, 6.28, 200)
    truth = 0.7 * time.sin() + 0.3
    outliers = (tn.rand(200) < 0.1).to(tn.float32) * 20
    signal = truth + 0.05 * tn.randn(200) + outliers
    found = {}
    for name in ("plain", "filtered"):
        parameters = tn.zeros(2, requires_grad=True)
        optimizer = tn.optim.Adam([parameters], lr=0.05)
        for _ in range(200):
            error = parameters[0] * time.sin() + parameters[1] - signal
            if name == "filtered":
                error, _ = median(error, window=9)
            optimizer.zero_grad()
            error.square().mean().backward()
            optimizer.step()
        found[name] = parameters.tolist()
        print(f"{name}: amplitude {found[name][0]:.2f} (0.70), offset {found[name][1]:.2f} (0.30)")
    batched = tn.vmap(lambda x: median(x, 3)[0])(signal.reshape(4, 50))
    print("of four pieces:", tuple(batched.shape))


if __name__ == "__main__":
    main()
