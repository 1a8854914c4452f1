// The interface through which the trace has programs run; jit/ implements it.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "core/error.h"
#include "trace/program.h"

namespace tenon {

// A failure that only the data could tell (an index out of bounds, a zero divisor): `origin` is
// that of the node that failed. The trace poisons what depends on it and runs the rest.
class DataError : public Error {
 public:
  DataError(ErrorKind kind, std::string message, uint32_t origin)
      : Error(kind, std::move(message)), origin(origin) {}
  const uint32_t origin;
};

// The first steps of a program, run while the rest is recorded.
class EarlyRun {
 public:
  virtual ~EarlyRun() = default;
  // The first `nodes` of the program are as they will be, with their attributes and inputs; of
  // those after them, attributes are a guess and inputs have no storage. Runs what that suffices
  // for. It neither waits nor fails, and may be called inside the trace's lock.
  virtual void advance(size_t nodes) = 0;
  // Nothing more begins.
  virtual void cancel() = 0;
  // The same, and waits for what runs. Outside the trace's lock.
  virtual void stop() = 0;
  // Of a stopped one that is of no use: frees its memory.
  virtual void drop() = 0;

  Program program;
  bool is_used = false;  // a run went on from it
};

class Executor {
 public:
  virtual ~Executor() = default;
  // Returns one buffer an output, dense with the output type's strides. Inputs marked donatable
  // may have been overwritten when it returns; when it throws, none has been.
  virtual std::vector<Buffer> run(Program& program) = 0;
  // How many of its nodes must be recorded for an early run of a program to begin, and then to go
  // on; ascending. Inputs need types but no storage. Nothing while it would run as never before.
  virtual std::optional<std::vector<uint32_t>> early_points(const Program& /*program*/) {
    return std::vector<uint32_t>{};
  }
  // Null where there is no room, or nothing to gain. Inside the trace's lock, as advance().
  virtual std::shared_ptr<EarlyRun> begin_early(Program /*program*/) { return nullptr; }
};

void set_executor(Executor* executor);
Executor& executor();

// Called around every wait and every run, outside all locks: the Python bindings release and
// take back the interpreter lock here.
struct BlockingHooks {
  void* (*enter)() = nullptr;
  void (*leave)(void* state) = nullptr;
};
void set_blocking_hooks(BlockingHooks hooks);

}  // namespace tenon
