// What the JIT made and ran, for tests and for users who ask.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tenon::jit {

struct Counters {
  uint64_t programs = 0;   // run
  uint64_t plans = 0;      // made
  uint64_t kernels = 0;    // different ones
  uint64_t compiled = 0;   // of these, by the compiler
  uint64_t from_disk = 0;  // of these, from the disk cache
  uint64_t launches = 0;
  uint64_t early_steps = 0;  // that had run when their program was complete
  uint64_t library_calls = 0;
  uint64_t library_primitives = 0;
};
Counters counters();

// One step of the last profiled run.
struct StepRecord {
  std::string name;
  double seconds = 0;
  int64_t bytes = 0;              // read and written, each buffer once
  int64_t operations = 0;         // arithmetic
  std::vector<uint32_t> origins;  // of its operations
};
// The steps of the calling thread's last run; times only while profiling is on.
const std::vector<StepRecord>& last_run();
void set_profiling(bool on);
bool is_profiling();

// How programs run. Results are equal bit for bit.
enum class Mode : uint8_t {
  Fused,
  Unfused,
  Interpret,  // unfused, by the interpreter
  Device,     // fused, for a device (Plan::run_on); what the host runs of it is interpreted
};
void set_mode(Mode mode);  // default: TENON_JIT=fused|unfused|interpret
Mode mode();

// How much plans compute again rather than keep, to begin with; plans that don't fit into memory go
// further. Results are equal bit for bit.
enum class Recompute : uint8_t {
  None,
  Cheap,  // elementwise chains that cost about what storing and loading them does
  All,    // reductions, products and convolutions too, between values kept at intervals
};
void set_recompute(Recompute level);  // default: TENON_RECOMPUTE=none|cheap|all
// Bytes kept at once from which on it is worth a thought; tests make it 0.
void set_recompute_threshold(int64_t bytes);  // default: 4 MiB
int64_t recompute_threshold();
Recompute recompute();

// Operations in a chunk of a parallel launch, at least; tests make it small, so that everything
// runs in parallel. Results don't depend on it.
void set_chunk_work(int64_t operations);

// Nanoseconds that an early run must bring, at least (default: 50 us); tests make it 0.
void set_early_work(int64_t nanoseconds);

}  // namespace tenon::jit
