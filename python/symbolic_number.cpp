#include "python/symbolic_number.h"

namespace tenon::python {

PyTypeObject* symbolic_number_type = nullptr;

namespace {

// _SymbolicNumber(value, symbol)
PyObject* create(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject* value;
  unsigned symbol;
  if (!PyArg_ParseTuple(args, "OI", &value, &symbol)) return nullptr;
  if ((!PyFloat_CheckExact(value) && !PyLong_CheckExact(value)) || symbol == 0) {
    PyErr_SetString(PyExc_TypeError, "a symbolic number wants an int or float, and a symbol");
    return nullptr;
  }
  PyObject* self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  reinterpret_cast<SymbolicNumberObject*>(self)->value = Py_NewRef(value);
  reinterpret_cast<SymbolicNumberObject*>(self)->symbol = symbol;
  return self;
}

void deallocate(PyObject* self) {
  PyTypeObject* type = Py_TYPE(self);
  Py_XDECREF(reinterpret_cast<SymbolicNumberObject*>(self)->value);
  type->tp_free(self);
  Py_DECREF(type);
}

}  // namespace

bool make_symbolic_number_type(PyObject* module) {
  PyType_Slot slots[] = {
      {Py_tp_new, reinterpret_cast<void*>(create)},
      {Py_tp_dealloc, reinterpret_cast<void*>(deallocate)},
      {0, nullptr},
  };
  PyType_Spec spec = {
      .name = "tenon._SymbolicNumber",
      .basicsize = sizeof(SymbolicNumberObject),
      .itemsize = 0,
      .flags = Py_TPFLAGS_DEFAULT,
      .slots = slots,
  };
  PyObject* type = PyType_FromSpec(&spec);
  symbolic_number_type = reinterpret_cast<PyTypeObject*>(type);
  return type != nullptr && PyModule_AddObjectRef(module, "_SymbolicNumber", type) == 0;
}

}  // namespace tenon::python
