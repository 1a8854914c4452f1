"""PyTorch's operation database as the judge of Tenon's operations; see docs/operations.md."""
