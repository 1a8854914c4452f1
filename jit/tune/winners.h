// What the autotuner found, in memory and on disk: beside the kernel cache, one checksummed file a
// program and size class, written atomically, in a folder for each processor, compiler and source
// of the JIT: what another machine or version measured is never used.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "jit/tune/choices.h"
#include "trace/program.h"

namespace tenon::jit {

struct Winner {
  Choices choices;
  std::string what;   // the program's dearest steps
  std::string sizes;  // its largest values
  int threads = 0;
  double before = 0, after = 0;  // seconds of a run, by default and as chosen
  int trials = 0;                // plans measured
  double seconds = 0;            // that it took
};

// Programs that run by the same choices: of one plan, extents within a factor of two, and the same
// number of threads.
Hash128 tuning_key(const Program& program);

// Cheap where nothing was ever tuned. A damaged file gives a warning, and nothing.
std::optional<Winner> find_winner(const Program& program);
void keep_winner(const Program& program, Winner winner);
// All of this machine and version.
std::vector<Winner> winners();
// Deletes them, or only forgets what is in memory, so that files are read again.
void clear_winners(bool on_disk);

}  // namespace tenon::jit
