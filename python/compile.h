// Calls of compiled functions that skip Python where that is proven to be the same (see
// python/tenon/compiler).
#pragma once

#include <Python.h>

#include "trace/capture.h"

namespace tenon::python {

// A capture in Python's hands.
struct CaptureRef {
  Ref<Capture> capture;
};

bool make_compiled_type(PyObject* module);

}  // namespace tenon::python
