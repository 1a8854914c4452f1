"""Ways to choose what a parameter keeps; `prune` applies them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

import tenon as _tn
from tenon._C import Tensor
from tenon.nn.module import Module

Amount = int | float


def _check_amount(amount: Any) -> None:
    if not isinstance(amount, Real):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    is_count = isinstance(amount, Integral)
    if float(amount) < 0 or (not is_count and float(amount) > 1):
        raise ValueError(
            f"amount={amount} should either be a float in the range [0, 1] or a non-negative "
            "integer"
        )


def _count(amount: Amount, size: int) -> int:
    """How many of `size` an amount is: itself, or that part of them."""
    if not isinstance(amount, Integral):
        return round(amount * size)
    if amount > size:
        raise ValueError(
            f"amount={amount} should be smaller than the number of parameters to prune={size}"
        )
    return int(amount)


def _channels(t: Tensor, dim: int) -> int:
    if t.ndim <= 1:
        raise ValueError(
            "Structured pruning can only be applied to multidimensional tensors. Found tensor of "
            f"shape {t.shape} with {t.ndim} dims"
        )
    if dim >= t.ndim:
        raise IndexError(f"Invalid index {dim} for tensor of size {t.shape}")
    return int(t.shape[dim])


def _other_dims(t: Tensor, dim: int) -> list[int]:
    return [d for d in range(t.ndim) if d != dim % t.ndim]


def _without_channels(mask: Tensor, dim: int, dropped: Tensor) -> Tensor:
    """The mask with the channels of those numbers zero."""
    kept = _tn.ones(mask.shape[dim], dtype=mask.dtype)
    kept[dropped] = 0
    sizes = [1] * mask.ndim
    sizes[dim] = -1
    return mask * kept.reshape(sizes)


class BasePruningMethod(ABC):
    """A way to choose a mask; a subclass writes `compute_mask` and sets PRUNING_TYPE.

    PRUNING_TYPE says what the mask is computed from: "unstructured", the elements that are left;
    "structured", the channels along `dim` that are left; "global", everything.

    Example::

        >>> class EveryOther(nn.utils.prune.BasePruningMethod):
        ...     PRUNING_TYPE = "unstructured"
        ...     def compute_mask(self, t, default_mask):
        ...         mask = default_mask.clone()
        ...         mask.view(-1)[::2] = 0
        ...         return mask
        >>> layer = nn.Linear(2, 1)
        >>> EveryOther.apply(layer, "weight").__class__.__name__, layer.weight_mask
        ('EveryOther', tensor([[0., 1.]]))
    """

    PRUNING_TYPE: str
    _tensor_name: str

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask of what to keep of t, of what default_mask keeps."""

    def apply_mask(self, module: Module) -> Tensor:
        """The parameter times its mask."""
        mask = getattr(module, self._tensor_name + "_mask")
        original = getattr(module, self._tensor_name + "_orig")
        return mask.to(original.dtype) * original  # type: ignore[no-any-return]

    @classmethod
    def apply(
        cls,
        module: Module,
        name: str,
        *args: Any,
        importance_scores: Tensor | None = None,
        **kwargs: Any,
    ) -> BasePruningMethod:
        """Prunes a parameter, further if it is pruned already; gives the method that was added.

        importance_scores: what is judged in place of the parameter's own values.
        """
        earlier = pruning_hooks(module, name)
        if len(earlier) > 1:
            raise AssertionError(f"{len(earlier)} hooks prune the parameter {name}")
        method: BasePruningMethod = cls(*args, **kwargs)
        method._tensor_name = name
        if earlier:
            key, old = earlier[0]
            container = old if isinstance(old, PruningContainer) else PruningContainer(old)
            container.add_pruning_method(method)
            del module._forward_pre_hooks[key]
            method = container
        original = getattr(module, name)
        scores = original if importance_scores is None else importance_scores
        if scores.shape != original.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module}"
            )
        mask_before: Any = getattr(module, name + "_mask", None)
        if not earlier:
            del module._parameters[name]
            module.register_parameter(name + "_orig", original)
            mask_before = _tn.ones_like(original.detach())
        try:
            with _tn.no_grad():
                mask = method.compute_mask(scores, mask_before)
        except Exception:
            if not earlier:  # as it was
                del module._parameters[name + "_orig"]
                module.register_parameter(name, original)
            raise
        module.register_buffer(name + "_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(
        self,
        t: Tensor,
        default_mask: Tensor | None = None,
        importance_scores: Tensor | None = None,
    ) -> Tensor:
        """A tensor times the mask that this method gives it."""
        scores = t if importance_scores is None else importance_scores
        if scores.shape != t.shape:
            raise AssertionError("importance_scores should have the same shape as tensor t")
        before = _tn.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, before)

    def remove(self, module: Module) -> None:
        """Makes the pruned values the parameter's own. The hook is for the caller to remove."""
        name = self._tensor_name
        weight = self.apply_mask(module)
        if hasattr(module, name):
            delattr(module, name)
        original: Any = module._parameters.pop(name + "_orig")
        original.data = weight.detach()
        del module._buffers[name + "_mask"]
        setattr(module, name, original)


