"""Distances. The names of `torch.nn.modules.distance`."""

from .. import CosineSimilarity, PairwiseDistance

__all__ = ["CosineSimilarity", "PairwiseDistance"]
