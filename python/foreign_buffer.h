// Buffers of Python objects whose memory storages share.
//
// A storage may go on any thread, with or without the interpreter lock, and while the trace is
// locked. To take the interpreter lock there could deadlock, or end the thread when the interpreter
// finalizes; to run a destructor of Python's there could come back to the trace. So a storage only
// hands its buffer over, and who next holds the interpreter lock alone releases it.
#pragma once

#include <Python.h>

namespace tenon::python {

// From any thread. The buffer was made by new.
void hand_over(Py_buffer* buffer) noexcept;

// With the interpreter lock and no other: releases what was handed over.
void release_foreign_buffers() noexcept;

}  // namespace tenon::python
