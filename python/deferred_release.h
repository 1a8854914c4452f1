// What Python objects lend to storages and graphs: arrays' memory, functions of hooks.
//
// These may go on any thread, with or without the interpreter lock, and while the trace is locked.
// To take the interpreter lock there could deadlock, or end the thread when the interpreter
// finalizes; to run a destructor of Python's there could come back to the trace. So what was lent
// is only put on a list, and who next holds the interpreter lock alone gives it back.
#pragma once

#include <Python.h>

namespace tenon::python {

// Memory of another library, and how it is given back.
struct Lent {
  void (*release)(void* what);
  void* what;
};

// From any thread. The buffer was made by new; the reference to the object is taken over.
void release_later(Py_buffer* buffer) noexcept;
void release_later(PyObject* object) noexcept;
void release_later(Lent lent) noexcept;

// With the interpreter lock and no other.
void release_deferred() noexcept;

}  // namespace tenon::python
