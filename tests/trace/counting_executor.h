// Counts what an executor runs.
#pragma once

#include <set>
#include <string>

#include "trace/executor.h"

namespace tenon::testing {

class CountingExecutor final : public Executor {
 public:
  explicit CountingExecutor(Executor& inner) : inner_(inner) {}
  std::vector<Buffer> run(Program& program) override;
  std::optional<std::vector<uint32_t>> early_points(const Program& program) override {
    return inner_.early_points(program);
  }
  std::shared_ptr<EarlyRun> begin_early(Program program) override {
    return inner_.begin_early(std::move(program));
  }

  // What a plan's key holds: operations, dtypes, ranks, structural attributes and wiring.
  static std::string key_of(const Program& program);

  int runs = 0;
  std::set<std::string> keys;  // of the programs that ran

 private:
  Executor& inner_;
};

// The one that the main function installs: around the reference executor, or around the JIT.
CountingExecutor& executor_under_test();

}  // namespace tenon::testing
