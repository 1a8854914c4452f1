"""Learning-rate schedules. See `torch.optim.lr_scheduler`.

A schedule changes `group["lr"]`, which is an argument of the optimizer's program: nothing is
compiled anew. Most multiply the present rate, as PyTorch's do, so that they can be chained.
"""

from ._base import LRScheduler, _LRScheduler
from ._composed import ChainedScheduler, SequentialLR
from ._cyclic import CyclicLR
from ._factors import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from ._one_cycle import OneCycleLR
from ._plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
    "_LRScheduler",
]
