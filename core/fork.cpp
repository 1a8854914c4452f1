#include "core/fork.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace tenon {
namespace {

std::atomic<int> g_busy{0};  // threads inside a section
std::atomic<bool> g_forking{false};
std::atomic<std::uint64_t> g_generation{0};
constinit thread_local int t_depth __attribute__((tls_model("initial-exec"))) = 0;

void pause() { std::this_thread::sleep_for(std::chrono::microseconds(50)); }

void before_fork() {
  while (g_forking.exchange(true)) pause();  // another thread forks
  const int own = t_depth > 0 ? 1 : 0;
  while (g_busy.load() > own) pause();
}
void after_fork() { g_forking.store(false); }
void after_fork_in_child() {
  g_busy.store(t_depth > 0 ? 1 : 0);
  g_generation.fetch_add(1);
  g_forking.store(false);
}

void enter() {
  // Handlers made later run earlier: before those of the locks that are taken inside.
  static const int registered = pthread_atfork(before_fork, after_fork, after_fork_in_child);
  (void)registered;
  while (true) {
    g_busy.fetch_add(1);
    if (!g_forking.load()) return;
    g_busy.fetch_sub(1);
    while (g_forking.load()) pause();
  }
}

struct Leaves {
  std::mutex mutex;
  std::vector<std::mutex*> list;
};
Leaves& leaves() {
  static Leaves* const instance = new Leaves;
  return *instance;
}
void lock_leaves() {
  leaves().mutex.lock();
  for (std::mutex* mutex : leaves().list) mutex->lock();
}
void unlock_leaves() {
  for (std::mutex* mutex : leaves().list) mutex->unlock();
  leaves().mutex.unlock();
}

}  // namespace

BusySection::BusySection() {
  if (t_depth == 0) enter();
  ++t_depth;
}
BusySection::~BusySection() {
  if (--t_depth == 0) g_busy.fetch_sub(1);
}

std::uint64_t fork_generation() { return g_generation.load(std::memory_order_relaxed); }

void lock_around_fork(std::mutex& mutex) {
  Leaves& all = leaves();
  const std::lock_guard lock(all.mutex);
  if (all.list.empty()) pthread_atfork(lock_leaves, unlock_leaves, unlock_leaves);
  all.list.push_back(&mutex);
}

}  // namespace tenon
