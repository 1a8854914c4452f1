"""Linear layers. The names of `torch.nn.modules.linear`."""

from .. import Bilinear, Identity, LazyLinear, Linear
from ..multi_head import NonDynamicallyQuantizableLinear

__all__ = ["Bilinear", "Identity", "LazyLinear", "Linear", "NonDynamicallyQuantizableLinear"]
