"""tenon.bisect: names the first node that one way of computing gets wrong."""

import subprocess
import sys

import pytest

import tenon as tn
import tenon.bisect as module
import tenon.nn as nn
import tenon.nn.functional as F


def step(x):
    return F.softmax(x * 2 + x.sin(), dim=-1).sum(0)  # the line that a fault is planted in


def plant(monkeypatch, way, op):
    """A fault: one way of computing gives the operation another last bit."""
    run = module._run

    def faulty(program, nodes, how):
        values = run(program, nodes, how)
        if how != way:
            return values
        ops = program.nodes()
        for at, node in enumerate(nodes):
            if ops[node]["op"] == op:
                values[at] = values[at] * 1.0000002
        return values

    monkeypatch.setattr(module, "_run", faulty)


def test_nothing_differs():
    result = tn.bisect(step, tn.randn(5, 6))
    assert result.ok, str(result)
    assert result.compared["fused"] == result.compared["interpret"] > 5


@pytest.mark.parametrize("way", ["fused", "interpret"])
def test_names_the_planted_fault(monkeypatch, way):
    plant(monkeypatch, way, "exp")
    result = tn.bisect(step, tn.randn(5, 6))
    (finding,) = result.findings
    assert finding.way == way
    assert " = exp %" in finding.text and "test_bisect.py:15" in finding.line, str(finding)
    assert "elements, the first" in finding.detail


def test_names_what_pytorch_computes_otherwise(monkeypatch):
    torch = pytest.importorskip("torch")
    import tenon._torch_nodes as nodes

    monkeypatch.setitem(nodes._RENAMED, "sin", torch.cos)
    monkeypatch.setattr(nodes, "_SAME", [op for op in nodes._SAME if op != "sin"])
    result = tn.bisect(step, tn.randn(5, 6))
    assert [finding.way for finding in result.findings] == ["torch"]
    assert " = sin %" in result.findings[0].text


def test_a_training_step_with_captured_parameters():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    target = tn.tensor([0, 2])

    def train(x):
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        return [loss, *(p.grad for p in model.parameters())]

    result = tn.bisect(train, tn.randn(2, 4))
    assert result.ok, str(result)


def test_saved_steps(tmp_path):
    path = tmp_path / "step"
    tn.bisect.save_step(path, step, tn.randn(5, 6))
    assert tn.bisect(tn.bisect.load_step(path)).ok
    done = subprocess.run(
        [sys.executable, "-m", "tenon.bisect", str(path)], capture_output=True, text=True
    )
    assert done.returncode == 0 and "no node differs" in done.stdout, done.stderr
    tn.save_safetensors({"a": tn.ones(1)}, tmp_path / "other")
    with pytest.raises(ValueError, match="holds no step"):
        tn.bisect.load_step(tmp_path / "other")


def test_errors():
    with pytest.raises(ValueError, match="way"):
        tn.bisect(step, tn.ones(2, 2), ways=["cuda"])
    with pytest.raises(ValueError, match="must return"):
        tn.bisect(lambda x: None, tn.ones(2))
    with pytest.raises(RuntimeError, match="reads a value"):
        tn.bisect(lambda x: x * x.sum().item(), tn.ones(2))
