"""Recurrent layers: one product for the inputs of all steps, then a scan over time."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import tenon as _tn
from tenon._C import Tensor
from tenon.func import scan

from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter
from .utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

__all__ = ["GRU", "LSTM", "RNN", "RNNBase"]

State = tuple[Tensor, ...]


def _check_size(name: str, value: Any) -> None:
    if not isinstance(value, int):
        raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
    if value <= 0:
        raise ValueError(f"{name} must be greater than zero")


# ---- one step. `x` is the input's part of the gates, with its bias; `bias` the hidden part's.


def _lstm(x: Tensor, state: State, weight: Tensor, bias: Tensor | None, _: str) -> State:
    h, c = state
    i, f, g, o = (x + F.linear(h, weight, bias)).chunk(4, -1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru(x: Tensor, state: State, weight: Tensor, bias: Tensor | None, _: str) -> State:
    (h,) = state
    xr, xz, xn = x.chunk(3, -1)
    hr, hz, hn = F.linear(h, weight, bias).chunk(3, -1)
    r, z = (xr + hr).sigmoid(), (xz + hz).sigmoid()
    n = (xn + r * hn).tanh()
    return (n + z * (h - n),)


def _rnn(x: Tensor, state: State, weight: Tensor, bias: Tensor | None, nonlinearity: str) -> State:
    gates = x + F.linear(state[0], weight, bias)
    return (gates.relu() if nonlinearity == "relu" else gates.tanh(),)


Step = Callable[[Tensor, State, Tensor, Tensor | None, str], State]


class _Gated(Module):
    hidden_size: int

    def reset_parameters(self) -> None:
        """Uniform numbers between -1 and 1, over the square root of hidden_size."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)


