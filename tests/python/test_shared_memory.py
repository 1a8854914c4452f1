"""Tensors in memory that forked processes share, and objects of Tensor's subclasses."""

import os

import pytest

import tenon as tn


def in_child(function):
    """Runs a function in a forked process, which must end well."""
    child = os.fork()
    if child == 0:
        try:
            function()
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_writes_of_a_child_are_seen():
    x = tn.arange(6.0).reshape(2, 3).t().clone()
    row = x[1]
    assert not x.is_shared()
    assert x.share_memory_() is x
    assert x.is_shared() and row.is_shared() and not x.clone().is_shared()
    assert x.stride() == (1, 3) and x.tolist() == [[0, 3], [1, 4], [2, 5]]
    in_child(lambda: x.add_(10))
    assert x.tolist() == [[10, 13], [11, 14], [12, 15]] and row.tolist() == [11, 14]
    in_child(lambda: row.zero_())
    assert x[1].tolist() == [0, 0]
    x.mul_(2)
    assert x.is_shared()


def test_a_child_reads_what_its_parent_writes():
    x = tn.zeros(4).share_memory_()
    read, write = os.pipe()

    def child():
        os.read(read, 1)
        assert x.tolist() == [7, 7, 7, 7]

    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException:
            os._exit(1)
        os._exit(0)
    x.fill_(7)
    os.write(write, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(read)
    os.close(write)


def test_modules_are_trained_by_a_child():
    layer = tn.nn.BatchNorm1d(3)
    assert layer.share_memory() is layer
    assert all(x.is_shared() for x in (*layer.parameters(), *layer.buffers()))
    before = layer.weight.tolist()

    def step():
        optimizer = tn.optim.SGD(layer.parameters(), lr=0.5)
        (layer(tn.randn(8, 3)) ** 3).sum().backward()
        optimizer.step()

    in_child(step)
    assert layer.weight.tolist() != before
    assert layer.num_batches_tracked.item() == 1
    (layer(tn.ones(2, 3)) * 2).sum().backward()
    assert layer.weight.grad is not None and layer.weight.requires_grad


def test_what_holds_nothing_and_what_is_shared_already():
    assert tn.ones(0).share_memory_().numel() == 0
    x = tn.ones(3).share_memory_()
    address = x.data_ptr()
    assert x.share_memory_().data_ptr() == address


class Weight(tn.Tensor):
    pass


def test_subclasses():
    x = tn.ones(2, requires_grad=True)
    y = (x * 2).as_subclass(Weight)
    assert type(y) is Weight and y.requires_grad
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]
    memory = tn.zeros(2)
    memory.as_subclass(Weight).add_(1)
    assert memory.tolist() == [1, 1]
    leaf = tn.Tensor._make_subclass(Weight, memory, True)
    assert type(leaf) is Weight and leaf.is_leaf and leaf.requires_grad
    for wrong in (int, 3):
        with pytest.raises(TypeError):
            memory.as_subclass(wrong)
