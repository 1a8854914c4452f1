// C++ errors as Python exceptions.
#pragma once

#include <Python.h>

#include "core/error.h"

namespace tenon::python {

// The exception class of a kind; the package's own classes are made by add_errors.
PyObject* exception_of(ErrorKind kind);
void add_errors(PyObject* module);
void set_error(const Error& error) noexcept;

}  // namespace tenon::python
