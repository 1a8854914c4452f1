// x[...] and x[...] = value.
#include "core/error.h"
#include "generated/functions.h"
#include "python/arguments.h"
#include "python/tensor_type.h"
#include "trace/ops/index.h"

namespace tenon::python {
namespace {

std::optional<int64_t> bound(PyObject* object) {
  if (object == Py_None) return std::nullopt;
  if (!PyIndex_Check(object)) {
    raise_type_error("slice indices must be integers or None or have an __index__ method");
  }
  // Beyond 64 bits a bound is as good as the end.
  const Py_ssize_t number = PyNumber_AsSsize_t(object, nullptr);
  if (number == -1 && PyErr_Occurred()) throw PythonError{};
  return number;
}

Index to_index(PyObject* item) {
  if (PyBool_Check(item)) return Index::of(full(IntList{}, Scalar(item == Py_True)));
  if (PyLong_Check(item)) return Index::at(to_int(item));
  if (PySlice_Check(item)) {
    const auto* slice = reinterpret_cast<PySliceObject*>(item);
    return Index::range(bound(slice->start), bound(slice->stop), bound(slice->step).value_or(1));
  }
  if (item == Py_Ellipsis) return Index::ellipsis();
  if (item == Py_None) return Index::new_axis();
  if (is_tensor(item)) {
    // A 0-d integer stands for its value, but reading it would end the trace: it stays an index.
    return Index::of(to_tensor(item));
  }
  if (PyList_Check(item) || PyTuple_Check(item) || PyObject_HasAttrString(item, "__array__")) {
    if (PyIndex_Check(item) && !PyObject_HasAttrString(item, "__len__")) {
      return Index::at(to_int(item));
    }
    Tensor tensor = tensor_from_data(item, std::nullopt);
    if (tensor.numel() == 0 && is_floating(tensor.dtype())) tensor = tensor.long_();
    return Index::of(tensor);
  }
  if (PyIndex_Check(item)) return Index::at(to_int(item));
  PyErr_Format(PyExc_IndexError,
               "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are "
               "valid indices (got %s)",
               Py_TYPE(item)->tp_name);
  throw PythonError{};
}

std::vector<Index> to_indices(PyObject* object) {
  std::vector<Index> items;
  if (!PyTuple_Check(object)) {
    items.push_back(to_index(object));
    return items;
  }
  const Py_ssize_t count = PyTuple_GET_SIZE(object);
  items.reserve(count);
  for (Py_ssize_t i = 0; i < count; ++i) items.push_back(to_index(PyTuple_GET_ITEM(object, i)));
  return items;
}

}  // namespace

PyObject* get_item(PyObject* self, PyObject* object) {
  return guarded([&]() -> PyObject* {
    const Tensor& x = to_tensor(self);
    if (PyLong_CheckExact(object) && x.rank() > 0) {
      const int64_t at = to_int(object), extent = x.dims()[0];
      check(at >= -extent && at < extent, ErrorKind::Index,
            "index {} is out of bounds for dimension 0 with size {}", at, extent);
      return wrap(select(x, 0, at));
    }
    check(x.rank() > 0 || !PyLong_CheckExact(object), ErrorKind::Index,
          "invalid index of a 0-dim tensor. Use `tensor.item()` in Python");
    return wrap(index(x, to_indices(object)));
  });
}

void put_items(const Tensor& x, PyObject* items, PyObject* value, bool accumulate) {
  index_put(x, to_indices(items), tensor_from_operand(value, x), accumulate);
}

int set_item(PyObject* self, PyObject* object, PyObject* value) {
  if (value == nullptr) {
    PyErr_SetString(PyExc_TypeError, "Tensor doesn't support item deletion");
    return -1;
  }
  try {
    const Tensor& x = to_tensor(self);
    index_put(x, to_indices(object), tensor_from_operand(value, x));
    return 0;
  } catch (...) {
    translate_exception();
    return -1;
  }
}

}  // namespace tenon::python
