// A run of a plan's first steps while the program is still being recorded.
//
// Steps run in the plan's order, as far as what they read is known, on the pool's workers. They
// write the slab and outputs that are new memory: nobody sees these before the run is finished.
// Whatever takes an input's memory, or may call back into Python, waits for the program's own run.
// That run goes on where this one stopped, if everything turned out as it was predicted; else, and
// where a step failed, it begins anew, so that errors are raised by it alone.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "core/threads.h"
#include "jit/plan/running.h"
#include "trace/executor.h"

namespace tenon::jit {

class Plan::Early final : public EarlyRun, public std::enable_shared_from_this<Plan::Early> {
 public:
  // Places what can be placed. OutOfMemory where there is no room.
  Early(Plan& plan, Program known);

  void advance(size_t nodes) override;
  void cancel() override { is_cancelled_ = true; }
  void stop() override;
  void drop() override;

  // Of a stopped one: whether a run of `program` by `plan`, with this binding, can go on from it.
  bool serves(const Plan& plan, const Program& program, const Binding& binding) const;
  // Moves what was placed into `running` and `outputs`; the steps that have run.
  size_t hand_over(Running& running, std::vector<Buffer>& outputs);

 private:
  void set_inputs();
  void work();
  bool run(size_t begin, size_t end);

  Plan& plan_;
  const uint64_t generation_;  // of the process, see core/fork.h
  std::atomic<bool> is_cancelled_{false};
  std::mutex mutex_;  // of what follows, up to running_; the recorder alone sets binding_
  std::shared_ptr<const Binding> binding_;
  size_t known_ = 0;  // nodes of the program
  size_t limit_ = 0;  // steps that may run
  size_t next_ = 0;   // step
  bool is_active_ = false, has_failed_ = false;
  Running running_;  // the worker's, but for pointers of steps beyond the limit
  std::vector<Buffer> outputs_;
  Background background_;
};

}  // namespace tenon::jit
