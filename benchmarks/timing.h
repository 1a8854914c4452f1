// Timing for the C++ benchmarks: the best of the repetitions that fit a budget, since whatever else
// runs on the machine only ever adds time.
#pragma once

#include <algorithm>
#include <chrono>

namespace tenon::benchmarks {

inline double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Timing {
  double best;    // seconds a call
  double median;  // of the repetitions
};

// Calls run() `inner` times a repetition, for about `budget` seconds.
template <class F>
Timing measure(F&& run, int inner = 1, double budget = 0.2) {
  run();  // warm caches and pages
  constexpr int kMost = 4096;
  double times[kMost];
  int count = 0;
  const double start = now();
  while (count < 3 || (now() - start < budget && count < kMost)) {
    const double before = now();
    for (int i = 0; i < inner; ++i) run();
    times[count++] = (now() - before) / inner;
  }
  std::sort(times, times + count);
  return {times[0], times[count / 2]};
}

}  // namespace tenon::benchmarks
