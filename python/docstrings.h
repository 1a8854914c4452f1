// Docstrings of what is bound by hand; tests/python/test_examples.py runs their examples.
#pragma once

namespace tenon::python::docs {

inline constexpr const char* kTensor =
    R"(tensor(data, *, dtype: dtype? = None, device: device? = None, requires_grad: bool = False)
    -> Tensor

A tensor with a copy of the data: numbers, nested sequences, a NumPy array or a tensor, whose
derivative isn't passed on. Without a dtype: the data's; Python floats become the default dtype.
Errors: TypeError for other data; ValueError for sequences whose lengths differ; RuntimeError for a
number that the dtype can't hold, for requires_grad with integers, for a device other than the cpu.

Example::

    >>> tn.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    >>> tn.tensor([1, 2.5], requires_grad=True)
    tensor([1.0000, 2.5000], requires_grad=True))";

inline constexpr const char* kAsTensor =
    R"(as_tensor(data, dtype: dtype? = None, device: device? = None) -> Tensor

The data as a tensor: a tensor of this dtype itself, a NumPy array of it shared, all else as
`tensor` has it, but a tensor's derivative is passed on.
Errors: those of `tensor`.

Example::

    >>> x = tn.ones(2)
    >>> tn.as_tensor(x) is x, tn.as_tensor(x, dtype=tn.int64)
    (True, tensor([1, 1])))";

inline constexpr const char* kFromNumpy = R"(from_numpy(ndarray) -> Tensor

A tensor that shares a NumPy array's memory: a write to either shows in both.
Errors: TypeError for another object and for a dtype that tensors lack; ValueError for negative
strides and for another byte order than the machine's; a write to a read-only array raises.

Example::

    >>> import numpy
    >>> a = numpy.zeros(2)
    >>> x = tn.from_numpy(a)
    >>> a[0] = 5
    >>> x
    tensor([5., 0.], dtype=tenon.float64))";

inline constexpr const char* kIsGradEnabled =
    R"(Whether this thread records derivatives: not in `no_grad()`.

Example::

    >>> tn.is_grad_enabled()
    True
    >>> with tn.no_grad():
    ...     print(tn.is_grad_enabled())
    False)";

inline constexpr const char* kGetDefaultDtype = R"(The floating dtype of values made without one.

Example::

    >>> tn.get_default_dtype(), tn.tensor(1.5).dtype
    (tenon.float32, tenon.float32))";

inline constexpr const char* kGetDefaultDevice =
    R"(Where this thread makes tensors without a device.

Example::

    >>> tn.get_default_device()
    device(type='cpu'))";

inline constexpr const char* kSetDefaultDevice =
    R"(Sets where this thread makes tensors without a device; None: on the cpu. `with device(...)`
does so for a while.

Errors: RuntimeError for a device that this machine lacks, with the reason.

Example::

    >>> tn.set_default_device("cpu")
    >>> with tn.device("cpu"):
    ...     x = tn.ones(2)
    >>> x.device
    device(type='cpu'))";

inline constexpr const char* kSetDefaultDtype =
    R"(Sets the floating dtype of values made without one, for all threads.
Errors: TypeError for a dtype that is not floating.

Example::

    >>> tn.set_default_dtype(tn.float64)
    >>> tn.tensor(1.5).dtype
    tenon.float64
    >>> tn.set_default_dtype(tn.float32))";

inline constexpr const char* kSetNumThreads =
    R"(Sets how many threads kernels may use, by default TENON_NUM_THREADS or one a core.
Errors: ValueError for a number outside 1..1024.

Example::

    >>> before = tn.get_num_threads()
    >>> tn.set_num_threads(1)
    >>> tn.get_num_threads()
    1
    >>> tn.set_num_threads(before))";

inline constexpr const char* kGetNumThreads = R"(How many threads kernels may use.

Example::

    >>> tn.get_num_threads() >= 1
    True)";

inline constexpr const char* kSetMemoryBudget =
    R"(Sets how many bytes tensors may take together, temporaries of running programs included; None: all
