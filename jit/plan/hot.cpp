#include "jit/plan/hot.h"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <new>
#include <thread>

#include "core/error.h"
#include "core/fork.h"
#include "core/log.h"
#include "core/optimizations.h"
#include "core/profile.h"
#include "core/threads.h"
#include "jit/plan/record.h"

namespace tenon::jit {
namespace {

// Of running, in nanoseconds: a few times what the better compiler takes for a kernel.
constexpr int64_t kHotTime = 20'000'000;
// Operations below which asking the clock would cost more than a hundredth of the run.
constexpr int64_t kSmallRun = 1 << 17;
constexpr int64_t kOperationsANanosecond = 32;

// One thread that compiles a kernel at a time, busy for whoever forks. The child has no such
// thread, and never asks for one.
class HotCompiler {
 public:
  static HotCompiler& instance() {
    static HotCompiler compiler;
    return compiler;
  }

  void add(CompiledKernel* kernel) {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    if (!thread_.joinable()) {
      pthread_atfork(nullptr, nullptr, [] { instance().forget_thread(); });
      thread_ = std::thread([this] { work(); });
    }
    queue_.push_back(kernel);
    wake_.notify_one();
  }

  void wait() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [&] { return queue_.empty() && !busy_; });
  }

  ~HotCompiler() {
    {
      std::lock_guard lock(mutex_);
      stopped_ = true;
      queue_.clear();
      wake_.notify_one();
    }
    if (thread_.joinable()) thread_.join();
  }

 private:
  // In a forked child, where these are as the thread that isn't there left them.
  void forget_thread() {
    new (&mutex_) std::mutex;
    new (&wake_) std::condition_variable;
    new (&idle_) std::condition_variable;
    new (&queue_) std::deque<CompiledKernel*>;
    new (&thread_) std::thread;
    busy_ = false;
    stopped_ = true;
  }

  void work() {
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stopped_ || !queue_.empty(); });
      if (stopped_) return;
      CompiledKernel* kernel = queue_.front();
      queue_.pop_front();
      busy_ = true;
      lock.unlock();
      if (kernel->tier.load(std::memory_order_relaxed) != llvm_jit::Tier::Hot) {
        const BusySection busy;
        compile(*kernel);
      }
      lock.lock();
      busy_ = false;
      idle_.notify_all();
    }
  }

  static void compile(CompiledKernel& kernel) {
    const loop::Kernel* const code = &kernel.code;
    ProfileSpan span(ProfileEvent::Kind::Compile, code->name.c_str());
    try {
      auto compiled = llvm_jit::compile({&code, 1}, llvm_jit::Tier::Hot);
      kernel.tier.store(llvm_jit::Tier::Hot, std::memory_order_relaxed);
      kernel.machine_code.push_back(compiled[0]);  // the old code stays: somebody may be in it
      kernel.function.store(compiled[0]->function, std::memory_order_release);
      log(Category::Kernels, "{} compiled again in {:.1f} ms", code->name,
          compiled[0]->milliseconds);
    } catch (const Error& error) {
      if (error.kind() == ErrorKind::Interrupted) return;  // the process ends, or Ctrl-C
      warn("{} keeps its quickly compiled code: {}", code->name, error.what());
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::deque<CompiledKernel*> queue_;
  std::thread thread_;
  bool busy_ = false, stopped_ = false;
};

}  // namespace

RunClock::RunClock(CompiledKernel& kernel, int64_t operations) : kernel_(kernel) {
  counts_ = kernel.nanoseconds.load(std::memory_order_relaxed) < kHotTime;
  if (!counts_) return;
  if (operations < kSmallRun) {
    estimate_ = operations / kOperationsANanosecond;
  } else {
    begin_ = event_clock();
  }
}

RunClock::~RunClock() {
  if (counts_) charge(kernel_, begin_ == 0 ? estimate_ : event_clock() - begin_);
}

void charge(CompiledKernel& kernel, int64_t time) {
  if (kernel.nanoseconds.load(std::memory_order_relaxed) >= kHotTime) return;
  const int64_t before = kernel.nanoseconds.fetch_add(time, std::memory_order_relaxed);
  if (before >= kHotTime || before + time < kHotTime) return;
  if (in_forked_child() || !is_enabled(Optimization::HotTier)) return;
  if (!kernel.later && !kernel.function.load(std::memory_order_acquire)) return;  // interpreted
  if (kernel.tier.load(std::memory_order_relaxed) == llvm_jit::Tier::Hot) return;
  try {
    HotCompiler::instance().add(&kernel);
  } catch (const std::exception& error) {  // no thread to be had
    warn("{} keeps its quickly compiled code: {}", kernel.code.name, error.what());
  }
}

void wait_for_hot_kernels() { HotCompiler::instance().wait(); }

}  // namespace tenon::jit
