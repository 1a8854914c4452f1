// What ran when, for profilers: spans with the thread that ran them. While nobody records, a span
// costs one relaxed load.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace tenon {

struct ProfileEvent {
  enum class Kind : uint8_t { Kernel, Library, Flush, Record, Plan, Compile };
  Kind kind;
  std::string name;
  int64_t begin = 0, end = 0;  // nanoseconds of the steady clock
  uint64_t thread = 0;         // the system's number
  int64_t bytes = 0;           // read and written, each buffer once
  int64_t operations = 0;      // arithmetic ones
  std::vector<uint32_t> origins;
};
const char* name_of(ProfileEvent::Kind kind);

namespace detail {
extern std::atomic<bool> profile_on;
}
inline bool is_recording_events() { return detail::profile_on.load(std::memory_order_relaxed); }
// Starting empties the list; stopping returns it, in the order in which events ended.
void start_events();
std::vector<ProfileEvent> stop_events();
int64_t event_clock();
int64_t events_begin();              // when recording was started
void add_event(ProfileEvent event);  // the thread is filled in

// From construction to destruction.
class ProfileSpan {
 public:
  ProfileSpan(ProfileEvent::Kind kind, const char* name) : on_(is_recording_events()) {
    if (!on_) return;
    event_.kind = kind;
    event_.name = name;
    event_.begin = event_clock();
  }
  ~ProfileSpan() {
    if (on_) finish();
  }
  ProfileSpan(const ProfileSpan&) = delete;
  // Null while nobody records.
  ProfileEvent* event() { return on_ ? &event_ : nullptr; }

 private:
  void finish();
  const bool on_;
  ProfileEvent event_;
};

}  // namespace tenon
