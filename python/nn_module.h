#pragma once

#include <Python.h>

namespace tenon::python {

// Adds the type `_ModuleBase` to the extension; false with a Python error.
bool make_module_base(PyObject* module);

}  // namespace tenon::python