class PruningContainer(BasePruningMethod):
    """Methods that were applied one after another to one parameter.

    Errors: TypeError for what is no method, ValueError for one of another parameter.

    Example::

        >>> layer = nn.Linear(2, 2)
        >>> for _ in range(2):
        ...     _ = nn.utils.prune.l1_unstructured(layer, "weight", 1)
        >>> len(next(iter(layer._forward_pre_hooks.values()))), layer.weight_mask.sum()
        (2, tensor(2.))
    """

    def __init__(self, *methods: BasePruningMethod) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if len(methods) == 1:
            self._tensor_name = methods[0]._tensor_name
        for method in methods:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: BasePruningMethod | None) -> None:
        if method is not None and not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method is not None and self._tensor_name != method._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to PruningContainer {self}. Found '{method._tensor_name}'"
            )
        self._pruning_methods += (method,)  # type: ignore[operator]

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, index: int) -> BasePruningMethod:
        return self._pruning_methods[index]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """What the last method keeps of what the mask before kept."""
        method: Any = self._pruning_methods[-1]
        where: Any = ...
        if method.PRUNING_TYPE == "unstructured":
            where = default_mask == 1
        elif method.PRUNING_TYPE == "structured":
            if not hasattr(method, "dim"):
                raise AttributeError(
                    'Pruning methods of PRUNING_TYPE "structured" need to have the attribute '
                    "`dim` defined."
                )
            if method.dim < -t.ndim:
                raise IndexError(f"Index is out of bounds for tensor with dimensions {t.ndim}")
            left = default_mask.sum(dim=_other_dims(t, method.dim)) != 0
            where = (slice(None),) * (method.dim % t.ndim) + (left,)
        elif method.PRUNING_TYPE != "global":
            raise ValueError(f"Unrecognized PRUNING_TYPE {method.PRUNING_TYPE}")
        mask = default_mask.to(t.dtype).clone()
        mask[where] = method.compute_mask(t[where], default_mask[where]).to(t.dtype)
        return mask


class Identity(BasePruningMethod):
    """Keeps everything: the parameter gets its mask and nothing else changes."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class _Amount(BasePruningMethod):
    """Methods that drop a number, or a part, of what is there."""

    def __init__(self, amount: Amount) -> None:
        _check_amount(amount)
        self.amount = amount


class RandomUnstructured(_Amount):
    """Drops elements at random."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return self._dropping(default_mask, _tn.rand(t.numel()), _count(self.amount, t.numel()))

    @staticmethod
    def _dropping(mask: Tensor, order: Tensor, count: int) -> Tensor:
        """The mask without the `count` elements that are least in order."""
        flat = mask.clone().reshape(-1)
        if count > 0:
            flat[_tn.topk(order, count, largest=False).indices] = 0
        return flat.reshape(mask.shape)


class L1Unstructured(RandomUnstructured):
    """Drops the elements of the least magnitude."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        size = t.abs().reshape(-1)
        return self._dropping(default_mask, size, _count(self.amount, t.numel()))


class RandomStructured(_Amount):
    """Drops channels at random."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Amount, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        channels = _channels(t, self.dim)
        count = _count(self.amount, channels)
        return self._dropping_channels(t, default_mask, _tn.rand(channels), count)

    def _dropping_channels(self, t: Tensor, mask: Tensor, order: Tensor, count: int) -> Tensor:
        if count == 0:
            return mask
        dropped = _tn.topk(order, count, largest=False).indices
        return _without_channels(mask, self.dim % t.ndim, dropped)


class LnStructured(RandomStructured):
    """Drops the channels of the least norm of order n."""

    def __init__(self, amount: Amount, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        count = _count(self.amount, _channels(t, self.dim))
        norms = _tn.norm(t, p=self.n, dim=_other_dims(t, self.dim))
        return self._dropping_channels(t, default_mask, norms, count)


class CustomFromMask(BasePruningMethod):
    """Keeps what a given mask keeps."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if default_mask.shape != self.mask.shape:
            raise AssertionError("the mask's shape is not the parameter's")
        return default_mask * self.mask.to(default_mask.dtype)


def pruning_hooks(module: Module, name: str) -> list[tuple[int, BasePruningMethod]]:
    """The hooks that prune the parameter of that name."""
    return [
        (key, hook)
        for key, hook in module._forward_pre_hooks.items()
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name
    ]
