#include "core/profile.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <mutex>
#include <new>
#include <utility>

#include "core/fork.h"

namespace tenon {
namespace detail {
std::atomic<bool> profile_on{false};
}

namespace {

struct Events {
  std::mutex mutex;
  std::vector<ProfileEvent> list;
  std::atomic<int64_t> begin = 0;
};
Events& events() {
  static Events* const instance = new Events;  // threads may end after statics
  return *instance;
}
[[maybe_unused]] const bool g_fork_safe = (lock_around_fork(events().mutex), true);

}  // namespace

const char* name_of(ProfileEvent::Kind kind) {
  constexpr std::array kNames{"kernel", "library", "flush", "record", "plan", "compile"};
  return kNames[static_cast<size_t>(kind)];
}

void start_events() {
  Events& e = events();
  std::lock_guard lock(e.mutex);
  e.list.clear();
  e.begin = event_clock();
  detail::profile_on = true;
}

std::vector<ProfileEvent> stop_events() {
  Events& e = events();
  std::lock_guard lock(e.mutex);
  detail::profile_on = false;
  return std::exchange(e.list, {});
}

int64_t events_begin() { return events().begin; }

int64_t event_clock() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void add_event(ProfileEvent event) {
  event.thread = static_cast<uint64_t>(::syscall(SYS_gettid));
  Events& e = events();
  std::lock_guard lock(e.mutex);
  if (is_recording_events()) e.list.push_back(std::move(event));
}

void ProfileSpan::finish() {
  event_.end = event_clock();
  try {
    add_event(std::move(event_));
  } catch (const std::bad_alloc&) {
    detail::profile_on = false;  // the list ends here: later events would hide the gap
  }
}

}  // namespace tenon
