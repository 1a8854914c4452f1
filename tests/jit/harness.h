// Runs a program every way there is and compares.
#pragma once

#include <doctest/doctest.h>

#include <functional>

#include "core/threads.h"
#include "jit/plan/executor.h"
#include "tests/jit/program_builder.h"

namespace tenon::test {

using Build = std::function<void(ProgramBuilder&)>;

inline std::vector<Buffer> run(const Build& build, jit::Mode mode, int threads = 1) {
  ProgramBuilder p;
  build(p);
  const int before = num_threads();
  set_num_threads(threads);
  jit::set_chunk_work(threads > 1 ? 1 : 1 << 16);
  jit::set_mode(mode);
  std::vector<Buffer> result;
  try {
    result = jit::plan_for(p.program()).run(p.program());
  } catch (...) {
    jit::set_mode(jit::Mode::Fused);
    set_num_threads(before);
    throw;
  }
  jit::set_mode(jit::Mode::Fused);
  set_num_threads(before);
  return result;
}

// With all computed again that can be.
inline std::vector<Buffer> run_recomputing(const Build& build) {
  const int64_t threshold = jit::recompute_threshold();
  jit::set_recompute(jit::Recompute::All);
  jit::set_recompute_threshold(0);
  std::vector<Buffer> result = run(build, jit::Mode::Fused);
  jit::set_recompute_threshold(threshold);
  jit::set_recompute(jit::Recompute::Cheap);
  return result;
}

// What check_program does in place of its checks, for a back end that has others.
inline std::function<void(const Build&)> other_check;

// Close to the plain evaluation, and the same bits fused, unfused, interpreted, on two
// threads, recomputing.
inline void check_program(const Build& build, double tolerance = 2e-6) {
  if (other_check) return other_check(build);
  ProgramBuilder p;
  build(p);
  const std::vector<Array> expected = evaluate(p.program());
  const std::vector<Buffer> unfused = run(build, jit::Mode::Unfused);
  REQUIRE(unfused.size() == expected.size());
  for (size_t k = 0; k < expected.size(); ++k) {
    const Array got = to_array(unfused[k]);
    INFO("output ", k);
    CHECK(got.dtype == expected[k].dtype);
    CHECK(distance(got, expected[k]) <= tolerance);
  }
  const std::string bits = bits_of(unfused);
  CHECK_MESSAGE(bits_of(run(build, jit::Mode::Fused)) == bits, "fused differs from unfused");
  CHECK_MESSAGE(bits_of(run(build, jit::Mode::Fused, 2)) == bits, "two threads differ from one");
  CHECK_MESSAGE(bits_of(run(build, jit::Mode::Interpret)) == bits, "interpreted differs");
  CHECK_MESSAGE(bits_of(run_recomputing(build)) == bits, "recomputing differs");
}

// How many kernels the fused plan has.
inline size_t fused_kernels(const Build& build) {
  ProgramBuilder p;
  build(p);
  jit::set_mode(jit::Mode::Fused);
  return jit::plan_for(p.program()).kernel_count();
}

}  // namespace tenon::test
