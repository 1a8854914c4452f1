#include "kernels/signal_stack.h"

#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigaltstack is POSIX, not C++
#include <sys/mman.h>

#include <cstddef>

namespace tenon::kernels {
namespace {

class SignalStack {
 public:
  SignalStack() {
    stack_t current{};
    if (sigaltstack(nullptr, &current) != 0 || (current.ss_flags & SS_DISABLE) == 0) return;
    void* memory =
        mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return;  // as without one, then
    stack_t mine{};
    mine.ss_sp = memory;
    mine.ss_size = kBytes;
    if (sigaltstack(&mine, nullptr) == 0) {
      memory_ = memory;
    } else {
      munmap(memory, kBytes);
    }
  }
  ~SignalStack() {
    stack_t current{};
    if (!memory_ || sigaltstack(nullptr, &current) != 0) return;
    if (current.ss_sp == memory_) {  // nobody has put another in its place
      stack_t none{};
      none.ss_flags = SS_DISABLE;
      if (sigaltstack(&none, nullptr) != 0) return;
      munmap(memory_, kBytes);
    }
  }
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  static constexpr std::size_t kBytes = std::size_t{256} << 10;  // paged in where it is used
  void* memory_ = nullptr;
};

}  // namespace

void ensure_signal_stack() { [[maybe_unused]] thread_local const SignalStack stack; }

}  // namespace tenon::kernels
