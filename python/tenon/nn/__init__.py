"""Neural networks: modules, layers, losses, initial values. See `torch.nn`."""

from . import functional, init, utils
from ._layers import *  # noqa: F403
from ._layers import __all__ as _layer_names
from .containers import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from .module import Module
from .parameter import Buffer, Parameter
from .recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Buffer",
    "GRUCell",
    "LSTMCell",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "RNNCell",
    "Sequential",
    "functional",
    "init",
    "utils",
    *_layer_names,
]
