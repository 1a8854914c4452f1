// A number that a walk of tn.compile gives to an operation: symbolic, so that what the operation
// does with its value is noted (see Symbols in trace/capture.h).
//
// It is nothing but an argument: no number to Python, and to be read by to_scalar alone.
#pragma once

#include <Python.h>

#include <cstdint>

namespace tenon::python {

struct SymbolicNumberObject {
  PyObject_HEAD PyObject* value;  // an int or a float
  uint32_t symbol;
};
extern PyTypeObject* symbolic_number_type;

inline bool is_symbolic_number(PyObject* object) { return Py_TYPE(object) == symbolic_number_type; }
inline uint32_t symbol_of(PyObject* object) {
  return reinterpret_cast<SymbolicNumberObject*>(object)->symbol;
}
// What it stands for in this call; another object itself.
inline PyObject* plain(PyObject* object) {
  return is_symbolic_number(object) ? reinterpret_cast<SymbolicNumberObject*>(object)->value
                                    : object;
}

bool make_symbolic_number_type(PyObject* module);

}  // namespace tenon::python
