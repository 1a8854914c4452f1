"""PyTorch and Tenon behind one interface, so that a program is written once and run in both."""

import pytest

import tenon

torch = pytest.importorskip("torch")


class Package:
    """One of the two packages, so that a program can be written once."""

    def __init__(self, root):
        self.root = root
        self.nn = root.nn

    def net(self):
        nn = self.nn

        class Block(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(3, 3)
                self.norm = nn.LayerNorm(3)

            def forward(self, x):
                return self.norm(self.linear(x))

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.first = nn.Linear(2, 3, bias=False)
                self.blocks = nn.ModuleList([Block() for _ in range(3)])
                self.drop = nn.Dropout(0.25)
                self.heads = nn.ModuleDict({"a": nn.Linear(3, 1), "b": nn.ReLU()})
                self.register_buffer("steps", self_root.zeros(2))
                self.register_buffer("scratch", self_root.zeros(1), persistent=False)
                self.register_parameter("absent", None)
                self.scale = nn.Parameter(self_root.ones(3))
                self.tied = self.blocks[0].linear

            def forward(self, x):
                x = self.first(x) * self.scale
                for block in self.blocks:
                    x = block(x)
                return self.heads["a"](self.drop(x))

        self_root = self.root
        return Net()


PACKAGES = [Package(torch), Package(tenon)]
