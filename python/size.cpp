// tenon.Size: a tuple of extents whose parts and sums are Sizes.
#include "python/arguments.h"
#include "python/tensor_type.h"

namespace tenon::python {

PyTypeObject* size_type = nullptr;

namespace {

constexpr const char* kDoc = R"(A tuple of extents.

Example::

    >>> tn.Size([2, 3]).numel(), tn.Size([2, 3]) == (2, 3)
    (6, True))";

PyObject* allocate(Py_ssize_t length) { return checked(size_type->tp_alloc(size_type, length)); }

PyObject* from_tuple(PyObject* tuple) {
  const Py_ssize_t length = PyTuple_GET_SIZE(tuple);
  PyObject* size = allocate(length);
  for (Py_ssize_t i = 0; i < length; ++i) {
    PyTuple_SET_ITEM(size, i, Py_NewRef(PyTuple_GET_ITEM(tuple, i)));
  }
  return size;
}

PyObject* subscript(PyObject* self, PyObject* index) {
  return guarded([&] {
    PyObject* item = checked(PyTuple_Type.tp_as_mapping->mp_subscript(self, index));
    if (!PySlice_Check(index)) return item;
    PyObject* size = from_tuple(item);
    Py_DECREF(item);
    return size;
  });
}

// Other sequences join too: x.shape[:1] + [2, 3].
PyObject* concatenate(PyObject* self, PyObject* other) {
  return guarded([&] {
    PyObject* right = checked(PySequence_Tuple(other));
    const Py_ssize_t left = PyTuple_GET_SIZE(self);
    const Py_ssize_t length = left + PyTuple_GET_SIZE(right);
    PyObject* size = allocate(length);
    for (Py_ssize_t i = 0; i < length; ++i) {
      PyObject* item = i < left ? PyTuple_GET_ITEM(self, i) : PyTuple_GET_ITEM(right, i - left);
      PyTuple_SET_ITEM(size, i, Py_NewRef(item));
    }
    Py_DECREF(right);
    return size;
  });
}

PyObject* repeat(PyObject* self, Py_ssize_t times) {
  return guarded([&] {
    PyObject* tuple = checked(PyTuple_Type.tp_as_sequence->sq_repeat(self, times));
    PyObject* size = from_tuple(tuple);
    Py_DECREF(tuple);
    return size;
  });
}

PyObject* represent(PyObject* self) {
  return guarded([&] {
    PyObject* list = checked(PySequence_List(self));
    PyObject* text = PyUnicode_FromFormat("tenon.Size(%R)", list);
    Py_DECREF(list);
    return checked(text);
  });
}

PyObject* numel(PyObject* self, PyObject*) {
  return guarded([&] {
    PyObject* product = checked(PyLong_FromLong(1));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(self); ++i) {
      PyObject* next = PyNumber_Multiply(product, PyTuple_GET_ITEM(self, i));
      Py_DECREF(product);
      product = checked(next);
    }
    return product;
  });
}

PyMethodDef methods[] = {
    {"numel", numel, METH_NOARGS, "numel() -> int\n\nProduct of the extents."},
    {nullptr, nullptr, 0, nullptr},
};

}  // namespace

bool make_size_type(PyObject* module) {
  PyType_Slot slots[] = {
      {Py_tp_doc, const_cast<char*>(kDoc)},
      {Py_tp_methods, methods},
      {Py_tp_repr, reinterpret_cast<void*>(represent)},
      {Py_mp_subscript, reinterpret_cast<void*>(subscript)},
      {Py_sq_concat, reinterpret_cast<void*>(concatenate)},
      {Py_sq_repeat, reinterpret_cast<void*>(repeat)},
      {0, nullptr},
  };
  PyType_Spec spec = {
      .name = "tenon.Size",
      .basicsize = 0,  // a tuple's own: nothing is added
      .itemsize = 0,
      .flags = Py_TPFLAGS_DEFAULT,
      .slots = slots,
  };
  auto* base = reinterpret_cast<PyObject*>(&PyTuple_Type);
  PyObject* type = PyType_FromSpecWithBases(&spec, base);
  if (type == nullptr) return false;
  size_type = reinterpret_cast<PyTypeObject*>(type);
  return PyModule_AddObjectRef(module, "Size", type) == 0;
}

PyObject* make_size(std::span<const int64_t> dims) {
  PyObject* size = allocate(static_cast<Py_ssize_t>(dims.size()));
  for (size_t i = 0; i < dims.size(); ++i) {
    PyTuple_SET_ITEM(size, static_cast<Py_ssize_t>(i), PyLong_FromLongLong(dims[i]));
  }
  return size;
}

}  // namespace tenon::python
