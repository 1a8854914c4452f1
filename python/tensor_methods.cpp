// Attributes of tensors, and methods that are no operations.
#include <cstring>
#include <optional>

#include "autograd/autograd.h"
#include "core/error.h"
#include "generated/functions.h"
#include "python/arguments.h"
#include "python/docstrings.h"
#include "python/tensor_type.h"
#include "trace/capture.h"

namespace tenon::python {
namespace {

PyObject* none() { return Py_NewRef(Py_None); }

// ---- methods
// ----------------------------------------------------------------------------------------

PyObject* item(PyObject* self, PyObject*) {
  return guarded([&] { return to_python_number(to_tensor(self)); });
}
PyObject* tolist(PyObject* self, PyObject*) {
  return guarded([&] { return to_list(to_tensor(self)); });
}
PyObject* numel(PyObject* self, PyObject*) { return PyLong_FromLongLong(to_tensor(self).numel()); }
PyObject* dim(PyObject* self, PyObject*) { return PyLong_FromLong(to_tensor(self).rank()); }

PyObject* size(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return guarded([&]() -> PyObject* {
    static const Overloads overloads{
        {{"size",
          "size(dim: int? = None) -> Size | int",
          {{"input", "", Kind::Tensor, kRequired}, {"dim", "", Kind::Int, kOptional}}}}};
    PyObject* slots[kMostParameters];
    Holder holder;
    overloads.bind(self, args, nargs, names, slots, holder);
    const Tensor& x = to_tensor(self);
    if (slots[1] == nullptr || slots[1] == Py_None) return make_size(x.dims());
    return PyLong_FromLongLong(x.size(to_int(slots[1])));
  });
}

PyObject* stride(PyObject* self, PyObject* const* args, Py_ssize_t nargs) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = to_tensor(self);
    if (nargs > 0) {
      const int64_t axis = to_int(args[0]), rank = x.rank();
      x.size(axis);  // checks it
      return PyLong_FromLongLong(x.strides()[axis < 0 ? axis + rank : axis]);
    }
    PyObject* tuple = checked(PyTuple_New(x.rank()));
    for (int i = 0; i < x.rank(); ++i) {
      PyTuple_SET_ITEM(tuple, i, PyLong_FromLongLong(x.strides()[i]));
    }
    return tuple;
  });
}

PyObject* storage_offset(PyObject* self, PyObject*) {
  return PyLong_FromLongLong(to_tensor(self).storage_offset());
}
PyObject* element_size(PyObject* self, PyObject*) {
  return PyLong_FromSize_t(size_of(to_tensor(self).dtype()));
}
PyObject* is_contiguous(PyObject* self, PyObject*, PyObject*) {
  return PyBool_FromLong(to_tensor(self).is_contiguous());
}
PyObject* is_floating_point(PyObject* self, PyObject*) {
  return PyBool_FromLong(is_floating(to_tensor(self).dtype()));
}
// Conjugates are values of their own: nothing is left to resolve.
PyObject* is_conj_method(PyObject*, PyObject*) { Py_RETURN_FALSE; }
PyObject* is_complex_method(PyObject* self, PyObject*) {
  return PyBool_FromLong(is_complex(to_tensor(self).dtype()));
}

PyObject* detach_method(PyObject* self, PyObject*) {
  return guarded([&] { return wrap(detach(to_tensor(self))); });
}

PyObject* requires_grad_(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject*) {
  return guarded([&] {
    to_tensor(self).set_requires_grad(nargs == 0 || to_bool(args[0]));
    return Py_NewRef(self);
  });
}

PyObject* retain_grad(PyObject* self, PyObject*) {
  return guarded([&] {
    to_tensor(self).retain_grad();
    return none();
  });
}

PyObject* data_ptr(PyObject* self, PyObject*) {
  return guarded([&] {
    const Tensor plain = detach(to_tensor(self));
    const Buffer buffer = plain.expose();
    // Nobody tells when a bare address is forgotten, so the storage stays exposed for good.
    buffer.storage->exposures.fetch_add(1, std::memory_order_release);
    auto* address = static_cast<std::byte*>(buffer.storage->data()) +
                    buffer.offset * static_cast<int64_t>(size_of(plain.dtype()));
    return PyLong_FromVoidPtr(address);
  });
}

