#include "python/interrupt.h"

#include <Python.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>

#include "core/threads.h"

namespace tenon::python {
namespace {

std::atomic<bool> is_main_inside{false};
std::atomic<void (*)(int)> python_handler{nullptr};

void on_interrupt(int signal) {
  if (is_main_inside.load(std::memory_order_relaxed)) request_interrupt();
  if (auto* handler = python_handler.load(std::memory_order_relaxed)) handler(signal);
}

enum class Known : uint8_t { Nothing, IsMain, IsNot };
thread_local Known known_thread = Known::Nothing;

// Asked twice a run, so the answer is kept; in a forked child its only thread is the main one.
bool is_main_thread() {
  if (known_thread == Known::Nothing) {
    static const int forgets_at_fork =
        pthread_atfork(nullptr, nullptr, [] { known_thread = Known::Nothing; });
    (void)forgets_at_fork;
    known_thread = syscall(SYS_gettid) == getpid() ? Known::IsMain : Known::IsNot;
  }
  return known_thread == Known::IsMain;
}

// A run of a few microseconds can't afford to ask the kernel each time.
bool is_time_to_look() {
  using Clock = std::chrono::steady_clock;
  static Clock::time_point last;
  const Clock::time_point now = Clock::now();
  if (now - last < std::chrono::milliseconds(1)) return false;
  last = now;
  return true;
}

// Python's signal.signal puts its own handler back, so this looks again and again. A program that
// ignores the signal, or dies of it, keeps doing so.
void install_handler() {
  if (!is_time_to_look()) return;
  struct sigaction action;
  if (sigaction(SIGINT, nullptr, &action) != 0 || (action.sa_flags & SA_SIGINFO) != 0) return;
  if (action.sa_handler == on_interrupt || action.sa_handler == SIG_DFL ||
      action.sa_handler == SIG_IGN) {
    return;
  }
  python_handler.store(action.sa_handler, std::memory_order_relaxed);
  action.sa_handler = on_interrupt;
  sigaction(SIGINT, &action, nullptr);
}

}  // namespace

void enter_interruptible() noexcept {
  if (!is_main_thread()) return;
  install_handler();
  is_main_inside.store(true, std::memory_order_relaxed);
}

void leave_interruptible() noexcept {
  if (!is_main_thread()) return;
  is_main_inside.store(false, std::memory_order_relaxed);
  clear_interrupt();  // one that came too late to stop anything; Python raises it
}

}  // namespace tenon::python