memory of the machine or control group (as TENON_MEMORY_LIMIT says at first). A program that would
take more computes values again rather than keep them, with the same results bit for bit.
Errors: ValueError for a negative number. What doesn't fit even so raises OutOfMemoryError when it
runs, naming the bytes asked for and free; no tensor has changed then.

Example::

    >>> tn.set_memory_budget(2**30)
    >>> tn.get_memory_budget()
    1073741824
    >>> tn.set_memory_budget(None))";

inline constexpr const char* kGetMemoryBudget = R"(How many bytes tensors may take together.

Example::

    >>> tn.get_memory_budget() > 0
    True)";

inline constexpr const char* kPromoteTypes =
    R"(The smallest dtype that holds what both hold; of an integer and a floating one, the floating
one.

Example::

    >>> tn.promote_types(tn.int64, tn.float16)
    tenon.float16
    >>> tn.promote_types(tn.uint8, tn.int8)
    tenon.int16)";

inline constexpr const char* kCanCast =
    R"(Whether a result of the first dtype may be stored in a tensor of the second in place: not
floating in integer, nor number in bool.

Example::

    >>> tn.can_cast(tn.int64, tn.float32), tn.can_cast(tn.float32, tn.int64)
    (True, False))";

inline constexpr const char* kFlush =
    R"(Runs what this thread has recorded; by default that happens when a value is read.
Errors: those of the recorded operations that only their data tells.

Example::

    >>> y = tn.ones(2) + 1
    >>> tn.flush()
    >>> " add " in tn.pending_trace()
    False)";

inline constexpr const char* kPendingTrace =
    R"(What this thread has recorded and not run, as text: a line for each operation, with where
it was called.

Example::

    >>> tn.flush()
    >>> y = tn.ones(2) + 1
    >>> " add " in tn.pending_trace()
    True)";

inline constexpr const char* kItem =
    R"(The value of a tensor of one element as a Python number. Runs what it depends on.
Errors: RuntimeError for another number of elements.

Example::

    >>> tn.tensor([2.5]).item()
    2.5)";

inline constexpr const char* kTolist =
    R"(The elements as nested lists of Python numbers, a number for 0-d. Runs what they depend on.

Example::

    >>> tn.tensor([[1, 2], [3, 4]]).tolist()
    [[1, 2], [3, 4]])";

inline constexpr const char* kNumel = R"(Number of elements.

Example::

    >>> tn.ones(2, 3).numel()
    6)";

inline constexpr const char* kNelement = R"(Number of elements.

Example::

    >>> tn.ones(2, 3).nelement()
    6)";

inline constexpr const char* kDim = R"(Number of dimensions.

Example::

    >>> tn.ones(2, 3).dim()
    2)";

inline constexpr const char* kNdimension = R"(Number of dimensions.

Example::

    >>> tn.ones(2, 3).ndimension()
    2)";

inline constexpr const char* kSize = R"(size(dim: int? = None) -> Size | int

The extents, or that of one dimension.
Errors: IndexError for a dim out of range.

Example::

    >>> tn.ones(2, 3).size(), tn.ones(2, 3).size(-1)
    (tenon.Size([2, 3]), 3))";

inline constexpr const char* kStride = R"(stride(dim: int? = None) -> tuple | int

How many elements apart neighbours along each dimension lie, or along one.
Errors: IndexError for a dim out of range.

Example::

    >>> tn.ones(2, 3).stride(), tn.ones(2, 3).T.stride(1)
    ((3, 1), 3))";

inline constexpr const char* kStorageOffset =
    R"(How many elements lie before the first one in its storage.

Example::

    >>> tn.ones(2, 3)[1].storage_offset()
    3)";

inline constexpr const char* kElementSize = R"(Bytes of an element.

Example::

    >>> tn.ones(2).element_size()
    4)";

inline constexpr const char* kIsContiguous =
    R"(Whether the elements lie in row-major order without gaps.

Example::

    >>> tn.ones(2, 3).is_contiguous(), tn.ones(2, 3).T.is_contiguous()
    (True, False))";

