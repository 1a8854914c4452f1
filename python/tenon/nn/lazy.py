"""Layers whose input sizes the first input tells, and parameters without a shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tenon as _tn
from tenon import _C
from tenon._C import Tensor

from ._layers import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    Linear,
)
from .module import Module
from .parameter import Parameter


class _Uninitialized(Tensor):
    """A tensor whose shape is not known yet."""

    cls_to_become: type

    def materialize(self, shape: Sequence[int], device: Any = None, dtype: Any = None) -> None:
        """Memory of that shape; the values are not set."""
        memory = _tn.empty(tuple(shape), dtype=dtype or self.dtype, device=device)
        if self._base is None:
            self.data = memory
        else:  # a view of nothing has no memory to give up
            _C._become(self, memory)
        self.__class__ = self.cls_to_become  # type: ignore[assignment]

    @property
    def shape(self) -> Any:  # type: ignore[override]
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually "
            "happens in `load_state_dict` when trying to load an uninitialized parameter into an "
            "initialized one. Call `forward` to initialize the parameters before accessing their "
            "attributes."
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter whose shape is not known yet; `materialize(shape)` makes it a Parameter.

    Errors: RuntimeError for a shape that is asked for.

    Example::

        >>> p = nn.UninitializedParameter()
        >>> p.materialize((2, 3))
        >>> type(p).__name__, p.shape
        ('Parameter', tenon.Size([2, 3]))
    """

    cls_to_become = Parameter

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: Any = None
    ) -> UninitializedParameter:
        return _C._make_parameter(cls, _tn.empty(0, dtype=dtype, device=device), requires_grad)


class _MaterializedBuffer(Tensor):
    """What an uninitialized buffer becomes: a tensor, of a class that can be assigned."""


class UninitializedBuffer(_Uninitialized):
    """A buffer whose shape is not known yet; `materialize(shape)` makes it a tensor.

    Errors: RuntimeError for a shape that is asked for.

    Example::

        >>> statistic = nn.UninitializedBuffer()
        >>> statistic.materialize((3,))
        >>> statistic.fill_(1.0)
        tensor([1., 1., 1.])
    """

    cls_to_become = _MaterializedBuffer

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> UninitializedBuffer:
        made = _C._as_subclass(cls, _tn.empty(0, dtype=dtype, device=device))
        made.persistent = persistent
        return made.requires_grad_(requires_grad)  # type: ignore[no-any-return]


def is_lazy(param: Any) -> bool:
    return isinstance(param, _Uninitialized)


class LazyModuleMixin(_C._ModuleBase):  # the layout of what it turns into
    """Before the first forward, or when a state is loaded, uninitialized parameters get shapes.

    A subclass sets `cls_to_become`, the class it turns into, and writes
    `initialize_parameters(*args)`.
    """

    cls_to_become: type | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        module: Any = self
        self._load_hook = module._register_load_state_dict_pre_hook(self._lazy_load_hook)
        self._initialize_hook = module.register_forward_pre_hook(
            self._infer_parameters, with_kwargs=True
        )

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            f"initialize_parameters is not implemented for {type(self).__name__}"
        )

    def has_uninitialized_params(self) -> bool:
        module: Any = self
        return any(is_lazy(x) for x in (*module._parameters.values(), *module._buffers.values()))

    def _lazy_load_hook(self, state_dict: Mapping[str, Any], prefix: str, *_: Any) -> None:
        module: Any = self
        with _tn.no_grad():
            for name, param in (*module._parameters.items(), *module._buffers.items()):
                given = state_dict.get(prefix + name)
                if is_lazy(param) and given is not None and not is_lazy(given):
                    param.materialize(given.shape)

    def _infer_parameters(self, module: Any, args: Any, kwargs: Any = None) -> None:
        module.initialize_parameters(*args, **(kwargs or {}))
        if module.has_uninitialized_params():
            raise RuntimeError(f"module {module._get_name()} has not been fully initialized")
        module._initialize_hook.remove()
        module._load_hook.remove()
        del module._initialize_hook, module._load_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become