class RNNBase(_Gated):
    """What the layers over sequences share: LSTM, GRU and RNN are the ones to make.

    Example::

        >>> isinstance(nn.GRU(10, 20), nn.RNNBase)
        True
    """

    gates: ClassVar[int]
    states: ClassVar[int]
    step: ClassVar[Any]  # a static method: Step

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        proj_size: int = 0,
        nonlinearity: str = "tanh",
    ) -> None:
        super().__init__()
        _check_size("hidden_size", hidden_size)
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an "
                "element being zeroed"
            )
        if proj_size < 0 or proj_size >= hidden_size:
            raise ValueError("proj_size must be at least zero and smaller than hidden_size")
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout is applied after all but the last recurrent layer, so with num_layers=1 "
                f"dropout={dropout} has no effect",
                stacklevel=3,
            )
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        self.nonlinearity = nonlinearity
        directions = 2 if bidirectional else 1
        rows, output_size = self.gates * hidden_size, proj_size or hidden_size
        for layer in range(num_layers):
            size = input_size if layer == 0 else output_size * directions
            shapes = {"weight_ih": (rows, size), "weight_hh": (rows, output_size)}
            if bias:
                shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}  # type: ignore[dict-item]
            if proj_size:
                shapes["weight_hr"] = (proj_size, hidden_size)
            for suffix in ("", "_reverse")[:directions]:
                for name, shape in shapes.items():
                    parameter = Parameter(_tn.empty(shape, dtype=dtype, device=device))
                    self.register_parameter(f"{name}_l{layer}{suffix}", parameter)
        self.reset_parameters()

    def flatten_parameters(self) -> None:
        """Does nothing: a plan lays weights out as it needs them."""

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each layer and direction."""
        return [list(self._weights(k).values()) for k in range(self._count())]

    def _count(self) -> int:
        return self.num_layers * (2 if self.bidirectional else 1)

    def _weights(self, place: int) -> dict[str, Tensor]:
        layer, suffix = place, ""
        if self.bidirectional:
            layer, suffix = place // 2, "_reverse" if place % 2 else ""
        names = ["weight_ih", "weight_hh"]
        names += ["bias_ih", "bias_hh"] if self.bias else []
        names += ["weight_hr"] if self.proj_size else []
        return {name: getattr(self, f"{name}_l{layer}{suffix}") for name in names}

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.proj_size:
            text += f", proj_size={self.proj_size}"
        if self.num_layers != 1:
            text += f", num_layers={self.num_layers}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if self.batch_first is not False:
            text += f", batch_first={self.batch_first}"
        if self.dropout != 0:
            text += f", dropout={self.dropout}"
        if self.bidirectional is not False:
            text += f", bidirectional={self.bidirectional}"
        return text

    def _sizes(self) -> Iterator[int]:
        """Of each state: the hidden one may be projected."""
        yield self.proj_size or self.hidden_size
        if self.states == 2:
            yield self.hidden_size

    def _begin(self, x: Tensor, hx: State | None, batched: bool) -> State:
        expected = [(self._count(), x.shape[1], size) for size in self._sizes()]
        if hx is None:
            return tuple(_tn.zeros(shape, dtype=x.dtype, device=x.device) for shape in expected)
        given = []
        for name, state, shape in zip(("hidden", "cell"), hx, expected, strict=False):
            if state.ndim != (3 if batched else 2):
                raise RuntimeError(
                    f"For {'batched 3-D' if batched else 'unbatched 2-D'} input, hx should also "
                    f"be {3 if batched else 2}-D but got {state.ndim}-D tensor"
                )
            state = state if batched else state.unsqueeze(1)
            if tuple(state.shape) != shape:
                raise RuntimeError(
                    f"Expected {name} size {shape}, got {list(state.shape)} (layers and "
                    "directions, batch, size)"
                )
            given.append(state)
        return tuple(given)

    def _run(
        self, x: Tensor, begin: State, place: int, lengths: Tensor | None
    ) -> tuple[State, Tensor]:
        """One layer in one direction: (last states, hidden states of all steps).

        Beyond a sequence's length its state stays: forward what it ended with, backward, what it
        begins with.
        """
        weights = self._weights(place)
        projection = F.linear(x, weights["weight_ih"], weights.get("bias_ih"))
        weight, bias, proj = (weights.get(k) for k in ("weight_hh", "bias_hh", "weight_hr"))
        assert weight is not None
        step, nonlinearity = type(self).step, self.nonlinearity

        def body(state: State, gates: Tensor) -> tuple[State, Tensor]:
            state = step(gates, state, weight, bias, nonlinearity)
            if proj is not None:
                state = (F.linear(state[0], proj), *state[1:])
            return state, state[0]

        def bounded(state: State, given: tuple[Tensor, Tensor]) -> tuple[State, Tensor]:
            new, _ = body(state, given[0])
            assert lengths is not None
            is_inside = (given[1] < lengths).unsqueeze(1)
            new = tuple(_tn.where(is_inside, a, b) for a, b in zip(new, state, strict=True))
            return new, new[0]

        first = tuple(state[place] for state in begin)
        reverse = self.bidirectional and place % 2 == 1
        if lengths is None:
            return scan(body, first, projection, reverse=reverse)
        return scan(
            bounded, first, (projection, _tn.arange(x.shape[0], device=x.device)), reverse=reverse
        )

    def _forward(self, input: Any, hx: State | None) -> tuple[Any, State]:
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        if not isinstance(input, Tensor):
            raise TypeError(
                f"{type(self).__name__}: input must be a tensor, got {type(input).__name__}"
            )
        if input.ndim not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.ndim}D instead"
            )
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                f"{input.shape[-1]}"
            )
        batched = input.ndim == 3
        x = input if batched else input.unsqueeze(1)
        if batched and self.batch_first:
            x = x.transpose(0, 1)
        if x.shape[0] == 0:
            raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
        x, states = self._layers(x, self._begin(x, hx, batched), None)
        if not batched:
            return x.squeeze(1), tuple(state.squeeze(1) for state in states)
        return (x.transpose(0, 1) if self.batch_first else x), states

    def _packed(self, packed: PackedSequence, hx: State | None) -> tuple[PackedSequence, State]:
        """The same of packed sequences; hx and the last states are in the sequences' own order."""
        if packed.data.ndim != 2 or packed.data.shape[1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got "
                f"{packed.data.shape[-1]}"
            )
        order, back = packed.sorted_indices, packed.unsorted_indices
        plain = PackedSequence(packed.data, packed.batch_sizes)
        x, lengths = pad_packed_sequence(plain)
        if hx is not None and order is not None:
            hx = tuple(state.index_select(1, order) for state in hx)
        x, states = self._layers(x, self._begin(x, hx, True), lengths)
        if back is not None:
            states = tuple(state.index_select(1, back) for state in states)
        output = pack_padded_sequence(x, lengths)
        return PackedSequence(output.data, output.batch_sizes, order, back), states

    def _layers(self, x: Tensor, begin: State, lengths: Tensor | None) -> tuple[Tensor, State]:
        """All layers over (length, batch, features), and the last states."""
        directions = 2 if self.bidirectional else 1
        ends: list[State] = []
        for layer in range(self.num_layers):
            places = range(layer * directions, (layer + 1) * directions)
            runs = [self._run(x, begin, place, lengths) for place in places]
            ends += [last for last, _ in runs]
            x = runs[0][1] if directions == 1 else _tn.cat([run[1] for run in runs], -1)
            if self.dropout > 0 and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, tuple(_tn.stack(list(each)) for each in zip(*ends, strict=True))


