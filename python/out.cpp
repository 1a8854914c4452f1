// `out=`, and objects that come to name another tensor.
#include <algorithm>
#include <span>
#include <vector>

#include "core/error.h"
#include "generated/functions.h"
#include "python/arguments.h"
#include "python/tensor_type.h"

namespace tenon::python {
namespace {

using Function = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);

Py_ssize_t place_of_out(PyObject* names) {
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); ++i) {
    if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), "out") == 0) return i;
  }
  return -1;
}

void check_differentiation(const Tensor& tensor) {
  check(!is_grad_enabled() || !tensor.requires_grad(), ErrorKind::Runtime,
        "functions with out=... arguments don't support automatic differentiation, but one of the "
        "arguments requires grad.");
}

// What a tensor shows of the memory that it shares with its views.
struct Region {
  int64_t first, last;
  bool is_dense;  // every place in between, once
};

Region region_of(const Tensor& x) {
  Region region{x.storage_offset(), x.storage_offset(), false};
  for (int d = 0; d < x.rank(); ++d) {
    const int64_t reach = (x.dims()[d] - 1) * x.strides()[d];
    (reach < 0 ? region.first : region.last) += reach;
  }
  region.is_dense = region.last - region.first + 1 == x.numel();
  return region;
}

// That no place is shown twice.
void check_places(const Tensor& x) {
  for (int d = 0; d < x.rank(); ++d) {
    check(
        x.strides()[d] != 0 || x.dims()[d] <= 1, ErrorKind::Runtime,
        "unsupported operation: more than one element of the written-to tensor refers to a single "
        "memory location. Please clone() the tensor before performing the operation.");
  }
}

void check_sharing(const Tensor& operand, const Tensor& target, Sharing sharing) {
  const auto root_of = [](const Tensor& x) { return x.is_view() ? x.base() : x; };
  if (!root_of(operand).same(root_of(target))) return;
  if (operand.numel() == 0 || target.numel() == 0) return;
  const Region a = region_of(operand), b = region_of(target);
  if (!a.is_dense || !b.is_dense || a.last < b.first || b.last < a.first) return;
  const bool same = a.first == b.first && a.last == b.last &&
                    std::ranges::equal(operand.strides(), target.strides());
  check(same && sharing == Sharing::Whole, ErrorKind::Runtime,
        "unsupported operation: some elements of the input tensor and the written-to tensor refer "
        "to a single memory location. Please clone() the tensor before performing the operation.");
}

// The receivers against all tensors of the call, those in lists included.
void check_sharing(std::span<PyObject* const> given, PyObject* receiver, Sharing sharing) {
  if (sharing == Sharing::Any) return;
  const Tensor& target = to_tensor(receiver);
  if (sharing == Sharing::None) check_places(target);  // whatever its size
  for (PyObject* object : given) {
    if (is_tensor(object)) check_sharing(to_tensor(object), target, sharing);
    if (!PyTuple_Check(object) && !PyList_Check(object)) continue;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(object); ++i) {
      PyObject* item = PySequence_Fast_ITEMS(object)[i];
      if (is_tensor(item)) check_sharing(to_tensor(item), target, sharing);
    }
  }
}

void store(PyObject* receiver, PyObject* result, bool casts) {
  const Tensor& value = to_tensor(result);
  const Tensor target = to_tensor(receiver);
  check_differentiation(value);
  check_differentiation(target);
  if (casts) {
    check(can_cast(value.dtype(), target.dtype()), ErrorKind::Runtime,
          "result type {} can't be cast to the desired output type {}", name_of(value.dtype()),
          name_of(target.dtype()));
  } else {
    check(value.dtype() == target.dtype(), ErrorKind::Runtime,
          "Expected out tensor to have dtype {}, but got {} instead", name_of(value.dtype()),
          name_of(target.dtype()));
  }
  if (std::ranges::equal(value.dims(), target.dims())) {
    check_places(target);
    copy_(target, value);
    return;
  }
  OpScope scope("out");
  Py_DECREF(become(receiver, scope.result(ops::cast(scope.use(value), target.dtype()))));
}

}  // namespace

bool has_out_keyword(PyObject* names) { return place_of_out(names) >= 0; }

PyObject* become(PyObject* self, const Tensor& tensor) {
  Tensor& named = reinterpret_cast<TensorObject*>(self)->tensor;
  const bool is_leaf = named.requires_grad() && named.is_leaf();
  check(!is_leaf || !is_grad_enabled(), ErrorKind::Runtime,
        "{}: a leaf Variable that requires grad is being used in an in-place operation.",
        current_operation());
  if (is_leaf) {
    named.set_data(tensor);  // stays the leaf that it is
  } else {
    named = tensor;
  }
  return Py_NewRef(self);
}

PyObject* call_with_out(Function function, bool casts, Sharing sharing, PyObject* const* args,
                        Py_ssize_t nargs, PyObject* names) {
  return guarded([&]() -> PyObject* {
    const Py_ssize_t at = place_of_out(names), count = PyTuple_GET_SIZE(names);
    PyObject* receivers = args[nargs + at];
    std::vector<PyObject*> given(args, args + nargs + count);
    given.erase(given.begin() + nargs + at);
    PyObject* others = checked(PyTuple_New(count - 1));
    for (Py_ssize_t i = 0, next = 0; i < count; ++i) {
      if (i != at) PyTuple_SET_ITEM(others, next++, Py_NewRef(PyTuple_GET_ITEM(names, i)));
    }
    PyObject* result = function(nullptr, given.data(), nargs, others);
    Py_DECREF(others);
    checked(result);
    if (receivers == Py_None) return result;
    Holder holder;
    holder.made = result;
    if (is_tensor(result)) {
      if (!is_tensor(receivers)) {
        raise_type_error("argument 'out' must be Tensor, not %s", Py_TYPE(receivers)->tp_name);
      }
      check_sharing(given, receivers, sharing);
      store(receivers, result, casts);
      return Py_NewRef(receivers);
    }
    const Py_ssize_t parts = PyTuple_GET_SIZE(result);
    if (!PyTuple_Check(receivers) && !PyList_Check(receivers)) {
      raise_type_error("argument 'out' must be tuple of Tensors, not %s",
                       Py_TYPE(receivers)->tp_name);
    }
    if (PySequence_Fast_GET_SIZE(receivers) != parts) {
      raise_type_error("argument 'out' must hold %zd Tensors", parts);
    }
    PyObject** each = PySequence_Fast_ITEMS(receivers);
    for (Py_ssize_t i = 0; i < parts; ++i) {
      if (!is_tensor(each[i])) {
        raise_type_error("argument 'out' must be tuple of Tensors, not of %s",
                         Py_TYPE(each[i])->tp_name);
      }
    }
    for (Py_ssize_t i = 0; i < parts; ++i) check_sharing(given, each[i], sharing);
    for (Py_ssize_t i = 0; i < parts; ++i) store(each[i], PyTuple_GET_ITEM(result, i), casts);
    PyObject* type = reinterpret_cast<PyObject*>(Py_TYPE(result));
    return checked(PyObject_Vectorcall(type, each, parts, nullptr));  // the same named tuple
  });
}

}  // namespace tenon::python
