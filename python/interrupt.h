// Ctrl-C stops a kernel that runs for the main thread.
#pragma once

namespace tenon::python {

// Around every wait and run, beside releasing the interpreter lock: SIGINT also requests an
// interrupt (core/threads.h) while the main thread is inside. Python's own handler is called too.
void enter_interruptible() noexcept;
void leave_interruptible() noexcept;

}  // namespace tenon::python