PyObject* backward(PyObject* self, PyObject* const* args, Py_ssize_t nargs, PyObject* names) {
  return guarded([&] {
    static const Overloads overloads{{{"backward",
                                       "backward(gradient: Tensor? = None, retain_graph: bool? = "
                                       "None, create_graph: bool = False, "
                                       "inputs: Tensor[]? = None) -> None",
                                       {{"input", "", Kind::Tensor, kRequired},
                                        {"gradient", "", Kind::Tensor, kOptional},
                                        {"retain_graph", "", Kind::Bool, kOptional},
                                        {"create_graph", "", Kind::Bool, 0},
                                        {"inputs", "", Kind::Tensors, kOptional}}}}};
    PyObject* slots[kMostParameters];
    Holder holder;
    overloads.bind(self, args, nargs, names, slots, holder);
    const Tensor root = to_tensor(self), gradient = to_tensor_or_none(slots[1]);
    const bool create_graph = slots[3] != nullptr && to_bool(slots[3]);
    const bool retain = optional(slots[2], to_bool).value_or(create_graph);
    const TensorList inputs = optional(slots[4], to_tensors).value_or(TensorList{});
    const EffectScope effect(Effect::Backward, root);
    autograd::backward({&root, 1}, {&gradient, gradient.defined() ? size_t{1} : size_t{0}}, retain,
                       create_graph, inputs);
    return none();
  });
}

PyObject* to_dtype_method(PyObject* self, PyObject* dtype) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = to_tensor(self);
    const DType target = to_dtype(dtype);
    if (x.dtype() == target) return Py_NewRef(self);
    OpScope scope("to");
    return wrap(scope.result(ops::cast(scope.use(x), target)));
  });
}

PyObject* to_device_method(PyObject* self, PyObject* device) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = to_tensor(self);
    const Device target = to_device(device);
    return x.device() == target ? Py_NewRef(self) : wrap(to(x, target));
  });
}

PyObject* is_same(PyObject* self, PyObject* other) {
  return PyBool_FromLong(is_tensor(other) && to_tensor(self).same(to_tensor(other)));
}

