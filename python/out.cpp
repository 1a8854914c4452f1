// `out=`, and objects that come to name another tensor.
#include <algorithm>
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

PyObject* call_with_out(Function function, bool casts, PyObject* const* args, Py_ssize_t nargs,
                        PyObject* names) {
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
    for (Py_ssize_t i = 0; i < parts; ++i) store(each[i], PyTuple_GET_ITEM(result, i), casts);
    PyObject* type = reinterpret_cast<PyObject*>(Py_TYPE(result));
    return checked(PyObject_Vectorcall(type, each, parts, nullptr));  // the same named tuple
  });
}

}  // namespace tenon::python
