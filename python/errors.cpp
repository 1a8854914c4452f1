#include "python/errors.h"

#include <nanobind/nanobind.h>

#include <new>

#include "python/arguments.h"

namespace tenon::python {
namespace {

PyObject* zero_division = nullptr;
PyObject* out_of_range = nullptr;
PyObject* out_of_memory = nullptr;
PyObject* lin_alg = nullptr;

PyObject* make_error(PyObject* module, const char* name, const char* doc, PyObject* bases) {
  const std::string qualified = std::string("tenon.") + name;
  PyObject* type = PyErr_NewExceptionWithDoc(qualified.c_str(), doc, bases, nullptr);
  PyModule_AddObjectRef(module, name, type);
  return type;
}

}  // namespace

void add_errors(PyObject* module) {
  PyObject* both = PyTuple_Pack(2, PyExc_RuntimeError, PyExc_ZeroDivisionError);
  zero_division = make_error(module, "ZeroDivisionError", "Integer division by zero.", both);
  Py_DECREF(both);
  both = PyTuple_Pack(2, PyExc_RuntimeError, PyExc_IndexError);
  out_of_range = make_error(module, "IndexError", "An index beyond the end of a dimension.", both);
  Py_DECREF(both);
  out_of_memory = make_error(module, "OutOfMemoryError",
                             "An allocation failed after caches were trimmed.", PyExc_RuntimeError);
  lin_alg = make_error(module, "LinAlgError", "A matrix that an operation can't take.",
                       PyExc_RuntimeError);
}

PyObject* exception_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Value:
      return PyExc_ValueError;
    case ErrorKind::Type:
      return PyExc_TypeError;
    case ErrorKind::Index:
      return PyExc_IndexError;
    case ErrorKind::IndexOutOfRange:
      return out_of_range;
    case ErrorKind::ZeroDivision:
      return zero_division;
    case ErrorKind::OutOfMemory:
      return out_of_memory;
    case ErrorKind::NotImplemented:
      return PyExc_NotImplementedError;
    case ErrorKind::Interrupted:
      return PyExc_KeyboardInterrupt;
    case ErrorKind::Buffer:
      return PyExc_BufferError;
    case ErrorKind::LinAlg:
      return lin_alg;
    case ErrorKind::Key:
      return PyExc_KeyError;
    case ErrorKind::OS:
      return PyExc_OSError;
    case ErrorKind::Runtime:
    case ErrorKind::Internal:
      break;
  }
  return PyExc_RuntimeError;
}

void set_error(const Error& error) noexcept {
  // Python's handler has noted the signal too: let it raise now, not once more later.
  if (error.kind() == ErrorKind::Interrupted && PyErr_CheckSignals() != 0) return;
  PyErr_SetString(exception_of(error.kind()), error.what());
}

void translate_exception() noexcept {
  try {
    throw;
  } catch (const PythonError&) {
  } catch (nanobind::python_error& error) {
    error.restore();
  } catch (const Error& error) {
    set_error(error);
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  } catch (...) {
    PyErr_SetString(PyExc_RuntimeError, "an unknown error");
  }
}

}  // namespace tenon::python