class _Single(RNNBase):
    """Layers whose state is one tensor."""

    states = 1

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, (h,) = self._forward(input, None if hx is None else (hx,))
        return output, h


class LSTM(RNNBase):
    """Long short-term memory over sequences, in num_layers layers.

    Shape: (length, batch, input_size), with batch_first (batch, length, input_size), or
    (length, input_size) -> the same with directions * hidden_size, and the last (h, c), each
    (num_layers * directions, batch, hidden_size). proj_size: h is projected to that size.

    Errors: ValueError for sizes that are no positive numbers and inputs of other dimensions,
    RuntimeError for sizes that don't fit. Packed sequences give packed sequences.

    See `torch.nn.LSTM`; Hochreiter and Schmidhuber, "Long short-term memory", 1997.

    Example::

        >>> output, (h, c) = nn.LSTM(10, 20, num_layers=2)(tn.randn(5, 3, 10))
        >>> output.shape, h.shape
        (tenon.Size([5, 3, 20]), tenon.Size([2, 3, 20]))
    """

    gates, states, step = 4, 2, staticmethod(_lstm)

    def forward(self, input: Any, hx: State | None = None) -> tuple[Any, State]:
        if hx is not None and (not isinstance(hx, (tuple, list)) or len(hx) != 2):
            raise TypeError("LSTM: hx must be a pair of tensors (h, c)")
        return self._forward(input, None if hx is None else tuple(hx))


class GRU(_Single):
    """Gated recurrent units over sequences, in num_layers layers.

    Shape: as :class:`LSTM`, the state being one tensor.
    Errors: as :class:`LSTM`.

    See `torch.nn.GRU`; Cho et al., "Learning phrase representations using RNN encoder-decoder",
    2014.

    Example::

        >>> output, h = nn.GRU(10, 20, bidirectional=True)(tn.randn(5, 3, 10))
        >>> output.shape, h.shape
        (tenon.Size([5, 3, 40]), tenon.Size([2, 3, 20]))
    """

    gates, step = 3, staticmethod(_gru)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__(*args, **kwargs)


class RNN(_Single):
    """Elman's recurrent layer: nonlinearity(input's part + state's part).

    Shape: as :class:`LSTM`, the state being one tensor.
    Errors: as :class:`LSTM`; ValueError for a nonlinearity other than "tanh" and "relu".

    See `torch.nn.RNN`; Elman, "Finding structure in time", 1990.

    Example::

        >>> output, h = nn.RNN(10, 20, nonlinearity="relu")(tn.randn(5, 3, 10))
        >>> output.shape, h.shape
        (tenon.Size([5, 3, 20]), tenon.Size([1, 3, 20]))
    """

    gates, step = 1, staticmethod(_rnn)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device,
            dtype,
            nonlinearity=nonlinearity,
        )