class LazyLinear(LazyModuleMixin, Linear):
    """Linear whose in_features is the last extent of its first input.

    Shape: (*, in_features) -> (*, out_features).

    See `torch.nn.LazyLinear`.

    Example::

        >>> layer = nn.LazyLinear(3)
        >>> layer(tn.ones(2, 5)).shape, layer
        (tenon.Size([2, 3]), Linear(in_features=5, out_features=3, bias=True))
    """

    cls_to_become = Linear

    def __init__(
        self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(0, 0, False)
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_features = out_features
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:  # type: ignore[override]
        if self.has_uninitialized_params():
            with _tn.no_grad():
                self.in_features = int(input.shape[-1])
                self.weight.materialize((self.out_features, self.in_features))  # type: ignore
                if self.bias is not None:
                    self.bias.materialize((self.out_features,))  # type: ignore[attr-defined]
                self.reset_parameters()


class _LazyConv(LazyModuleMixin):
    """Convolutions whose in_channels is the second extent of their first input."""

    spatial: int
    transposed = False

    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        *args: Any,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        **options: Any,
    ) -> None:
        super().__init__(0, 0, kernel_size, *args, bias=False, **options)
        module: Any = self
        module.weight = UninitializedParameter(device=device, dtype=dtype)
        module.out_channels = out_channels
        if bias:
            module.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        module: Any = self
        if not self.has_uninitialized_params() and module.in_channels != 0:
            super().reset_parameters()  # type: ignore[misc]

    def initialize_parameters(self, input: Tensor) -> None:  # type: ignore[override]
        module: Any = self
        if not self.has_uninitialized_params():
            return
        if input.ndim not in (self.spatial + 1, self.spatial + 2):
            raise RuntimeError(
                f"Expected {self.spatial + 1}D (unbatched) or {self.spatial + 2}D (batched) input "
                f"to {type(self).__name__}, but got input of size: {input.shape}"
            )
        module.in_channels = int(input.shape[-self.spatial - 1])
        if module.in_channels % module.groups != 0:
            raise ValueError("in_channels must be divisible by groups")
        ends = (module.out_channels, module.in_channels // module.groups)
        if self.transposed:
            ends = (module.in_channels, module.out_channels // module.groups)
        with _tn.no_grad():
            module.weight.materialize((*ends, *module.kernel_size))
            if module.bias is not None:
                module.bias.materialize((module.out_channels,))
            self.reset_parameters()


def _lazy(name: str, base: type[Module], spatial: int, example: str, shape: str) -> type[Module]:
    """The lazy form of a convolution."""
    doc = f"""{base.__name__} whose in_channels is the second extent of its first input.

    See `torch.nn.{name}`.

    Example::

        >>> nn.{name}(4, 3)(tn.ones({example})).shape
        tenon.Size([{shape}])
    """
    fields = {
        "__doc__": doc,
        "__module__": __name__,
        "cls_to_become": base,
        "spatial": spatial,
        "transposed": "Transpose" in name,
    }
    return type(name, (_LazyConv, base), fields)


LazyConv1d = _lazy("LazyConv1d", Conv1d, 1, "2, 3, 8", "2, 4, 6")
LazyConv2d = _lazy("LazyConv2d", Conv2d, 2, "2, 3, 8, 8", "2, 4, 6, 6")
LazyConv3d = _lazy("LazyConv3d", Conv3d, 3, "2, 3, 8, 8, 8", "2, 4, 6, 6, 6")
LazyConvTranspose1d = _lazy("LazyConvTranspose1d", ConvTranspose1d, 1, "2, 3, 8", "2, 4, 10")
LazyConvTranspose2d = _lazy("LazyConvTranspose2d", ConvTranspose2d, 2, "2, 3, 8, 8", "2, 4, 10, 10")
LazyConvTranspose3d = _lazy(
    "LazyConvTranspose3d", ConvTranspose3d, 3, "2, 3, 4, 4, 4", "2, 4, 6, 6, 6"
)


class _LazyNorm(LazyModuleMixin):
    """Normalizations whose num_features is the second extent of their first input."""

    spatial: int

    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(0, eps, momentum, affine=False, track_running_stats=False)
        module: Any = self
        module.affine = affine
        module.track_running_stats = track_running_stats
        if affine:
            module.weight = UninitializedParameter(device=device, dtype=dtype)
            module.bias = UninitializedParameter(device=device, dtype=dtype)
        if track_running_stats:
            for name in ("running_mean", "running_var"):
                module.register_buffer(name, UninitializedBuffer(device=device, dtype=dtype))
            module.register_buffer("num_batches_tracked", _tn.tensor(0))

    def reset_parameters(self) -> None:
        module: Any = self
        if not self.has_uninitialized_params() and module.num_features != 0:
            super().reset_parameters()  # type: ignore[misc]

    def _channels(self, input: Tensor) -> int:
        return int(input.shape[1])

    def initialize_parameters(self, input: Tensor) -> None:  # type: ignore[override]
        module: Any = self
        if not self.has_uninitialized_params():
            return
        module.num_features = self._channels(input)
        with _tn.no_grad():
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if is_lazy(tensor):
                    tensor.materialize((module.num_features,))
            self.reset_parameters()


class _LazyInstanceNorm(_LazyNorm):
    """Inputs may be unbatched. Affine and with running statistics by default, as in PyTorch."""

    def _channels(self, input: Tensor) -> int:
        return int(input.shape[-self.spatial - 1])


def _lazy_norm(base: type[Module], spatial: int) -> type[Module]:
    """The lazy form of a normalization."""
    name = f"Lazy{base.__name__}"
    extents = ", ".join(["2", "3", *"4" * spatial])
    doc = f"""{base.__name__} whose num_features is the channels' extent of its first input.

    See `torch.nn.{name}`.

    Example::

        >>> layer = nn.{name}(affine=True)
        >>> layer(tn.ones({extents})).shape, layer.num_features
        (tenon.Size([{extents}]), 3)
    """
    fields = {
        "__doc__": doc,
        "__module__": __name__,
        "cls_to_become": base,
        "spatial": spatial,
    }
    form = _LazyInstanceNorm if "Instance" in name else _LazyNorm
    return type(name, (form, base), fields)


LazyBatchNorm1d = _lazy_norm(BatchNorm1d, 1)
LazyBatchNorm2d = _lazy_norm(BatchNorm2d, 2)
LazyBatchNorm3d = _lazy_norm(BatchNorm3d, 3)
LazyInstanceNorm1d = _lazy_norm(InstanceNorm1d, 1)
LazyInstanceNorm2d = _lazy_norm(InstanceNorm2d, 2)
LazyInstanceNorm3d = _lazy_norm(InstanceNorm3d, 3)