template <class Function>
PyCFunction as_method(Function* function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

// ---- attributes
// -------------------------------------------------------------------------------------

PyObject* get_shape(PyObject* self, void*) {
  return guarded([&] { return make_size(to_tensor(self).dims()); });
}
PyObject* get_dtype(PyObject* self, void*) {
  return guarded([&] { return Py_NewRef(dtype_object(to_tensor(self).dtype())); });
}
PyObject* get_device(PyObject* self, void*) {
  return guarded([&] { return device_object(to_tensor(self).device()); });
}
PyObject* get_is_cuda(PyObject* self, void*) {
  return guarded([&] { return PyBool_FromLong(to_tensor(self).device().is_cuda()); });
}
PyObject* get_ndim(PyObject* self, void*) { return PyLong_FromLong(to_tensor(self).rank()); }
PyObject* get_itemsize(PyObject* self, void*) { return element_size(self, nullptr); }
PyObject* get_nbytes(PyObject* self, void*) {
  const Tensor& x = to_tensor(self);
  return PyLong_FromSize_t(static_cast<size_t>(x.numel()) * size_of(x.dtype()));
}
PyObject* get_false(PyObject*, void*) { Py_RETURN_FALSE; }

PyObject* get_transposed(PyObject* self, void*) {
  return guarded([&] {
    const Tensor& x = to_tensor(self);
    IntList dims;
    for (int i = x.rank() - 1; i >= 0; --i) dims.push_back(i);
    return wrap(permute(x, dims));
  });
}
PyObject* get_matrix_transposed(PyObject* self, void*) {
  return guarded([&] {
    const Tensor& x = to_tensor(self);
    check(x.rank() >= 2, ErrorKind::Runtime,
          "tensor.mT is only supported on matrices or batches of matrices. Got {}-D tensor.",
          x.rank());
    return wrap(transpose(x, -2, -1));
  });
}

PyObject* get_conjugate_transposed(PyObject* self, void*) {
  return guarded([&] { return wrap(adjoint(to_tensor(self))); });
}
PyObject* get_hermitian(PyObject* self, void*) {
  return guarded([&] {
    const Tensor& x = to_tensor(self);
    check(x.rank() == 2 || x.rank() == 0, ErrorKind::Runtime,
          "tensor.H is only supported on matrices (2-D tensors). Got {}-D tensor.{}", x.rank(),
          x.rank() > 2 ? " For batches of matrices, consider using tensor.mH" : "");
    return x.rank() == 0 ? wrap(conj(x)) : wrap(adjoint(x));
  });
}
PyObject* get_real(PyObject* self, void*) {
  return guarded([&] {
    const Tensor& x = to_tensor(self);
    return is_complex(x.dtype()) ? wrap(real(x)) : Py_NewRef(self);
  });
}
PyObject* get_imag(PyObject* self, void*) {
  return guarded([&] { return wrap(imag(to_tensor(self))); });
}
// The right-hand side as a tensor of the part's dtype, copied into the view of the part.
int set_part(PyObject* part, PyObject* value) {
  if (part == nullptr) return -1;
  PyObject* written =
      value ? PyObject_CallMethod(part, "__setitem__", "OO", Py_Ellipsis, value) : nullptr;
  if (!value) PyErr_SetString(PyExc_RuntimeError, "the parts of a tensor can't be deleted");
  Py_DECREF(part);
  if (written == nullptr) return -1;
  Py_DECREF(written);
  return 0;
}
int set_real(PyObject* self, PyObject* value, void*) {
  return set_part(get_real(self, nullptr), value);
}
int set_imag(PyObject* self, PyObject* value, void*) {
  return set_part(get_imag(self, nullptr), value);
}

PyObject* get_requires_grad(PyObject* self, void*) {
  return guarded([&] { return wrap(to_tensor(self).requires_grad()); });
}
int set_requires_grad(PyObject* self, PyObject* value, void*) {
  try {
    if (value == nullptr || !PyBool_Check(value)) {
      raise_type_error("requires_grad must be a bool");
    }
    to_tensor(self).set_requires_grad(value == Py_True);
    return 0;
  } catch (...) {
    translate_exception();
    return -1;
  }
}
PyObject* get_is_leaf(PyObject* self, void*) {
  return guarded([&] { return wrap(to_tensor(self).is_leaf()); });
}

PyObject* get_grad(PyObject* self, void*) {
  return guarded([&] { return wrap(to_tensor(self).grad()); });
}
int set_grad(PyObject* self, PyObject* value, void*) {
  try {
    if (value != nullptr && value != Py_None && !is_tensor(value)) {
      raise_type_error("assigned grad expected to be a Tensor or None but got grad of %s",
                       Py_TYPE(value)->tp_name);
    }
    std::optional<EffectScope> effect;
    if (value == nullptr || value == Py_None) effect.emplace(Effect::ZeroGrad);
    to_tensor(self).set_grad(to_tensor_or_none(value));
    return 0;
  } catch (...) {
    translate_exception();
    return -1;
  }
}

PyObject* get_data(PyObject* self, void*) {
  return guarded([&] { return wrap(detach(to_tensor(self))); });
}
int set_data(PyObject* self, PyObject* value, void*) {
  try {
    if (value == nullptr || !is_tensor(value)) raise_type_error("Variable data has to be a tensor");
    to_tensor(self).set_data(to_tensor(value));
    return 0;
  } catch (...) {
    translate_exception();
    return -1;
  }
}

PyObject* get_version(PyObject* self, void*) {
  return PyLong_FromLongLong(to_tensor(self).version());
}
PyObject* get_base(PyObject* self, void*) {
  return guarded([&] { return wrap(to_tensor(self).base()); });
}

}  // namespace

