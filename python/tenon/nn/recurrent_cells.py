"""One step of the recurrent layers."""

from __future__ import annotations

from typing import Any, ClassVar

import tenon as _tn
from tenon._C import Tensor

from . import functional as F
from .parameter import Parameter
from .recurrent import State, _check_size, _Gated, _gru, _lstm, _rnn

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


class RNNCellBase(_Gated):
    """One step of a recurrent layer: what the cells share.

    Example::

        >>> isinstance(nn.GRUCell(10, 20), nn.RNNCellBase)
        True
    """

    gates: ClassVar[int]
    step: ClassVar[Any]  # a static method: Step

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        _check_size("hidden_size", hidden_size)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        rows = self.gates * hidden_size

        def make(*shape: int) -> Parameter:
            return Parameter(_tn.empty(shape, dtype=dtype, device=device))

        self.register_parameter("weight_ih", make(rows, input_size))
        self.register_parameter("weight_hh", make(rows, hidden_size))
        self.register_parameter("bias_ih", make(rows) if bias else None)
        self.register_parameter("bias_hh", make(rows) if bias else None)
        self.reset_parameters()

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        return text if self.bias is True else f"{text}, bias={self.bias}"

    def _step(self, input: Tensor, hx: State | None, count: int, nonlinearity: str = "") -> State:
        name = type(self).__name__
        if input.ndim not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead")
        if hx is None:
            shape = (*input.shape[:-1], self.hidden_size)
            zeros = _tn.zeros(shape, dtype=input.dtype, device=input.device)
            hx = (zeros,) * count
        for state in hx:
            if state.ndim not in (1, 2):
                raise ValueError(
                    f"{name}: Expected hidden to be 1D or 2D, got {state.ndim}D instead"
                )
        x = F.linear(input, self.weight_ih, self.bias_ih)
        return type(self).step(x, hx, self.weight_hh, self.bias_hh, nonlinearity)


class LSTMCell(RNNCellBase):
    """One step of :class:`LSTM`: (input, (h, c)) to the next (h, c).

    Shape: (batch, input_size) or (input_size), states (batch, hidden_size) or (hidden_size).
    Errors: ValueError for other dimensions, RuntimeError for sizes that don't fit.

    See `torch.nn.LSTMCell`.

    Example::

        >>> h, c = nn.LSTMCell(10, 20)(tn.randn(3, 10))
        >>> h.shape
        tenon.Size([3, 20])
    """

    gates, step = 4, staticmethod(_lstm)

    def forward(self, input: Tensor, hx: State | None = None) -> State:
        return self._step(input, None if hx is None else tuple(hx), 2)


class GRUCell(RNNCellBase):
    """One step of :class:`GRU`: (input, h) to the next h.

    Shape: (batch, input_size) or (input_size), state (batch, hidden_size) or (hidden_size).
    Errors: as :class:`LSTMCell`.

    See `torch.nn.GRUCell`.

    Example::

        >>> nn.GRUCell(10, 20)(tn.randn(3, 10)).shape
        tenon.Size([3, 20])
    """

    gates, step = 3, staticmethod(_gru)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(input, None if hx is None else (hx,), 1)[0]


class RNNCell(RNNCellBase):
    """One step of :class:`RNN`: (input, h) to the next h.

    Shape: (batch, input_size) or (input_size), state (batch, hidden_size) or (hidden_size).
    Errors: as :class:`LSTMCell`; RuntimeError for a nonlinearity other than "tanh" and "relu".

    See `torch.nn.RNNCell`.

    Example::

        >>> nn.RNNCell(10, 20)(tn.randn(10)).shape
        tenon.Size([20])
    """

    gates, step = 1, staticmethod(_rnn)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def extra_repr(self) -> str:
        text = super().extra_repr()
        return text if self.nonlinearity == "tanh" else f"{text}, nonlinearity={self.nonlinearity}"

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._step(input, None if hx is None else (hx,), 1, self.nonlinearity)[0]
