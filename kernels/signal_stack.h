// A stack of its own for the signal handlers of a thread.
//
// The matrix products of oneDNN (2.6, at least) keep values below the stack pointer, farther than
// the 128 bytes that the System V ABI leaves alone: a handler that runs on the thread's stack
// meanwhile overwrites them, and the product then writes to wherever they point. Handlers with
// SA_ONSTACK, as all of Python's are, run on an alternate stack where a thread has one.
#pragma once

namespace tenon::kernels {

// Gives the calling thread an alternate stack, unless it has one.
void ensure_signal_stack();

}  // namespace tenon::kernels
