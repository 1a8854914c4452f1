"""Tenon: tensors whose operations are recorded, transformed, fused and compiled while they run.

The names are PyTorch's; see the reference of operations.
"""

from __future__ import annotations

import importlib as _importlib
import typing as _typing

from . import _C
from ._C import (
    Generator,
    IndexError,
    LinAlgError,
    OutOfMemoryError,
    Size,
    Tensor,
    ZeroDivisionError,
    as_tensor,
    bfloat16,
    bool,
    can_cast,
    cdouble,
    cfloat,
    complex64,
    complex128,
    default_generator,
    device,
    double,
    dtype,
    float,
    float8_e4m3fn,
    float8_e4m3fnuz,
    float8_e5m2,
    float8_e5m2fnuz,
    float8_e8m0fnu,
    float16,
    float32,
    float64,
    flush,
    from_numpy,
    get_default_device,
    get_default_dtype,
    get_memory_budget,
    get_num_threads,
    half,
    int,
    int8,
    int16,
    int32,
    int64,
    is_grad_enabled,
    long,
    pending_trace,
    promote_types,
    set_default_device,
    set_default_dtype,
    set_memory_budget,
    set_num_threads,
    short,
    tensor,
    uint8,
    uint16,
    uint32,
    uint64,
)

_C._install_origins(__path__[0])
globals().update(_C._functions)
if _typing.TYPE_CHECKING:  # a stub: what the line above does
    from ._operations import *  # noqa: F403

from . import _copies, _foreach, _in_place, _legacy
from . import _tensor as _tensor
from ._checks import (
    _assert,
    _assert_async,
    _check,
    _check_index,
    _check_is_size,
    _check_not_implemented,
    _check_type,
    _check_value,
    are_deterministic_algorithms_enabled,
    get_deterministic_debug_mode,
    is_deterministic_algorithms_warn_only_enabled,
    is_nonzero,
    is_same_size,
    is_signed,
    set_deterministic_debug_mode,
    typename,
    use_deterministic_algorithms,
)
from ._dlpack import from_dlpack
from ._exchange import asarray, frombuffer
from ._functions import (
    _shape_as_tensor,
    allclose,
    broadcast_shapes,
    equal,
    eval,
    finfo,
    get_rng_state,
    iinfo,
    initial_seed,
    is_complex,
    is_conj,
    is_floating_point,
    is_tensor,
    manual_seed,
    numel,
    resolve_conj,
    resolve_neg,
    result_type,
    scalar_tensor,
    seed,
    set_rng_state,
)
from ._histograms import histogram, histogramdd
from ._legacy import set_default_tensor_type
from ._low_rank import lu, pca_lowrank, svd_lowrank
from ._numeric import as_strided_scatter, empty_permuted, gradient, nonzero_static
from ._printing import set_printoptions
from ._segments import segment_reduce
from ._sets import argwhere, nonzero, unique, unique_consecutive
from ._several import (
    atleast_1d,
    atleast_2d,
    atleast_3d,
    block_diag,
    broadcast_tensors,
    cartesian_prod,
    einsum,
    meshgrid,
    tensordot,
)
from ._storage import TypedStorage, UntypedStorage, is_storage
from .grad_mode import (
    enable_grad,
    inference_mode,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
    sync_errors,
)

__version__ = "0.1.0"
globals().update(_copies.FUNCTIONS)
globals().update(_foreach.FUNCTIONS)
globals().update(_in_place.FUNCTIONS)
globals().update(_legacy.TYPES)


e = 2.718281828459045
inf = 1e9999
nan = inf - inf
newaxis = None
pi = 3.141592653589793

strided = "strided"
contiguous_format = "contiguous_format"
preserve_format = "preserve_format"
channels_last = "channels_last"

# What costs time to import comes when it is first asked for.
if _typing.TYPE_CHECKING:
    from . import (
        autograd,
        bisect,
        cuda,
        distributions,
        fft,
        func,
        jit,
        library,
        linalg,
        masked,
        nn,
        optim,
        profiler,
        signal,
        special,
        tuning,
        utils,
    )
    from .compiler import CompiledFunction, CompiledModule, compile
    from .func import cond, scan, vmap, while_loop
    from .jit import explain
    from .library import ops
    from .serialization import load, load_safetensors, save, save_safetensors
_LAZY = (
    *("autograd", "bisect", "cuda", "distributions", "fft", "func", "jit", "library", "linalg"),
    *("masked", "nn", "optim", "profiler", "signal", "special", "tuning", "utils"),
)
_OF_PARTS = {
    "CompiledFunction": "compiler",
    "CompiledModule": "compiler",
    "compile": "compiler",
    "cond": "func",
    "explain": "jit",
    "load": "serialization",
    "load_safetensors": "serialization",
    "ops": "library",
    "save": "serialization",
    "save_safetensors": "serialization",
    "scan": "func",
    "vmap": "func",
    "while_loop": "func",
}


def __getattr__(name: str) -> _typing.Any:
    if name in _LAZY:
        return _importlib.import_module(f"{__name__}.{name}")
    if name in _OF_PARTS:
        return getattr(_importlib.import_module(f"{__name__}.{_OF_PARTS[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY, *_OF_PARTS})