inline constexpr const char* kIsFloatingPoint = R"(Whether the dtype is floating.

Example::

    >>> tn.ones(2).is_floating_point()
    True)";

inline constexpr const char* kIsConj = R"(False: a conjugate is a value like any other.

Example::

    >>> tn.tensor([1j]).conj().is_conj()
    False
)";

inline constexpr const char* kIsNeg = R"(False: a negative is a value like any other.

Example::

    >>> (-tn.ones(2)).is_neg()
    False
)";

inline constexpr const char* kIsComplex = R"(Whether the dtype is complex.

Example::

    >>> tn.ones(2).is_complex()
    False)";

inline constexpr const char* kDetach =
    R"(A view of the same elements through which no derivative passes.

Example::

    >>> x = tn.ones(2, requires_grad=True)
    >>> x.detach().requires_grad
    False)";

inline constexpr const char* kRequiresGrad = R"(requires_grad_(requires_grad: bool = True) -> Tensor

Sets whether derivatives are recorded; returns the tensor.
Errors: RuntimeError for integers and bools, and to unset it on the result of an operation.

Example::

    >>> tn.ones(2).requires_grad_()
    tensor([1., 1.], requires_grad=True))";

inline constexpr const char* kRetainGrad =
    R"(Lets backward() keep the derivative of this result of an operation in its .grad.
Errors: RuntimeError for a tensor of which no derivative is recorded.

Example::

    >>> x = tn.ones(2, requires_grad=True)
    >>> y = x * 3
    >>> y.retain_grad()
    >>> (y * y).sum().backward()
    >>> y.grad
    tensor([6., 6.]))";

inline constexpr const char* kDataPtr =
    R"(Address of the first element, which stays where it is. Runs what the tensor depends on.

Example::

    >>> tn.ones(2).data_ptr() != 0
    True)";

inline constexpr const char* kBackward =
    R"(backward(gradient: Tensor? = None, retain_graph: bool? = None, create_graph: bool = False,
         inputs: Tensor[]? = None) -> None

Adds the derivatives of this tensor, weighed by `gradient`, to the .grad of the leaves it depends
on, or of `inputs`.
Errors: RuntimeError for a tensor of which no derivative is recorded, for more than one element
without a gradient, for a second time unless the first had retain_graph.

Example::

    >>> x = tn.tensor([1.0, 2.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    tensor([2., 4.]))";

inline constexpr const char* kIsSetTo = R"(is_set_to(tensor: Tensor) -> bool

Whether both are the same tensor.

Example::

    >>> x = tn.ones(2)
    >>> x.is_set_to(x), x.is_set_to(tn.ones(2))
    (True, False))";

inline constexpr const char* kDtypeType =
    R"(The type of a tensor's elements: tn.float32, tn.int64, tn.bool, ...

Example::

    >>> tn.float16.itemsize, tn.float16.is_floating_point
    (2, True))";

inline constexpr const char* kDeviceType = R"(Where tensors lie: "cpu", "cuda:0", "meta".
Errors: RuntimeError for another name.

Example::

    >>> tn.device("cuda", 1)
    device(type='cuda', index=1))";

inline constexpr const char* kGenerator =
    R"(A source of random numbers of its own: manual_seed, initial_seed, get_state, set_state.

Example::

    >>> g = tn.Generator().manual_seed(1)
    >>> h = tn.Generator().manual_seed(1)
    >>> tn.equal(tn.rand(3, generator=g), tn.rand(3, generator=h))
    True)";

inline constexpr const char* kTensorType =
    R"(Elements of one dtype in a rectangle of any number of dimensions. Operations on it are
recorded and run together when a value is read. Tensor(data) makes one of the default dtype; see also
`tensor`.

Example::

    >>> x = tn.Tensor([[1, 2], [3, 4]])
    >>> x.shape, x.dtype
    (tenon.Size([2, 2]), tenon.float32)
    >>> x[:, 1] + 10
    tensor([12., 14.]))";

}  // namespace tenon::python::docs
