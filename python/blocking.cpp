#include "python/blocking.h"

#include <Python.h>
#include <cxxabi.h>
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "core/threads.h"
#include "python/interrupt.h"
#include "trace/executor.h"

namespace tenon::python {
namespace {

// Waits for the end of the process, as Python itself does from version 3.14 on.
[[noreturn]] void wait_for_exit() {
  while (true) pause();
}

// An interpreter that finalizes gives its lock to no other thread any more. Up to Python 3.13 it
// ends a thread that asks for it, wherever that is, by pthread_exit: this unwinds the thread's
// stack, and aborts the process at the first function that may not throw (a destructor). So such a
// thread stops here, with what its stack holds. It must not hold a lock that the main thread's
// finalizers need: a program runs outside the trace's lock.
void take_lock_back(PyThreadState* state) {
  try {
    PyEval_RestoreThread(state);
  } catch (abi::__forced_unwind&) {
    wait_for_exit();
  }
}

// Threads in a run or a wait, without the interpreter lock.
std::atomic<int> threads_inside{0};

void* enter_blocking() {
  enter_interruptible();
  threads_inside.fetch_add(1);
  return PyGILState_Check() ? PyEval_SaveThread() : nullptr;
}

void leave_blocking(void* state) {
  threads_inside.fetch_sub(1);
  leave_interruptible();
  if (state != nullptr) take_lock_back(static_cast<PyThreadState*>(state));
}

// When the interpreter is gone, static variables are next to go: those of the compiler and of the
// libraries that a thread may still be in. What it runs is interrupted, and waited for, within
// limits: exit never hangs. Once out, it stays in take_lock_back.
void stop_threads() {
  constexpr auto kLongest = std::chrono::seconds(10);
  const auto start = std::chrono::steady_clock::now();
  while (threads_inside.load() > 0 && std::chrono::steady_clock::now() - start < kLongest) {
    request_interrupt();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

void install_blocking_hooks() {
  set_blocking_hooks({enter_blocking, leave_blocking});
  Py_AtExit(stop_threads);
  pthread_atfork(nullptr, nullptr, [] { threads_inside = 0; });  // a child has one thread
}

}  // namespace tenon::python
