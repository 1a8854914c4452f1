// What a fork must not find half done.
//
// A child has none of its parent's other threads, so whatever lock one of them held stays locked
// for good. Programs that run and kernels that are compiled take many locks, those of libraries
// included; so whoever forks waits until no thread is inside a BusySection, and nobody enters one
// meanwhile. Locks that are taken outside of these have handlers of their own.
#pragma once

#include <cstdint>
#include <mutex>

namespace tenon {

// While alive, no other thread forks. Nests. Inside one, a thread must not wait for a lock that a
// thread which forks may hold (Python's, above all).
class BusySection {
 public:
  BusySection();
  ~BusySection();
  BusySection(const BusySection&) = delete;
  BusySection& operator=(const BusySection&) = delete;
};

// How many forks lie between this process and the one that loaded the library.
std::uint64_t fork_generation();

// A mutex that nobody waits under: locked around a fork. For static objects, made when the library
// is loaded: handlers made later run earlier, before this is locked.
void lock_around_fork(std::mutex& mutex);

}  // namespace tenon