PyMethodDef tensor_methods[] = {
    {"item", item, METH_NOARGS, docs::kItem},
    {"tolist", tolist, METH_NOARGS, docs::kTolist},
    {"numel", numel, METH_NOARGS, docs::kNumel},
    {"nelement", numel, METH_NOARGS, docs::kNelement},
    {"dim", dim, METH_NOARGS, docs::kDim},
    {"ndimension", dim, METH_NOARGS, docs::kNdimension},
    {"size", as_method(size), METH_FASTCALL | METH_KEYWORDS, docs::kSize},
    {"stride", as_method(stride), METH_FASTCALL, docs::kStride},
    {"storage_offset", storage_offset, METH_NOARGS, docs::kStorageOffset},
    {"element_size", element_size, METH_NOARGS, docs::kElementSize},
    {"is_contiguous", as_method(is_contiguous), METH_VARARGS | METH_KEYWORDS, docs::kIsContiguous},
    {"is_floating_point", is_floating_point, METH_NOARGS, docs::kIsFloatingPoint},
    {"is_complex", is_complex_method, METH_NOARGS, docs::kIsComplex},
    {"is_conj", is_conj_method, METH_NOARGS, docs::kIsConj},
    {"is_neg", is_conj_method, METH_NOARGS, docs::kIsNeg},
    {"detach", detach_method, METH_NOARGS, docs::kDetach},
    {"requires_grad_", as_method(requires_grad_), METH_FASTCALL | METH_KEYWORDS,
     docs::kRequiresGrad},
    {"retain_grad", retain_grad, METH_NOARGS, docs::kRetainGrad},
    {"data_ptr", data_ptr, METH_NOARGS, docs::kDataPtr},
    {"backward", as_method(backward), METH_FASTCALL | METH_KEYWORDS, docs::kBackward},
    {"_to_dtype", to_dtype_method, METH_O, "The tensor in a dtype; itself if it has it."},
    {"_to_device", to_device_method, METH_O, "The tensor on a device; itself if it is there."},
    {"is_set_to", is_same, METH_O, docs::kIsSetTo},
    {nullptr, nullptr, 0, nullptr},
};

PyGetSetDef tensor_attributes[] = {
    {"shape", get_shape, nullptr, "The extents.", nullptr},
    {"dtype", get_dtype, nullptr, "The dtype of the elements.", nullptr},
    {"device", get_device, nullptr, "Where the elements lie.", nullptr},
    {"ndim", get_ndim, nullptr, "Number of dimensions.", nullptr},
    {"itemsize", get_itemsize, nullptr, "Bytes of an element.", nullptr},
    {"nbytes", get_nbytes, nullptr, "Bytes of all elements.", nullptr},
    {"T", get_transposed, nullptr, "A view with the dimensions in reverse order.", nullptr},
    {"mT", get_matrix_transposed, nullptr, "A view with the last two dimensions exchanged.",
     nullptr},
    {"mH", get_conjugate_transposed, nullptr, "The conjugate transpose of matrices.", nullptr},
    {"H", get_hermitian, nullptr, "The conjugate transpose of a matrix.", nullptr},
    {"real", get_real, set_real, "A view of the real parts.", nullptr},
    {"imag", get_imag, set_imag, "A view of the imaginary parts.", nullptr},
    {"requires_grad", get_requires_grad, set_requires_grad, "Whether derivatives are recorded.",
     nullptr},
    {"is_leaf", get_is_leaf, nullptr, "Whether it was made by no recorded operation.", nullptr},
    {"grad", get_grad, set_grad, "The accumulated derivative, or None.", nullptr},
    {"data", get_data, set_data, "The same elements, without derivatives.", nullptr},
    {"is_cuda", get_is_cuda, nullptr, "Whether it lies on a CUDA device.", nullptr},
    {"is_sparse", get_false, nullptr, "False.", nullptr},
    {"is_quantized", get_false, nullptr, "False.", nullptr},
    {"is_meta", get_false, nullptr, "Whether it lies on the meta device.", nullptr},
    {"_version", get_version, nullptr, "How often it was written in place.", nullptr},
    {"_base", get_base, nullptr, "The tensor that this one is a view of, or None.", nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr},
};

}  // namespace tenon::python
